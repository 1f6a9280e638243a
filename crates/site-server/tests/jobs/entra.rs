//! Tenants of Entra ID, played by a fake that answers at the real names over real TLS: there is no tenant for tests.

use cmg_core::refusal::Refusal;
use cmg_lab::Authority;
use cmg_lab::token::{Algorithm, TokenSigner};
use cmg_site_server::app::doctor::as_a_gateway;
use cmg_site_server::app::fetching::Fetcher;
use cmg_site_server::app::token_issuers;
use serde_json::{Value, json};

use crate::house::{Ask, House};
use crate::seen::{document, made, with_gateway};
use crate::serving::{Page, Web};
use crate::token_issuers::jwk;

const HOST: &str = "login.microsoftonline.com";
const CONTOSO: &str = "6a7b0000-1111-2222-3333-444455556666";
const FABRIKAM: &str = "7a7b0000-1111-2222-3333-444455556666";

/// Plays the log-in server of Entra ID: each tenant has a document and keys of its own.
struct FakeEntra {
    web: Web,
    fetcher: Fetcher,
}

impl FakeEntra {
    async fn new() -> Self {
        let authority = Authority::root("Web CA").unwrap();
        let web = Web::tls(&authority.server(&[HOST]).unwrap()).await;
        let fetcher = Fetcher::believing(vec![authority.certificate_der().to_vec()]).finding([(HOST.to_owned(), web.address)]);
        Self { web, fetcher }
    }

    /// A tenant whose key has this id.
    fn tenant(&self, tenant: &str, key_id: &str) -> TokenSigner {
        let signer = TokenSigner::new(key_id, Algorithm::Rs256).unwrap();
        let issuer = format!("https://{HOST}/{tenant}/v2.0");
        let document = json!({ "issuer": issuer, "jwks_uri": format!("https://{HOST}/{tenant}/keys") });
        let page = |value: Value| Page::Bytes(value.to_string().into_bytes());
        self.web.put(&format!("/{tenant}/v2.0/.well-known/openid-configuration"), page(document));
        self.web.put(&format!("/{tenant}/keys"), page(json!({ "keys": [jwk(&signer)] })));
        signer
    }
}

fn v1(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

fn v2(tenant: &str) -> String {
    format!("https://{HOST}/{tenant}/v2.0")
}

async fn with_tenant(house: &House, entra: &FakeEntra, name: &str, tenant: &str) {
    let issuer = json!({
        "name": name, "kind": "entra", "tenant": tenant, "token_kind": "oidc-device", "client_app_id": format!("{name}-app"),
        "resource_uri": format!("api://{tenant}/x"), "allow_private_addresses": true,
    });
    made(house, "/token-issuers", issuer).await;
    token_issuers::sync(&house.site, &entra.fetcher, name, house.now()).await.unwrap();
}

async fn enable(house: &House, name: &str, enabled: bool) {
    let mut issuer = house.ask_as("ann", Ask::get(&format!("/token-issuers/{name}"))).await.body;
    issuer["enabled"] = json!(enabled);
    assert!(house.ask_as("ian", Ask::put(&format!("/token-issuers/{name}"), "*", issuer)).await.status.is_success());
}

/// What a gateway says of a token with this issuer: the audiences that it found, or why it refuses.
fn said(house: &House, signer: &mut TokenSigner, issuer: String, audience: &str) -> Result<Vec<String>, Refusal> {
    signer.issuer = issuer;
    let token = signer.site_token("device", audience, std::time::Duration::from_secs(600)).unwrap();
    let in_force = house.site.in_force();
    let (_, verifier) = as_a_gateway(&in_force.model, &in_force.ground).unwrap();
    verifier.token(token.as_bytes(), house.site.now()).map(|verified| verified.facts.audiences.clone())
}

#[tokio::test]
async fn two_tenants_count_at_once_and_one_can_be_disabled() {
    let (house, entra) = (House::new().await, FakeEntra::new().await);
    let (mut contoso, mut fabrikam) = (entra.tenant(CONTOSO, "shared"), entra.tenant(FABRIKAM, "shared"));
    with_tenant(&house, &entra, "contoso", CONTOSO).await;
    with_tenant(&house, &entra, "fabrikam", FABRIKAM).await;
    let audience = "https://contoso.example/x";
    let mut both = |house: &House| [said(house, &mut contoso, v2(CONTOSO), audience), said(house, &mut fabrikam, v2(FABRIKAM), audience)];
    let good = || Ok(vec![audience.to_owned()]);
    assert_eq!(both(&house), [good(), good()]);

    enable(&house, "fabrikam", false).await;

    let [one, other] = both(&house);
    assert_eq!(one, good());
    assert!(matches!(other, Err(Refusal::TokenSignature | Refusal::TokenUnknownKey)), "{other:?}");
    enable(&house, "fabrikam", true).await;
    assert_eq!(both(&house), [good(), good()]);
}

#[tokio::test]
async fn tokens_of_version_1_and_2_and_both_forms_of_an_audience_count() {
    let (house, entra) = (House::new().await, FakeEntra::new().await);
    let mut contoso = entra.tenant(CONTOSO, "k1");
    with_tenant(&house, &entra, "contoso", CONTOSO).await;

    for issuer in [v1(CONTOSO), v2(CONTOSO)] {
        for audience in [format!("api://{CONTOSO}/x"), "https://contoso.example/x".to_owned()] {
            assert_eq!(said(&house, &mut contoso, issuer.clone(), &audience), Ok(vec![audience]), "{issuer}");
        }
    }
    let other = said(&house, &mut contoso, v2(FABRIKAM), "https://contoso.example/x");
    assert!(matches!(other, Err(Refusal::TokenIssuer)), "a key of one tenant signs for no other: {other:?}");
}

#[tokio::test]
async fn devices_of_enabled_tenants_are_told_what_to_sign_in_with() {
    let house = House::new().await;
    with_gateway(&house).await;
    for (name, tenant) in [("contoso", CONTOSO), ("fabrikam", FABRIKAM)] {
        let issuer = json!({ "name": name, "kind": "entra", "tenant": tenant, "token_kind": "oidc-device", "client_app_id": "app", "resource_uri": "api://x" });
        made(&house, "/token-issuers", issuer).await;
    }
    let told = |house: &House| document(&house.site).entra_tenant.into_iter().map(|tenant| tenant.id).collect::<Vec<_>>();
    assert_eq!(told(&house), [CONTOSO, FABRIKAM]);

    enable(&house, "contoso", false).await;

    assert_eq!(told(&house), [FABRIKAM]);
}

#[tokio::test]
async fn devices_are_told_both_or_neither() {
    let house = House::new().await;
    let issuer =
        |more: &str, value: &str| json!({ "name": "a", "kind": "entra", "tenant": CONTOSO, "token_kind": "oidc-device", (more): value });

    let one = house.ask_as("ian", Ask::post("/token-issuers", issuer("client_app_id", "app"))).await;
    let other = house.ask_as("ian", Ask::post("/token-issuers", issuer("resource_uri", "with blanks"))).await;

    assert_eq!(one.keys(), ["resource_uri"]);
    assert_eq!(other.keys(), ["resource_uri", "client_app_id"]);
}
