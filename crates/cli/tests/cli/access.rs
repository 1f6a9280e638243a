//! Tokens, blocks, clients, accounts: who may come in.

use crate::house::{House, PASSWORD, mode};

#[tokio::test]
async fn a_bulk_token_is_made_listed_blocked_and_unblocked() {
    let house = House::signed_in().await;
    let file = house.path("bulk");

    let made = house.cmg(&["token", "new", "--lifetime", "1d", "--max-uses", "5", "--note", "lab", "--out", &file, "--json"]).await.json();
    let id = made["id"].as_str().unwrap();

    let token = std::fs::read_to_string(&file).unwrap();
    assert_eq!((mode(&file), token.trim().split('.').count(), made["token"].is_null()), (0o600, 3, true));
    let state = async || house.cmg(&["token", "show", id, "--json"]).await.json()["state"].clone();
    assert_eq!(state().await, "active");
    house.cmg(&["token", "block", id]).await.done();
    assert_eq!(state().await, "blocked");
    house.cmg(&["token", "unblock", id]).await.done();
    assert_eq!(state().await, "active");
    assert!(house.cmg(&["token", "list"]).await.done().out.contains("lab"));
    house.cmg(&["token", "new", "--lifetime", "200h"]).await.refused(&["lifetime"]);
}

#[tokio::test]
async fn a_token_without_a_file_is_all_that_standard_output_gets() {
    let house = House::signed_in().await;

    let made = house.cmg(&["token", "new"]).await.done();

    assert_eq!((made.out.lines().count(), made.out.trim().split('.').count()), (1, 3));
    assert!(!made.err.contains(made.out.trim()));
}

#[tokio::test]
async fn a_block_is_added_listed_and_lifted() {
    let house = House::signed_in().await;
    let thumbprint = "ab".repeat(20);

    let added = house.cmg(&["block", "add", "--thumbprint", &thumbprint, "--note", "stolen", "--json"]).await.json();
    house.cmg(&["block", "add", "--serial", "0102", "--issuer", "CN=root"]).await.done();
    house.cmg(&["block", "add", "--token", "t-1", "--dry-run"]).await.done();

    let listed = house.cmg(&["block", "list", "--json"]).await.json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "{listed}");
    house.cmg(&["block", "remove", added["id"].as_str().unwrap()]).await.done();
    assert_eq!(house.cmg(&["block", "list", "--json"]).await.json()["items"].as_array().map(Vec::len), Some(1));
    house.cmg(&["block", "add", "--thumbprint", "zz"]).await.refused(&["thumbprint"]);
    for wrong in
        [&["block", "add"][..], &["block", "add", "--token", "a", "--serial", "1"], &["block", "add", "--token", "a", "--issuer", "b"]]
    {
        assert_eq!(house.cmg(wrong).await.code, 2, "{wrong:?}");
    }
}

#[tokio::test]
async fn clients_and_issued_certificates_are_listed() {
    let house = House::signed_in().await;

    let clients = house.cmg(&["device", "list", "--state", "approved", "--json"]).await.json();
    let thumbprint = "A".repeat(43);
    let new = ["device", "new", "laptop", "--identity-kind", "key", "--key-thumbprint", &thumbprint, "--approved", "--json"];
    let made = house.cmg(&new).await.json();
    assert_eq!(house.cmg(&["device", "show", made["id"].as_str().unwrap(), "--json"]).await.json()["state"], "approved");
    house.cmg(&["device", "block", "nobody", "--note", "x"]).await.refused(&["nobody"]);
    for verb in ["show", "tokens", "approve", "unblock", "remove"] {
        house.cmg(&["device", verb, "nobody"]).await.refused(&["nobody"]);
    }
    house.cmg(&["issued-certificate", "revoke", "00"]).await.refused(&["00"]);

    assert_eq!(clients["items"], serde_json::json!([]));
    assert!(house.cmg(&["issued-certificate", "list"]).await.done().out.starts_with("SERIAL"));
}

#[tokio::test]
async fn an_account_is_added_changed_and_removed() {
    let house = House::signed_in().await;

    house.cmg(&["account", "new", "ann", "--role", "read-only-analyst"]).await.done();
    house.cmg(&["account", "set", "ann", "--role", "infrastructure-administrator"]).await.done();
    house.cmg_typing(&["account", "password", "ann"], "another long password").await.done();

    let shown = house.cmg(&["account", "show", "ann", "--json"]).await.json();
    assert_eq!((&shown["role"], &shown["disabled"]), (&"infrastructure-administrator".into(), &false.into()));
    house.cmg(&["account", "set", "ann", "--disabled", "true"]).await.done();
    house.cmg_typing(&["login", "--name", "ann"], "another long password").await.refused(&[]);
    house.cmg(&["account", "set", "ann", "--disabled", "false", "--version", "1"]).await.refused(&["hint: nothing was changed"]);
    house.cmg(&["account", "remove", "ann"]).await.done();
    assert!(!house.cmg(&["account", "list"]).await.done().out.contains("ann"));
}

#[tokio::test]
async fn the_own_password_needs_the_old_one() {
    let house = House::signed_in().await;
    let (old, new) = (house.file("old", format!("{PASSWORD}\n")), house.file("new", "quite another password\n"));

    house.cmg_typing(&["account", "password", "fay", "--password-file", &new], "a wrong old password").await.refused(&[]);
    house.cmg(&["account", "password", "fay", "--password-file", &new]).await.done();

    assert_eq!(house.cmg(&["whoami"]).await.code, 3);
    house.cmg(&["login", "--name", "fay", "--password-file", &new]).await.done();
    house.cmg(&["account", "password", "fay", "--old-password-file", &new, "--password-file", &old]).await.done();
    house.cmg(&["login", "--name", "fay"]).await.done();
}
