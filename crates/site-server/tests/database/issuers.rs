//! Issuing keys are renewed while two site servers work on one PostgreSQL, and while none does on SQLite.

use cmg_site_server::app::issuers::{Which, renew};
use cmg_site_server::config::Config;
use cmg_site_server::site::Site;
use cmg_store::AuditFilter;

use crate::house::{House, config};
use crate::watch::{database, following, in_force, with_sealed_certificate};

const PASSPHRASE: &str = "a long passphrase for the roots";

#[tokio::test(flavor = "multi_thread")]
async fn site_servers_that_run_take_up_the_new_keys() {
    let Some((_, place)) = database() else { return };
    let first = House::at(place.clone(), "site-1", None).await;
    let second = House::at(place.clone(), "site-2", Some(&first)).await;
    let _following = following(&[&first.site, &second.site]);
    with_sealed_certificate(&first).await;
    let before = first.site.keys().infrastructure.certificate().to_vec();

    let own = Config { database: place, ..config(first.folder(), "site-1") };
    let export = first.folder().join("site-root-keys.txt");
    let renewed = renew(&own, &export, PASSPHRASE, Which::BOTH, first.site.now()).await.unwrap();

    for house in [&first, &second] {
        in_force(&house.site, renewed.generation).await;
        assert_ne!(house.site.keys().infrastructure.certificate(), before);
        assert_eq!(house.site.keys().client_issuers().count(), 2);
    }
    let (one, other) = (first.site.in_force(), second.site.in_force());
    assert_eq!((&one.publication.manifests, &one.publication.parts), (&other.publication.manifests, &other.publication.parts));
    let audit = first.site.store.audit_page(AuditFilter::default(), None, 500).await.unwrap();
    let of_export: Vec<_> = audit.iter().map(|entry| &entry.record).filter(|record| record.account == "root-export").collect();
    assert_eq!(of_export.len(), 2);
    for issuer in &renewed.issuers {
        let told =
            |record: &&&cmg_store::NewAuditRecord| record.name == issuer.of && record.after.as_ref().unwrap().contains(&issuer.fingerprint);
        assert!(of_export.iter().any(|record| told(&record)), "{of_export:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_server_that_is_stopped_begins_with_the_new_keys() {
    let house = House::founded().await;
    let before = house.site.keys().clients.certificate().to_vec();
    let own = config(house.folder(), "site-1");
    house.site.store.close().await;

    let renewed = renew(&own, &house.folder().join("site-root-keys.txt"), PASSPHRASE, Which::CLIENTS, house.site.now()).await.unwrap();

    let site = Site::open(&own).await.unwrap();
    assert_eq!(site.in_force().generation(), renewed.generation);
    assert_ne!(site.keys().clients.certificate(), before);
    assert_eq!(site.keys().client_issuers().nth(1).unwrap().certificate(), before);
}
