//! Token issuers, fetched over real TLS from a fake provider: no real one is at hand here.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cmg_core::refusal::Refusal;
use cmg_lab::Authority;
use cmg_lab::token::{Algorithm, TokenSigner};
use cmg_site_server::app::doctor::as_a_gateway;
use cmg_site_server::app::fetching::{Fetcher, Reach};
use cmg_site_server::app::token_issuers::{self, SyncRefused};
use cmg_site_server::app::wanted_keys;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

use crate::house::{Ask, House};
use crate::seen::made;
use crate::serving::{Page, Web};

/// Plays an OpenID Connect provider, with keys of the laboratory.
struct FakeProvider {
    web: Web,
    fetcher: Fetcher,
    /// Whose certificate it shows, PEM.
    authority: String,
}

impl FakeProvider {
    async fn new() -> Self {
        let authority = Authority::root("Web CA").unwrap();
        let web = Web::tls(&authority.server(&["localhost"]).unwrap()).await;
        let fetcher = Fetcher::believing(vec![authority.certificate_der().to_vec()]);
        let provider = Self { web, fetcher, authority: authority.certificate_pem() };
        provider.says(&provider.issuer());
        provider
    }

    fn issuer(&self) -> String {
        self.web.url("/tenant")
    }

    fn says(&self, issuer: &str) {
        let document = json!({ "issuer": issuer, "jwks_uri": self.web.url("/keys") });
        self.web.put("/tenant/.well-known/openid-configuration", Page::Bytes(document.to_string().into_bytes()));
    }

    fn has(&self, keys: &[Value]) {
        self.web.put("/keys", Page::Bytes(json!({ "keys": keys }).to_string().into_bytes()));
    }

    fn signer(&self, id: &str, algorithm: Algorithm) -> TokenSigner {
        let mut signer = TokenSigner::new(id, algorithm).unwrap();
        signer.issuer = self.issuer();
        signer
    }
}

/// The public key of a signer as a provider publishes it.
pub(crate) fn jwk(signer: &TokenSigner) -> Value {
    let pem: pki_types::SubjectPublicKeyInfoDer<'static> =
        pki_types::pem::PemObject::from_pem_slice(signer.public_key_pem().as_bytes()).unwrap();
    let (_, info) = SubjectPublicKeyInfo::from_der(&pem).unwrap();
    let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    match info.parsed().unwrap() {
        x509_parser::public_key::PublicKey::RSA(key) => {
            let strip = |bytes: &[u8]| text(&bytes[bytes.iter().position(|byte| *byte != 0).unwrap()..]);
            json!({ "kty": "RSA", "use": "sig", "kid": signer.key_id, "n": strip(key.modulus), "e": strip(key.exponent) })
        }
        x509_parser::public_key::PublicKey::EC(point) => {
            let (x, y) = point.data()[1..].split_at(point.data().len() / 2);
            let curve = if point.data().len() == 65 { "P-256" } else { "P-384" };
            json!({ "kty": "EC", "crv": curve, "kid": signer.key_id, "x": text(x), "y": text(y) })
        }
        _ => unreachable!(),
    }
}

async fn with_issuer(house: &House, provider: &FakeProvider) {
    let issuer = json!({
        "name": "idp", "kind": "oidc", "issuer": provider.issuer(), "token_kind": "oidc-user", "algorithms": ["RS256", "ES256", "ES384"],
        "allow_private_addresses": true,
    });
    made(house, "/token-issuers", issuer).await;
}

/// What a gateway says of a token.
fn said(house: &House, token: &str) -> Result<(), Refusal> {
    let in_force = house.site.in_force();
    let (_, verifier) = as_a_gateway(&in_force.model, &in_force.ground).unwrap();
    verifier.token(token.as_bytes(), house.site.now()).map(|_| ())
}

fn token(signer: &TokenSigner) -> String {
    signer.site_token("somebody", "api://app", std::time::Duration::from_secs(600)).unwrap()
}

#[tokio::test]
async fn keys_of_a_fake_provider_verify_its_tokens_at_gateways() {
    let (house, provider) = (House::new().await, FakeProvider::new().await);
    let (rsa, ec) = (provider.signer("k1", Algorithm::Rs256), provider.signer("k2", Algorithm::Es256));
    let larger = provider.signer("k4", Algorithm::Es384);
    provider.has(&[jwk(&rsa), jwk(&ec), jwk(&larger), json!({ "kty": "oct", "kid": "k3", "k": "AAAA" })]);
    with_issuer(&house, &provider).await;
    assert_eq!(said(&house, &token(&rsa)), Err(Refusal::TokenUnknownKey));

    assert!(token_issuers::sync(&house.site, &provider.fetcher, "idp", house.now()).await.unwrap());

    assert_eq!([&rsa, &ec, &larger].map(|signer| said(&house, &token(signer))), [Ok(()), Ok(()), Ok(())]);
    let shown = house.ask_as("ann", Ask::get("/token-issuers/idp/keys")).await.body;
    assert_eq!((&shown["keys"], &shown["error"]), (&json!(["k1", "k2", "k4"]), &Value::Null));
    let (other, _) = house.other().await;
    assert_eq!(other.in_force().ground.issuer_keys, house.site.in_force().ground.issuer_keys);
}

#[tokio::test]
async fn keys_of_a_disabled_issuer_vanish_at_once() {
    let (house, provider) = (House::new().await, FakeProvider::new().await);
    let mut signer = provider.signer("k1", Algorithm::Es256);
    provider.has(&[jwk(&signer)]);
    with_issuer(&house, &provider).await;
    token_issuers::sync(&house.site, &provider.fetcher, "idp", house.now()).await.unwrap();
    let mut issuer = house.ask_as("ann", Ask::get("/token-issuers/idp")).await.body;

    issuer["enabled"] = json!(false);
    assert!(house.ask_as("ian", Ask::put("/token-issuers/idp", "*", issuer.clone())).await.status.is_success());
    assert_eq!(said(&house, &token(&signer)), Err(Refusal::TokenUnknownKey));

    issuer["enabled"] = json!(true);
    assert!(house.ask_as("ian", Ask::put("/token-issuers/idp", "*", issuer.clone())).await.status.is_success());
    assert_eq!(said(&house, &token(&signer)), Ok(()));

    issuer["issuer"] = json!("https://other.example");
    assert!(house.ask_as("ian", Ask::put("/token-issuers/idp", "*", issuer)).await.status.is_success());
    signer.issuer = "https://other.example".to_owned();
    assert_eq!(said(&house, &token(&signer)), Err(Refusal::TokenUnknownKey), "keys of one issuer do not count for another");
}

#[tokio::test]
async fn the_document_must_name_the_very_issuer() {
    let (house, provider) = (House::new().await, FakeProvider::new().await);
    provider.has(&[jwk(&provider.signer("k1", Algorithm::Es256))]);
    provider.says(&format!("{}/", provider.issuer()));
    with_issuer(&house, &provider).await;

    let refused = token_issuers::sync(&house.site, &provider.fetcher, "idp", house.now()).await.unwrap_err();

    assert!(refused.to_string().contains("write exactly that as issuer"), "{refused}");
    let shown = house.ask_as("ann", Ask::get("/token-issuers/idp/keys")).await.body;
    assert!(shown["error"].as_str().unwrap().contains("write exactly that as issuer"));
    assert!(house.site.in_force().ground.issuer_keys.is_empty());
}

#[tokio::test]
async fn a_provider_that_fails_leaves_the_last_good_keys() {
    let (house, provider) = (House::new().await, FakeProvider::new().await);
    let signer = provider.signer("k1", Algorithm::Es256);
    provider.has(&[jwk(&signer)]);
    with_issuer(&house, &provider).await;
    let now = house.now();
    token_issuers::sync(&house.site, &provider.fetcher, "idp", now).await.unwrap();
    provider.has(&[]);

    let refused = token_issuers::sync(&house.site, &provider.fetcher, "idp", now + 60).await.unwrap_err();

    assert!(matches!(refused, SyncRefused::Failed(_)));
    assert_eq!(said(&house, &token(&signer)), Ok(()));
    let (other, _) = house.other().await;
    assert_eq!(other.in_force().ground.issuer_keys["idp"].len(), 1, "they are stored");
}

#[tokio::test]
async fn keys_are_asked_for_at_most_once_a_minute_and_every_hour() {
    let (house, provider) = (House::new().await, FakeProvider::new().await);
    provider.has(&[jwk(&provider.signer("k1", Algorithm::Es256))]);
    with_issuer(&house, &provider).await;
    let now = house.now();
    let asked = || provider.web.asked().len();

    token_issuers::sync(&house.site, &provider.fetcher, "idp", now).await.unwrap();
    let again = token_issuers::sync(&house.site, &provider.fetcher, "idp", now + 59).await;
    assert!(matches!(again, Err(SyncRefused::TooSoon(1))), "{again:?}");
    token_issuers::sync_due(&house.site, &provider.fetcher, now + 3_599).await.unwrap();
    assert_eq!(asked(), 2, "the document and the keys, once");

    token_issuers::sync_due(&house.site, &provider.fetcher, now + 3_600).await.unwrap();
    assert_eq!(asked(), 4);
    let route = house.ask_as("ian", Ask::new("POST", "/token-issuers/idp/sync")).await;
    assert_eq!((route.status.as_u16(), route.header("retry-after").is_some()), (429, true));
}

#[tokio::test]
async fn many_who_ask_at_once_are_one_who_asks() {
    let (house, provider) = (House::new().await, FakeProvider::new().await);
    provider.has(&[jwk(&provider.signer("k1", Algorithm::Es256))]);
    with_issuer(&house, &provider).await;
    let sync = || token_issuers::sync(&house.site, &provider.fetcher, "idp", house.now());

    let (one, other, third) = tokio::join!(sync(), sync(), sync());

    let fetched = [&one, &other, &third].into_iter().filter(|synced| matches!(synced, Ok(true))).count();
    let refused = [&one, &other, &third].into_iter().filter(|synced| matches!(synced, Err(SyncRefused::TooSoon(_)))).count();
    assert_eq!((fetched, refused, provider.web.asked().len()), (1, 2, 2));
}

#[tokio::test]
async fn keys_that_members_want_are_fetched_at_once_and_then_a_minute_later() {
    let (house, provider) = (House::new().await, FakeProvider::new().await);
    let (old, new, newest) =
        (provider.signer("k1", Algorithm::Es256), provider.signer("k2", Algorithm::Es256), provider.signer("k3", Algorithm::Es256));
    provider.has(&[jwk(&old)]);
    with_issuer(&house, &provider).await;
    let now = house.now();
    token_issuers::sync(&house.site, &provider.fetcher, "idp", now).await.unwrap();
    provider.has(&[jwk(&new)]);

    assert!(
        wanted_keys::fetch(&house.site, &provider.fetcher, "idp", now + 1).await.unwrap(),
        "a moment after they were fetched by the clock"
    );

    assert_eq!(said(&house, &token(&new)), Ok(()));
    provider.has(&[jwk(&newest)]);
    let again = wanted_keys::fetch(&house.site, &provider.fetcher, "idp", now + 60).await;
    assert!(matches!(again, Err(SyncRefused::TooSoon(1))), "{again:?}");
    assert!(wanted_keys::fetch(&house.site, &provider.fetcher, "idp", now + 61).await.unwrap());
}

#[tokio::test]
async fn keys_that_were_wanted_in_vain_are_not_asked_for_again_for_five_minutes() {
    let (house, provider) = (House::new().await, FakeProvider::new().await);
    provider.has(&[jwk(&provider.signer("k1", Algorithm::Es256))]);
    with_issuer(&house, &provider).await;
    let now = house.now();
    token_issuers::sync(&house.site, &provider.fetcher, "idp", now).await.unwrap();
    let asked = || provider.web.asked().len();
    assert!(!wanted_keys::fetch(&house.site, &provider.fetcher, "idp", now).await.unwrap());
    assert_eq!(asked(), 4, "the document and the keys, twice");

    let again = wanted_keys::fetch(&house.site, &provider.fetcher, "idp", now + 299).await;
    assert!(matches!(again, Err(SyncRefused::TooSoon(1))), "{again:?}");
    assert_eq!(asked(), 4);

    assert!(!wanted_keys::fetch(&house.site, &provider.fetcher, "idp", now + 300).await.unwrap());
    assert_eq!(asked(), 6);
}

#[tokio::test]
async fn a_provider_that_fails_for_wanted_keys_is_left_alone_for_five_minutes() {
    let (house, provider) = (House::new().await, FakeProvider::new().await);
    with_issuer(&house, &provider).await;
    let now = house.now();
    let failed = wanted_keys::fetch(&house.site, &provider.fetcher, "idp", now).await;
    assert!(matches!(failed, Err(SyncRefused::Failed(_))), "{failed:?}");

    let again = wanted_keys::fetch(&house.site, &provider.fetcher, "idp", now + 299).await;

    assert!(matches!(again, Err(SyncRefused::TooSoon(1))), "{again:?}");
}

#[tokio::test]
async fn a_provider_inside_is_believed_by_the_authority_that_its_issuer_names() {
    let (house, provider) = (House::new().await, FakeProvider::new().await);
    provider.has(&[jwk(&provider.signer("k1", Algorithm::Es256))]);
    let issuer = |authorities: Value| json!({ "name": "idp", "kind": "oidc", "issuer": provider.issuer(), "token_kind": "oidc-user", "algorithms": ["ES256"], "allow_private_addresses": true, "authorities": authorities });
    let wrong = house.ask_as("ian", Ask::post("/token-issuers", issuer(json!(["none", provider.authority])))).await;
    assert_eq!(wrong.keys(), ["authorities[0]"]);
    made(&house, "/token-issuers", issuer(json!([provider.authority]))).await;
    let nobody = Fetcher::believing(vec![Authority::root("Other CA").unwrap().certificate_der().to_vec()]);

    assert!(token_issuers::sync(&house.site, &nobody, "idp", house.now()).await.unwrap());
}

#[tokio::test]
async fn an_issuer_of_another_name_is_asked_again_within_a_minute() {
    let (house, provider) = (House::new().await, FakeProvider::new().await);
    provider.has(&[jwk(&provider.signer("k1", Algorithm::Es256))]);
    with_issuer(&house, &provider).await;
    let now = house.now();
    token_issuers::sync(&house.site, &provider.fetcher, "idp", now).await.unwrap();
    let mut issuer = house.ask_as("ann", Ask::get("/token-issuers/idp")).await.body;
    issuer["issuer"] = json!(provider.web.url("/other"));
    assert!(house.ask_as("ian", Ask::put("/token-issuers/idp", "*", issuer)).await.status.is_success());

    token_issuers::sync_due(&house.site, &provider.fetcher, now + 60).await.unwrap();

    assert_eq!(provider.web.asked().last().unwrap(), "/other/.well-known/openid-configuration");
}

#[tokio::test]
async fn a_provider_inside_is_not_asked_unless_that_is_allowed() {
    let (house, provider) = (House::new().await, FakeProvider::new().await);
    let issuer = json!({ "name": "idp", "kind": "oidc", "issuer": provider.issuer(), "token_kind": "oidc-user" });
    made(&house, "/token-issuers", issuer).await;

    let refused = token_issuers::sync(&house.site, &provider.fetcher, "idp", house.now()).await.unwrap_err();

    assert!(refused.to_string().contains("own network"), "{refused}");
    assert!(provider.web.asked().is_empty());
}

#[tokio::test]
async fn a_redirect_to_an_address_inside_or_without_tls_is_not_followed() {
    let provider = FakeProvider::new().await;
    let plain = Web::plain().await;
    plain.put("/x", Page::Bytes(b"x".to_vec()));
    provider.web.put("/to-plain", Page::Redirect(plain.url("/x")));

    let refused = provider.fetcher.https(&provider.web.url("/to-plain"), 100, Reach::Everywhere).await.unwrap_err();

    assert!(refused.to_string().contains("https://"), "{refused}");
    assert!(plain.asked().is_empty());
}

#[tokio::test]
async fn a_provider_of_an_unknown_authority_is_not_believed() {
    let provider = FakeProvider::new().await;
    let other = Fetcher::believing(vec![Authority::root("Other CA").unwrap().certificate_der().to_vec()]);

    let refused = other.https(&provider.web.url("/keys"), 100, Reach::Everywhere).await.unwrap_err();

    assert!(refused.to_string().contains("certificate"), "{refused}");
}

#[tokio::test]
async fn a_tenant_of_entra_issues_by_two_names() {
    let house = House::new().await;
    let tenant = "6A7B0000-1111-2222-3333-444455556666";
    made(&house, "/token-issuers", json!({ "name": "entra", "kind": "entra", "tenant": tenant, "token_kind": "oidc-device" })).await;

    let shown = house.ask_as("ann", Ask::get("/token-issuers/entra/keys")).await.body;

    let lower = tenant.to_lowercase();
    let expected = json!([format!("https://sts.windows.net/{lower}/"), format!("https://login.microsoftonline.com/{lower}/v2.0")]);
    assert_eq!(shown["issuers"], expected);
}

#[tokio::test]
async fn every_wrong_field_of_an_issuer_is_told() {
    let house = House::new().await;
    let refused = |body: Value| house.ask_as("ian", Ask::post("/token-issuers", body));

    let oidc = refused(json!({ "name": "a", "kind": "oidc", "issuer": "http://a", "tenant": "x", "keys": { "k": "p" }, "token_kind": "oidc-user", "algorithms": [], "leeway": "6m", "resource_uri": "x" })).await;
    let entra =
        refused(json!({ "name": "a", "kind": "entra", "issuer": "https://a", "tenant": "common", "token_kind": "oidc-user" })).await;
    let key = refused(json!({ "name": "a", "kind": "key", "token_kind": "oidc-user" })).await;

    assert_eq!(oidc.keys(), ["tenant", "keys", "resource_uri", "tenant", "issuer", "algorithms", "leeway"]);
    assert_eq!(entra.keys(), ["issuer", "tenant"]);
    assert_eq!(key.keys(), ["issuer", "keys"]);
}
