//! Client certificate authorities: which client certificates count.

use serde::{Deserialize, Serialize};

use crate::trust::{WhenStale, WhenUnsure};

/// A named set of client certificate authorities with its revocation lists: one trust policy.
///
/// Only these roots count, however many others a machine trusts; that is what a certificate trust list is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClientTrust {
    /// Its name, which endpoints refer to.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// Root certificates, PEM, any number in each text.
    #[serde(default)]
    pub authorities: Vec<String>,
    /// Issuing certificates that clients need not send, PEM, any number in each text.
    #[serde(default)]
    pub intermediates: Vec<String>,
    /// Whether the site's own authority for clients counts too. Default false.
    #[serde(default)]
    pub site_clients: bool,
    /// Where the site fetches revocation lists: `http` and `https` addresses. Default none.
    #[serde(default)]
    pub crl_urls: Vec<String>,
    /// Whether those addresses, and what they lead to, may be of own networks; of this machine only where it is written as such.
    /// Default false, so that nobody outside can make the site ask what is inside.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// Revocation lists that were uploaded, PEM. Default none.
    #[serde(default)]
    pub crls: Vec<String>,
    /// Whether revocation lists are looked at. Default true.
    #[serde(default = "yes")]
    pub check_revocation: bool,
    /// What a list whose `nextUpdate` has passed is worth: `deny`, `allow`, or a `grace` of at most `30d`. Default `deny`.
    #[serde(default)]
    pub stale_crl: WhenStale,
    /// What happens to a certificate that no list covers. Default `deny`.
    #[serde(default)]
    pub unknown_crl: WhenUnsure,
}

const fn yes() -> bool {
    true
}
