//! Gateways and the site as a whole: start, stop, enrolment, status, audit records.

use cmg_lab::Authority;

use crate::house::{House, mode};

async fn with_a_gateway() -> House {
    let house = House::signed_in().await;
    house.cmg(&["gateway", "new", "main", "host=cmg.example", "instances[0].name=gw-1", "instances[0].address=h:1"]).await.done();
    house.cmg(&["connection-point", "new", "cp-1"]).await.done();
    house
}

#[tokio::test]
async fn a_gateway_is_stopped_and_started() {
    let house = with_a_gateway().await;
    let running = async || house.cmg(&["gateway", "show", "main", "--json"]).await.json()["running"].clone();

    house.cmg(&["gateway", "stop", "main"]).await.done();
    assert_eq!(running().await, false);
    assert!(house.cmg(&["gateway", "status", "main"]).await.done().out.starts_with("Gateway main is stopped"));

    house.cmg(&["gateway", "start", "main"]).await.done();
    assert_eq!(running().await, true);
}

#[tokio::test]
async fn a_code_is_written_where_nobody_else_reads_it() {
    let house = with_a_gateway().await;
    let (gateway, point) = (house.path("gw-1.code"), house.path("cp-1.code"));

    let made = house.cmg(&["gateway", "enrol", "main", "gw-1", "--out", &gateway]).await.done();
    house.cmg(&["connection-point", "enrol", "cp-1", "--out", &point]).await.done();

    for file in [&gateway, &point] {
        let text = std::fs::read_to_string(file).unwrap();
        assert_eq!((mode(file), toml_keys(&text)), (0o600, true), "{text}");
        assert!(!made.err.contains(&text) && made.out.is_empty());
    }
}

fn toml_keys(text: &str) -> bool {
    text.lines().all(|line| line.is_empty() || line.contains('=') || line.starts_with(['[', ']', ' ', '"'])) && text.contains('=')
}

#[tokio::test]
async fn a_code_is_not_written_over_anything() {
    let house = with_a_gateway().await;
    let file = house.file("precious", "words");

    house.cmg(&["gateway", "enrol", "main", "gw-1", "--out", &file]).await.refused(&["exists"]);

    assert_eq!(std::fs::read_to_string(&file).unwrap(), "words");
    let state = house.cmg(&["status", "--json"]).await.json()["members"].clone();
    assert!(state.as_array().unwrap().iter().all(|member| member["state"] == "new"), "{state}");
}

#[tokio::test]
async fn the_status_says_who_lags_and_why() {
    let house = with_a_gateway().await;

    let status = house.cmg(&["status"]).await.done();
    let of_gateway = house.cmg(&["gateway", "status", "main"]).await.done();

    assert!(status.out.starts_with(&format!("2 of 2 members do not run generation {}", house.generation())), "{status:?}");
    assert!(status.out.lines().any(|line| line.starts_with("gateway/gw-1") && line.contains("not enrolled")), "{status:?}");
    assert!(!of_gateway.out.contains("cp-1") && of_gateway.out.starts_with("1 of 1 instances of main"), "{of_gateway:?}");
}

#[tokio::test]
async fn audit_records_are_found_by_what_was_done() {
    let house = with_a_gateway().await;
    house.cmg(&["gateway", "stop", "main"]).await.done();

    let found =
        house.cmg(&["audit", "list", "--kind", "gateway", "--name", "main", "--account", "fay", "--since", "1h", "--json"]).await.json();
    let limited = house.cmg(&["audit", "list", "--limit", "1", "--json"]).await.json();

    let actions: Vec<_> = found["items"].as_array().unwrap().iter().map(|record| record["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["set", "new"]);
    assert_eq!(limited["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(house.cmg(&["audit", "list", "--since", "yesterday"]).await.code, 2);
}

#[tokio::test]
async fn the_doctor_says_what_a_gateway_would_decide() {
    let house = House::signed_in().await;
    let (root, other) = (Authority::root("root").unwrap(), Authority::root("other").unwrap());
    let authority = house.file("root.pem", root.certificate_pem());
    house.cmg(&["trust", "new", "corp", "--authority", &authority, "check_revocation=false"]).await.done();
    let own = house.file("own.cer", root.client("pc1").unwrap().der);
    let strange = house.file("strange.pem", other.client("pc2").unwrap().certificate_pem);

    let good = house.cmg(&["doctor", &own]).await.done();
    let bad = house.cmg(&["doctor", &strange, "--trust", "corp"]).await.done();

    assert!(good.out.starts_with("A gateway would let it in, by the trust corp\n\nSTEP"), "{good:?}");
    assert!(bad.out.starts_with("A gateway would refuse it: 403"), "{bad:?}");
    assert!(bad.out.lines().any(|line| line.starts_with("chain") && line.contains("bad")), "{bad:?}");
    assert_eq!(house.cmg(&["doctor", &own, "--json"]).await.json()["decision"]["admitted"], true);
    house.cmg(&["doctor", &own, "--endpoint", "absent"]).await.refused(&["endpoint"]);
}

#[tokio::test]
async fn warnings_and_what_the_site_fetches_are_shown() {
    let house = House::signed_in().await;
    let authority = house.file("root.pem", Authority::root("root").unwrap().certificate_pem());
    house.cmg(&["trust", "new", "corp", "--authority", &authority, "--crl-url", "http://127.0.0.1:1/root.crl"]).await.done();
    house.cmg(&["token-issuer", "new", "idp", "kind=oidc", "issuer=https://127.0.0.1:1", "token_kind=oidc-user"]).await.done();

    let lists = house.cmg(&["trust", "sync", "corp"]).await.done().out;
    let keys = house.cmg(&["token-issuer", "sync", "idp", "--json"]).await.json();

    assert!(lists.lines().any(|line| line.starts_with("http://127.0.0.1:1/root.crl") && line.contains("none")), "{lists}");
    assert_eq!(house.cmg(&["trust", "status", "corp"]).await.done().out, lists);
    assert!(keys["keys"].as_array().is_some_and(Vec::is_empty) && keys["error"].is_string(), "{keys}");
    house.cmg(&["token-issuer", "status", "idp"]).await.done();
    assert!(house.cmg(&["warning", "list"]).await.done().out.starts_with("SINCE"));
}
