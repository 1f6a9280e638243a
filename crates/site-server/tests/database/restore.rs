//! A backup of a site on SQLite is restored into PostgreSQL.

use cmg_site_server::app::backup::{Keep, backup, restore};
use cmg_site_server::config::Config;
use cmg_site_server::site::Site;
use cmg_store::{ClientState, IssuedCertificate, Place};
use serde_json::json;

use crate::house::{Ask, House, config};
use crate::seen::{block_lines, document, enrol, issued, made};
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

/// Members that are revoked, enrolled again or removed after the backup, and a blocked client.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_after_the_backup_stays_revoked_where_it_is_kept() {
    let house = House::new().await;
    with_sealed_certificate(&house).await;
    made(&house, "/connection-points", json!({ "name": "cp-1" })).await;
    enrol(&house, "connection-point", "cp-1", "02").await;
    let client = json!({ "name": "pc1", "identity_kind": "key", "key_thumbprint": "k".repeat(43), "approved": true });
    let known = made(&house, "/devices", client.clone()).await.body["id"].as_str().unwrap().to_owned();
    certificates(&house, &[issued("7A", "clients", "client/pc1", house.now())]).await;
    let own = config(house.folder(), "site-1");
    let archive = backup(&own, "a passphrase", house.site.now()).await.unwrap();
    let later = made(&house, "/devices", client).await.body["id"].as_str().unwrap().to_owned();
    for id in [&known, &later] {
        made(&house, &format!("/devices/{id}/block"), json!({})).await;
    }
    // A certificate that the backup does not know, and its name was used again.
    let since = [issued("03", "infrastructure", "connection-point/cp-1", house.now()), issued("7B", "clients", "client/pc2", house.now())];
    certificates(&house, &since).await;
    for serial in ["02", "03", "7A", "7B"] {
        made(&house, &format!("/issued-certificates/{serial}/revoke"), json!({})).await;
    }
    let Place::Sqlite(before) = &own.database else { panic!("a file") };

    for keeps in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let target = config(folder.path(), "site-1");
        let keep = Keep { blocks: keeps, ..Keep::default() };
        let restored = restore(&target, "a passphrase", &archive, Some(before), keep, house.site.now()).await.unwrap();

        let told: Vec<_> = restored.revived_certificates.iter().map(|certificate| certificate.serial.as_str()).collect();
        assert_eq!(told, ["02", "03", "7A", "7B"]);
        let site = Site::open(&target).await.unwrap();
        let in_force = site.in_force();
        let revoked: Vec<_> = document(&site).revoked_members.iter().map(ToString::to_string).collect();
        let state = site.store.client(&known).await.unwrap().unwrap().state;
        let mut lines: Vec<_> = block_lines(&site).into_iter().filter(|line| line.starts_with("client")).collect();
        lines.sort();
        let lists = in_force.ground.site_clients.as_ref().unwrap().lists.concat();
        let is_listed = |serial: u8| lists.windows(3).any(|bytes| bytes == [2, 1, serial]);
        if keeps {
            let mut expected = [format!("client {known}"), format!("client {later}")];
            expected.sort();
            assert_eq!(lines, expected);
            assert_eq!((revoked, state), (vec![format!("{:0>64}", "02"), format!("{:0>64}", "03")], ClientState::Blocked));
            assert!(!in_force.is_member("connection-point/cp-1"), "it enrols again");
            assert!(is_listed(0x7a) && is_listed(0x7b));
        } else {
            assert_eq!((lines.len(), revoked.len(), state), (0, 0, ClientState::Approved));
            assert!(in_force.is_member("connection-point/cp-1"));
        }
    }
}

async fn certificates(house: &House, issued: &[IssuedCertificate]) {
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    for certificate in issued {
        change.add_certificate(certificate).await.unwrap();
    }
    change.commit().await.unwrap();
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
