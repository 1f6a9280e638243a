//! What *allow CMG traffic* publishes of a site system, by its role.
//!
//! A management point is mounted path by path, and no more of it than clients need; its administration service only by a site system
//! of that role.

pub(crate) mod registration;

use cmg_api::resource::{AllowCmgTraffic, PublishedEndpoint, SiteSystem, SiteSystemRole};
use cmg_api::text::{Duration, Size};
use cmg_api::{Face, ProofDemand, Stickiness, TokenKind};

/// One path of a template.
struct Path {
    /// The last part of the external path in the ConfigMgr form, and the path at the server.
    name: &'static str,
    /// Who comes in: by the site system's own choice, or only this way.
    face: Option<Face>,
    registration: bool,
    methods: &'static [&'static str],
    body_limit: Size,
    total: Duration,
    idle: Duration,
}

const READ: &[&str] = &["GET", "HEAD"];
const MESSAGES: &[&str] = &["CCM_POST", "POST", "GET", "HEAD"];
const UPLOADS: &[&str] = &["BITS_POST", "GET", "HEAD", "PROPFIND"];
const SERVICES: &[&str] = &["POST", "GET", "HEAD"];

const PATH: Path = Path {
    name: "",
    face: None,
    registration: false,
    methods: READ,
    body_limit: Size::mebibytes(32),
    total: Duration::minutes(15),
    idle: Duration::seconds(60),
};

const MANAGEMENT_POINT: &[Path] = &[
    Path { name: "ccm_system", registration: true, methods: MESSAGES, ..PATH },
    Path { name: "ccm_system_tokenauth", face: Some(Face::Server), registration: true, methods: MESSAGES, ..PATH },
    Path { name: "ccm_incoming", methods: UPLOADS, body_limit: Size::mebibytes(1024), total: Duration::seconds(0), ..PATH },
    Path { name: "sms_mp", registration: true, methods: &["GET", "HEAD", "CCM_POST", "POST"], ..PATH },
    Path { name: "ccm_client", registration: true, methods: &["GET", "HEAD", "PROPFIND"], total: Duration::seconds(0), ..PATH },
    Path { name: "ccm_sts", registration: true, methods: SERVICES, ..PATH },
    // Client notification: requests are parked there.
    Path { name: "bgb", methods: &["POST", "GET", "CCM_POST"], total: Duration::seconds(0), idle: Duration::minutes(30), ..PATH },
];

const SOFTWARE_UPDATE_POINT: &[Path] = &[
    Path { name: "clientwebservice", methods: SERVICES, ..PATH },
    Path { name: "simpleauthwebservice", methods: SERVICES, ..PATH },
    Path { name: "reportingwebservice", methods: SERVICES, ..PATH },
];

const DISTRIBUTION_POINT: &[Path] =
    &[Path { name: "sms_dp_smspkg$", methods: &["GET", "HEAD", "PROPFIND"], total: Duration::seconds(0), ..PATH }];

const ADMINISTRATION_SERVICE: &[Path] =
    &[Path { name: "adminservice", methods: &["GET", "HEAD", "POST", "PATCH", "DELETE"], body_limit: Size::mebibytes(4), ..PATH }];

/// The endpoints that a site system publishes; none where CMG traffic is not allowed.
///
/// `role_id`: the number in the ConfigMgr form, which the site has given where the site system names none.
pub(crate) fn endpoints(system: &SiteSystem, role_id: &str) -> Vec<PublishedEndpoint> {
    let Some(allowed) = &system.allow_cmg_traffic else { return Vec::new() };
    let paths = match system.role {
        SiteSystemRole::ManagementPoint => MANAGEMENT_POINT,
        SiteSystemRole::SoftwareUpdatePoint => SOFTWARE_UPDATE_POINT,
        SiteSystemRole::DistributionPoint => DISTRIBUTION_POINT,
        SiteSystemRole::AdministrationService => ADMINISTRATION_SERVICE,
        SiteSystemRole::Web => return vec![web(system, allowed)],
    };
    paths.iter().map(|path| of_path(path, system, allowed, role_id)).collect()
}

fn of_path(path: &Path, system: &SiteSystem, allowed: &AllowCmgTraffic, role_id: &str) -> PublishedEndpoint {
    let face = path.face.unwrap_or(allowed.face);
    let mut token_kinds = allowed.token_kinds.clone();
    if path.registration && !token_kinds.is_empty() && !token_kinds.contains(&TokenKind::Bulk) {
        token_kinds.push(TokenKind::Bulk);
    }
    let host_name = id_part(path.name);
    PublishedEndpoint {
        name: format!("{}-{host_name}", system.name),
        role_id: Some(role_id.to_owned()),
        path_name: Some(path.name.to_owned()),
        prefix: None,
        face,
        token_kinds,
        registration: path.registration,
        // A management point checks the token itself, and issues others for it.
        forward_token: matches!(system.role, SiteSystemRole::ManagementPoint | SiteSystemRole::AdministrationService),
        methods: path.methods.iter().map(|method| (*method).to_owned()).collect(),
        body_limit: allowed.body_limit.unwrap_or(path.body_limit),
        total: allowed.total.unwrap_or(path.total),
        idle: path.idle,
        servers: system.urls.iter().map(|url| format!("{}/{}", url.trim_end_matches('/'), path.name)).collect(),
        ..web(system, allowed)
    }
}

/// The whole server, mounted where the site system says.
fn web(system: &SiteSystem, allowed: &AllowCmgTraffic) -> PublishedEndpoint {
    PublishedEndpoint {
        name: system.name.clone(),
        description: format!("of site system {}", system.name),
        site: system.site.clone(),
        gateways: allowed.gateways.clone(),
        host: allowed.host.clone(),
        port: allowed.port,
        role_id: None,
        path_name: None,
        prefix: Some(allowed.prefix.clone().unwrap_or_else(|| "/".to_owned())),
        face: allowed.face,
        open_acknowledged: allowed.open_acknowledged,
        trust: allowed.trust.clone(),
        token_kinds: allowed.token_kinds.clone(),
        audiences: allowed.audiences.clone(),
        registration: false,
        forward_token: false,
        proof: ProofDemand::IfBound,
        methods: default_methods(),
        body_limit: allowed.body_limit.unwrap_or(Size::mebibytes(32)),
        idle: Duration::seconds(60),
        total: allowed.total.unwrap_or(Duration::minutes(15)),
        upgrade: true,
        h2: false,
        servers: system.urls.clone(),
        stickiness: Stickiness::None,
        host_header: None,
        server_authorities: system.authorities.clone(),
        management_point: false,
        client_certificate: system.client_certificate.clone(),
        connect_time: Duration::seconds(5),
        health: allowed.health.clone(),
        identity_headers: allowed.identity_headers.clone(),
        client_cert_header: false,
        forwarded: allowed.forwarded,
        request_id_header: "X-Request-Id".to_owned(),
        map_redirects: true,
    }
}

fn default_methods() -> Vec<String> {
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"].map(str::to_owned).into()
}

/// What of a path can stand in an id.
fn id_part(path: &str) -> String {
    path.chars().map(|letter| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_system(role: &str, allowed: &str) -> SiteSystem {
        serde_json::from_str(&format!(
            r#"{{"name":"mp1","role":"{role}","urls":["https://mp1.corp.example/"],"allow_cmg_traffic":{allowed}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn a_management_point_is_published_path_by_path() {
        let published = endpoints(&a_system("management-point", r#"{"trust":"devices"}"#), "72057594037927937");

        let paths: Vec<_> = published.iter().map(|endpoint| endpoint.path_name.as_deref().unwrap()).collect();
        assert_eq!(paths, ["ccm_system", "ccm_system_tokenauth", "ccm_incoming", "sms_mp", "ccm_client", "ccm_sts", "bgb"]);
        assert_eq!(published[0].servers, ["https://mp1.corp.example/ccm_system"]);
        assert_eq!(published[1].face, Face::Server);
        assert!(published.iter().all(|endpoint| endpoint.forward_token));
    }

    #[test]
    fn bulk_tokens_count_where_devices_register() {
        let published = endpoints(&a_system("management-point", "{}"), "1");

        for endpoint in &published {
            assert_eq!(endpoint.token_kinds.contains(&TokenKind::Bulk), endpoint.registration, "{}", endpoint.name);
        }
        assert!(published.iter().any(|endpoint| !endpoint.registration));
    }

    #[test]
    fn the_administration_service_has_a_switch_of_its_own() {
        let of_management_point = endpoints(&a_system("management-point", "{}"), "1");
        let own = endpoints(&a_system("administration-service", "{}"), "1");

        assert!(of_management_point.iter().all(|endpoint| endpoint.path_name.as_deref() != Some("adminservice")));
        assert_eq!(own[0].path_name.as_deref(), Some("adminservice"));
    }

    #[test]
    fn without_the_switch_nothing_is_published() {
        assert!(endpoints(&a_system("web", "null"), "1").is_empty());
        assert_eq!(endpoints(&a_system("web", "{}"), "1")[0].prefix.as_deref(), Some("/"));
    }
}
