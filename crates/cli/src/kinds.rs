//! The kinds of resource, one row each: how a kind is called, which keys it has, and what its list shows.

use cmg_api::resource::{
    BoundaryGroup, CertificateUpload, ClientSettings, ClientTrust, ConnectionPoint, Gateway, InternetServer, ManagementPoint,
    PublishedEndpoint, Resource, SignInProviderUpload, Site, SiteSystem, TokenIssuer,
};

use crate::schema::Schema;
use crate::table::{Column, Form};

/// One kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// Such as `connection-point`.
    pub(crate) name: &'static str,
    /// The same in paths.
    pub(crate) plural: &'static str,
    /// What is written of it.
    pub(crate) schema: fn() -> Schema,
    /// What its list shows.
    pub(crate) columns: &'static [Column],
}

const NAME: Column = plain("NAME", "name");
const DESCRIPTION: Column = plain("DESCRIPTION", "description");

const fn plain(title: &'static str, path: &'static str) -> Column {
    Column(title, path, Form::Plain)
}

macro_rules! kind {
    ($type:ident, $written:ident, $columns:expr) => {
        Kind {
            name: <cmg_api::resource::$type as Resource>::KIND,
            plural: <cmg_api::resource::$type as Resource>::PLURAL,
            schema: Schema::of::<$written>,
            columns: $columns,
        }
    };
    ($type:ident, $columns:expr) => {
        kind!($type, $type, $columns)
    };
}

pub(crate) const SITE: Kind = kind!(Site, &[NAME, DESCRIPTION]);

pub(crate) const GATEWAY: Kind = kind!(
    Gateway,
    &[
        NAME,
        plain("HOST", "host"),
        plain("RUNNING", "running"),
        plain("WEIGHT", "weight"),
        plain("INSTANCES", "instances.name"),
        plain("CERTIFICATES", "certificates")
    ]
);

pub(crate) const CONNECTION_POINT: Kind =
    kind!(ConnectionPoint, &[NAME, plain("SITE", "site"), plain("GATEWAYS", "gateways"), DESCRIPTION]);

pub(crate) const MANAGEMENT_POINT: Kind = kind!(
    ManagementPoint,
    &[NAME, plain("SITE", "site"), plain("HOST", "host"), plain("PORT", "port"), plain("ROLE ID", "role_id"), DESCRIPTION]
);

pub(crate) const ENDPOINT: Kind = kind!(
    PublishedEndpoint,
    &[
        NAME,
        plain("HOST", "host"),
        plain("PREFIX", "prefix"),
        plain("ROLE ID", "role_id"),
        plain("PATH NAME", "path_name"),
        plain("FACE", "face"),
        plain("SERVERS", "servers"),
    ]
);

pub(crate) const SITE_SYSTEM: Kind = kind!(
    SiteSystem,
    &[NAME, plain("SITE", "site"), plain("ROLE", "role"), plain("CMG TRAFFIC", "allow_cmg_traffic.face"), plain("URLS", "urls")]
);

pub(crate) const CERTIFICATE: Kind = kind!(
    Certificate,
    CertificateUpload,
    &[NAME, plain("NAMES", "names"), Column("ENDS", "not_after", Form::Time), plain("ISSUER", "issuer")]
);

pub(crate) const TRUST: Kind = kind!(
    ClientTrust,
    &[
        NAME,
        Column("ROOTS", "authorities", Form::Count),
        Column("CRLS", "crls", Form::Count),
        plain("CRL URLS", "crl_urls"),
        plain("STALE CRL", "stale_crl"),
        plain("SITE CLIENTS", "site_clients"),
    ]
);

pub(crate) const TOKEN_ISSUER: Kind = kind!(
    TokenIssuer,
    &[
        NAME,
        plain("KIND", "kind"),
        plain("TENANT", "tenant"),
        plain("ISSUER", "issuer"),
        plain("TOKEN KIND", "token_kind"),
        plain("ENABLED", "enabled"),
    ]
);

pub(crate) const BOUNDARY_GROUP: Kind = kind!(
    BoundaryGroup,
    &[
        NAME,
        plain("NETWORKS", "networks"),
        plain("SITE SYSTEMS", "site_systems"),
        plain("GATEWAYS", "gateways"),
        plain("FALLBACK", "fallback")
    ]
);

pub(crate) const INTERNET_SERVER: Kind = kind!(
    InternetServer,
    &[NAME, plain("SITE", "site"), plain("MANAGEMENT POINTS", "management_points"), plain("WEIGHT", "weight"), DESCRIPTION]
);

pub(crate) const CLIENT_SETTINGS: Kind = kind!(
    ClientSettings,
    &[
        NAME,
        plain("POLICY EVERY", "policy_every"),
        plain("HEARTBEAT EVERY", "heartbeat_every"),
        plain("INVENTORY EVERY", "inventory_every"),
        DESCRIPTION
    ]
);

pub(crate) const SIGN_IN_PROVIDER: Kind = kind!(
    SignInProvider,
    SignInProviderUpload,
    &[NAME, plain("ISSUER", "issuer"), plain("CLIENT ID", "client_id"), plain("ENABLED", "enabled"), DESCRIPTION]
);

/// Every kind.
pub(crate) const KINDS: [Kind; 13] = [
    SITE,
    GATEWAY,
    CONNECTION_POINT,
    MANAGEMENT_POINT,
    ENDPOINT,
    SITE_SYSTEM,
    CERTIFICATE,
    TRUST,
    TOKEN_ISSUER,
    BOUNDARY_GROUP,
    INTERNET_SERVER,
    CLIENT_SETTINGS,
    SIGN_IN_PROVIDER,
];
