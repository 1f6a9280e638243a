//! Tokens that are bound to a key or a certificate: whoever shows one without the proof has stolen it.

use std::sync::LazyLock;
use std::time::Duration;

use cmg_lab::token::AUDIENCE;
use cmg_lab::{Authority, Issued, Profile, ProofKey};
use serde_json::{Value, json};

use crate::support::{Caller, Frame, Reply, Setup, Site, WebSocket};

const HOUR: Duration = Duration::from_secs(3600);
const PROOF: &str = "DPoP error=\"invalid_dpop_proof\", algs=\"ES256 ES384 RS256 PS256 EdDSA\"";
const NONCE: &str = "DPoP error=\"use_dpop_nonce\", algs=\"ES256 ES384 RS256 PS256 EdDSA\"";
const BOUND: &str = "DPoP error=\"invalid_token\", algs=\"ES256 ES384 RS256 PS256 EdDSA\"";
const PATH: &str = "/tokens/echo";
const URL: &str = "https://localhost/tokens/echo";

/// The site, and client certificates that its administrator has taken back.
struct Proofs {
    site: Site,
    revoked: Issued,
    blocked: Issued,
}

impl std::ops::Deref for Proofs {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

static ALL: LazyLock<Proofs> = LazyLock::new(|| {
    let mut made = None;
    let site = Site::start(|setup| {
        publish(setup);
        let [revoked, blocked] = ["revoked", "blocked"].map(|name| setup.lab.clients.client(name).unwrap());
        setup.lab.revoke(&[&revoked.serial]).unwrap();
        setup.both(&format!("[[block]]\nthumbprint = {:?}", blocked.thumbprint_sha256()));
        made = Some((revoked, blocked));
    });
    let (revoked, blocked) = made.unwrap();
    Proofs { site: site.shared(), revoked, blocked }
});

fn publish(setup: &Setup) {
    setup.endpoint("tokens", "face = \"server\"");
    setup.endpoint("forwarding", "face = \"server\"\nforward_token = true");
    setup.endpoint("strict", "face = \"server\"\nproof = \"required\"");
    setup.endpoint("either", "");
    setup.gateway(&format!(
        "[[endpoint]]\nid = \"nowhere\"\nhost = \"localhost\"\nprefix = \"/nowhere\"\nface = \"server\"\ntoken_kinds = [\"site\"]\n\
         audiences = [{AUDIENCE:?}]"
    ));
}

/// A client, and its token that is bound to its key.
struct Client {
    key: ProofKey,
    token: String,
}

impl Client {
    fn new() -> Self {
        let key = ProofKey::new().unwrap();
        let token = bound(json!({ "jkt": key.thumbprint() }));
        Self { key, token }
    }

    fn caller(&self) -> Caller {
        ALL.stranger().field("Authorization", &format!("DPoP {}", self.token))
    }

    /// A good proof for `PATH`.
    fn proof(&self) -> String {
        self.key.proof("GET", URL, &self.token, Some(&nonce())).unwrap()
    }

    /// A good proof but for one claim.
    fn bent(&self, name: &str, value: Value) -> String {
        let mut claims = ProofKey::claims("GET", URL, &self.token).unwrap();
        claims.insert("nonce".to_owned(), nonce().into());
        claims.insert(name.to_owned(), value);
        self.key.sign(&claims).unwrap()
    }

    /// A good proof that says it is signed by another algorithm.
    fn signed_as(&self, algorithm: &str) -> String {
        let mut claims = ProofKey::claims("GET", URL, &self.token).unwrap();
        claims.insert("nonce".to_owned(), nonce().into());
        self.key.sign_as(algorithm, &claims).unwrap()
    }

    fn with(&self, proof: &str) -> Reply {
        self.caller().field("DPoP", proof).get(PATH)
    }
}

fn bound(cnf: Value) -> String {
    ALL.lab().tokens.bound_token("device-1", AUDIENCE, HOUR, cnf).unwrap()
}

/// The nonce of the gateway instance, as a client learns it.
fn nonce() -> String {
    let reply = ALL.with_token(&bound(json!({ "jkt": ProofKey::new().unwrap().thumbprint() }))).get(PATH);
    reply.field("DPoP-Nonce").unwrap().to_owned()
}

#[track_caller]
fn refused(reply: &Reply, phrase: &str, label: &str, challenge: &str) {
    ALL.assert_refused(reply, 401, phrase, label);
    assert_eq!(reply.field("WWW-Authenticate"), Some(challenge));
    assert_eq!(reply.field("DPoP-Nonce").is_some(), challenge.starts_with("DPoP"));
}

#[test]
fn a_bound_token_without_a_proof_whatever_the_scheme() {
    let client = Client::new();

    for caller in [client.caller(), ALL.with_token(&client.token)] {
        refused(&caller.get(PATH), "CMGService_Proof_Required", "proof_missing", PROOF);
    }
}

#[test]
fn a_proof_counts_once_under_either_scheme() {
    let client = Client::new();
    let (first, second) = (client.proof(), client.proof());

    let reply = client.with(&first);
    assert_eq!(reply.echoed("DPoP"), [""; 0], "the proof ends where its token ends");
    assert_eq!(reply.field("DPoP-Nonce"), None, "nothing is told while the nonce is the present one");
    assert_eq!(ALL.with_token(&client.token).field("DPoP", &second).get(PATH).status, 200);
    for proof in [first, second] {
        refused(&client.with(&proof), "CMGService_Invalid_Proof", "proof_replayed", PROOF);
    }
}

#[test]
fn a_token_that_was_stolen_from_its_key() {
    let client = Client::new();
    let thief = ProofKey::new().unwrap().proof("GET", URL, &client.token, Some(&nonce())).unwrap();

    refused(&client.with(&thief), "CMGService_Invalid_Proof", "proof_key", BOUND);
}

#[test]
fn a_proof_for_something_else() {
    let client = Client::new();
    for (name, value, label) in [
        ("htm", json!("POST"), "proof_method"),
        ("htu", json!("https://localhost/tokens/echo/x"), "proof_url"),
        ("htu", json!("https://localhost:444/tokens/echo"), "proof_url"),
        ("htu", json!("http://localhost/tokens/echo"), "proof_url"),
        ("ath", json!("AAAA"), "proof_token"),
        ("iat", json!(1_700_000_000), "proof_time"),
        ("iat", json!("now"), "proof_malformed"),
    ] {
        refused(&client.with(&client.bent(name, value)), "CMGService_Invalid_Proof", label, PROOF);
    }
}

#[test]
fn the_host_and_port_of_a_proof_are_those_that_the_client_names() {
    let client = Client::new();
    let proof = |url: &str| client.key.proof("GET", url, &client.token, Some(&nonce())).unwrap();
    let caller = |host: &str| client.caller().host_field(host);

    let own_port = caller("LOCALHOST:8443").field("DPoP", &proof("https://localhost:8443/tokens/echo"));
    assert_eq!(own_port.get("/tokens/echo?a=b").status, 200, "the query is no part of it");
    let default_port = caller("localhost:443").field("DPoP", &proof(URL));
    assert_eq!(default_port.get(PATH).status, 200);
}

#[test]
fn a_proof_that_cannot_be_read_or_is_one_of_two() {
    let client = Client::new();
    let proof = client.proof();
    let (signed, _) = proof.rsplit_once('.').unwrap();

    refused(&client.with("a.b.c"), "CMGService_Invalid_Proof", "proof_malformed", PROOF);
    refused(&client.with(&client.token), "CMGService_Invalid_Proof", "proof_malformed", PROOF);
    refused(&client.with(&format!("{signed}.AAAA")), "CMGService_Invalid_Proof", "proof_signature", PROOF);
    for algorithm in ["none", "HS256", "RS256"] {
        refused(&client.with(&client.signed_as(algorithm)), "CMGService_Invalid_Proof", "proof_algorithm", PROOF);
    }
    let two = client.caller().field("DPoP", &proof).field("DPoP", &client.proof());
    refused(&two.get(PATH), "CMGService_Invalid_Proof", "proof_ambiguous", PROOF);
}

#[test]
fn a_proof_without_a_nonce_or_with_one_that_was_never_told() {
    let client = Client::new();
    let without = client.key.proof("GET", URL, &client.token, None).unwrap();

    for proof in [without, client.bent("nonce", json!("0123456789abcdef0123456789abcdef"))] {
        refused(&client.with(&proof), "CMGService_Proof_Nonce", "proof_nonce", NONCE);
    }
}

#[test]
fn a_client_that_learns_its_nonce_often_is_not_sent_away_and_one_that_guesses_is() {
    let client = Client::new();
    let mut wire = client.caller().field("DPoP", &client.key.proof("GET", URL, &client.token, None).unwrap()).open();
    for _ in 0..20 {
        wire.send("GET", PATH, &[], b"");
        assert_eq!(wire.read().reason, "CMGService_Proof_Nonce");
    }

    let mut wire = client.caller().field("DPoP", &client.bent("htm", json!("PUT"))).open();
    for _ in 0..8 {
        wire.send("GET", PATH, &[], b"");
        assert_eq!(wire.read().reason, "CMGService_Invalid_Proof");
    }
    assert!(wire.is_closed(), "eight in vain end the connection");
}

#[test]
fn a_token_that_is_bound_to_nothing_where_a_proof_is_required_or_promised() {
    let good = &ALL.lab().token;

    refused(&ALL.with_token(good).get("/strict/echo"), "CMGService_Invalid_Token", "token_unbound", BOUND);
    let promised = ALL.stranger().field("Authorization", &format!("DPoP {good}"));
    refused(&promised.get(PATH), "CMGService_Invalid_Token", "token_unbound", BOUND);
    assert_eq!(ALL.with_token(good).get(PATH).status, 200, "it is good for its bearer elsewhere");

    let client = Client::new();
    let proof = client.key.proof("GET", "https://localhost/strict/echo", &client.token, Some(&nonce())).unwrap();
    assert_eq!(client.caller().field("DPoP", &proof).get("/strict/echo").status, 200);
}

#[test]
fn a_token_that_is_bound_to_something_unknown() {
    for cnf in [json!({ "kid": "key-1" }), json!({}), json!({ "jkt": "short" })] {
        let reply = ALL.with_token(&bound(cnf)).get(PATH);
        refused(&reply, "CMGService_Invalid_Token", "token_confirmation", "Bearer");
    }
}

#[test]
fn a_token_that_is_bound_to_a_certificate_counts_beside_it_only() {
    let own = &ALL.lab().client;
    let other = ALL.lab().clients.client("device-2").unwrap();
    let with_token = |caller: Caller| caller.field("Authorization", &format!("Bearer {}", bound_to(&own.der))).get(PATH);

    assert_eq!(with_token(ALL.device()).status, 200);
    for caller in [ALL.stranger(), ALL.with_certificate(&other)] {
        refused(&with_token(caller), "CMGService_Proof_Required", "proof_certificate", "Bearer error=\"invalid_token\"");
    }
}

#[test]
fn a_token_that_is_bound_to_a_certificate_does_not_outlive_it() {
    let ask = |certificate: &Issued| {
        let token = bound_to(&certificate.der);
        let caller = ALL.with_certificate(certificate).field("Cmg-Authorization", &format!("Bearer {token}"));
        [PATH, "/either/echo"].map(|path| caller.get(path))
    };

    let foreign = Authority::root("Foreign Root").unwrap().client("device-3").unwrap();
    let expired = ALL.lab().clients.issue(&Profile::client("device-4").expired()).unwrap();
    for (certificate, labels) in [
        (&ALL.revoked, ["certificate_revoked"; 2]),
        (&expired, ["certificate_expired"; 2]),
        (&foreign, ["certificate_issuer_not_found"; 2]),
    ] {
        for (reply, label) in ask(certificate).iter().zip(labels) {
            ALL.assert_refused(reply, 403, "CMGService_Client_Certificate_Refused", label);
        }
    }
    for reply in ask(&ALL.blocked) {
        ALL.assert_refused(&reply, 401, "CMGService_Invalid_Token", "token_blocked");
    }
}

/// A token that is bound to the certificate of these bytes.
fn bound_to(der: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    bound(json!({ "x5t#S256": base64url(digest.as_ref()) }))
}

#[test]
fn a_proof_reaches_the_server_where_its_token_does() {
    let client = Client::new();
    let proof = client.key.proof("GET", "https://localhost/forwarding/echo", &client.token, Some(&nonce())).unwrap();

    let reply = client.caller().field("DPoP", &proof).get("/forwarding/echo");

    assert_eq!(reply.echoed("DPoP"), [proof]);
    assert_eq!(reply.echoed("Authorization"), [format!("DPoP {}", client.token)]);
}

#[test]
fn the_applications_own_proof_passes_beside_a_credential_that_wants_none() {
    let beside_token = ALL.with_token(&ALL.lab().token).field("DPoP", "mine").get(PATH);
    let beside_certificate = ALL.device().field("DPoP", "mine").get("/either/echo");

    assert_eq!((beside_token.echoed("DPoP"), beside_certificate.echoed("DPoP")), (vec!["mine".to_owned()], vec!["mine".to_owned()]));
}

#[test]
fn a_key_that_makes_more_proofs_than_are_remembered_of_one_and_the_others_beside_it() {
    let (client, nonce) = (Client::new(), nonce());
    let url = "https://localhost/nowhere";
    let mut claims = ProofKey::claims("GET", url, &client.token).unwrap();
    claims.insert("nonce".to_owned(), nonce.into());
    // From a clock that is ahead: remembered for the longer.
    claims["iat"] = (claims["iat"].as_u64().unwrap() + 50).into();
    let mut proof = |id: u32| {
        claims.insert("jti".to_owned(), id.to_string().into());
        client.key.sign(&claims).unwrap()
    };
    let mut wire = client.caller().open();
    for round in 0..64 {
        let proofs: Vec<_> = (0..64).map(|id| proof(round * 64 + id)).collect();
        proofs.iter().for_each(|proof| wire.send("GET", "/nowhere", &[("DPoP", proof)], b""));
        assert!(proofs.iter().all(|_| wire.read().reason == "CMGService_No_Connection_Point"), "the proof counts, and nobody serves it");
    }

    let reply = client.with(&client.proof());
    ALL.assert_refused(&reply, 429, "CMGService_Too_Many_Requests", "proof_too_many");
    assert_eq!(reply.field("Retry-After"), Some("2"));
    let other = Client::new();
    assert_eq!(other.with(&other.proof()).status, 200);
}

#[test]
fn what_a_proof_has_opened_lasts_longer_than_the_proof_counts() {
    let site = Site::start(publish);
    let key = ProofKey::new().unwrap();
    let token = site.lab().tokens.bound_token("device-1", AUDIENCE, HOUR, json!({ "jkt": key.thumbprint() })).unwrap();
    let caller = site.stranger().field("Authorization", &format!("DPoP {token}"));
    let nonce = caller.get(PATH).field("DPoP-Nonce").unwrap().to_owned();
    let with_proof = |path: &str| {
        let proof = key.proof("GET", &format!("https://localhost{path}"), &token, Some(&nonce)).unwrap();
        caller.clone().field("DPoP", &proof)
    };
    let mut socket = WebSocket::open(&with_proof("/tokens/ws"), "/tokens/ws");
    let mut events = with_proof("/tokens/events").open();
    // Long enough to be looked at again, which happens every five seconds.
    events.send("GET", "/tokens/events?count=80&every=100", &[], b"");
    assert_eq!(events.read_head().unwrap().status, 200);

    site.reload();

    let chunks = std::iter::from_fn(|| events.read_chunk().ok().filter(|chunk| !chunk.is_empty()));
    assert_eq!(chunks.count(), 80);
    let frame = Frame::Text("still there".to_owned());
    socket.send(&frame);
    assert_eq!(socket.receive(), frame);
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
