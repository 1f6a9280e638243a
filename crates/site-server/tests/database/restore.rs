//! A backup of a site on SQLite is restored into PostgreSQL.

use cmg_site_server::app::backup::{Keep, backup, restore};
use cmg_site_server::config::Config;
use cmg_site_server::site::Site;
use cmg_store::Place;
use serde_json::json;

use crate::house::{Ask, House, config};
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
    restore(&target, "a passphrase", &archive, None, Keep::default(), house.site.now()).await.unwrap();

    let site = Site::open(&target).await.unwrap();
    let after = site.in_force();
    let (old, new) = (&before.publication.manifests["gateway/gw-1"], &after.publication.manifests["gateway/gw-1"]);
    assert!(new.generation.epoch > old.generation.epoch);
    assert!(new.generation > house.site.in_force().generation());
    assert_eq!((&new.document, &new.sealed), (&old.document, &old.sealed));
    assert_eq!(block_lines(&site), ["token stolen"]);
    assert!(after.model.connection_points.is_empty());
    assert_eq!(after.signed["gateway/gw-1"].chain, before.signed["gateway/gw-1"].chain, "signed with the keys of the site");
    assert!(
        restore(&target, "a passphrase", &archive, None, Keep::default(), site.now()).await.err().unwrap().to_string().contains("in use")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shut_out_after_the_backup_is_told_and_can_be_kept() {
    let house = House::new().await;
    with_sealed_certificate(&house).await;
    let token = house.ask_as("fay", Ask::post("/accounts/ian/api-tokens", json!({ "name": "scripts", "days": 20 }))).await;
    assert!(token.status.is_success(), "{token:?}");
    made(&house, "/blocks", json!({ "token": "early" })).await;
    let own = config(house.folder(), "site-1");
    let archive = backup(&own, "a passphrase", house.site.now()).await.unwrap();
    made(&house, "/blocks", json!({ "token": "late" })).await;
    let disabled = house
        .ask_as("fay", Ask::put("/accounts/ian", "*", json!({ "name": "ian", "role": "infrastructure-administrator", "disabled": true })))
        .await;
    assert!(disabled.status.is_success(), "{disabled:?}");
    let Place::Sqlite(before) = &own.database else { panic!("a file") };

    for keep in [Keep::default(), Keep { blocks: true, api_tokens: true }] {
        let folder = tempfile::tempdir().unwrap();
        let target = config(folder.path(), "site-1");
        let restored = restore(&target, "a passphrase", &archive, Some(before), keep, house.site.now()).await.unwrap();

        let told: Vec<_> = restored.newer_blocks.iter().map(|block| block.value.as_str()).collect();
        assert_eq!((told, restored.revived_accounts.as_slice()), (vec!["late"], &["ian".to_owned()][..]));
        assert_eq!((restored.kept, restored.ended_tokens > 0), (keep.blocks, !keep.api_tokens));
        let site = Site::open(&target).await.unwrap();
        let lines = if keep.blocks { vec!["token early", "token late"] } else { vec!["token early"] };
        assert_eq!(block_lines(&site), lines);
        assert_eq!(site.store.account("ian").await.unwrap().unwrap().fields.disabled, keep.blocks);
        let tokens = site.store.api_tokens_of("ian").await.unwrap();
        assert!(tokens.iter().all(|token| token.revoked_at.is_none() == keep.api_tokens), "{tokens:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_makes_no_database_and_upgrades_none() {
    let house = House::new().await;
    let own = config(house.folder(), "site-1");
    let Place::Sqlite(path) = &own.database else { panic!("a file") };
    let elsewhere = Config { database: Place::Sqlite(path.with_file_name("other.db")), ..config(house.folder(), "site-1") };

    assert!(backup(&elsewhere, "a passphrase", house.site.now()).await.is_err());

    assert!(!path.with_file_name("other.db").exists());
}
