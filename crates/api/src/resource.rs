//! The resources that administrators work with: each has a name that is unique in its kind, and is read and written whole.
//!
//! Certificates and keys stand in them as PEM text; private keys can be written and are never read back.

mod boundary_group;
mod certificate;
mod client_settings;
mod connection_point;
mod endpoint;
mod gateway;
mod internet_server;
mod management_point;
mod sign_in_provider;
mod site;
mod site_system;
mod token_issuer;
mod trust;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use boundary_group::{BoundaryGroup, Network};
pub use certificate::{Acme, AcmeChallengeKind, Certificate, CertificateUpload, ExternalAccount, HmacKey};
pub use client_settings::ClientSettings;
pub use connection_point::ConnectionPoint;
pub use endpoint::PublishedEndpoint;
pub use gateway::{Gateway, Instance};
pub use internet_server::{InternetServer, ServerRoute};
pub use management_point::{ManagementPoint, RegistrationTraffic};
pub use sign_in_provider::{SignInProvider, SignInProviderUpload};
pub use site::{Approval, Site, TokenAlgorithm};
pub use site_system::{AllowCmgTraffic, SiteSystem, SiteSystemRole};
pub use token_issuer::{IssuerKind, TokenIssuer};
pub use trust::ClientTrust;

/// One kind of resource.
pub trait Resource: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The kind, as it is stored and audited, and as the command line calls it: `connection-point`.
    const KIND: &'static str;
    /// The kind in paths: `connection-points`.
    const PLURAL: &'static str;

    /// The resource's name.
    fn name(&self) -> &str;
}

macro_rules! resource {
    ($type:ident, $kind:literal, $plural:literal) => {
        impl Resource for $type {
            const KIND: &'static str = $kind;
            const PLURAL: &'static str = $plural;

            fn name(&self) -> &str {
                &self.name
            }
        }
    };
}

resource!(Site, "site", "sites");
resource!(Gateway, "gateway", "gateways");
resource!(ConnectionPoint, "connection-point", "connection-points");
resource!(ManagementPoint, "management-point", "management-points");
resource!(ClientTrust, "trust", "trusts");
resource!(Certificate, "certificate", "certificates");
resource!(TokenIssuer, "token-issuer", "token-issuers");
resource!(SiteSystem, "site-system", "site-systems");
resource!(PublishedEndpoint, "endpoint", "endpoints");
resource!(BoundaryGroup, "boundary-group", "boundary-groups");
resource!(InternetServer, "internet-server", "internet-servers");
resource!(ClientSettings, "client-settings", "client-settings");
resource!(SignInProvider, "sign-in-provider", "sign-in-providers");
