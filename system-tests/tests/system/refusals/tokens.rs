//! Tokens that do not count, each for its own reason.

use std::sync::LazyLock;
use std::time::Duration;

use cmg_lab::token::AUDIENCE;
use cmg_lab::{Algorithm, Flaw, TokenSigner};
use serde_json::json;

use crate::support::{Caller, Reply, Site};

const HOUR: Duration = Duration::from_secs(3600);

/// A system that knows a key for every kind of token.
struct Tokens {
    site: Site,
    bulk: TokenSigner,
    elliptic: TokenSigner,
}

static ALL: LazyLock<Tokens> = LazyLock::new(|| {
    let bulk = TokenSigner::new("bulk-1", Algorithm::Rs256).unwrap();
    let elliptic = TokenSigner::new("elliptic-1", Algorithm::Es256).unwrap();
    let site = Site::start(|setup| {
        for (signer, kind) in [(&bulk, "bulk"), (&elliptic, "ccm")] {
            setup.write(&format!("{}.pub.pem", signer.key_id), signer.public_key_pem());
            setup.both(&format!(
                "[[token_key]]\nid = {:?}\nissuer = {:?}\nalgorithms = [{:?}]\nkey = \"{}.pub.pem\"\nkind = {kind:?}",
                signer.key_id,
                signer.issuer,
                signer.algorithm().as_str(),
                signer.key_id
            ));
        }
        setup.both("[[block]]\ntoken = \"stolen-1\"\n[[block]]\ntoken = \"stolen-2\"");
        setup.endpoint("tokens", "face = \"server\"");
        setup.endpoint("either", "");
        setup.endpoint("two-kinds", "face = \"server\"\ntoken_kinds = [\"site\", \"ccm\"]");
        setup.endpoint("register", "face = \"server\"\ntoken_kinds = [\"site\", \"bulk\"]\nregistration = true");
        setup.endpoint("another-audience", "face = \"server\"\naudiences = [\"urn:another:audience\"]");
        setup.endpoint("forwarding", "face = \"server\"\nforward_token = true");
        setup.endpoint("both-forwarding", "forward_token = true");
    });
    Tokens { site: site.shared(), bulk, elliptic }
});

fn ask(token: &str, endpoint: &str) -> Reply {
    ALL.site.with_token(token).get(&format!("/{endpoint}/echo"))
}

fn good() -> String {
    ALL.site.lab().token.clone()
}

#[track_caller]
fn flawed(flaw: Flaw, label: &str) {
    let token = ALL.site.lab().tokens.flawed_token(flaw, "device-1", AUDIENCE).unwrap();
    let reply = ask(&token, "tokens");
    ALL.site.assert_refused(&reply, 401, "CMGService_Invalid_Token", label);
    assert_eq!(reply.field("WWW-Authenticate"), Some("Bearer"));
}

#[test]
fn every_flaw_is_refused_for_its_own_reason() {
    for flaw in Flaw::ALL {
        let label = match flaw {
            Flaw::Unsigned | Flaw::WrongAlgorithm | Flaw::PublicKeyAsSecret => "token_algorithm",
            Flaw::WrongKey | Flaw::Altered | Flaw::BrokenSignature => "token_signature",
            Flaw::UnknownKeyId => "token_unknown_key",
            Flaw::Expired => "token_expired",
            Flaw::NotYetValid => "token_not_yet_valid",
            Flaw::WrongIssuer => "token_issuer",
            Flaw::WrongAudience => "token_audience",
            Flaw::NoExpiry | Flaw::NoIssuer | Flaw::NoAudience | Flaw::TwoExpiries | Flaw::TwoAudiences | Flaw::ExpiryAsText => {
                "token_claim"
            }
            Flaw::NotJson | Flaw::TwoParts | Flaw::Noise => "token_malformed",
        };
        flawed(flaw, label);
    }
}

#[test]
fn no_token() {
    ALL.site.assert_refused(&ALL.site.stranger().get("/tokens/echo"), 401, "CMGService_Token_Required", "token_missing");
}

#[test]
fn nothing_at_all_where_either_would_do() {
    let reply = ALL.site.stranger().get("/either/echo");

    ALL.site.assert_refused(&reply, 403, "CMGService_Client_Certificate_Required", "certificate_missing");
}

#[test]
fn two_tokens() {
    let caller = ALL.site.with_token(&good()).field("Authorization", &format!("Bearer {}", good()));

    ALL.site.assert_refused(&caller.get("/tokens/echo"), 401, "CMGService_Invalid_Token", "token_ambiguous");
}

#[test]
fn another_scheme_than_bearer() {
    let caller = ALL.site.stranger().field("Authorization", "Basic dXNlcjpwYXNz");

    ALL.site.assert_refused(&caller.get("/tokens/echo"), 401, "CMGService_Invalid_Token", "token_malformed");
}

#[test]
fn a_token_that_is_too_long() {
    let reply = ask(&"a".repeat(40_000), "tokens");

    ALL.site.assert_refused(&reply, 401, "CMGService_Invalid_Token", "token_malformed");
}

#[test]
fn a_token_of_a_kind_that_the_endpoint_does_not_take() {
    let token = ALL.elliptic.site_token("device-1", AUDIENCE, HOUR).unwrap();

    ALL.site.assert_refused(&ask(&token, "tokens"), 403, "CMGService_Token_Not_Accepted", "token_kind_refused");
    assert_eq!(ask(&token, "two-kinds").status, 200);
}

#[test]
fn a_token_for_another_audience_than_the_endpoints() {
    ALL.site.assert_refused(&ask(&good(), "another-audience"), 401, "CMGService_Invalid_Token", "token_audience");
}

#[test]
fn a_token_that_the_administrator_has_blocked() {
    let signer = &ALL.site.lab().tokens;
    let mut named = signer.claims("SiteToken", "device-1", AUDIENCE, HOUR);
    named.insert("jti".to_owned(), "stolen-1".into());
    let named = signer.sign(&named, &json!({})).unwrap();
    let by_unique_id = signer.site_token("stolen-2", AUDIENCE, HOUR).unwrap();

    for token in [named, by_unique_id] {
        ALL.site.assert_refused(&ask(&token, "tokens"), 401, "CMGService_Invalid_Token", "token_blocked");
    }
    assert_eq!(ask(&good(), "tokens").status, 200, "others of the same key are not concerned");
}

#[test]
fn a_bulk_token_counts_at_registration_endpoints_only() {
    let token = ALL.bulk.bulk_token("new-device", AUDIENCE, HOUR).unwrap();

    ALL.site.assert_refused(&ask(&token, "two-kinds"), 403, "CMGService_Token_Not_Accepted", "token_kind_refused");
    assert_eq!(ask(&token, "register").status, 200);
}

#[test]
fn a_token_ends_in_the_tunnel_unless_the_endpoint_forwards_it() {
    let reply = ask(&good(), "tokens");

    assert_eq!(reply.echoed("Authorization"), [""; 0]);
    assert_eq!(reply.echoed("Cmg-Authorization"), [""; 0]);
}

#[test]
fn a_token_reaches_the_server_where_the_endpoint_forwards_it() {
    assert_eq!(ask(&good(), "forwarding").echoed("Authorization"), [format!("Bearer {}", good())]);
}

#[test]
fn the_applications_own_authorization_passes_beside_a_certificate() {
    let reply = ALL.site.device().field("Authorization", "Basic dXNlcjpwYXNz").get("/either/echo");

    assert_eq!(reply.echoed("Authorization"), ["Basic dXNlcjpwYXNz"]);
}

#[test]
fn the_applications_own_authorization_passes_beside_a_token() {
    let reply = own_field().field("Authorization", "Basic dXNlcjpwYXNz").get("/tokens/echo");

    assert_eq!(reply.echoed("Authorization"), ["Basic dXNlcjpwYXNz"]);
    assert_eq!(reply.echoed("Cmg-Authorization"), [""; 0]);
}

#[test]
fn a_forwarded_token_leaves_the_applications_authorization_alone() {
    let reply = own_field().field("Authorization", "Basic dXNlcjpwYXNz").get("/both-forwarding/echo");

    assert_eq!(reply.echoed("Authorization"), ["Basic dXNlcjpwYXNz"]);
    assert_eq!(reply.echoed("Cmg-Authorization"), [format!("Bearer {}", good())]);
}

#[test]
fn a_token_in_its_own_field_wins_over_a_certificate() {
    let reply = ALL.site.device().field("Cmg-Authorization", &format!("Bearer {}", good())).get("/either/echo");

    assert_eq!(ALL.site.logged(&reply)["by"], "site");
}

#[test]
fn two_tokens_in_the_own_field() {
    let caller = own_field().field("Cmg-Authorization", &format!("Bearer {}", good()));

    ALL.site.assert_refused(&caller.get("/tokens/echo"), 401, "CMGService_Invalid_Token", "token_ambiguous");
}

fn own_field() -> Caller {
    ALL.site.stranger().field("Cmg-Authorization", &format!("Bearer {}", good()))
}

#[test]
fn a_token_without_a_key_id_is_checked_with_the_keys_of_its_issuer() {
    let signer = &ALL.site.lab().tokens;
    let claims = signer.claims("SiteToken", "device-1", AUDIENCE, HOUR);
    let header = json!({ "typ": "JWT", "alg": "RS256" }).to_string();
    let token = signer.sign_text(&header, &serde_json::Value::Object(claims).to_string()).unwrap();

    assert_eq!(ask(&token, "tokens").status, 200);
}

#[test]
fn the_log_says_whose_token_it_was_and_never_the_token() {
    let reply = ask(&good(), "tokens");

    let line = ALL.site.logged(&reply);
    assert_eq!((line["by"].as_str(), line["who"].as_str()), (Some("site"), Some("device-1")));
    assert!(!line.to_string().contains(&good()));
}
