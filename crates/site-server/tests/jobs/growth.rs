//! What is of no more use is forgotten.

use std::time::Duration;

use cmg_site_server::app::growth::{Keep, forget};
use cmg_store::{AuditFilter, IssuedCertificate};
use serde_json::json;

use crate::house::{Ask, House};
use crate::seen::made;

const DAY: i64 = 86_400;
const KEEP: Keep = Keep { audit: Duration::from_secs(400 * 86_400), messages: Duration::from_secs(30 * 86_400) };

#[tokio::test]
async fn what_has_ended_goes_after_its_time_and_what_counts_stays() {
    let house = House::new().await;
    let now = house.now();
    made(&house, "/boundary-groups", json!({ "name": "vpn" })).await;
    house.ask_as("fay", Ask::post("/accounts/fay/api-tokens", json!({ "name": "scripts", "days": 20 }))).await;
    let mut change = house.site.store.begin(now).await.unwrap();
    for (serial, not_after) in [("01", now - 91 * DAY), ("02", now - 89 * DAY)] {
        let certificate = IssuedCertificate {
            serial: serial.to_owned(),
            authority: "clients".to_owned(),
            subject: "pc".to_owned(),
            purpose: "client".to_owned(),
            not_before: now - 200 * DAY,
            not_after,
            fingerprint: serial.to_owned(),
            revoked_at: None,
        };
        change.add_certificate(&certificate).await.unwrap();
    }
    change.put_secret("sealed/gateway/gone/web/1/2", b"sealed").await.unwrap();
    change.put_secret("issuer/gone/jwks", b"{}").await.unwrap();
    change.commit().await.unwrap();
    let before = house.site.store.audit_page(AuditFilter::default(), None, 500).await.unwrap();

    let first = forget(&house.site, KEEP, now).await.unwrap();

    assert_eq!((first.certificates, first.sealed, first.tokens, first.audit), (1, 2, 0, 0));
    assert!(house.site.store.certificate("01").await.unwrap().is_none() && house.site.store.certificate("02").await.unwrap().is_some());
    assert_eq!(house.site.store.audit_page(AuditFilter::default(), None, 500).await.unwrap(), before);

    let later = forget(&house.site, KEEP, now + 401 * DAY).await.unwrap();

    assert_eq!((later.certificates, later.tokens, later.audit), (1, 1, before.len() as u64));
    let left = house.site.store.audit_page(AuditFilter::default(), None, 500).await.unwrap();
    assert_eq!((left.len(), left[0].record.action.as_str(), left[0].record.kind.as_str()), (1, "forget", "audit"));
    assert!(house.site.in_force().model.boundary_groups.contains_key("vpn"));
}
