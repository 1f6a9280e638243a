//! One exchange: verified again, delivered to a server, answered.
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use cmg_core::endpoint::Endpoint;
use cmg_core::refusal::Refusal;
use cmg_core::server::BackMap;
use cmg_core::target::Target;
use cmg_process::log::chain;
use cmg_tunnel::{BodyLength, Claim, ClaimedCredential, Incoming, RequestFrame};
use tracing::{info, warn};

use crate::answer::request_kind;
use crate::claim::{Asker, verify};
use crate::events::RequestDelivered;
use crate::pool::{ServerConnection, connect, logs_in_its_connection};
use crate::proof;
use crate::relay::{Done, Failed, Job, Relay};
use crate::servers::{Server, Service};
use crate::state::{Point, State};
use crate::upstream::Upstream;

/// A request that this side's own copy of the configuration allows.
struct Allowed<'s> {
    endpoint: &'s Endpoint,
    service: &'s Service,
    prefix_len: usize,
    asker: Asker,
}

/// Carries one request out and tells about it.
pub(crate) async fn deliver(incoming: Incoming, point: Arc<Point>) {
    let _in_flight = point.drain.guard();
    let started = Instant::now();
    let Incoming { mut exchange, request, credential, .. } = incoming;
    let state = point.state();
    let mut server_name = String::new();
    let ends_early = exchange.is_received() && !matches!(request.get().body, BodyLength::None | BodyLength::Exact(0));
    let outcome = match allow(&request, ends_early, credential.as_deref(), &state, &point) {
        Ok(allowed) => carry(&mut exchange, &request, credential.as_deref(), &allowed, &point, &mut server_name).await,
        Err(refusal) => {
            if !is_full(refusal) {
                alarm(&request, refusal);
            }
            Err(Failed::Refused(told(refusal)))
        }
    };
    let (status, received, sent, cut, refusal) = match outcome {
        Ok(Done { status, received, sent, cut, .. }) => (status, received, sent, cut, None),
        Err(Failed::Refused(refusal)) => (refusal.row().status, 0, 0, false, Some(refusal)),
        Err(Failed::Stale) => (502, 0, 0, false, Some(Refusal::ServerClosed)),
        Err(Failed::Abandoned) => (0, 0, 0, true, None),
    };
    match refusal {
        Some(refusal) => exchange.refuse(refusal),
        None => drop(exchange),
    }
    let head = request.get();
    point.events.request_delivered(&RequestDelivered {
        id: head.id,
        endpoint: head.endpoint,
        method: head.method,
        target: head.target,
        server: &server_name,
        status,
        refusal,
        received,
        sent,
        took: started.elapsed(),
        cut,
    });
}

/// Decides from this side's own copy whether the request may be made, as if nobody had decided before.
/// `ends_early`: the head announces a body, and that there is none.
fn allow<'s>(
    request: &RequestFrame,
    ends_early: bool,
    claim: Option<&Claim>,
    state: &'s State,
    point: &Point,
) -> Result<Allowed<'s>, Refusal> {
    let head = request.get();
    let endpoint = state.snapshot.endpoints.by_id(head.endpoint).ok_or(Refusal::ConnectorNotPublished)?;
    let service = state.services.get(&endpoint.id).ok_or(Refusal::ConnectorNotPublished)?;
    if ends_early {
        return Err(Refusal::BodyMalformed);
    }
    let target = Target::parse(head.target)?;
    if target.authority.is_some() {
        return Err(Refusal::AmbiguousTarget);
    }
    let (demand, prefix_len) = endpoint.matches(target.path()).ok_or(Refusal::ConnectorNotPublished)?;
    let length = match head.body {
        BodyLength::Exact(length) => Some(length),
        BodyLength::None => Some(0),
        BodyLength::Unknown => None,
    };
    endpoint.admits(head.method, head.upgrade, length)?;
    let asker = verify(claim, demand, endpoint, state)?;
    if let (Asker::Token(facts), Some(Claim { credential: ClaimedCredential::Token(token), .. })) = (&asker, claim) {
        proof::demand(request, token, facts, (endpoint, &state.snapshot.endpoints), &point.proofs)?;
    }
    Ok(Allowed { endpoint, service, prefix_len, asker })
}

/// What the gateway is told of a refusal: whether it knows more than this side, or this side is full, and no other reason.
fn told(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::ConnectorNotPublished => refusal,
        Refusal::ProofTooMany => Refusal::ConnectorProofTooMany,
        Refusal::Overloaded => Refusal::ConnectorOverloaded,
        _ => Refusal::ConnectorRefused,
    }
}

/// Whether no more proofs can be remembered, for which no gateway is to blame.
fn is_full(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::ProofTooMany | Refusal::Overloaded)
}

/// A gateway has let something pass that it should not: it is out of date for a moment, or it is not ours any more.
fn alarm(request: &RequestFrame, refusal: Refusal) {
    let head = request.get();
    warn!(id = %head.id, endpoint = head.endpoint, reason = refusal.row().label, "A gateway forwarded a request that is refused here");
}

/// Finds a server and relays both bodies. A used connection that turns out to be closed is replaced, once, where asking again harms nobody.
async fn carry(
    exchange: &mut cmg_tunnel::Exchange,
    request: &RequestFrame,
    claim: Option<&Claim>,
    allowed: &Allowed<'_>,
    point: &Point,
    server_name: &mut String,
) -> Result<Done, Failed> {
    let repeatable = proof::may_repeat(request);
    let mut fresh = false;
    loop {
        let (server, mut connection) = reach(allowed, point, fresh).await?;
        server_name.clone_from(&server.authority);
        let mut out = Vec::with_capacity(1024);
        upstream(request, claim, allowed).push_head(&server, &mut out);
        let relay = Relay::new(exchange, &mut connection, job(request, allowed), out);
        match relay.run().await {
            Ok(done) => {
                if done.reusable && !logs_in_its_connection(request.fields()) {
                    point.pool.keep(&server, connection);
                }
                return Ok(done);
            }
            Err(Failed::Stale) if repeatable && !fresh => fresh = true,
            Err(failed) => return Err(failed),
        }
    }
}

fn upstream<'a>(request: &'a RequestFrame, claim: Option<&'a Claim>, allowed: &'a Allowed<'_>) -> Upstream<'a> {
    let Allowed { endpoint, service, prefix_len, asker } = allowed;
    Upstream { request, prefix_len: *prefix_len, claim, asker, endpoint, service }
}

fn job<'a>(request: &'a RequestFrame, allowed: &'a Allowed<'_>) -> Job<'a> {
    let head = request.get();
    let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).unwrap_or_default();
    let map = BackMap {
        endpoint: allowed.endpoint,
        delivery: &allowed.service.delivery,
        external: allowed.endpoint.external(head.authority),
        prefix: text(head.target.get(..allowed.prefix_len).unwrap_or_default()),
    };
    Job {
        endpoint: allowed.endpoint,
        service: allowed.service,
        map: Some(map),
        kind: request_kind(head.method),
        body: head.body,
        upgrade: head.upgrade,
        expects_continue: head.expects_continue,
    }
}

/// A connection to the first server that can be reached; an idle one unless `fresh`.
async fn reach(allowed: &Allowed<'_>, point: &Point, fresh: bool) -> Result<(Arc<Server>, ServerConnection), Failed> {
    let mut refusal = Refusal::ServerUnreachable;
    for server in allowed.service.order(sticky_key(&allowed.asker)) {
        if let Some(connection) = (!fresh).then(|| point.pool.take(server)).flatten() {
            return Ok((Arc::clone(server), connection));
        }
        match connect(server, allowed.service.delivery.connect_time).await {
            Ok(connection) => {
                if server.reached() {
                    info!(server = server.authority, "Server reached again");
                }
                return Ok((Arc::clone(server), connection));
            }
            Err(unreachable) => {
                if server.shun() {
                    warn!(server = server.authority, error = chain(unreachable.error.as_ref()), "Server not reached");
                }
                refusal = unreachable.refusal;
            }
        }
    }
    Err(Failed::Refused(refusal))
}

/// What a client is known by where one client stays with one server.
fn sticky_key(asker: &Asker) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    match asker {
        Asker::Certificate(facts) => facts.thumbprint_sha256.hash(&mut hasher),
        Asker::Token(facts) => (&facts.issuer, &facts.subject).hash(&mut hasher),
        Asker::Nobody => return None,
    }
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_told_that_this_side_is_full_or_refuses_and_not_why() {
        for refusal in Refusal::ALL {
            let expected = match refusal {
                Refusal::ConnectorNotPublished => Refusal::ConnectorNotPublished,
                Refusal::ProofTooMany => Refusal::ConnectorProofTooMany,
                Refusal::Overloaded => Refusal::ConnectorOverloaded,
                _ => Refusal::ConnectorRefused,
            };
            assert_eq!(told(refusal), expected);
        }
    }
}
