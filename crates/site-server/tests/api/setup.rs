//! The first administrator, by the code in the data folder.

use std::os::unix::fs::PermissionsExt;

use cmg_site_server::app::setup::prepare_setup;
use serde_json::json;

use crate::house::{Ask, House, PASSWORD, send};

fn set_up(code: &str) -> Ask {
    Ask::post("/setup", json!({ "code": code, "name": "first", "password": PASSWORD }))
}

#[tokio::test]
async fn the_code_in_the_file_makes_the_first_administrator_once() {
    let house = House::founded().await;
    let file = prepare_setup(&house.site, house.folder()).await.unwrap().unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let code = std::fs::read_to_string(&file).unwrap();

    let made = house.ask(set_up(code.trim())).await;

    assert_eq!((made.status.as_u16(), &made.body["role"]), (201, &json!("full-administrator")));
    assert!(!file.exists(), "a spent code is removed");
    let again = house.ask(set_up(code.trim())).await;
    assert_eq!((again.status.as_u16(), again.kind()), (404, "not-found"));
    assert_eq!(prepare_setup(&house.site, house.folder()).await.unwrap(), None);
    let signed_in = house.ask(Ask::post("/sessions", json!({ "name": "first", "password": PASSWORD }))).await;
    assert_eq!(signed_in.status.as_u16(), 201);
}

#[tokio::test]
async fn a_wrong_code_and_a_weak_password_make_nobody() {
    let house = House::founded().await;
    let file = prepare_setup(&house.site, house.folder()).await.unwrap().unwrap();
    let code = std::fs::read_to_string(&file).unwrap();

    let wrong = house.ask(set_up("something else")).await;
    let weak = house.ask(Ask::post("/setup", json!({ "code": code.trim(), "name": "a b", "password": "short" }))).await;

    assert_eq!((wrong.status.as_u16(), wrong.kind()), (401, "wrong-credentials"));
    assert_eq!((weak.status.as_u16(), weak.keys()), (422, vec!["name", "password"]));
    assert_eq!(house.site.store.count_accounts().await.unwrap(), 0);
    assert!(file.exists());
}

#[tokio::test]
async fn the_code_stays_the_same_until_it_is_used_and_is_made_anew_when_it_is_lost() {
    let house = House::founded().await;
    let file = prepare_setup(&house.site, house.folder()).await.unwrap().unwrap();
    let first = std::fs::read_to_string(&file).unwrap();

    prepare_setup(&house.site, house.folder()).await.unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first);

    std::fs::remove_file(&file).unwrap();
    prepare_setup(&house.site, house.folder()).await.unwrap();
    assert_eq!(house.ask(set_up(first.trim())).await.status.as_u16(), 401);
    let second = std::fs::read_to_string(&file).unwrap();
    assert_eq!(house.ask(set_up(second.trim())).await.status.as_u16(), 201);
}

#[tokio::test]
async fn each_site_server_takes_the_code_of_the_other() {
    let house = House::founded().await;
    let (other, router) = house.other().await;
    let folder = tempfile::tempdir().unwrap();
    prepare_setup(&house.site, house.folder()).await.unwrap().unwrap();
    let file = prepare_setup(&other, folder.path()).await.unwrap().unwrap();
    let code = std::fs::read_to_string(&file).unwrap();

    assert_eq!(house.ask(set_up(code.trim())).await.status.as_u16(), 201);

    assert_eq!(send(&router, set_up(code.trim())).await.status.as_u16(), 404);
    assert_eq!(prepare_setup(&other, folder.path()).await.unwrap(), None);
    assert!(!file.exists(), "the other's file goes at its next start");
}

#[tokio::test]
async fn guessing_the_code_is_slowed_down() {
    let house = House::founded().await;
    let file = prepare_setup(&house.site, house.folder()).await.unwrap().unwrap();
    let code = std::fs::read_to_string(&file).unwrap();
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    for _ in 0..30 {
        change.note_sign_in_failure("address/127.0.0.1").await.unwrap();
    }
    change.commit().await.unwrap();

    let slowed = house.ask(set_up(code.trim())).await;

    assert_eq!((slowed.status.as_u16(), slowed.kind()), (429, "too-many-tries"));
}
