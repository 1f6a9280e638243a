//! What members are told, read out of the publication in force.

use cmg_api::GatewayDocument;
use cmg_site_server::site::Site;
use serde_json::json;

use crate::house::{Answered, Ask, House};

/// Publishes a gateway with a member that counts as enrolled, and an endpoint on it.
pub(crate) async fn with_gateway(house: &House) {
    let gateway = json!({ "name": "main", "host": "cmg.example", "instances": [{ "name": "gw-1", "address": "a:443" }] });
    made(house, "/gateways", gateway).await;
    enrol(house, "gateway", "gw-1", "01AB").await;
}

/// Makes a member one that has enrolled, without its program.
pub(crate) async fn enrol(house: &House, kind: &str, name: &str, serial: &str) {
    let mut draft = house.site.draft(&cmg_site_server::app::change::Actor::default()).await.unwrap();
    let key = cmg_authority::PrivateKey::generate().unwrap().public().point().to_vec();
    draft.change.offer_code(kind, name, b"code", draft.now + 60).await.unwrap();
    let certificate =
        cmg_store::MemberCertificate { serial: serial.to_owned(), ends: draft.now + 90 * 86_400, sealing_key: Some(key.clone()) };
    draft.change.set_member_certificate(kind, name, &certificate).await.unwrap();
    draft.change.add_certificate(&issued(serial, "infrastructure", &format!("{kind}/{name}"), draft.now)).await.unwrap();
    draft.ground.sealing_keys.insert(format!("{kind}/{name}"), key);
    draft.publish();
    draft.commit().await.unwrap();
}

/// A certificate that the site has issued, for 90 days.
pub(crate) fn issued(serial: &str, authority: &str, subject: &str, now: i64) -> cmg_store::IssuedCertificate {
    cmg_store::IssuedCertificate {
        serial: serial.to_owned(),
        authority: authority.to_owned(),
        subject: subject.to_owned(),
        purpose: "test".to_owned(),
        not_before: now - 60,
        not_after: now + 90 * 86_400,
        fingerprint: format!("{serial:0>64}").to_lowercase(),
        revoked_at: None,
    }
}

/// Adds a thing, which must succeed.
pub(crate) async fn made(house: &House, path: &str, body: serde_json::Value) -> Answered {
    let answered = house.ask_as("ian", Ask::post(path, body)).await;
    assert!(answered.status.is_success(), "{answered:?}");
    answered
}

/// The document of gateway instance `gw-1`.
pub(crate) fn document(site: &Site) -> GatewayDocument {
    let in_force = site.in_force();
    let manifest = &in_force.publication.manifests["gateway/gw-1"];
    toml::from_str(std::str::from_utf8(&in_force.publication.parts[&manifest.document]).unwrap()).unwrap()
}

/// The lines of every block list that gateway instance `gw-1` is told of.
pub(crate) fn block_lines(site: &Site) -> Vec<String> {
    let in_force = site.in_force();
    let lists = document(site).block_lists;
    let texts = lists.iter().map(|path| &in_force.publication.parts[&cmg_api::bytes::Sha256::of_path(path).unwrap()]);
    let mut lines: Vec<String> =
        texts.flat_map(|text| String::from_utf8_lossy(text).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}
