//! A backup of a site on SQLite is restored into PostgreSQL.

use cmg_site_server::app::backup::{backup, restore};
use cmg_site_server::config::Config;
use cmg_site_server::site::Site;
use serde_json::json;

use crate::house::{House, config};
use crate::seen::{block_lines, made};
use crate::watch::{database, with_sealed_certificate};

#[tokio::test(flavor = "multi_thread")]
async fn members_follow_the_site_that_was_restored_into_postgres() {
    let Some((_, place)) = database() else { return };
    let house = House::new().await;
    with_sealed_certificate(&house).await;
    made(&house, "/blocks", json!({ "token": "stolen" })).await;
    let before = house.site.in_force();

    let archive = backup(&config(house.folder(), "site-1"), "a passphrase", house.site.now()).await.unwrap();
    // What came after the backup has a later number in the old epoch.
    made(&house, "/connection-points", json!({ "name": "later" })).await;
    let folder = tempfile::tempdir().unwrap();
    let target = Config { database: place, ..config(folder.path(), "site-1") };
    restore(&target, "a passphrase", &archive, None, false, house.site.now()).await.unwrap();

    let site = Site::open(&target).await.unwrap();
    let after = site.in_force();
    let (old, new) = (&before.publication.manifests["gateway/gw-1"], &after.publication.manifests["gateway/gw-1"]);
    assert!(new.generation.epoch > old.generation.epoch);
    assert!(new.generation > house.site.in_force().generation());
    assert_eq!((&new.document, &new.sealed), (&old.document, &old.sealed));
    assert_eq!(block_lines(&site), ["token stolen"]);
    assert!(after.model.connection_points.is_empty());
    assert_eq!(after.signed["gateway/gw-1"].chain, before.signed["gateway/gw-1"].chain, "signed with the keys of the site");
    assert!(restore(&target, "a passphrase", &archive, None, false, site.now()).await.err().unwrap().to_string().contains("in use"));
}
