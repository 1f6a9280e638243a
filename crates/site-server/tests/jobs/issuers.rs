//! Issuing keys follow each other by the export of the roots, and nobody is stranded.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cmg_api::bytes::Base64;
use cmg_api::control::{Enrolled, MANIFEST_CONTEXT, Signed};
use cmg_authority::{Issued, PrivateKey, RootExport, Roots, certificate_pem, check_renewal};
use cmg_core::time::WallTime;
use cmg_credentials::members::Statement;
use cmg_site_server::app::change::Actor;
use cmg_site_server::app::growth::forget;
use cmg_site_server::app::issued_certificates::CLIENTS;
use cmg_site_server::app::issuers::{RenewRefused, Renewed, Which, renew};
use cmg_site_server::app::{enrol, rollover};
use cmg_store::{AuditFilter, IssuedCertificate};
use serde_json::json;

use crate::doctor::label;
use crate::enrolment::{a_key, enrolled_long_ago, renewal, with_point};
use crate::house::{Ask, House, config};
use crate::seen::{document, made, with_gateway};

pub(crate) const PASSPHRASE: &str = "a long passphrase for the roots";
const DAY: i64 = 86_400;

fn export(house: &House) -> PathBuf {
    house.folder().join("site-root-keys.txt")
}

async fn try_renew(house: &House, export: &Path, passphrase: &str, now: WallTime) -> Result<Renewed, RenewRefused> {
    renew(&config(house.folder(), "site-1"), export, passphrase, Which::BOTH, now).await
}

/// Renews as the command does, beside the site server, which follows.
async fn renewed(house: &House, which: Which) -> Renewed {
    let renewed = renew(&config(house.folder(), "site-1"), &export(house), PASSPHRASE, which, house.site.now()).await.unwrap();
    let mut newest = house.site.newest();
    let following = tokio::spawn(Arc::clone(&house.site).keep_fresh());
    newest.wait_for(|newest| *newest == renewed.generation).await.unwrap();
    following.abort();
    renewed
}

/// A client's certificate by the key that issues now.
pub(crate) async fn client(house: &House, name: &str, days: u64) -> Issued {
    let key = PrivateKey::generate().unwrap();
    let issued = house.site.keys().clients.client(name, &key.public(), days * DAY as u64, house.site.now()).unwrap();
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    let certificate = IssuedCertificate {
        serial: issued.serial.clone(),
        authority: CLIENTS.to_owned(),
        subject: format!("client/{name}"),
        purpose: "client".to_owned(),
        not_before: issued.not_before.0 as i64,
        not_after: issued.not_after.0 as i64,
        fingerprint: issued.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect(),
        revoked_at: None,
    };
    change.add_certificate(&certificate).await.unwrap();
    change.commit().await.unwrap();
    issued
}

/// What a gateway says of a client that shows its own certificate only.
async fn verdict(house: &House, issued: &Issued) -> String {
    let question = json!({ "certificate": certificate_pem(&issued.chain[0]), "trust": "devices" });
    let answered = house.ask_as("ann", Ask::post("/certificate-doctor", question)).await;
    assert!(answered.status.is_success(), "{answered:?}");
    label(&answered.body).to_owned()
}

fn issuers(house: &House) -> usize {
    let clients = house.site.in_force().ground.site_clients.clone().unwrap();
    assert_eq!(clients.issuers.len(), house.site.keys().client_issuers().count());
    clients.issuers.len()
}

#[tokio::test]
async fn certificates_of_both_issuers_of_clients_count_and_are_revoked() {
    let house = House::new().await;
    with_gateway(&house).await;
    let trust = json!({ "name": "devices", "authorities": [], "site_clients": true, "unknown_crl": "allow" });
    made(&house, "/trusts", trust).await;
    let old = client(&house, "old", 30).await;

    renewed(&house, Which::BOTH).await;

    let new = client(&house, "new", 30).await;
    assert_ne!(old.chain[1], new.chain[1]);
    for issued in [&old, &new] {
        assert_eq!(verdict(&house, issued).await, "admitted");
    }
    for issued in [&old, &new] {
        made(&house, &format!("/issued-certificates/{}/revoke", issued.serial), json!({})).await;
        let id = house.ask_as("ann", Ask::get("/blocks")).await.body["items"][0]["id"].as_str().unwrap().to_owned();
        // The lists alone refuse it.
        let unblocked = house.ask_as("ian", Ask::delete(&format!("/blocks/{id}"), "*")).await;
        assert!(unblocked.status.is_success(), "{unblocked:?}");
        assert_eq!(verdict(&house, issued).await, "certificate_revoked");
    }
    assert_eq!(house.site.in_force().ground.site_clients.as_ref().unwrap().lists.len(), 2);
    let (other, _) = house.other().await;
    assert_eq!(document(&other), document(&house.site), "every site server publishes the same");
}

#[tokio::test]
async fn an_issuer_of_clients_is_forgotten_when_its_last_certificate_has_ended() {
    let house = House::new().await;
    client(&house, "pc1", 120).await;
    let keep = Duration::from_secs(4_000 * 86_400);
    let (now, keep) = (house.now(), cmg_site_server::app::growth::Keep { audit: keep, messages: keep });

    renewed(&house, Which::CLIENTS).await;
    renewed(&house, Which::BOTH).await;

    assert_eq!(issuers(&house), 3);
    assert_eq!(forget(&house.site, keep, now + 119 * DAY).await.unwrap().issuers, 0);
    assert_eq!(forget(&house.site, keep, now + 121 * DAY).await.unwrap().issuers, 2);
    assert_eq!((issuers(&house), house.site.in_force().ground.site_clients.as_ref().unwrap().lists.len()), (1, 1));
    assert_eq!(forget(&house.site, keep, now + 122 * DAY).await.unwrap().issuers, 0);
}

#[tokio::test]
async fn a_member_of_the_earlier_issuer_stays_one_and_renews_by_the_new_one() {
    let house = with_point().await;
    with_gateway(&house).await;
    let (key, roots) = (a_key(), house.site.keys().roots());
    let old = enrolled_long_ago(&house, &key).await;
    let counts = |enrolled: &Enrolled| check_renewal(&renewal(&key, enrolled), &roots, house.site.now()).is_ok();

    for _ in 0..2 {
        let before = house.site.keys().infrastructure.certificate().to_vec();
        renewed(&house, Which::INFRASTRUCTURE).await;
        assert_ne!(house.site.keys().infrastructure.certificate(), before);
    }

    assert!(counts(&old), "the earlier chain verifies");
    assert!(house.site.in_force().signed.contains_key("connection-point/cp-1"));
    let new = enrol::renew(&house.site, &Actor::default(), &renewal(&key, &old)).await.unwrap();
    assert_eq!(new.chain[1], Base64(house.site.keys().infrastructure.certificate().to_vec()));
    let again = enrol::renew(&house.site, &Actor::default(), &renewal(&key, &old)).await;
    assert!(again.is_ok(), "its answer may have been lost: {again:?}");
    let issued = house.ask_as("ann", Ask::get("/issued-certificates?search=cp-1")).await.body;
    let ends = |item: &serde_json::Value| item["not_after"].as_i64().unwrap();
    let oldest = issued["items"].as_array().unwrap().iter().min_by_key(|item| ends(item)).unwrap();
    made(&house, &format!("/issued-certificates/{}/revoke", oldest["serial"].as_str().unwrap()), json!({})).await;
    let revoked = document(&house.site).revoked_members;
    assert!(revoked.iter().any(|digest| json!(digest) == oldest["fingerprint"]), "its revocation reaches members: {revoked:?}");
}

#[tokio::test]
async fn a_member_that_slept_follows_what_the_next_key_signs() {
    let house = House::new().await;
    with_gateway(&house).await;
    let (site, roots) = (&house.site, house.site.keys().roots());
    let signed = || site.in_force().signed["gateway/gw-1"].clone();
    let counts = |signed: &Signed| {
        let chain: Vec<&[u8]> = signed.chain.iter().map(|der| der.0.as_slice()).collect();
        let statement = Statement { payload: signed.payload.as_bytes(), chain: &chain, signature: &signed.signature.0 };
        statement.verify(MANIFEST_CONTEXT, &roots, site.now())
    };
    let before = signed();

    renewed(&house, Which::INFRASTRUCTURE).await;
    assert_eq!((signed().chain, counts(&signed())), (before.chain.clone(), Ok(())), "the key that signs goes on");
    rollover::roll(site, &Actor::default(), rollover::Purpose::Snapshots).await.unwrap();

    let next = signed();
    assert_eq!(next.chain[1].0, site.keys().infrastructure.certificate());
    assert_ne!(next.chain[1], before.chain[1]);
    assert_eq!((counts(&before), counts(&next)), (Ok(()), Ok(())));
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_nothing_is_stored() {
    let house = House::new().await;
    let (now, own) = (house.site.now(), export(&house));
    let foreign = house.folder().join("foreign.txt");
    RootExport::seal(&Roots::generate("LAB", now).unwrap(), PASSPHRASE).unwrap().write(&foreign).unwrap();
    let before = house.site.store.audit_page(AuditFilter::default(), None, 500).await.unwrap();

    let wrong = try_renew(&house, &own, "another passphrase", now).await.unwrap_err();
    let other = try_renew(&house, &foreign, PASSPHRASE, now).await.unwrap_err();
    let ending = try_renew(&house, &own, PASSPHRASE, WallTime(now.0 + 7_300 * 86_400)).await.unwrap_err();
    let named = cmg_site_server::config::Config { site: "XYZ".to_owned(), ..config(house.folder(), "site-1") };
    let named = renew(&named, &own, PASSPHRASE, Which::BOTH, now).await.unwrap_err();

    assert!(wrong.to_string().contains("the passphrase does not open the export"), "{wrong}");
    assert!(other.to_string().contains("are not those of this site"), "{other}");
    assert!(ending.to_string().contains("the root ends within 90 days"), "{ending}");
    assert!(named.to_string().contains("belongs to site \"LAB\""), "{named}");
    let (other, _) = house.other().await;
    assert_eq!(other.in_force().generation(), house.site.in_force().generation());
    assert_eq!(other.keys().clients.certificate(), house.site.keys().clients.certificate());
    assert_eq!(house.site.store.audit_page(AuditFilter::default(), None, 500).await.unwrap(), before);
}

#[tokio::test]
async fn so_many_issuers_of_clients_as_members_should_hold_are_kept_and_no_more() {
    let house = House::new().await;
    let config = config(house.folder(), "site-1");
    let mut refused = None;
    let mut count = 0;
    while refused.is_none() && count < 20 {
        refused = renew(&config, &export(&house), PASSPHRASE, Which::CLIENTS, house.site.now()).await.err();
        count += 1;
    }

    assert_eq!(count, 9);
    assert!(matches!(refused, Some(RenewRefused::TooMany)), "{refused:?}");
    renewed(&house, Which::INFRASTRUCTURE).await;
}
