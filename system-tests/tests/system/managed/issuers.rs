//! A real OpenID Connect provider that changes its key: nobody has to do anything for the new one to count.

use cmg_lab::token::{Algorithm, TokenSigner};
use serde_json::json;

use crate::support::{ManagedSite, OidcProvider, until};

const AUDIENCES: [&str; 2] = ["api://tenant/x", "https://contoso.example/x"];

/// A site that lets in whoever has a token of the provider, once it has the provider's keys.
fn site_with(provider: &OidcProvider, managed: &ManagedSite) {
    let issuer = json!({
        "name": "idp",
        "kind": "oidc",
        "issuer": provider.issuer(),
        "token_kind": "oidc-user",
        "allow_private_addresses": true,
        "authorities": [managed.site.lab().servers.certificate_pem()],
    });
    managed.api.add("token-issuers", &issuer).unwrap();
    let endpoint = json!({
        "name": "api",
        "prefix": "/api",
        "face": "server",
        "token_kinds": ["oidc-user"],
        "audiences": AUDIENCES,
        "servers": [managed.site.origin.url()],
    });
    managed.api.add("endpoints", &endpoint).unwrap();
    let token = provider.token(managed.site.lab(), AUDIENCES[0]);
    until("the provider's tokens count", || (status(managed, &token) == 200).then_some(()));
}

/// What a client with this token is answered, on a connection of its own.
fn status(managed: &ManagedSite, token: &str) -> u16 {
    managed.site.with_token(token).get("/api/echo").status
}

#[test]
fn a_token_of_a_new_key_is_refused_and_counts_a_moment_later() {
    let managed = ManagedSite::of(1, 2);
    let Some(mut provider) = OidcProvider::start(managed.site.lab(), "k1", "https://localhost/") else { return };
    site_with(&provider, &managed);

    provider.rotate("k2");
    let token = provider.token(managed.site.lab(), AUDIENCES[1]);

    let first = managed.site.with_token(&token).get("/api/echo");
    managed.site.assert_refused(&first, 401, "CMGService_Invalid_Token", "token_unknown_key");
    until("it counts", || (status(&managed, &token) == 200).then_some(()));
    assert_eq!(provider.asked("GET /jwks"), 1, "since it was started again");
    let other = provider.token(managed.site.lab(), "api://other/x");
    assert_eq!(status(&managed, &other), 401, "one for another audience does not count");
}

#[test]
fn a_flood_of_made_up_keys_has_the_provider_asked_once() {
    let managed = ManagedSite::of(1, 1);
    let Some(provider) = OidcProvider::start(managed.site.lab(), "k1", "https://localhost/") else { return };
    site_with(&provider, &managed);
    let mut signer = TokenSigner::new("made-up", Algorithm::Es256).unwrap();
    signer.issuer = provider.issuer();
    let claims = signer.claims("SiteToken", "nobody", AUDIENCES[0], std::time::Duration::from_secs(600));
    let flood = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            let token = signer.sign(&claims, &json!({ "kid": format!("made-up-{number}") })).unwrap();
            assert_eq!(status(&managed, &token), 401);
        }
    };
    let before = provider.asked("GET /jwks");

    flood(0..20);
    until("the provider is asked", || (provider.asked("GET /jwks") == before + 1).then_some(()));
    flood(20..100);

    let reply = managed.api.ask("POST", "/token-issuers/idp/sync", None).unwrap_err().to_string();
    assert!(reply.contains("429"), "an administrator waits for a minute too: {reply}");
    assert_eq!(provider.asked("GET /jwks"), before + 1);
    let token = provider.token(managed.site.lab(), AUDIENCES[0]);
    assert_eq!(status(&managed, &token), 200, "the others are served meanwhile");
}
