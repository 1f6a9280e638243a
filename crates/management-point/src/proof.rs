//! Proofs of possession of strangers, which nobody has verified before: with a nonce of this instance, and each counts once.

use cmg_core::ids::RequestId;
use cmg_core::refusal::Refusal;
use cmg_core::replay::Use;
use cmg_core::time::WallTime;
use cmg_credentials::dpop::Request;
use cmg_credentials::{Nonce, Nonces, Proofs};

/// Seconds that a proof may be old, and that a client's clock may be ahead.
const LEEWAY: u64 = 60;

/// Verifies proofs, as long as the process lasts.
pub(crate) struct Prover {
    nonces: Nonces,
    proofs: Proofs,
}

impl Default for Prover {
    fn default() -> Self {
        Self { nonces: Nonces::default(), proofs: Proofs::new(LEEWAY) }
    }
}

impl Prover {
    /// The nonce to make proofs with at `now`.
    pub(crate) fn nonce(&self, now: WallTime) -> Nonce {
        self.nonces.at(now)[0]
    }

    /// Verifies the proof of a request by the holder of a token that is bound to `jkt`, and counts it. A nonce comes out where the client
    /// should use another one from here on.
    pub(crate) fn count(&self, proof: &str, asked: Asked<'_>, id: RequestId, now: WallTime) -> Result<Option<Nonce>, Refusal> {
        let [present, before] = self.nonces.at(now);
        let nonces = [present.as_str(), before.as_str()];
        let request = Request { method: asked.method, url: asked.url, access_token: Some(asked.token), nonces: &nonces };
        let facts = self.proofs.count(proof.as_bytes(), request, asked.jkt, Use { request: id, may_repeat: false }, now)?;
        Ok((facts.nonce.as_deref() != Some(present.as_str())).then_some(present))
    }
}

/// What a proof has to be about.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    pub(crate) token: &'a str,
    /// The thumbprint of the key that the token is bound to.
    pub(crate) jkt: &'a str,
}
