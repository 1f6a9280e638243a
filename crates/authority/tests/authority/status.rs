//! What gateways say about themselves: whose word counts.
use std::collections::BTreeMap;

use cmg_api::bytes::Base64;
use cmg_api::control::{GenerationId, MANIFEST_CONTEXT, MemberStatus, STATUS_CONTEXT, Signed};
use cmg_authority::check_status;
use cmg_authority::status::{SaidStatus, StatusRefused};
use cmg_authority::{Issued, PrivateKey};
use cmg_core::ids::GatewayId;
use cmg_credentials::members::{MemberRefused, signed_bytes};
use rcgen::SigningKey;

use crate::site::{DAY, NOW, connection_point, gateway, later, member, site};

fn status() -> MemberStatus {
    MemberStatus {
        applied: GenerationId { epoch: 1, number: 7 },
        applied_at: 1,
        refused: None,
        version: "0".to_owned(),
        certificate_ends: 1,
        findings: vec!["a \"finding\"".to_owned()],
        tunnels: BTreeMap::new(),
        wanted_keys: Vec::new(),
        said_at: 5,
    }
}

fn signed(context: &str, key: &PrivateKey, issued: &Issued) -> Signed {
    let payload = serde_json::to_string(&status()).unwrap();
    let signature = Base64(SigningKey::sign(key, &signed_bytes(context, payload.as_bytes())).unwrap());
    Signed { payload, chain: issued.chain.iter().cloned().map(Base64).collect(), signature }
}

fn check(signed: &Signed) -> Result<SaidStatus, StatusRefused> {
    check_status(signed, &[site().roots.infrastructure_certificate().to_vec()], NOW)
}

#[test]
fn a_gateways_word_is_its_own() {
    let (key, issued) = member(&gateway());

    let said = check(&signed(STATUS_CONTEXT, &key, &issued)).unwrap();

    assert_eq!(said, SaidStatus { gateway: GatewayId::new("gw-1"), fingerprint: issued.fingerprint, status: status() });
}

#[test]
fn nobody_else_speaks_for_a_gateway() {
    let (key, issued) = member(&gateway());
    let good = signed(STATUS_CONTEXT, &key, &issued);
    let (points_key, points) = member(&connection_point());
    let other_words = Signed { payload: good.payload.replace("\"number\":7", "\"number\":8"), ..good.clone() };

    assert_eq!(check(&signed(STATUS_CONTEXT, &points_key, &points)), Err(StatusRefused::NoGateway));
    assert_eq!(check(&signed(STATUS_CONTEXT, &points_key, &issued)), Err(StatusRefused::Signature));
    assert_eq!(check(&signed(MANIFEST_CONTEXT, &key, &issued)), Err(StatusRefused::Signature), "signed as something else");
    assert_eq!(check(&other_words), Err(StatusRefused::Signature));
    let over = check_status(&good, &[site().roots.infrastructure_certificate().to_vec()], later(400 * DAY));
    assert!(matches!(over, Err(StatusRefused::Certificate(_))));
    let unknown = check_status(&good, &[], NOW);
    assert!(matches!(unknown, Err(StatusRefused::Certificate(MemberRefused::Foreign | MemberRefused::Malformed))), "{unknown:?}");
}
