//! What a device asks a gateway before it has anything to sign in with: which app and which resource of its Entra ID tenant to use.
//!
//! The question is that of ConfigMgr clients, `/CCM_Proxy_ServerAuth/AADAuthInfo?TenantID=GUID`, and needs no credential: the answer is
//! what everybody who signs in at the tenant sees anyway. What ConfigMgr answers is written down nowhere; the body is our own.
use alloc::collections::BTreeMap;
use alloc::string::String;

use crate::refusal::Refusal;

/// What clients ask, without regard to case.
const PATH: &[u8] = b"/CCM_Proxy_ServerAuth/AADAuthInfo";

/// The methods that it is asked by.
pub const METHODS: [&str; 2] = ["GET", "HEAD"];

/// What a device of a tenant signs in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// The id of the native (client) app.
    pub client_app_id: String,
    /// The resource URI of the web (server) app.
    pub resource_uri: String,
}

/// Tenants by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenants(BTreeMap<String, Tenant>);

impl Tenants {
    /// Adds a tenant; false: it is there already.
    pub fn insert(&mut self, id: &str, tenant: Tenant) -> bool {
        self.0.insert(id.to_ascii_lowercase(), tenant).is_none()
    }

    /// Whether a path asks for this.
    pub fn is_question(path: &[u8]) -> bool {
        path.eq_ignore_ascii_case(PATH)
    }

    /// The tenant that a question with this method and `query` (after the question mark) is about, and its id.
    pub fn answer(&self, method: &[u8], query: &[u8]) -> Result<(&str, &Tenant), Refusal> {
        if !METHODS.iter().any(|known| known.as_bytes() == method) {
            return Err(Refusal::MethodNotAllowed);
        }
        let pairs = query.split(|byte| *byte == b'&').filter_map(|pair| pair.split_at_checked(pair.iter().position(|byte| *byte == b'=')?));
        let mut named = pairs.filter(|(name, _)| name.eq_ignore_ascii_case(b"TenantID")).map(|(_, value)| &value[1..]);
        let (Some(id), None) = (named.next().and_then(|id| core::str::from_utf8(id).ok()), named.next()) else {
            return Err(Refusal::Malformed);
        };
        if !is_guid(id) {
            return Err(Refusal::Malformed);
        }
        let found = self.0.get_key_value(&id.to_ascii_lowercase()).ok_or(Refusal::TenantUnknown)?;
        Ok((found.0, found.1))
    }
}

/// Whether a text is a GUID, as ids of tenants are.
pub fn is_guid(text: &str) -> bool {
    let mut groups = text.split('-');
    let is_hex = |group: &str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    [8, 4, 4, 4, 12].into_iter().all(|length| groups.next().is_some_and(|group| group.len() == length && is_hex(group)))
        && groups.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6a7b0000-1111-2222-3333-444455556666";

    fn tenants() -> Tenants {
        let mut tenants = Tenants::default();
        let tenant = Tenant { client_app_id: "app".into(), resource_uri: "api://x".into() };
        assert!(tenants.insert(ID, tenant.clone()));
        assert!(!tenants.insert(&ID.to_ascii_uppercase(), tenant));
        tenants
    }

    fn asked(method: &[u8], query: &str) -> Result<(), Refusal> {
        tenants().answer(method, query.as_bytes()).map(|(id, _)| assert_eq!(id, ID))
    }

    #[test]
    fn names_count_without_regard_to_case() {
        assert!(Tenants::is_question(b"/ccm_proxy_serverauth/aadauthinfo"));
        assert!(!Tenants::is_question(b"/CCM_Proxy_ServerAuth/AADAuthInfo/"));
        assert_eq!(asked(b"GET", "TenantID=6A7B0000-1111-2222-3333-444455556666"), Ok(()));
        assert_eq!(asked(b"HEAD", "x=1&tenantid=6a7b0000-1111-2222-3333-444455556666&y"), Ok(()));
    }

    #[test]
    fn one_tenant_is_asked_for_by_reading() {
        assert_eq!(asked(b"POST", "TenantID=6a7b0000-1111-2222-3333-444455556666"), Err(Refusal::MethodNotAllowed));
        assert_eq!(asked(b"GET", "TenantID=6a7b0000-1111-2222-3333-444455556667"), Err(Refusal::TenantUnknown));
        for query in ["", "TenantID", "TenantID=", "TenantID=common", "TenantID=6a7b0000-1111-2222-3333-44445555666"] {
            assert_eq!(asked(b"GET", query), Err(Refusal::Malformed), "{query}");
        }
        let twice = "TenantID=6a7b0000-1111-2222-3333-444455556666&TENANTID=6a7b0000-1111-2222-3333-444455556666";
        assert_eq!(asked(b"GET", twice), Err(Refusal::Malformed));
    }
}
