//! Tokens bound to a client's key, at gateways that a site server manages: what the owner can do with one, and what a thief cannot.

use std::time::Duration;

use cmg_lab::ProofKey;
use cmg_lab::token::AUDIENCE;
use serde_json::json;

use crate::support::{ManagedSite, Reply};

const PATH: &str = "/bound/echo";
const URL: &str = "https://localhost/bound/echo";

/// A system with two gateway instances, and a client with a key.
struct Owner {
    managed: ManagedSite,
    key: ProofKey,
    token: String,
}

impl Owner {
    fn new() -> Self {
        let managed = ManagedSite::of(2, 1);
        let endpoint = json!({
            "name": "bound",
            "prefix": "/bound",
            "face": "server",
            "proof": "required",
            "token_kinds": ["site"],
            "audiences": [AUDIENCE],
            "servers": [managed.site.origin.url()],
        });
        managed.api.add("endpoints", &endpoint).unwrap();
        managed.everywhere();
        let key = ProofKey::new().unwrap();
        let token = bound(&managed, json!({ "jkt": key.thumbprint() }));
        Self { managed, key, token }
    }

    /// Asks an instance with a token and a proof.
    fn asks(&self, instance: usize, token: &str, proof: Option<&str>) -> Reply {
        let caller = self.managed.callers(None).remove(instance).field("Authorization", &format!("DPoP {token}"));
        match proof {
            Some(proof) => caller.field("DPoP", proof),
            None => caller,
        }
        .get(PATH)
    }

    fn proof(&self, nonce: &str) -> String {
        self.key.proof("GET", URL, &self.token, Some(nonce)).unwrap()
    }
}

fn bound(managed: &ManagedSite, cnf: serde_json::Value) -> String {
    managed.site.lab().tokens.bound_token("device-1", AUDIENCE, Duration::from_secs(3600), cnf).unwrap()
}

/// What a refused client is told: the phrase, and the nonce to use.
#[track_caller]
fn told(reply: &Reply) -> (&str, String) {
    assert_eq!(reply.status, 401, "{reply:?}");
    (&reply.reason, reply.field("DPoP-Nonce").unwrap().to_owned())
}

#[test]
fn a_bound_token_is_its_owners_at_every_instance_and_nobody_elses() {
    let owner = Owner::new();
    let bare = owner.asks(0, &owner.token, None);
    let (phrase, nonce) = told(&bare);
    assert_eq!(phrase, "CMGService_Proof_Required");

    let proof = owner.proof(&nonce);
    assert_eq!(owner.asks(0, &owner.token, Some(&proof)).status, 200);
    assert_eq!(told(&owner.asks(0, &owner.token, Some(&proof))).0, "CMGService_Invalid_Proof", "once only");

    let thief = ProofKey::new().unwrap().proof("GET", URL, &owner.token, Some(&nonce)).unwrap();
    assert_eq!(told(&owner.asks(0, &owner.token, Some(&thief))).0, "CMGService_Invalid_Proof", "another key");

    let for_other = owner.key.proof("GET", URL, "another token", Some(&nonce)).unwrap();
    assert_eq!(told(&owner.asks(0, &owner.token, Some(&for_other))).0, "CMGService_Invalid_Proof", "another token");
    for (method, url) in [("POST", URL), ("GET", "https://localhost/bound/other")] {
        let elsewhere = owner.key.proof(method, url, &owner.token, Some(&nonce)).unwrap();
        assert_eq!(told(&owner.asks(0, &owner.token, Some(&elsewhere))).0, "CMGService_Invalid_Proof", "{method} {url}");
    }
    assert_eq!(owner.managed.site.origin.requests(), 1);
}

#[test]
fn a_proof_for_one_instance_does_not_count_at_another_which_tells_its_own_nonce() {
    let owner = Owner::new();
    let (_, first) = told(&owner.asks(0, &owner.token, None));

    let reply = owner.asks(1, &owner.token, Some(&owner.proof(&first)));
    let (phrase, second) = told(&reply);

    assert_eq!(phrase, "CMGService_Proof_Nonce");
    assert!(reply.field("WWW-Authenticate").unwrap().contains("use_dpop_nonce"));
    assert_eq!(owner.asks(1, &owner.token, Some(&owner.proof(&second))).status, 200);
}
