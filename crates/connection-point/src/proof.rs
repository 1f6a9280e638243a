//! Proofs of possession, verified again: what a gateway cannot make up, and what it cannot use twice here.
//!
//! Verified are the signature, that its key is the one which the token is bound to, and that the proof is for this token, method, host and
//! path, and about now. The nonce is the gateway's own and says nothing here; in its place stands what this side has seen itself.
//! Absent on purpose: the certificate that a token may be bound to, which only the gateway has seen in a handshake.
use cmg_core::endpoint::{Endpoint, Endpoints};
use cmg_core::identity::TokenFacts;
use cmg_core::method;
use cmg_core::refusal::Refusal;
use cmg_core::replay::Use;
use cmg_core::target::Target;
use cmg_credentials::{Proofs, dpop};
use cmg_http1::Known;
use cmg_tunnel::{BodyLength, RequestFrame};

use crate::state::now;

/// Seconds that a proof may be old, and that clocks may be ahead: what a gateway lets pass at the edge of its 60, where its clock and this
/// one are as far apart.
pub(crate) const LEEWAY: u64 = 120;

/// Demands the proof of a request whose `token` is bound to a key.
pub(crate) fn demand(
    request: &RequestFrame,
    token: &[u8],
    facts: &TokenFacts,
    (endpoint, endpoints): (&Endpoint, &Endpoints),
    proofs: &Proofs,
) -> Result<(), Refusal> {
    let Some(jkt) = &facts.confirmation.key else { return Ok(()) };
    let head = request.get();
    let mut fields = request.fields().filter(|(name, _)| Known::of(name) == Known::Dpop);
    let (_, proof) = fields.next().ok_or(Refusal::ProofMissing)?;
    if fields.next().is_some() {
        return Err(Refusal::ProofAmbiguous);
    }
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Refusal::ProofMalformed);
    let authority = text(head.authority)?;
    if !endpoints.may_be_at(endpoint, authority) {
        return Err(Refusal::ProofUrl);
    }
    let url = dpop::url(authority, Target::parse(head.target)?.path()).ok_or(Refusal::ProofUrl)?;
    let asked = dpop::Request { method: text(head.method)?, url: &url, access_token: Some(text(token)?), nonces: &[] };
    proofs.count(proof, asked, jkt, Use { request: head.id, may_repeat: may_repeat(request) }, now()).map(drop)
}

/// Whether the request may come twice: then a gateway that has lost its tunnel before the answer sends it again.
pub(crate) fn may_repeat(request: &RequestFrame) -> bool {
    let head = request.get();
    method::may_repeat(head.method) && head.body == BodyLength::None && !head.upgrade
}
