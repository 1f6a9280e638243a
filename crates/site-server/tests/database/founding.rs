//! Site servers that come to a database with the wrong key, or at the same time.

use cmg_site_server::site::Site;
use cmg_store::Place;

use crate::house::{House, config};
use crate::watch::database;

async fn open(place: &Place, name: &str, folder: &std::path::Path) -> Result<std::sync::Arc<Site>, String> {
    let config = cmg_site_server::config::Config { database: place.clone(), ..config(folder, name) };
    Site::open(&config).await.map_err(|error| cmg_process::log::chain(&error))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_vault_key_of_the_first_the_second_says_where_it_is() {
    let Some((_, place)) = database() else { return };
    let _first = House::at(place.clone(), "site-1", None).await;
    let folder = tempfile::tempdir().unwrap();

    let refused = open(&place, "site-2", folder.path()).await.err().unwrap();

    assert!(refused.contains("vault.key is missing") && refused.contains("copy the file from another site server"), "{refused}");
    assert!(!folder.path().join("vault.key").exists() && !folder.path().join("site-root-keys.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_key_of_another_site_is_refused() {
    let Some(((_, place), (_, other_place))) = database().zip(database()) else { return };
    let _first = House::at(place.clone(), "site-1", None).await;
    let other = House::at(other_place, "site-2", None).await;

    let refused = open(&place, "site-2", other.folder()).await.err().unwrap();

    assert!(refused.contains("does not open with this vault.key: copy"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_start_on_an_empty_database_one_founds_the_site_and_the_other_leaves_nothing() {
    let Some((_, place)) = database() else { return };
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];

    let (one, other) = tokio::join!(open(&place, "site-1", folders[0].path()), open(&place, "site-2", folders[1].path()));

    let (lost, refused) = match (one, other) {
        (Ok(_), Err(refused)) => (1, refused),
        (Err(refused), Ok(_)) => (0, refused),
        (Ok(_), Ok(_)) => panic!("both founded it"),
        (Err(one), Err(other)) => panic!("{one}; {other}"),
    };
    assert!(refused.contains("copy the file from another site server"), "{refused}");
    let (lost, won) = (folders[lost].path(), folders[1 - lost].path());
    assert!(!lost.join("vault.key").exists() && !lost.join("site-root-keys.txt").exists());
    std::fs::copy(won.join("vault.key"), lost.join("vault.key")).unwrap();
    open(&place, "site-2", lost).await.unwrap();
}
