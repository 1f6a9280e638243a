//! What *allow CMG traffic* publishes of a management point of the site's own: registration, tokens, the exchange `CCM_STS`, and what
//! registered devices ask for: policy, location, notifications, messages and uploads.
//!
//! The management point sees the credential, the proof and the address of each client, because it and the site decide again by them.

use std::collections::BTreeMap;

use cmg_api::device::{INCOMING, LARGEST_MESSAGES, LARGEST_UPLOAD, LOCATION, LONGEST_WAIT, MESSAGES, NOTIFICATIONS, POLICY};
use cmg_api::resource::{ManagementPoint, PublishedEndpoint, RegistrationTraffic};
use cmg_api::text::{Duration, Size};
use cmg_api::{Face, Forwarded, ProofDemand, Stickiness, TokenKind};
use cmg_authority::tokens::AUDIENCE;

/// Where clients register, at the gateway and at the management point.
const REGISTER: &str = "/cmg/v1/register";
/// Where clients renew their tokens.
const TOKEN: &str = "/cmg/v1/token";
/// The last part of the ConfigMgr form of the exchange.
const EXCHANGE: &str = "CCM_STS";

/// The endpoints that a management point publishes; none where CMG traffic is not allowed.
pub(crate) fn endpoints(point: &ManagementPoint) -> Vec<PublishedEndpoint> {
    let Some(allowed) = &point.allow_cmg_traffic else { return Vec::new() };
    let plain = |name: &str, path: &str| PublishedEndpoint {
        name: format!("{}-{name}", point.name),
        prefix: Some(path.to_owned()),
        servers: vec![format!("https://{}:{}{path}", point.host, point.port)],
        ..endpoint(point, allowed)
    };
    let mut exchanged = allowed.token_kinds.clone();
    exchanged.push(TokenKind::Site);
    let mut published = vec![
        PublishedEndpoint { registration: true, ..plain("register", REGISTER) },
        PublishedEndpoint { token_kinds: vec![TokenKind::Site], ..plain("token", TOKEN) },
        PublishedEndpoint {
            prefix: None,
            role_id: point.role_id.clone(),
            path_name: Some(EXCHANGE.to_owned()),
            registration: true,
            token_kinds: exchanged,
            ..plain("ccm_sts", &format!("/{EXCHANGE}"))
        },
    ];
    // A bulk registration token is shared by many, so it names no device.
    let of_devices = |name: &str, path: &str, methods: &[&str]| PublishedEndpoint {
        token_kinds: vec![TokenKind::Site],
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        ..plain(name, path)
    };
    published.extend([
        of_devices("policy", POLICY, &["GET", "HEAD"]),
        of_devices("location", LOCATION, &["GET", "HEAD"]),
        // Held until there is news.
        PublishedEndpoint {
            idle: Duration::seconds(LONGEST_WAIT + 60),
            total: Duration::seconds(0),
            ..of_devices("notifications", NOTIFICATIONS, &["GET"])
        },
        PublishedEndpoint { body_limit: Size::kibibytes(LARGEST_MESSAGES as u64 >> 10), ..of_devices("messages", MESSAGES, &["POST"]) },
        PublishedEndpoint {
            body_limit: Size::kibibytes(LARGEST_UPLOAD >> 10),
            total: Duration::minutes(15),
            ..of_devices("ccm_incoming", INCOMING, &["BITS_POST"])
        },
    ]);
    published
}

/// What they have in common.
fn endpoint(point: &ManagementPoint, allowed: &RegistrationTraffic) -> PublishedEndpoint {
    PublishedEndpoint {
        name: String::new(),
        description: format!("of management point {}", point.name),
        site: point.site.clone(),
        gateways: allowed.gateways.clone(),
        host: allowed.host.clone(),
        port: None,
        role_id: None,
        path_name: None,
        prefix: None,
        face: if allowed.trust.is_some() { Face::Either } else { Face::Server },
        open_acknowledged: false,
        trust: allowed.trust.clone(),
        token_kinds: allowed.token_kinds.clone(),
        audiences: audiences(allowed),
        registration: false,
        forward_token: true,
        // The tokens of registration are not bound; the site wants a proof beside them by itself.
        proof: ProofDemand::IfBound,
        methods: vec!["POST".to_owned()],
        body_limit: Size::kibibytes(64),
        idle: Duration::seconds(30),
        total: Duration::seconds(60),
        upgrade: false,
        h2: false,
        servers: Vec::new(),
        stickiness: Stickiness::None,
        host_header: None,
        server_authorities: Vec::new(),
        client_certificate: None,
        management_point: true,
        connect_time: Duration::seconds(5),
        health: None,
        identity_headers: BTreeMap::new(),
        client_cert_header: allowed.trust.is_some(),
        // The site looks at the address, and at the name in the proof.
        forwarded: Forwarded::XForwarded,
        request_id_header: "X-Request-Id".to_owned(),
        map_redirects: true,
    }
}

/// What the administrator names, and in any case that of the site's own tokens.
pub(crate) fn audiences(allowed: &RegistrationTraffic) -> Vec<String> {
    let mut audiences = allowed.audiences.clone();
    if !audiences.iter().any(|audience| audience == AUDIENCE) {
        audiences.push(AUDIENCE.to_owned());
    }
    audiences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_point(allowed: &str) -> ManagementPoint {
        let text = format!(r#"{{"name":"mp1","host":"mp1.corp.example","role_id":"1","allow_cmg_traffic":{allowed}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn bulk_tokens_count_where_clients_register_and_where_they_exchange_and_not_for_renewal() {
        let published = endpoints(&a_point("{}"));

        let kinds: Vec<_> =
            published.iter().map(|endpoint| (endpoint.registration, endpoint.token_kinds.contains(&TokenKind::Bulk))).collect();
        assert_eq!(kinds[..3], [(true, true), (false, false), (true, true)]);
        assert!(kinds[3..].iter().all(|kind| *kind == (false, false)) && kinds.len() == 8);
        let of_site = published.iter().filter(|endpoint| !endpoint.registration).all(|endpoint| endpoint.token_kinds == [TokenKind::Site]);
        assert!(of_site);
    }

    #[test]
    fn the_management_point_is_told_the_credential_and_believed_as_a_member() {
        for endpoint in endpoints(&a_point(r#"{"trust":"devices"}"#)) {
            assert!(endpoint.management_point && endpoint.forward_token && endpoint.client_cert_header, "{}", endpoint.name);
            assert_eq!((endpoint.forwarded, endpoint.face), (Forwarded::XForwarded, Face::Either));
        }
    }

    #[test]
    fn a_request_for_notifications_may_be_held_for_a_quarter_of_an_hour() {
        let published = endpoints(&a_point("{}"));
        let held = published.iter().find(|endpoint| endpoint.name == "mp1-notifications").unwrap();

        assert!(held.idle.time().as_secs() > 900 && held.total.time().is_zero());
    }

    #[test]
    fn without_the_switch_nothing_is_published() {
        assert!(endpoints(&a_point("null")).is_empty());
    }
}
