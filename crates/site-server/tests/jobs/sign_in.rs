//! Signing in by a provider, with a fake one that lies: what a real one does is tested with the whole system.

use cmg_lab::Authority;
use cmg_lab::token::{Algorithm, TokenSigner};
use cmg_store::AuditFilter;
use serde_json::{Map, Value, json};

use crate::house::{Answered, Ask, House, PASSWORD};
use crate::serving::{Page, Web};
use crate::token_issuers::jwk;

/// S256 of [`VERIFIER`], from the appendix of RFC 7636.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const REDIRECT: &str = "http://127.0.0.1:4000/x";

/// Plays an OpenID Connect provider that says whatever a test wants.
struct FakeProvider {
    name: &'static str,
    web: Web,
    authority: String,
    signer: TokenSigner,
}

/// A sign-in that has begun, as the provider sees it.
struct Begun {
    state: String,
    nonce: String,
    /// What the command line shows.
    words: String,
}

/// A browser that was asked for the words.
struct Asked {
    answered: Answered,
    ticket: String,
    cookie: String,
}

impl Asked {
    /// What the browser sends with these words, and with this cookie in the place of its own.
    fn answer(&self, words: &str, cookie: Option<&str>) -> Ask {
        self.answer_of(words, cookie, "http://127.0.0.1:8444")
    }

    fn answer_of(&self, words: &str, cookie: Option<&str>, origin: &str) -> Ask {
        let cookie = cookie.unwrap_or(&self.cookie);
        let form = format!("ticket={}&words={words}", self.ticket);
        let ask = Ask::new("POST", "/sign-in/oidc/answer").header("content-type", "application/x-www-form-urlencoded");
        ask.header("cookie", cookie).header("host", "127.0.0.1:8444").header("origin", origin).bytes(form.into_bytes())
    }
}

impl FakeProvider {
    /// A provider that a house has as `corp`, and to whose subject `s-1` the account `ann` is tied.
    async fn of(house: &House) -> Self {
        let provider = Self::named(house, "corp", true).await;
        tie(house, "ann", "s-1", false).await;
        provider
    }

    /// A provider that a house has by this name, and that says with each answer who it is, or not.
    async fn named(house: &House, name: &'static str, says_issuer: bool) -> Self {
        let authority = Authority::root("Web CA").unwrap();
        let web = Web::tls(&authority.server(&["localhost"]).unwrap()).await;
        let mut signer = TokenSigner::new("k1", Algorithm::Rs256).unwrap();
        signer.issuer = web.url("/tenant");
        let provider = Self { name, web, authority: authority.certificate_pem(), signer };
        let document = json!({
            "issuer": provider.signer.issuer,
            "jwks_uri": provider.web.url("/keys"),
            "authorization_endpoint": provider.web.url("/auth"),
            "token_endpoint": provider.web.url("/token"),
            "authorization_response_iss_parameter_supported": says_issuer,
        });
        provider.put("/tenant/.well-known/openid-configuration", &document);
        provider.put("/keys", &json!({ "keys": [jwk(&provider.signer)] }));
        let made = house.ask_as("fay", Ask::post("/sign-in-providers", provider.resource())).await;
        assert!(made.status.is_success(), "{made:?}");
        provider
    }

    fn resource(&self) -> Value {
        json!({
            "name": self.name, "issuer": self.signer.issuer, "client_id": "console", "client_secret": "a secret of the console",
            "site_url": "https://site.example:8444", "allow_private_addresses": true, "authorities": [self.authority],
        })
    }

    fn put(&self, path: &str, page: &Value) {
        self.web.put(path, Page::Bytes(page.to_string().into_bytes()));
    }

    /// Has the token endpoint answer with an ID token: the right claims, changed by `bend`.
    fn gives(&self, begun: &Begun, bend: impl FnOnce(&mut Map<String, Value>)) {
        let mut claims = self.signer.claims("", "s-1", "console", std::time::Duration::from_secs(300));
        claims.insert("nonce".to_owned(), json!(begun.nonce));
        bend(&mut claims);
        self.put("/token", &json!({ "id_token": self.signer.sign(&claims, &json!({})).unwrap() }));
    }

    /// What the site answers the browser that comes back.
    async fn back(&self, house: &House, begun: &Begun, more: &str) -> Answered {
        let issuer = self.signer.issuer.replace(':', "%3A").replace('/', "%2F");
        house.ask(Ask::get(&format!("/sign-in/oidc/callback/corp?state={}&iss={issuer}&session_state=x{more}", begun.state))).await
    }
}

async fn tie(house: &House, account: &str, subject: &str, disabled: bool) {
    let body =
        json!({ "name": account, "role": "read-only-analyst", "disabled": disabled, "oidc": { "provider": "corp", "subject": subject } });
    let set = house.ask_as("fay", Ask::put(&format!("/accounts/{account}"), "*", body)).await;
    assert!(set.status.is_success(), "{set:?}");
}

async fn begin(house: &House) -> Begun {
    begin_at(house, "corp").await
}

async fn begin_at(house: &House, provider: &str) -> Begun {
    let body = json!({ "provider": provider, "redirect": REDIRECT, "code_challenge": CHALLENGE });
    let begun = house.ask(Ask::post("/sign-in/oidc", body)).await;
    assert_eq!(begun.status.as_u16(), 201, "{begun:?}");
    let url = begun.body["url"].as_str().unwrap().to_owned();
    let part = |name: &str| url.split(['?', '&']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap().to_owned();
    assert_eq!((part("code_challenge_method"), part("scope"), part("client_id")), ("S256".into(), "openid".into(), "console".into()));
    let uri = format!("https%3A%2F%2Fsite.example%3A8444%2Fapi%2Fv1%2Fsign-in%2Foidc%2Fcallback%2F{provider}");
    assert_eq!(part("redirect_uri"), uri);
    Begun { state: part("state"), nonce: part("nonce"), words: begun.body["words"].as_str().unwrap_or_default().to_owned() }
}

/// The question that the browser was asked.
fn question(answered: Answered) -> Asked {
    assert_eq!(answered.status.as_u16(), 200, "{answered:?}");
    let ticket = between(page(&answered), "name=\"ticket\" value=\"", "\"");
    let cookie = answered.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    Asked { ticket, cookie, answered }
}

fn between(text: &str, before: &str, after: &str) -> String {
    let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    found.unwrap_or_else(|| panic!("{text}")).0.to_owned()
}

/// The one-time code in the address that the browser goes on to, after the person there has typed the words.
async fn code(house: &House, begun: &Begun, answered: Answered) -> String {
    code_of(&house.ask(question(answered).answer(&begun.words, None)).await)
}

fn code_of(answered: &Answered) -> String {
    assert_eq!(answered.status.as_u16(), 200, "{answered:?}");
    between(page(answered), &format!("content=\"0;url={REDIRECT}?code="), "\"")
}

async fn finish(house: &House, code: &str, verifier: &str) -> Answered {
    house.ask(Ask::post("/sign-in/oidc/session", json!({ "code": code, "code_verifier": verifier }))).await
}

fn page(answered: &Answered) -> &str {
    answered.body.as_str().unwrap_or_else(|| panic!("{answered:?}"))
}

async fn actions(house: &House, name: &str) -> Vec<String> {
    let filter = AuditFilter { kind: Some("account"), name: Some(name), ..AuditFilter::default() };
    let records = house.site.store.audit_page(filter, None, 50).await.unwrap();
    records.into_iter().map(|record| record.record.action).filter(|action| action.starts_with("sign-in")).collect()
}

#[tokio::test]
async fn whoever_the_provider_signs_in_gets_a_session_of_the_tied_account() {
    let house = House::new().await;
    let provider = FakeProvider::of(&house).await;
    let begun = begin(&house).await;
    provider.gives(&begun, |_| {});

    let code = code(&house, &begun, provider.back(&house, &begun, "&code=c").await).await;
    let made = finish(&house, &code, VERIFIER).await;

    assert_eq!((made.status.as_u16(), &made.body["account"]), (201, &json!("ann")));
    let who = house.ask(Ask::get("/whoami").bearer(made.body["token"].as_str().unwrap())).await;
    assert_eq!((&who.body["account"], &who.body["role"]), (&json!("ann"), &json!("read-only-analyst")));
    assert_eq!(actions(&house, "ann").await, ["sign-in"]);
    let again = finish(&house, &code, VERIFIER).await;
    assert_eq!((again.status.as_u16(), again.kind()), (401, "wrong-credentials"), "a code counts once");
}

#[tokio::test]
async fn a_code_is_worth_nothing_without_the_verifier() {
    let house = House::new().await;
    let provider = FakeProvider::of(&house).await;
    let begun = begin(&house).await;
    provider.gives(&begun, |_| {});
    let code = code(&house, &begun, provider.back(&house, &begun, "&code=c").await).await;

    assert_eq!(finish(&house, &code, "another-verifier").await.status.as_u16(), 401);

    assert_eq!(finish(&house, &code, VERIFIER).await.status.as_u16(), 401, "whoever tries it spoils it");
    assert_eq!(actions(&house, "ann").await, ["sign-in-refused"]);
}

#[tokio::test]
async fn the_person_at_the_browser_is_asked_for_what_the_command_line_shows_and_the_page_does_not() {
    let house = House::new().await;
    let provider = FakeProvider::of(&house).await;
    let begun = begin(&house).await;
    provider.gives(&begun, |_| {});

    let asked = question(provider.back(&house, &begun, "&code=c").await);

    let text = page(&asked.answered);
    for part in ["127.0.0.1:4000", "<strong>ann</strong>", "<strong>127.0.0.1</strong>"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(begun.words.len() == 9 && !text.contains(&begun.words) && !text.contains("code=") && !text.contains("/x"), "{text}");
    let policy = asked.answered.headers.get_all("content-security-policy").iter().collect::<Vec<_>>();
    assert_eq!(policy, ["default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"]);
    let header = |name| asked.answered.header(name);
    assert_eq!(
        (header("x-frame-options"), header("referrer-policy"), header("cache-control")),
        (Some("DENY"), Some("same-origin"), Some("no-store"))
    );
    let cookie = header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Strict") && cookie.contains("Max-Age=300"), "{cookie}");
    let made = finish(&house, &code_of(&house.ask(asked.answer(&begun.words.to_lowercase(), None)).await), VERIFIER).await;
    assert_eq!(made.body["account"], json!("ann"));
    assert_eq!(house.ask(asked.answer(&begun.words, None)).await.status.as_u16(), 400, "a question is answered once");
}

#[tokio::test]
async fn a_cookie_over_tls_is_of_this_host_alone() {
    let house = House::new().await;
    let provider = FakeProvider::of(&house).await;
    let begun = begin(&house).await;
    provider.gives(&begun, |_| {});
    let issuer = provider.signer.issuer.replace(':', "%3A").replace('/', "%2F");
    let back = Ask::get(&format!("/sign-in/oidc/callback/corp?state={}&iss={issuer}&code=c", begun.state));

    let asked = question(house.ask(back.from(crate::house::peer("192.0.2.9:1", true))).await);

    let cookie = asked.answered.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-cmg-sign-in=") && cookie.contains("Path=/; Secure;"), "{cookie}");
}

#[tokio::test]
async fn whoever_lured_an_administrator_to_the_provider_gets_nothing() {
    let house = House::new().await;
    let provider = FakeProvider::of(&house).await;
    // The attacker begins, and the victim's browser, signed in at the provider already, comes back without a click.
    let attacker = begin(&house).await;
    provider.gives(&attacker, |_| {});
    let victim = question(provider.back(&house, &attacker, "&code=c").await);
    let own = begin(&house).await;

    // What the victim's own command line shows is another sign-in's.
    let typed = house.ask(victim.answer(&own.words, None)).await;
    let guessed = house.ask(victim.answer(&attacker.words, None)).await;

    assert_eq!((typed.status.as_u16(), guessed.status.as_u16()), (403, 400), "{typed:?}");
    assert!(page(&typed).contains("somebody wanted to be signed in as you"), "{typed:?}");
    assert_eq!(actions(&house, "ann").await, ["sign-in-refused"]);
}

#[tokio::test]
async fn an_answer_counts_from_the_browser_that_was_asked_and_from_the_sites_own_page() {
    for bend in ["no cookie", "another cookie", "another page", "no ticket"] {
        let house = House::new().await;
        let provider = FakeProvider::of(&house).await;
        let begun = begin(&house).await;
        provider.gives(&begun, |_| {});
        let asked = question(provider.back(&house, &begun, "&code=c").await);

        let refused = match bend {
            "no cookie" => house.ask(asked.answer(&begun.words, Some("a=b"))).await,
            "another cookie" => house.ask(asked.answer(&begun.words, Some("cmg-sign-in=x"))).await,
            "another page" => house.ask(asked.answer_of(&begun.words, None, "https://evil.example")).await,
            _ => house.ask(asked.answer(&begun.words, None).bytes(b"words=x".to_vec())).await,
        };

        let expected = if bend == "no ticket" { 400 } else { 403 };
        assert_eq!(refused.status.as_u16(), expected, "{bend}: {refused:?}");
        assert!(!refused.body.to_string().contains("code="), "{bend}: {refused:?}");
    }
}

#[tokio::test]
async fn a_page_of_the_site_is_asked_about_nothing() {
    let house = House::new().await;
    let provider = FakeProvider::of(&house).await;
    let body = json!({ "provider": "corp", "redirect": "/console", "code_challenge": CHALLENGE });
    let begun = house.ask(Ask::post("/sign-in/oidc", body)).await;
    let url = begun.body["url"].as_str().unwrap().to_owned();
    let part = |name: &str| url.split(['?', '&']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap().to_owned();
    let waiting = Begun { state: part("state"), nonce: part("nonce"), words: String::new() };
    provider.gives(&waiting, |_| {});

    let answered = provider.back(&house, &waiting, "&code=c").await;

    assert_eq!((answered.status.as_u16(), &begun.body["words"]), (303, &Value::Null));
    assert!(answered.header("location").unwrap().starts_with("/console?code="));
}

#[tokio::test]
async fn a_state_that_was_made_up_or_used_is_refused() {
    let house = House::new().await;
    let provider = FakeProvider::of(&house).await;
    let begun = begin(&house).await;
    provider.gives(&begun, |_| {});
    provider.back(&house, &begun, "&code=c").await;

    for state in [begun, Begun { state: "made-up".to_owned(), nonce: String::new(), words: String::new() }] {
        let answered = provider.back(&house, &state, "&code=c").await;
        assert_eq!(answered.status.as_u16(), 400);
        assert!(page(&answered).contains("cmg login --provider"), "{answered:?}");
    }
    assert_eq!(house.ask(Ask::get("/sign-in/oidc/callback/corp")).await.status.as_u16(), 400);
}

#[tokio::test]
async fn id_tokens_that_do_not_count_let_nobody_in() {
    let house = House::new().await;
    let provider = FakeProvider::of(&house).await;
    let now = house.now();
    type Bend = Box<dyn Fn(&mut Map<String, Value>)>;
    let set = |name: &'static str, value: Value| -> Bend { Box::new(move |claims| _ = claims.insert(name.to_owned(), value.clone())) };
    let cases: [(Bend, &str); 8] = [
        (set("nonce", json!("another")), "nonce"),
        (Box::new(|claims| _ = claims.remove("nonce")), "nonce"),
        (set("aud", json!("another")), "audience"),
        (set("aud", json!(["console", "another"])), "audience"),
        (set("azp", json!("another")), "audience"),
        (set("iss", json!("https://other.example")), "token_issuer"),
        (set("exp", json!(now - 3_600)), "token_expired"),
        (set("sub", json!("")), "subject"),
    ];
    for (bend, words) in cases {
        forget_tries(&house).await;
        let begun = begin(&house).await;
        provider.gives(&begun, bend);

        let answered = provider.back(&house, &begun, "&code=c").await;

        assert_eq!(answered.status.as_u16(), 502, "{words}: {answered:?}");
        assert!(page(&answered).contains(words), "{words}: {answered:?}");
    }
    forget_tries(&house).await;
    let begun = begin(&house).await;
    provider.gives(&begun, |claims| _ = claims.insert("aud".to_owned(), json!(["console", "another"])));
    let other = TokenSigner::new("k1", Algorithm::Rs256).unwrap();
    let claims = provider.signer.claims("", "s-1", "console", std::time::Duration::from_secs(300));
    provider.put("/token", &json!({ "id_token": other.sign(&claims, &json!({})).unwrap() }));
    assert!(page(&provider.back(&house, &begun, "&code=c").await).contains("token_signature"), "signed by somebody else");
    // A minute may have passed between two of them.
    assert!((1..=2).contains(&actions(&house, "").await.len()), "one record a minute");
}

#[tokio::test]
async fn a_key_that_is_new_is_fetched_once() {
    let house = House::new().await;
    let mut provider = FakeProvider::of(&house).await;
    begin(&house).await;
    let mut signer = TokenSigner::new("k2", Algorithm::Rs256).unwrap();
    signer.issuer = provider.signer.issuer.clone();
    provider.signer = signer;
    provider.put("/keys", &json!({ "keys": [jwk(&provider.signer)] }));
    let begun = begin(&house).await;
    provider.gives(&begun, |_| {});

    code(&house, &begun, provider.back(&house, &begun, "&code=c").await).await;

    let asked = provider.web.asked().into_iter().filter(|path| path == "/keys").count();
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn who_is_unknown_or_disabled_is_told_what_to_do() {
    let house = House::new().await;
    let provider = FakeProvider::of(&house).await;
    let begun = begin(&house).await;
    provider.gives(&begun, |claims| _ = claims.insert("sub".to_owned(), json!("s-2")));
    let unknown = provider.back(&house, &begun, "&code=c").await;
    assert_eq!(unknown.status.as_u16(), 403);
    assert!(page(&unknown).contains("cmg account set NAME --provider corp --subject 's-2'"), "{unknown:?}");

    tie(&house, "ann", "s-1", true).await;
    let begun = begin(&house).await;
    provider.gives(&begun, |_| {});
    let disabled = provider.back(&house, &begun, "&code=c").await;
    assert!(disabled.status.as_u16() == 403 && page(&disabled).contains("disabled"), "{disabled:?}");
    assert_eq!(actions(&house, "ann").await, ["sign-in-refused"]);

    let begun = begin(&house).await;
    let denied = provider.back(&house, &begun, "&error=access_denied").await;
    assert!(denied.status.as_u16() == 403 && page(&denied).contains("access_denied"), "{denied:?}");
}

#[tokio::test]
async fn an_answer_of_another_provider_does_not_count() {
    let house = House::new().await;
    let provider = FakeProvider::of(&house).await;
    for issuer in ["", "&iss=https%3A%2F%2Fother.example"] {
        let begun = begin(&house).await;
        provider.gives(&begun, |_| {});

        let answered = house.ask(Ask::get(&format!("/sign-in/oidc/callback/corp?state={}&code=c{issuer}", begun.state))).await;

        assert_eq!(answered.status.as_u16(), 400, "{answered:?}");
    }
}

#[tokio::test]
async fn the_state_of_one_provider_does_not_count_at_the_address_of_another() {
    let house = House::new().await;
    let _honest = FakeProvider::of(&house).await;
    let evil = FakeProvider::named(&house, "evil", false).await;
    let begun = begin_at(&house, "evil").await;
    evil.gives(&begun, |_| {});
    let back = |provider: &str| Ask::get(&format!("/sign-in/oidc/callback/{provider}?state={}&code=of-corp", begun.state));

    let mixed_up = house.ask(back("corp")).await;

    assert_eq!(mixed_up.status.as_u16(), 400);
    assert!(page(&mixed_up).contains("came by the provider \"corp\", and this sign-in was begun at \"evil\""), "{mixed_up:?}");
    assert!(!evil.web.asked().contains(&"/token".to_owned()), "the code of one is not shown to the other");
    let again = house.ask(back("evil")).await;
    assert!(again.status.as_u16() == 400 && page(&again).contains("used already"), "{again:?}");
}

#[tokio::test]
async fn a_provider_that_is_believed_no_more_lets_nobody_in_and_ends_the_sessions_of_its_accounts() {
    for ending in ["disabled", "removed", "another issuer"] {
        let house = House::new().await;
        let provider = FakeProvider::of(&house).await;
        let begun = begin(&house).await;
        provider.gives(&begun, |_| {});
        let made = finish(&house, &code(&house, &begun, provider.back(&house, &begun, "&code=c").await).await, VERIFIER).await;
        let session = made.body["token"].as_str().unwrap();
        let other = house.ask(Ask::post("/sessions", json!({ "name": "ian", "password": PASSWORD }))).await;
        let begun = begin(&house).await;
        provider.gives(&begun, |_| {});
        let late = code(&house, &begun, provider.back(&house, &begun, "&code=c").await).await;

        let mut changed = provider.resource();
        let ask = match ending {
            "removed" => Ask::delete("/sign-in-providers/corp", "*"),
            "disabled" => {
                changed["enabled"] = json!(false);
                Ask::put("/sign-in-providers/corp", "*", changed)
            }
            _ => {
                changed["issuer"] = json!("https://other.example");
                Ask::put("/sign-in-providers/corp", "*", changed)
            }
        };
        let set = house.ask_as("fay", ask).await;

        assert!(set.status.is_success(), "{ending}: {set:?}");
        assert_eq!(finish(&house, &late, VERIFIER).await.status.as_u16(), 401, "{ending}");
        assert_eq!(house.ask(Ask::get("/whoami").bearer(session)).await.status.as_u16(), 401, "{ending}");
        let other = other.body["token"].as_str().unwrap();
        assert_eq!(house.ask(Ask::get("/whoami").bearer(other)).await.status.as_u16(), 200, "{ending}: who is not tied to it stays");
        assert!(actions(&house, "ann").await.contains(&"sign-in-refused".to_owned()), "{ending}");
    }
}

#[tokio::test]
async fn whoever_is_tied_again_is_tied_to_the_issuer_that_the_provider_has_by_then() {
    let house = House::new().await;
    let provider = FakeProvider::of(&house).await;
    let before = house.ask_as("fay", Ask::get("/accounts/ann")).await.body["oidc"].clone();
    let mut changed = provider.resource();
    changed["issuer"] = json!("https://other.example");
    house.ask_as("fay", Ask::put("/sign-in-providers/corp", "*", changed)).await;
    let set = |oidc: Value| {
        let body = json!({ "name": "ann", "role": "read-only-analyst", "oidc": oidc });
        house.ask_as("fay", Ask::put("/accounts/ann", "*", body))
    };

    let as_shown = set(before.clone()).await;
    let tied_again = set(json!({ "provider": "corp", "subject": "s-1" })).await;
    let same_again = set(json!({ "provider": "corp", "subject": "s-1" })).await;
    let to_the_former = set(before.clone()).await;

    assert_eq!(as_shown.body["oidc"], before, "what was read can be sent back, and says nothing about the other issuer");
    assert_eq!(tied_again.body["oidc"]["issuer"], json!("https://other.example"));
    assert_eq!(tied_again.header("etag") != as_shown.header("etag"), tied_again.header("etag") == same_again.header("etag"));
    assert_eq!((to_the_former.status.as_u16(), to_the_former.keys()), (422, vec!["oidc.issuer"]));
}

#[tokio::test]
async fn a_provider_that_is_described_anew_ends_no_session() {
    let house = House::new().await;
    let provider = FakeProvider::of(&house).await;
    let begun = begin(&house).await;
    provider.gives(&begun, |_| {});
    let made = finish(&house, &code(&house, &begun, provider.back(&house, &begun, "&code=c").await).await, VERIFIER).await;
    let mut changed = provider.resource();
    changed["description"] = json!("changed");

    let set = house.ask_as("fay", Ask::put("/sign-in-providers/corp", "*", changed)).await;

    assert_eq!(set.status.as_u16(), 200, "{set:?}");
    let who = house.ask(Ask::get("/whoami").bearer(made.body["token"].as_str().unwrap())).await;
    assert_eq!(who.status.as_u16(), 200);
}

#[tokio::test]
async fn an_account_that_is_changed_after_the_browser_came_back_does_not_come_in() {
    let house = House::new().await;
    let provider = FakeProvider::of(&house).await;
    let begun = begin(&house).await;
    provider.gives(&begun, |_| {});
    let code = code(&house, &begun, provider.back(&house, &begun, "&code=c").await).await;

    tie(&house, "ann", "s-9", false).await;

    assert_eq!(finish(&house, &code, VERIFIER).await.status.as_u16(), 401);
}

#[tokio::test]
async fn browsers_are_sent_nowhere_else_and_too_many_tries_wait() {
    let house = House::new().await;
    let _provider = FakeProvider::of(&house).await;
    let wrong = json!({ "provider": "corp", "redirect": "https://evil.example/", "code_challenge": "short" });
    assert_eq!(house.ask(Ask::post("/sign-in/oidc", wrong)).await.keys(), ["redirect", "code_challenge"]);
    let none = json!({ "provider": "none", "redirect": REDIRECT, "code_challenge": CHALLENGE });
    assert_eq!(house.ask(Ask::post("/sign-in/oidc", none)).await.keys(), ["provider"]);
    for _ in 0..4 {
        begin(&house).await;
    }

    let body = json!({ "provider": "corp", "redirect": REDIRECT, "code_challenge": CHALLENGE });
    let refused = house.ask(Ask::post("/sign-in/oidc", body)).await;

    assert_eq!((refused.status.as_u16(), refused.header("retry-after").is_some()), (429, true));
}

#[tokio::test]
async fn only_a_full_administrator_says_who_is_believed() {
    let house = House::new().await;
    let provider = FakeProvider::of(&house).await;
    let resource = json!({ "kind": "sign-in-provider", "resource": provider.resource() });

    let applied = house.ask_as("ian", Ask::post("/apply", json!({ "resources": [resource] }))).await;
    let pruned = house.ask_as("ian", Ask::post("/apply?prune=sign-in-provider", json!({ "resources": [] }))).await;
    let added = house.ask_as("ian", Ask::post("/sign-in-providers", provider.resource())).await;

    assert_eq!([applied, pruned, added].map(|answered| answered.status.as_u16()), [403, 403, 403]);
    let applied = house.ask_as("fay", Ask::post("/apply", json!({ "resources": [resource] }))).await;
    assert_eq!(applied.body["unchanged"], 1, "{applied:?}");
}

#[tokio::test]
async fn a_client_secret_is_kept_and_never_shown() {
    let house = House::new().await;
    let _provider = FakeProvider::of(&house).await;

    let shown = house.ask_as("ann", Ask::get("/sign-in-providers/corp")).await.body;
    assert!(!shown.to_string().contains("a secret of the console"));
    let mut again = shown.clone();
    again["description"] = json!("changed");
    let set = house.ask_as("fay", Ask::put("/sign-in-providers/corp", "*", again)).await;
    assert_eq!((set.status.as_u16(), &set.body["client_secret_id"]), (200, &shown["client_secret_id"]));

    let mut wrong = shown;
    wrong["client_secret_id"] = json!("00");
    let refused = house.ask_as("fay", Ask::put("/sign-in-providers/corp", "*", wrong)).await;
    assert_eq!(refused.keys(), ["client_secret_id"]);
    let body = json!({ "name": "x", "issuer": "http://a", "client_id": "", "client_secret": "short", "scopes": ["email"], "site_url": "https://a/b", "authorities": ["x"] });
    let refused = house.ask_as("fay", Ask::post("/sign-in-providers", body)).await;
    assert_eq!(refused.keys(), ["issuer", "client_id", "client_secret", "scopes", "site_url", "authorities[0]"]);
}

#[tokio::test]
async fn a_subject_belongs_to_one_account_and_the_last_administrator_keeps_a_password() {
    let house = House::new().await;
    let _provider = FakeProvider::of(&house).await;
    let body = |subject: &str| json!({ "name": "new", "role": "full-administrator", "oidc": { "provider": "corp", "subject": subject } });

    let taken = house.ask_as("fay", Ask::post("/accounts", body("s-1"))).await;
    let made = house.ask_as("fay", Ask::post("/accounts", body("s-3"))).await;
    let neither = house.ask_as("fay", Ask::post("/accounts", json!({ "name": "x", "role": "read-only-analyst" }))).await;
    let unknown = json!({ "name": "x", "role": "read-only-analyst", "oidc": { "provider": "none", "subject": "s" } });
    let unknown = house.ask_as("fay", Ask::post("/accounts", unknown)).await;

    assert_eq!(taken.keys(), ["oidc.subject"]);
    assert_eq!((made.status.as_u16(), &made.body["oidc"]["subject"], &made.body["has_password"]), (201, &json!("s-3"), &json!(false)));
    assert_eq!((neither.keys(), unknown.keys()), (vec!["password"], vec!["oidc.provider"]));
    let last = house.ask_as("fay", Ask::delete("/accounts/fay", "*")).await;
    assert_eq!(last.status.as_u16(), 422, "a provider may be gone when it is needed most: {last:?}");
}

#[tokio::test]
async fn refused_passwords_are_audited_once_a_minute_for_an_account_and_without_unknown_names() {
    let house = House::new().await;
    let try_in =
        |name: &'static str, password: &'static str| house.ask(Ask::post("/sessions", json!({ "name": name, "password": password })));

    try_in("ann", "wrong").await;
    try_in("ann", "wrong").await;
    try_in("my-secret-password", "wrong").await;
    try_in("another", PASSWORD).await;

    // A minute may have passed between two of them.
    assert!((1..=2).contains(&actions(&house, "ann").await.len()));
    assert!((1..=2).contains(&actions(&house, "").await.len()));
    assert!(actions(&house, "my-secret-password").await.is_empty());
}

async fn forget_tries(house: &House) {
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    change.clear_sign_in_failures("address/127.0.0.1").await.unwrap();
    change.commit().await.unwrap();
}
