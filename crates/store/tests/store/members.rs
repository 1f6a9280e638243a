//! Members, their status, certificates, secrets, revocation lists and warnings.

use cmg_store::{CertificateFilter, Crl, Error, IssuedCertificate, MemberCertificate, MemberStatus};

use crate::engines::{Database, NOW, on_both};

on_both! {
    a_member_is_invited_enrolled_and_renewed,
    a_code_that_ended_or_was_replaced_is_not_spent,
    the_newest_status_stays,
    certificates_are_found_paged_and_revoked,
    a_secret_is_put_and_removed,
    a_failed_fetch_keeps_the_last_good_list,
    a_warning_is_raised_once_until_cleared,
}

async fn a_member_is_invited_enrolled_and_renewed(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.offer_code("gateway", "g1", b"\0secret", NOW + 10).await.unwrap();
    let invited = change.member("gateway", "g1").await.unwrap().unwrap();
    assert_eq!((&*invited.state, invited.code_secret.unwrap().0, invited.serial), ("invited", b"\0secret".to_vec(), None));
    assert_eq!(change.note_wrong_code("gateway", "g1").await.unwrap(), 1);
    assert!(change.spend_code("gateway", "g1", b"\0secret").await.unwrap());
    change.set_member_certificate("gateway", "g1", &certificate("1", Some(b"key"))).await.unwrap();
    change.commit().await.unwrap();
    let enrolled = database.store.member("gateway", "g1").await.unwrap().unwrap();
    assert_eq!((&*enrolled.state, enrolled.code_secret, enrolled.code_tries), ("enrolled", None, 0));
    assert_eq!((enrolled.enrolled_at, enrolled.renewed_at), (Some(NOW), None));

    let mut change = database.store.begin(NOW + 5).await.unwrap();
    change.set_member_certificate("gateway", "g1", &certificate("2", None)).await.unwrap();
    change.offer_code("connection-point", "c1", b"s", NOW + 10).await.unwrap();
    change.commit().await.unwrap();

    let renewed = database.store.member("gateway", "g1").await.unwrap().unwrap();
    assert_eq!((renewed.serial.as_deref(), renewed.sealing_key.as_deref()), (Some("2"), Some(&b"key"[..])));
    assert_eq!((renewed.enrolled_at, renewed.renewed_at), (Some(NOW), Some(NOW + 5)));
    assert_eq!(database.store.members(Some("gateway")).await.unwrap().len(), 1);
    assert_eq!(database.store.members(None).await.unwrap().len(), 2);
    let mut change = database.store.begin(NOW).await.unwrap();
    change.set_member_state("gateway", "g1", "revoked").await.unwrap();
    change.remove_member("gateway", "g1").await.unwrap();
    assert!(matches!(change.remove_member("gateway", "g1").await, Err(Error::NotFound)));
}

async fn a_code_that_ended_or_was_replaced_is_not_spent(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.offer_code("gateway", "g1", b"one", NOW).await.unwrap();
    assert!(!change.spend_code("gateway", "g1", b"one").await.unwrap(), "it ends now");

    change.offer_code("gateway", "g1", b"two", NOW + 1).await.unwrap();

    assert!(!change.spend_code("gateway", "g1", b"one").await.unwrap());
    assert!(!change.spend_code("gateway", "g2", b"two").await.unwrap());
    assert!(change.spend_code("gateway", "g1", b"two").await.unwrap());
    assert!(!change.spend_code("gateway", "g1", b"two").await.unwrap());
}

async fn the_newest_status_stays(database: Database) {
    let status = |name: &str, body: &str, seen_at| MemberStatus { kind: "gateway".into(), name: name.into(), body: body.into(), seen_at };
    let mut change = database.store.begin(NOW).await.unwrap();
    change.put_member_statuses(&[status("a", "1", 10), status("b", "1", 10)], 5).await.unwrap();
    change.put_member_statuses(&[status("a", "2", 11), status("b", "2", 9)], 5).await.unwrap();
    change.put_member_statuses(&[status("a", "2", 15), status("b", "1", 15)], 5).await.unwrap();
    change.commit().await.unwrap();

    assert_eq!(database.store.member_statuses().await.unwrap(), [status("a", "2", 11), status("b", "1", 15)]);
    let mut change = database.store.begin(NOW).await.unwrap();
    assert!(change.remove_member_status("gateway", "a").await.unwrap());
    assert!(!change.remove_member_status("gateway", "a").await.unwrap());
}

async fn certificates_are_found_paged_and_revoked(database: Database) {
    let issued = |serial: &str, not_after| IssuedCertificate {
        serial: serial.into(),
        authority: "infrastructure".into(),
        subject: format!("spiffe://site/gateway/{serial}"),
        purpose: "gateway".into(),
        not_before: NOW,
        not_after,
        fingerprint: format!("f{serial}"),
        revoked_at: None,
    };
    let mut change = database.store.begin(NOW).await.unwrap();
    for (serial, end) in [("01", 30), ("02", 20), ("03", 10)] {
        change.add_certificate(&issued(serial, end)).await.unwrap();
    }
    change.revoke_certificate("02").await.unwrap();
    assert!(matches!(change.revoke_certificate("09").await, Err(Error::NotFound)));
    change.commit().await.unwrap();
    let (store, any) = (&database.store, CertificateFilter::default());
    let serials = |page: Vec<IssuedCertificate>| page.into_iter().map(|one| one.serial).collect::<Vec<_>>();

    assert_eq!(serials(store.certificate_page(any, Some("01"), 1).await.unwrap()), ["02"]);
    let filter = CertificateFilter { authority: Some("infrastructure"), search: Some("WAY/03") };
    assert_eq!(serials(store.certificate_page(filter, None, 9).await.unwrap()), ["03"]);
    assert_eq!(serials(store.certificates_expiring_before(30).await.unwrap()), ["03"]);
    assert_eq!(serials(store.revoked_certificates("infrastructure").await.unwrap()), ["02"]);
    assert_eq!(store.certificate_by_fingerprint("f01").await.unwrap(), store.certificate("01").await.unwrap());
    let mut change = store.begin(NOW).await.unwrap();
    assert!(matches!(change.add_certificate(&issued("01", 1)).await, Err(Error::Conflict)));
}

async fn a_secret_is_put_and_removed(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.put_secret("ca", &[0, 1, 255]).await.unwrap();
    change.put_secret("ca", &[2]).await.unwrap();
    change.put_secret("acme", &[]).await.unwrap();
    change.commit().await.unwrap();

    assert_eq!(database.store.secret("ca").await.unwrap(), Some(vec![2]));
    assert_eq!(database.store.secret("acme").await.unwrap(), Some(vec![]));
    assert_eq!(database.store.secret_names().await.unwrap(), ["acme", "ca"]);
    let mut change = database.store.begin(NOW).await.unwrap();
    assert!(change.remove_secret("ca").await.unwrap());
    assert!(!change.remove_secret("ca").await.unwrap());
}

async fn a_failed_fetch_keeps_the_last_good_list(database: Database) {
    let good = Crl {
        trust: "pki".into(),
        source: "http://crl".into(),
        der: Some(vec![0x30]),
        this_update: Some(1),
        next_update: None,
        fetched_at: Some(NOW),
        tried_at: NOW,
        error: None,
    };
    let mut change = database.store.begin(NOW + 7).await.unwrap();
    change.put_crl(&good).await.unwrap();
    change.put_crl(&good).await.unwrap();
    change.note_crl_failure("pki", "http://crl", "refused").await.unwrap();
    change.note_crl_failure("pki", "http://new", "refused").await.unwrap();
    change.commit().await.unwrap();

    let lists = database.store.crls().await.unwrap();
    assert_eq!(lists[0], Crl { tried_at: NOW + 7, error: Some("refused".into()), ..good });
    assert_eq!((&*lists[1].source, &lists[1].der), ("http://new", &None));
    assert_eq!(database.store.crls_of("pki").await.unwrap(), lists);
    let mut change = database.store.begin(NOW).await.unwrap();
    assert!(change.remove_crl("pki", "http://new").await.unwrap());
    assert_eq!(change.remove_crls_of("pki").await.unwrap(), 1);
}

async fn a_warning_is_raised_once_until_cleared(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    assert!(change.raise_warning("w", "expiry", "cert", "in 7 days").await.unwrap());
    change.note_warning_told("w").await.unwrap();
    change.commit().await.unwrap();
    let mut change = database.store.begin(NOW + 5).await.unwrap();

    assert!(!change.raise_warning("w", "expiry", "cert", "in 1 day").await.unwrap());

    let warning = change.warnings().await.unwrap().remove(0);
    assert_eq!((&*warning.what, warning.since, warning.told_at), ("in 1 day", NOW, Some(NOW)));
    assert!(change.clear_warning("w").await.unwrap());
    assert!(!change.clear_warning("w").await.unwrap());
}

fn certificate(serial: &str, sealing_key: Option<&[u8]>) -> MemberCertificate {
    MemberCertificate { serial: serial.into(), ends: NOW + 90, sealing_key: sealing_key.map(Into::into) }
}
