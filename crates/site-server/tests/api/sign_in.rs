//! Signing in and out, cookies, back-off, API tokens.

use serde_json::{Value, json};

use crate::house::{Ask, House, PASSWORD, peer};

fn credentials(name: &str, password: &str) -> Ask {
    Ask::post("/sessions", json!({ "name": name, "password": password }))
}

#[tokio::test]
async fn a_password_gives_a_session_which_ends_when_it_is_signed_out() {
    let house = House::new().await;

    let made = house.ask(credentials("ann", PASSWORD)).await;
    let token = made.body["token"].as_str().unwrap().to_owned();
    assert_eq!(made.status.as_u16(), 201);
    assert_eq!(made.header("location"), Some("/api/v1/sessions/current"));

    let who = house.ask(Ask::get("/whoami").bearer(&token)).await;
    assert_eq!((&who.body["account"], &who.body["role"]), (&json!("ann"), &json!("read-only-analyst")));
    assert_eq!(house.ask(Ask::new("DELETE", "/sessions/current").bearer(&token)).await.status.as_u16(), 204);
    assert_eq!(house.ask(Ask::get("/whoami").bearer(&token)).await.status.as_u16(), 401);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_get_the_same_answer() {
    let house = House::new().await;

    let mut wrong = house.ask(credentials("ann", "wrong")).await;
    let mut unknown = house.ask(credentials("nobody", PASSWORD)).await;

    for answered in [&mut wrong, &mut unknown] {
        assert_eq!((answered.status.as_u16(), answered.kind()), (401, "wrong-credentials"));
        assert!(answered.header("www-authenticate").is_some());
        answered.body["request_id"] = Value::Null;
        answered.headers.remove("x-request-id");
    }
    assert_eq!(wrong.body, unknown.body);
    assert_eq!(wrong.headers, unknown.headers);
}

#[tokio::test]
async fn tries_are_counted_for_the_account_the_address_and_both_until_one_succeeds() {
    let house = House::new().await;
    let failures = async |subject: &str| house.site.store.sign_in_failures(subject).await.unwrap().map_or(0, |found| found.failures);

    house.ask(credentials("ann", "wrong").from(peer("192.0.2.7:1", true))).await;
    house.ask(credentials("nobody", "wrong").from(peer("192.0.2.7:1", true))).await;

    assert_eq!((failures("account/ann").await, failures("account/nobody").await, failures("address/192.0.2.7").await), (1, 1, 2));
    assert_eq!((failures("account/ann/192.0.2.7").await, failures("account/nobody/192.0.2.7").await), (1, 1));
    assert_eq!(house.ask(credentials("ann", PASSWORD).from(peer("192.0.2.7:1", true))).await.status.as_u16(), 201);
    assert_eq!((failures("account/ann").await, failures("account/nobody").await, failures("address/192.0.2.7").await), (0, 1, 0));
    assert_eq!((failures("account/ann/192.0.2.7").await, failures("account/nobody/192.0.2.7").await), (0, 1));
}

#[tokio::test]
async fn after_many_tries_even_the_right_password_waits() {
    let house = House::new().await;
    // A stranger may have tried the bare account, so that nobody waits long for it.
    for (subject, name, address, waits) in [
        ("account/ann", "ann", "192.0.2.1:1", 1..=30),
        ("account/nobody", "nobody", "192.0.2.1:1", 1..=30),
        ("account/fay/192.0.2.1", "fay", "192.0.2.1:1", 600..=900),
        ("account/somebody/192.0.2.1", "somebody", "192.0.2.1:1", 600..=900),
        ("address/192.0.2.2", "ian", "192.0.2.2:1", 600..=900),
    ] {
        tried(&house, subject).await;

        let slowed = house.ask(credentials(name, PASSWORD).from(peer(address, true))).await;

        assert_eq!((slowed.status.as_u16(), slowed.kind()), (429, "too-many-tries"), "{subject}");
        let seconds: i64 = slowed.header("retry-after").unwrap().parse().unwrap();
        assert!(waits.contains(&seconds), "{subject}: {seconds}");
    }
}

#[tokio::test]
async fn who_guesses_at_one_address_keeps_nobody_out_at_another() {
    let house = House::new().await;
    tried(&house, "account/ann/192.0.2.1").await;
    tried(&house, "address/192.0.2.1").await;

    assert_eq!(house.ask(credentials("ann", PASSWORD).from(peer("192.0.2.1:1", true))).await.status.as_u16(), 429);
    assert_eq!(house.ask(credentials("ann", PASSWORD).from(peer("192.0.2.2:1", true))).await.status.as_u16(), 201);
}

/// As if somebody had tried many times.
async fn tried(house: &House, subject: &str) {
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    for _ in 0..30 {
        change.note_sign_in_failure(subject).await.unwrap();
    }
    change.commit().await.unwrap();
}

#[tokio::test]
async fn a_disabled_account_does_not_come_in() {
    let house = House::new().await;
    let body = json!({ "name": "ann", "role": "read-only-analyst", "disabled": true });
    assert_eq!(house.ask_as("fay", Ask::put("/accounts/ann", "*", body)).await.status.as_u16(), 200);

    assert_eq!(house.ask(credentials("ann", PASSWORD)).await.status.as_u16(), 401);
}

#[tokio::test]
async fn an_old_session_counts_no_more() {
    let house = House::new().await;
    let digest = cmg_authority::passwords::secret_digest("old");
    for (age, status) in [(59 * 60, 200), (60 * 60, 401)] {
        let mut change = house.site.store.begin(house.now() - age).await.unwrap();
        change.end_session(&digest).await.unwrap();
        change.add_session(&digest, "ann", house.now() + 60).await.unwrap();
        change.commit().await.unwrap();

        assert_eq!(house.ask(Ask::get("/whoami").bearer("old")).await.status.as_u16(), status, "{age}");
    }
}

#[tokio::test]
async fn a_cookie_counts_only_for_requests_of_the_own_site() {
    let house = House::new().await;
    let tls = || peer("127.0.0.1:1", true);
    let made = house.ask(credentials("ian", PASSWORD).from(tls())).await;
    let set = made.header("set-cookie").unwrap().to_owned();
    assert!(set.starts_with("__Host-cmg-session="), "{set}");
    for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict", "Max-Age=43200"] {
        assert!(set.contains(attribute), "{set}");
    }
    let cookie = set.split(';').next().unwrap().to_owned();
    let new = |name: &str, headers: &[(&str, &str)]| {
        let ask = Ask::post("/boundary-groups", json!({ "name": name })).from(tls()).header("cookie", &cookie);
        headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value))
    };

    assert_eq!(house.ask(Ask::get("/whoami").from(tls()).header("cookie", &cookie)).await.status.as_u16(), 200);
    for (place, headers) in [
        &[("host", "site.example")][..],
        &[("host", "site.example"), ("origin", "https://evil.example")],
        &[("host", "site.example"), ("origin", "http://site.example")],
        &[("host", "site.example"), ("origin", "null")],
        &[("host", "site.example"), ("origin", "https://site.example.evil.example")],
    ]
    .into_iter()
    .enumerate()
    {
        let refused = house.ask(new(&format!("g{place}"), headers)).await;
        assert_eq!((refused.status.as_u16(), refused.kind()), (403, "not-permitted"), "{headers:?}");
    }
    let own = [("host", "site.example:8444"), ("origin", "https://site.example:8444")];
    assert_eq!(house.ask(new("own", &own)).await.status.as_u16(), 201);
}

#[tokio::test]
async fn without_tls_the_cookie_has_a_name_that_browsers_take() {
    let house = House::new().await;

    let made = house.ask(credentials("ian", PASSWORD)).await;

    let set = made.header("set-cookie").unwrap();
    assert!(set.starts_with("cmg-session=") && !set.contains("Secure"), "{set}");
}

#[tokio::test]
async fn a_cookie_counts_only_on_the_kind_of_connection_that_it_was_set_on() {
    let house = House::new().await;
    let session = house.session("ann").await;
    for (name, is_tls, status) in
        [("cmg-session", false, 200), ("cmg-session", true, 401), ("__Host-cmg-session", true, 200), ("__Host-cmg-session", false, 401)]
    {
        let who = Ask::get("/whoami").from(peer("127.0.0.1:1", is_tls)).header("cookie", &format!("{name}={session}"));

        assert_eq!(house.ask(who).await.status.as_u16(), status, "{name}, TLS: {is_tls}");
    }
    let both = Ask::get("/whoami").from(peer("127.0.0.1:1", true));
    let both = both.header("cookie", &format!("cmg-session=planted; __Host-cmg-session={session}"));
    assert_eq!(house.ask(both).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_token_of_a_lesser_role_revokes_no_tokens_of_its_account() {
    let house = House::new().await;
    let new = |role: &str| Ask::post("/accounts/ian/api-tokens", json!({ "name": "script", "days": 30, "role": role }));
    let lesser = house.ask_as("ian", new("read-only-analyst")).await.body;
    let equal = house.ask_as("ian", new("infrastructure-administrator")).await.body;
    let revoke = |made: &Value, by: &Value| {
        let path = format!("/accounts/ian/api-tokens/{}", made["id"].as_str().unwrap());
        Ask::new("DELETE", &path).bearer(by["token"].as_str().unwrap())
    };

    let refused = house.ask(revoke(&equal, &lesser)).await;
    assert_eq!((refused.status.as_u16(), refused.kind()), (403, "not-permitted"));
    assert_eq!(house.ask(revoke(&lesser, &equal)).await.status.as_u16(), 204);
}

#[tokio::test]
async fn an_api_token_carries_its_role_and_no_more_than_the_accounts() {
    let house = House::new().await;
    let new = |role: Value| Ask::post("/accounts/ian/api-tokens", json!({ "name": "script", "days": 30, "role": role }));

    let plain = house.ask_as("ian", new(Value::Null)).await;
    let lesser = house.ask_as("ian", new(json!("read-only-analyst"))).await;
    let greater = house.ask_as("ian", new(json!("full-administrator"))).await;

    assert_eq!((plain.status.as_u16(), lesser.status.as_u16()), (201, 201));
    assert_eq!((greater.status.as_u16(), greater.keys()), (422, vec!["role"]));
    let (plain, lesser) = (plain.body["token"].as_str().unwrap(), lesser.body["token"].as_str().unwrap());
    let group = |name: &str, token: &str| Ask::post("/boundary-groups", json!({ "name": name })).bearer(token);
    assert_eq!(house.ask(group("a", plain)).await.status.as_u16(), 201);
    assert_eq!(house.ask(group("b", lesser)).await.status.as_u16(), 403);
    assert_eq!(house.ask(Ask::get("/boundary-groups").bearer(lesser)).await.status.as_u16(), 200);

    let made_by_token = house.ask(new(Value::Null).bearer(plain)).await;
    assert_eq!(made_by_token.status.as_u16(), 403, "a token makes no others");
}

#[tokio::test]
async fn an_api_token_is_listed_without_its_secret_and_revoked() {
    let house = House::new().await;
    let made = house.ask_as("ann", Ask::post("/accounts/ann/api-tokens", json!({ "name": "report", "days": 366 }))).await;
    let (id, token) = (made.body["id"].as_str().unwrap(), made.body["token"].as_str().unwrap());
    assert!(token.starts_with("cmg_"));

    let list = house.ask_as("fay", Ask::get("/accounts/ann/api-tokens")).await;
    assert_eq!((&list.body["items"][0]["id"], &list.body["items"][0]["name"]), (&json!(id), &json!("report")));
    assert!(!list.body.to_string().contains(token));
    assert_eq!(house.ask(Ask::get("/whoami").bearer(token)).await.body["api_token"], json!(id));

    let path = format!("/accounts/ann/api-tokens/{id}");
    assert_eq!(house.ask_as("ian", Ask::new("DELETE", &path)).await.status.as_u16(), 403);
    assert_eq!(house.ask_as("ann", Ask::new("DELETE", &path)).await.status.as_u16(), 204);
    assert_eq!(house.ask(Ask::get("/whoami").bearer(token)).await.status.as_u16(), 401);
}

#[tokio::test]
async fn a_token_lasts_a_year_at_most() {
    let house = House::new().await;
    for days in [0, -1, 367] {
        let refused = house.ask_as("ann", Ask::post("/accounts/ann/api-tokens", json!({ "name": "x", "days": days }))).await;

        assert_eq!((refused.status.as_u16(), refused.keys()), (422, vec!["days"]), "{days}");
    }
}
