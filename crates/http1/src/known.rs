//! The field names that mean something to a gateway, recognised once while the head is read.

use crate::bytes::eq_ignore_case;

macro_rules! known {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A field name that something on the request path decides by.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Known {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
            /// Any other name.
            Other,
        }

        impl Known {
            /// Each known name in the usual spelling of lower case.
            pub const NAMES: &[(&str, Self)] = &[$(($name, Self::$variant),)+];
        }
    };
}

known! {
    Host = "host",
    ContentLength = "content-length",
    TransferEncoding = "transfer-encoding",
    Connection = "connection",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    Te = "te",
    Trailer = "trailer",
    Upgrade = "upgrade",
    Expect = "expect",
    Authorization = "authorization",
    CmgAuthorization = "cmg-authorization",
    Dpop = "dpop",
    Location = "location",
    ContentLocation = "content-location",
    SetCookie = "set-cookie",
    Link = "link",
    Refresh = "refresh",
    AltSvc = "alt-svc",
    Date = "date",
    Server = "server",
    Via = "via",
    Forwarded = "forwarded",
}

impl Known {
    /// Recognises a name in any case. The length leaves at most four names to compare with.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let candidates: &[(&str, Self)] = match name.len() {
            2 => &[("te", Self::Te)],
            3 => &[("via", Self::Via)],
            4 => &[("host", Self::Host), ("date", Self::Date), ("link", Self::Link), ("dpop", Self::Dpop)],
            6 => &[("server", Self::Server), ("expect", Self::Expect)],
            7 => &[("upgrade", Self::Upgrade), ("trailer", Self::Trailer), ("refresh", Self::Refresh), ("alt-svc", Self::AltSvc)],
            8 => &[("location", Self::Location)],
            9 => &[("forwarded", Self::Forwarded)],
            10 => &[("connection", Self::Connection), ("set-cookie", Self::SetCookie), ("keep-alive", Self::KeepAlive)],
            13 => &[("authorization", Self::Authorization)],
            14 => &[("content-length", Self::ContentLength)],
            16 => &[("content-location", Self::ContentLocation), ("proxy-connection", Self::ProxyConnection)],
            17 => &[("transfer-encoding", Self::TransferEncoding), ("cmg-authorization", Self::CmgAuthorization)],
            18 => &[("proxy-authenticate", Self::ProxyAuthenticate)],
            19 => &[("proxy-authorization", Self::ProxyAuthorization)],
            _ => &[],
        };
        candidates.iter().find(|(candidate, _)| eq_ignore_case(candidate.as_bytes(), name)).map_or(Self::Other, |&(_, known)| known)
    }
}

/// Names that decide how content is read or who may see it, beside the known ones; none may come after the content.
const FORBIDDEN_TRAILERS: &[&str] = &[
    "content-encoding",
    "content-range",
    "content-type",
    "range",
    "cache-control",
    "max-forwards",
    "cookie",
    "client-cert",
    "client-cert-chain",
];

/// Whether a field must not come as a trailer (RFC 9110, 6.5.1): a reader that merges trailers into the head would let
/// it change framing, routing or identity after they were decided. Location, Content-Location, Set-Cookie, Link and Refresh are among
/// them because their host names are mapped in heads only.
pub(crate) fn is_forbidden_trailer(known: Known, name: &[u8]) -> bool {
    match known {
        Known::Host
        | Known::ContentLength
        | Known::TransferEncoding
        | Known::Connection
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::ProxyAuthenticate
        | Known::ProxyAuthorization
        | Known::Te
        | Known::Trailer
        | Known::Upgrade
        | Known::Expect
        | Known::Authorization
        | Known::CmgAuthorization
        | Known::Dpop
        | Known::Location
        | Known::ContentLocation
        | Known::SetCookie
        | Known::Link
        | Known::Refresh
        | Known::AltSvc
        | Known::Forwarded => true,
        Known::Date | Known::Server | Known::Via => false,
        Known::Other => FORBIDDEN_TRAILERS.iter().any(|forbidden| eq_ignore_case(forbidden.as_bytes(), name)),
    }
}
