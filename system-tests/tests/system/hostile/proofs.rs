//! A gateway that is not ours any more, and the proofs of possession that it has seen: it can use none twice here, for nothing else than
//! what it was made for, and make none.

use std::time::Duration;

use cmg_core::refusal::Refusal;
use cmg_lab::token::AUDIENCE;
use cmg_lab::{Lab, ProofKey};
use serde_json::{Value, json};

use super::claims::{Asked, CONNECTOR_REFUSED, SERVER, ask, first_of, refused, token};
use super::half::{FalseGateway, FalsePoint};
use super::wire::{kind, response};
use crate::support::{Caller, field, line_of, wait};

const URL: &str = "https://localhost/CCM_Proxy_ServerAuth/72057594037927937/app";

/// A client, and its token that is bound to its key.
struct Client {
    key: ProofKey,
    token: String,
}

impl Client {
    fn of(lab: &Lab) -> Self {
        let key = ProofKey::new().unwrap();
        let cnf = json!({ "jkt": key.thumbprint() });
        let token = lab.tokens.bound_token("device-1", AUDIENCE, Duration::from_secs(3600), cnf).unwrap();
        Self { key, token }
    }

    fn proof(&self) -> String {
        self.key.proof("GET", URL, &self.token, Some("whatever the gateway asked for")).unwrap()
    }

    /// A good proof but for one claim.
    fn bent(&self, name: &str, value: Value) -> String {
        let mut claims = ProofKey::claims("GET", URL, &self.token).unwrap();
        claims.insert(name.to_owned(), value);
        self.key.sign(&claims).unwrap()
    }

    /// A request with these proofs, as a gateway tells of it.
    fn asks(&self, proofs: &[&str]) -> Asked {
        let fields = proofs.iter().map(|proof| ("DPoP", (*proof).to_owned())).collect();
        Asked { fields, ..Asked::new(SERVER, Some(token(&self.token))) }
    }
}

#[test]
fn a_proof_reaches_a_server_once_and_once_more_under_the_same_request_id() {
    let liar = FalseGateway::start(|_| ());
    let client = Client::of(&liar.setup.lab);
    let proof = client.proof();
    let asked = client.asks(&[&proof]);

    assert_eq!(ask(&liar, &asked), 200);
    assert_eq!(ask(&liar, &asked), 200, "the tunnel was lost before the answer, and the gateway asks again");
    assert_eq!(refused(&liar, &asked), CONNECTOR_REFUSED, "and again");
    assert_eq!(liar.setup.origin.requests(), 2);
    assert_eq!(liar.setup.origin.seen().pop().unwrap().field("DPoP"), None, "it ends here, as its token does");

    let proof = client.proof();
    assert_eq!(ask(&liar, &client.asks(&[&proof])), 200);
    assert_eq!(refused(&liar, &Asked { id: 8, ..client.asks(&[&proof]) }), CONNECTOR_REFUSED, "another request");
    let line = line_of(liar.point(), "the warning", |line| field(line, "reason") == "proof_replayed");
    assert_eq!(field(&line, "endpoint"), "app");
}

#[test]
fn what_may_do_something_twice_is_not_repeated_under_any_id() {
    let liar = FalseGateway::start(|_| ());
    let client = Client::of(&liar.setup.lab);
    let proof = client.key.proof("POST", URL, &client.token, None).unwrap();
    let asked = Asked { method: "POST".to_owned(), ..client.asks(&[&proof]) };

    assert_eq!(ask(&liar, &asked), 200);
    assert_eq!(refused(&liar, &asked), CONNECTOR_REFUSED);
    assert_eq!(liar.setup.origin.requests(), 1);
}

#[test]
fn a_proof_that_is_missing_doubled_altered_or_for_something_else_reaches_no_server() {
    let liar = FalseGateway::start(|_| ());
    let client = Client::of(&liar.setup.lab);
    let (good, other) = (client.proof(), client.proof());
    let thief = ProofKey::new().unwrap().proof("GET", URL, &client.token, None).unwrap();
    let altered = {
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let (other_signed, _) = other.rsplit_once('.').unwrap();
        assert_ne!(signed, other_signed);
        format!("{other_signed}.{signature}")
    };
    let asked = |proof: &str| client.asks(&[proof]);
    let wrong = [
        ("none", client.asks(&[])),
        ("two", client.asks(&[&good, &other])),
        ("noise", asked("a.b.c")),
        ("by another key", asked(&thief)),
        ("with another's signature", asked(&altered)),
        ("for another method", asked(&client.bent("htm", json!("POST")))),
        ("for another path", asked(&client.bent("htu", json!(format!("{URL}/x"))))),
        ("for another host", asked(&client.bent("htu", json!(URL.replace("localhost", "other.lab"))))),
        ("for another token", asked(&client.bent("ath", json!("AAAA")))),
        ("of last week", asked(&client.bent("iat", json!(1_700_000_000)))),
        ("of a request with another path", Asked { target: format!("{SERVER}/other"), ..asked(&good) }),
        ("of a request with another method", Asked { method: "DELETE".to_owned(), ..asked(&good) }),
    ];

    for (name, asked) in wrong {
        assert_eq!(refused(&liar, &asked), CONNECTOR_REFUSED, "{name}");
    }

    assert_eq!(liar.setup.origin.requests(), 0);
    assert_eq!(ask(&liar, &asked(&good)), 200, "what was refused has spent none");
}

#[test]
fn a_token_that_is_bound_to_nothing_reaches_no_server_where_proofs_are_required() {
    let liar = FalseGateway::start(|setup| setup.endpoint("strict", "face = \"server\"\nproof = \"required\""));
    let asked = |credential: &str| Asked { endpoint: "strict".to_owned(), ..Asked::new("/strict/echo", Some(token(credential))) };

    assert_eq!(refused(&liar, &asked(&liar.setup.lab.token)), CONNECTOR_REFUSED);

    let client = Client::of(&liar.setup.lab);
    let proof = client.key.proof("GET", "https://localhost/strict/echo", &client.token, None).unwrap();
    assert_eq!(ask(&liar, &Asked { fields: vec![("DPoP", proof)], ..asked(&client.token) }), 200);
}

#[test]
fn a_request_that_is_carried_again_needs_no_other_proof() {
    let mut liar = FalsePoint::start(|_| ());
    let mut first = liar.session(1);
    let client = Client::of(&liar.setup.lab);
    let caller = Caller::new(&liar.setup.lab, None).field("Authorization", &format!("DPoP {}", client.token));
    let nonce = caller.get(SERVER).field("DPoP-Nonce").unwrap().to_owned();
    let proof = client.key.proof("GET", URL, &client.token, Some(&nonce)).unwrap();
    let mut wire = caller.field("DPoP", &proof).open();
    wire.send("GET", SERVER, &[], b"");
    let asked = wait(first.expect(kind::REQUEST));

    let mut second = liar.serving(2, b"\x00\x01\x03app");
    drop(first);

    wait(async {
        let again = second.expect(kind::REQUEST).await;
        assert_eq!(again.payload[..16], asked.payload[..16], "the same request");
        assert!(again.payload.windows(proof.len()).any(|bytes| bytes == proof.as_bytes()), "with its proof");
        second.send(kind::RESPONSE | kind::END, again.exchange, &response(204, &[])).await.unwrap();
    });
    assert_eq!(wire.read().status, 204);
    wire.send("GET", SERVER, &[], b"");
    assert_eq!(wire.read().status, Refusal::ProofReplayed.row().status, "for the next request it does not count");
}

#[test]
fn a_key_has_so_many_proofs_at_a_time_and_its_client_is_told() {
    let liar = FalseGateway::start(|_| ());
    let client = Client::of(&liar.setup.lab);
    let too_many = Refusal::ALL.iter().find(|refusal| refusal.row().label == "connector_proof_too_many").copied().unwrap();

    let (counted, last) = wait(async {
        let mut wire = liar.session().await;
        wire.send(kind::CREDENTIAL, 1, &token(&client.token)).await.unwrap();
        for number in 1..10_000 {
            wire.send(kind::REQUEST | kind::END, number, &client.asks(&[&client.proof()]).head()).await.unwrap();
            let frame = first_of(&mut wire, &[kind::RESPONSE, kind::REFUSE]).await;
            if frame.kind == kind::REFUSE | kind::END {
                return (number - 1, u16::from_be_bytes(frame.payload.try_into().unwrap()));
            }
        }
        panic!("there is no end");
    });

    assert_eq!(last, too_many.code());
    assert_eq!(too_many.row().status, 429);
    assert!(counted >= 1_000, "{counted}: a client at work is far from it");
}
