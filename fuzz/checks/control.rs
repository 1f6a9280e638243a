//! What site server, connection points and gateways tell each other: read or refused, the same after it was written again, and never
//! believed without the site's signature.

use cmg_api::control::{
    EnrolRequest, Enrolled, Freshness, GatewayNews, GenerationId, Manifest, MemberStatus, News, RenewRequest, Signed, StatusReport,
};
use cmg_api::{ConnectionPointDocument, EnrolmentCode, GatewayDocument};
use cmg_core::time::WallTime;
use cmg_enrolled::{freshness, judged, manifest};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A root, made for this; its private key exists no more.
const ROOT: &[u8] = include_bytes!("root.der");
const MEMBER: &str = "gateway/gw-1";

pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    as_json::<EnrolRequest>(text);
    as_json::<RenewRequest>(text);
    as_json::<Enrolled>(text);
    as_json::<MemberStatus>(text);
    as_json::<StatusReport>(text);
    as_json::<Freshness>(text);
    if let Some(news) = as_json::<News>(text) {
        news.manifests.values().chain(&news.freshness).for_each(never_believed);
    }
    if let Some(news) = as_json::<GatewayNews>(text) {
        news.manifest.iter().chain(&news.freshness).for_each(never_believed);
    }
    as_json::<Signed>(text).iter().for_each(never_believed);
    if let Some(manifest) = as_json::<Manifest>(text) {
        holds_together(manifest);
    }
    if let Some(generation) = GenerationId::parse(text) {
        assert_eq!(GenerationId::parse(&generation.to_string()), Some(generation));
    }
    as_toml::<EnrolmentCode>(text);
    as_toml::<GatewayDocument>(text);
    as_toml::<ConnectionPointDocument>(text);
}

/// What was read, which is the same when it is written and read again.
fn as_json<T: Serialize + DeserializeOwned>(text: &str) -> Option<T> {
    let read: T = serde_json::from_str(text).ok()?;
    let written = serde_json::to_value(&read).expect("what was read can be written");
    let again: T = serde_json::from_value(written.clone()).expect("what was written can be read");
    assert_eq!(serde_json::to_value(&again).expect("what was read can be written"), written);
    Some(read)
}

fn as_toml<T: Serialize + DeserializeOwned>(text: &str) {
    let Ok(read) = toml::from_str::<T>(text) else { return };
    let written = toml::to_string(&read).expect("what was read can be written");
    let again: T = toml::from_str(&written).expect("what was written can be read");
    assert_eq!(toml::to_string(&again).expect("what was read can be written"), written);
}

fn never_believed(signed: &Signed) {
    let (roots, now) = ([ROOT.to_vec()], WallTime(1_800_000_000));
    assert!(manifest(signed, MEMBER, GenerationId::default(), &roots, now).is_err());
    assert!(freshness(signed, &roots, now).is_err());
}

/// What a manifest names is among its parts, whoever wrote it.
fn holds_together(manifest: Manifest) {
    let (member, parts) = (manifest.member.clone(), manifest.parts.clone());
    let Ok(good) = judged(manifest, MEMBER, GenerationId::default()) else { return };
    assert_eq!(member, MEMBER);
    assert!(good.generation > GenerationId::default());
    assert!(std::iter::once(&good.document).chain(good.sealed.values()).all(|named| parts.contains_key(named)));
}
