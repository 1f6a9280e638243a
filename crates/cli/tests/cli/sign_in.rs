//! Set-up, sign-in, sessions, API tokens, and who is asked by which secret.

use std::sync::Arc;

use clap::CommandFactory;
use cmg_credentials::tls::provider;
use cmg_lab::Authority;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::house::{Cli, House, NAME, PASSWORD, mode};

#[tokio::test]
async fn the_first_administrator_is_made_by_the_code_and_is_signed_in() {
    let house = House::founded(tempfile::tempdir().unwrap(), None).await;
    let code = house.site_folder().join("setup-code");
    let code = code.to_str().unwrap();
    let wrong = house.file("wrong", "not-the-code\n");

    house.cmg(&["setup", "--code-file", &wrong, "--name", NAME]).await.refused(&["code is wrong"]);
    house.cmg_typing(&["setup", "--code-file", code, "--name", NAME], "short").await.refused(&["password:"]);
    let made = house.cmg(&["setup", "--code-file", code, "--name", NAME]).await.done();

    assert!(made.err.contains("Signed in") && made.out.is_empty(), "{made:?}");
    let who = house.cmg(&["whoami", "--json"]).await.json();
    assert_eq!((who["account"].as_str(), who["role"].as_str()), (Some(NAME), Some("full-administrator")));
}

#[tokio::test]
async fn a_session_is_kept_where_nobody_else_reads_it_until_sign_out() {
    let house = House::new().await;

    house.cmg(&["login", "--name", NAME]).await.done();

    assert_eq!((mode(house.session_file()), mode(house.session_file().parent().unwrap())), (0o600, 0o700));
    assert!(!std::fs::read_to_string(house.session_file()).unwrap().contains(PASSWORD));
    house.cmg(&["whoami"]).await.done();
    house.cmg(&["logout"]).await.done();
    assert!(!house.session_file().exists());
    assert_eq!(house.cmg(&["whoami"]).await.code, 3);
}

#[tokio::test]
async fn a_session_file_that_others_can_read_is_not_used() {
    let house = House::signed_in().await;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(house.session_file(), open).unwrap();

    house.cmg(&["whoami"]).await.refused(&["chmod 600"]);
}

#[tokio::test]
async fn a_session_that_has_ended_is_told() {
    let house = House::signed_in().await;
    let session = std::fs::read_to_string(house.session_file()).unwrap();
    house.cmg(&["logout"]).await.done();
    std::fs::write(house.session_file(), session).unwrap();
    std::fs::set_permissions(house.session_file(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();

    let ran = house.cmg(&["gateway", "list"]).await;

    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("hint: sign in by `cmg login`"), "{ran:?}");
    house.cmg(&["logout"]).await.done();
}

#[tokio::test]
async fn a_session_goes_to_its_own_server_only() {
    let (house, other) = (House::signed_in().await, House::new().await);

    let ran = house.cmg(&["gateway", "list", "--server", &other.url]).await;

    // The other one would say that this session does not count.
    assert!(ran.code == 3 && ran.err.contains("nobody is signed in at"), "{ran:?}");
    assert_eq!(house.cmg(&["logout", "--server", &other.url]).await.code, 3);
    house.unset("CMG_SERVER");
    house.cmg(&["gateway", "list"]).await.done();
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let house = House::new().await;

    house.cmg_typing(&["login", "--name", NAME], "something else").await.refused(&[]);

    assert!(!house.session_file().exists());
}

#[tokio::test]
async fn a_password_comes_from_a_closed_file() {
    let house = House::new().await;
    let (closed, open) = (house.file("closed", format!("{PASSWORD}\n")), house.file_with_mode("open", format!("{PASSWORD}\n"), 0o644));

    house.cmg_typing(&["login", "--name", NAME, "--password-file", &open], "").await.refused(&["chmod 600"]);
    house.cmg_typing(&["login", "--name", NAME, "--password-file", &closed], "").await.done();
}

#[tokio::test]
async fn an_api_token_from_a_file_needs_no_session() {
    let house = House::signed_in().await;
    let token = house.path("token");
    let made = house.cmg(&["api-token", "new", "ci", "--days", "7", "--out", &token, "--json"]).await.done();
    house.cmg(&["logout"]).await.done();
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(mode(&token), 0o600);
    assert!(!made.out.contains(std::fs::read_to_string(&token).unwrap().trim()));

    house.set("CMG_TOKEN_FILE", &token);

    assert_eq!(house.cmg(&["whoami", "--json"]).await.json()["api_token"], id);
    house.cmg(&["api-token", "revoke", &id]).await.done();
    assert_eq!(house.cmg(&["whoami"]).await.code, 3);
}

#[tokio::test]
async fn a_server_is_believed_by_the_authority_that_is_named_and_by_no_other() {
    let (root, other) = (Authority::root("root").unwrap(), Authority::root("other").unwrap());
    let server = root.server(&["localhost"]).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            CertificateDer::pem_slice_iter(server.certificate_pem.as_bytes()).collect::<Result<_, _>>().unwrap(),
            PrivateKeyDer::from_pem_slice(server.key_pem.as_bytes()).unwrap(),
        )
        .unwrap();
    let house = House::founded(tempfile::tempdir().unwrap(), Some(tls)).await;
    let (right, wrong) = (house.file("root.pem", root.certificate_pem()), house.file("other.pem", other.certificate_pem()));
    let code = house.site_folder().join("setup-code");
    let setup = |ca| ["setup", "--code-file", code.to_str().unwrap(), "--name", NAME, "--ca", ca];

    assert_eq!(house.cmg(&setup(&wrong)).await.code, 4);
    house.cmg(&setup(&right)).await.done();

    house.cmg(&["whoami"]).await.done();
    house.set("CMG_CA_FILE", &wrong);
    assert_eq!(house.cmg(&["whoami"]).await.code, 4);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let house = House::signed_in().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    let ran = house.cmg(&["login", "--name", NAME, "--server", &format!("http://{free}")]).await;

    assert_eq!(ran.code, 4);
    assert!(ran.err.contains("was not reached") && ran.err.contains("--server"), "{ran:?}");
}

#[tokio::test]
async fn a_secret_does_not_cross_the_network_in_the_clear() {
    let house = House::signed_in().await;

    let ran = house.cmg(&["login", "--name", NAME, "--server", "http://192.0.2.1:8444"]).await;

    assert_eq!(ran.code, 2);
}

#[test]
fn no_argument_takes_a_secret() {
    let mut names = Vec::new();
    collect(&Cli::command(), &mut names);

    assert!(names.len() > 100);
    for (argument, value) in names {
        let is_secret = ["password", "passphrase", "code", "pfx"].iter().any(|word| argument.contains(word))
            || argument == "key"
            || argument == "secret";
        assert!(!is_secret || value == "FILE", "{argument} takes {value}");
    }
}

fn collect(command: &clap::Command, names: &mut Vec<(String, String)>) {
    for argument in command.get_arguments().filter(|argument| argument.get_action().takes_values()) {
        let value = argument.get_value_names().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        names.push((argument.get_id().to_string(), value.unwrap_or_default()));
    }
    for command in command.get_subcommands() {
        collect(command, names);
    }
}
