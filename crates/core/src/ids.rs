//! Names that must not be mixed up. An id knows its kind.
use alloc::string::String;
use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name that was checked with [`is_name`] or comes from a verified certificate.
            pub fn new(name: &str) -> Self {
                Self(Arc::from(name))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A published endpoint: the only address that travels in the tunnel.
    EndpointId
);
id!(
    /// One running gateway.
    GatewayId
);
id!(
    /// One running connection point.
    ConnectionPointId
);
id!(
    /// One running site server.
    SiteServerId
);
id!(
    /// One running management point.
    ManagementPointId
);
id!(
    /// An internet-based service of the policy: a gateway by its site's name, or an internet-facing server.
    ServiceId
);
id!(
    /// A named set of client certificate authorities.
    TrustName
);

/// Whether `name` can be an id: 1 to 64 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit.
pub fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    matches!(bytes.first(), Some(first) if first.is_ascii_alphanumeric())
        && bytes.len() <= 64
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

/// Names one request on its whole way: 128 bits, drawn at random by the gateway, written as 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u128);

impl RequestId {
    /// The id as the 32 hex digits that logs and headers carry.
    pub fn to_hex(self) -> [u8; 32] {
        let mut hex = [0; 32];
        for (digit, place) in hex.iter_mut().zip((0..32).rev()) {
            let nibble = (self.0 >> (place * 4)) as u8 & 0xf;
            *digit = b"0123456789abcdef"[usize::from(nibble)];
        }
        hex
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What a role certificate says its holder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A gateway instance.
    Gateway(GatewayId),
    /// A connection point.
    ConnectionPoint(ConnectionPointId),
    /// A management point.
    ManagementPoint(ManagementPointId),
    /// A site server.
    SiteServer(SiteServerId),
    /// What signs snapshots for a site; the name tells one such key from the next.
    Snapshot(String),
}

impl Role {
    /// Reads a role URI: `spiffe://<site>/<kind>/<name>`, the kind being `gateway`, `connection-point`, `management-point`,
    /// `site-server` or `snapshot`.
    ///
    /// The issuing authority decides whether a role counts at all; this reads the name only.
    pub fn from_uri(uri: &str) -> Option<Self> {
        let (site, role) = uri.strip_prefix("spiffe://")?.split_once('/')?;
        let (kind, name) = role.split_once('/')?;
        if site.is_empty() || !is_name(name) {
            return None;
        }
        match kind {
            "gateway" => Some(Self::Gateway(GatewayId::new(name))),
            "connection-point" => Some(Self::ConnectionPoint(ConnectionPointId::new(name))),
            "management-point" => Some(Self::ManagementPoint(ManagementPointId::new(name))),
            "site-server" => Some(Self::SiteServer(SiteServerId::new(name))),
            "snapshot" => Some(Self::Snapshot(name.into())),
            _ => None,
        }
    }

    /// The kind in the URI.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Gateway(_) => "gateway",
            Self::ConnectionPoint(_) => "connection-point",
            Self::ManagementPoint(_) => "management-point",
            Self::SiteServer(_) => "site-server",
            Self::Snapshot(_) => "snapshot",
        }
    }

    /// The name in the URI.
    pub fn name(&self) -> &str {
        match self {
            Self::Gateway(id) => id.as_str(),
            Self::ConnectionPoint(id) => id.as_str(),
            Self::ManagementPoint(id) => id.as_str(),
            Self::SiteServer(id) => id.as_str(),
            Self::Snapshot(name) => name,
        }
    }

    /// The URI that [`Role::from_uri`] reads back.
    pub fn to_uri(&self, site: &str) -> String {
        alloc::format!("spiffe://{site}/{}/{}", self.kind(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_uri_reads_back() {
        for role in [
            Role::Gateway(GatewayId::new("gw-1")),
            Role::ConnectionPoint(ConnectionPointId::new("cp-1")),
            Role::ManagementPoint(ManagementPointId::new("mp-1")),
            Role::SiteServer(SiteServerId::new("site-1")),
            Role::Snapshot("1".into()),
        ] {
            assert_eq!(Role::from_uri(&role.to_uri("lab")), Some(role));
        }
    }

    #[test]
    fn other_uris_are_no_role() {
        for uri in
            ["spiffe://lab/client/x", "spiffe:///gateway/x", "https://lab/gateway/x", "spiffe://lab/gateway/a/b", "spiffe://lab/gateway/"]
        {
            assert_eq!(Role::from_uri(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_request_id_is_32_hex_digits() {
        let id = RequestId(0x0123_4567_89ab_cdef_0000_0000_0000_00ff);

        assert_eq!(&id.to_hex(), b"0123456789abcdef00000000000000ff");
    }
}
