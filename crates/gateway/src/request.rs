//! One request, from its head to the last byte of its answer.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cmg_core::endpoint::Endpoint;
use cmg_core::ids::RequestId;
use cmg_core::method;
use cmg_core::refusal::Refusal;
use cmg_core::target::Target;
use cmg_credentials::facts::certificate_facts;
use cmg_http1::{Fault, Framing, Known, RequestHead, Version, is_hop_by_hop};
use cmg_tunnel::gateway::{Hub, Opening};
use cmg_tunnel::{BodyLength, Exchange, Fields, RequestHead as TunnelHead, Way};
use pki_types::CertificateDer;

use crate::admission::{Admitted, Door, Visitor, admit, find, host_field};
use crate::answer::{self, Setting};
use crate::connection::{After, Client, Received};
use crate::credential;
use crate::events::RequestFinished;
use crate::proof::Due;
use crate::relay::{Done, Failed, Relay, Stage};
use crate::standing::{Basis, Standing};
use crate::state::{Gateway, State};
use crate::tenant;
use cmg_process::dice;

/// Times a request may be carried: once, and once more where that cannot do anything twice.
pub(crate) const TRIES: usize = 2;

/// What the log will say about a request.
pub(crate) struct Account {
    pub(crate) id: RequestId,
    pub(crate) by: &'static str,
    pub(crate) who: Arc<str>,
    pub(crate) endpoint: String,
    pub(crate) detail: Option<String>,
}

/// The first bytes of a body, which go with the head.
pub(crate) struct FirstBody {
    pub(crate) bytes: Bytes,
    pub(crate) whole: bool,
}

/// Serves one request and says what becomes of the connection.
pub(crate) async fn serve(client: &mut Client, gateway: &Gateway, received: Received) -> After {
    let state = gateway.state();
    let mut account = Account::open();
    let setting = setting(account.id, &received.head, &received.bytes, gateway);
    let done = match carry(client, gateway, &state, &received, setting, &mut account).await {
        Ok(done) => done,
        Err(failed) => fail(client, gateway, &state, &received, setting, &account, failed).await,
    };
    account.close(gateway, client.address, &received, &done);
    done.after
}

/// Answers a head that is no request.
pub(crate) async fn refuse_head(client: &mut Client, gateway: &Gateway, refusal: Refusal, fault: Option<Fault>) -> After {
    let id = request_id();
    let mut out = Vec::new();
    answer::push_refusal(
        &mut out,
        refusal,
        &[],
        Setting { id, version: Version::Http11, is_head: false, keep_alive: false, nonce: None, is_bound: false },
    );
    client.write(&out).await;
    gateway.events.request_finished(&RequestFinished {
        id,
        client: client.address,
        method: b"",
        target: b"",
        endpoint: "",
        by: "none",
        who: "",
        status: refusal.row().status,
        refusal: Some(refusal),
        detail: fault.map(Fault::reason),
        received: 0,
        sent: 0,
        took: Duration::ZERO,
        cut: false,
    });
    After::Close
}

/// Admits a request, carries it through the tunnel, and relays both bodies.
async fn carry(
    client: &mut Client,
    gateway: &Gateway,
    state: &State,
    received: &Received,
    mut setting: Setting,
    account: &mut Account,
) -> Result<Done, Failed> {
    let Received { head, bytes, .. } = received;
    if let Some(told) = tenant_told(client, gateway, state, received, account) {
        return tell(client, head, setting, &told?).await;
    }
    let found = find(head, bytes, client.door(), state)?;
    let endpoint = found.endpoint;
    account.endpoint.push_str(endpoint.id.as_str());
    let mut body = None;
    let mut avoid = Vec::new();
    loop {
        let due = if avoid.is_empty() { Due::Now(&gateway.prover, setting.id) } else { Due::Done };
        let visitor = Visitor { chain: Client::chain(&client.stream), known: &mut client.known, address: client.address.ip(), due };
        let admitted = admit(found, received, visitor, state, &gateway.clients).inspect_err(|refusal| {
            account.detail = refused_certificate(*refusal, Client::chain(&client.stream), state, endpoint);
        })?;
        account.by = admitted.by;
        account.who = Arc::clone(&admitted.who);
        setting.nonce = setting.nonce.or(admitted.nonce);
        setting.is_bound = admitted.is_bound;
        let _admission = gateway.clients.admit(&admitted.client, state.limits.rate, state.limits.concurrent_requests)?;
        let standing = Standing::new(gateway, received, &endpoint.id, Basis::of(&admitted, state));
        let body = body.get_or_insert_with(|| FirstBody::take(head.framing, &mut client.input));
        let exchange = open(gateway, admitted, received, body, client.address, setting.id, &avoid)?;
        let way = exchange.way();
        match Relay::new(client, exchange, endpoint, head, setting, body, standing).run().await {
            Err(failed) if avoid.len() + 1 < TRIES && may_repeat(&failed, head, bytes, body) => {
                avoid.push(way);
                gateway.events.replayed(setting.id);
            }
            outcome => return outcome,
        }
    }
}

/// What the gateway itself knows about an Entra ID tenant, where that is asked.
fn tenant_told(
    client: &mut Client,
    gateway: &Gateway,
    state: &State,
    received: &Received,
    account: &mut Account,
) -> Option<Result<String, Refusal>> {
    // The door is a part of the client that stays as it is while what is known of the client may change.
    let (port, server_name) = (client.door().port, client.door().server_name.map(str::to_owned));
    let door = Door { port, server_name: server_name.as_deref() };
    tenant::answer(received, door, client.address.ip(), &mut client.known, state, &gateway.clients, &mut account.endpoint)
}

/// Answers by what the gateway itself knows.
async fn tell(client: &mut Client, head: &RequestHead, setting: Setting, text: &str) -> Result<Done, Failed> {
    let keep_alive = setting.keep_alive && head.framing == Framing::None;
    let mut out = Vec::new();
    answer::push_own(&mut out, text, Setting { keep_alive, ..setting });
    let after = match client.write(&out).await {
        true if keep_alive => After::Again,
        true => After::Close,
        false => After::Cut,
    };
    let sent = if setting.is_head { 0 } else { text.len() as u64 };
    Ok(Done { after, status: 200, refusal: None, received: 0, sent })
}

/// Whether a failed request may be carried again: provably nothing of it was acted on, or acting twice does no harm and its answer
/// has not begun. The whole request must still be at hand.
pub(crate) fn may_repeat(failed: &Failed, head: &RequestHead, bytes: &[u8], body: &FirstBody) -> bool {
    let harmless = method::may_repeat(head.method.of(bytes)) && head.framing == Framing::None && !head.upgrade;
    match failed.stage {
        Stage::NotSent => body.whole,
        Stage::Unanswered => harmless,
        Stage::Refused => false,
    }
}

/// Opens an exchange with a connection point that serves the endpoint.
pub(crate) fn open(
    gateway: &Gateway,
    admitted: Admitted<'_, '_>,
    received: &Received,
    body: &FirstBody,
    client: SocketAddr,
    id: RequestId,
    avoid: &[Way],
) -> Result<Exchange, Refusal> {
    let Received { head, bytes, .. } = received;
    let tunnel_head = TunnelHead {
        id,
        credential: 0,
        endpoint: admitted.permit.endpoint().id.as_str(),
        method: head.method.of(bytes),
        target: origin_form(head.target.of(bytes)),
        authority: host_field(head, bytes).as_bytes(),
        client,
        upgrade: head.upgrade,
        trailers: head.te_trailers,
        expects_continue: head.expect_continue,
        body: body_length(head.framing),
    };
    let opening = Opening { head: tunnel_head, credentials: admitted.credentials, body: &body.bytes, whole: body.whole, avoid };
    let fields = |fields: &mut Fields<'_>| push_fields(fields, head, bytes, admitted.token_field);
    gateway.hub.open(&admitted.permit, opening, fields, dice::draw())
}

/// A target without its host name: the tunnel carries the one that was checked, and no absolute form.
fn origin_form(target: &[u8]) -> &[u8] {
    match target {
        [b'/', ..] => target,
        _ => Target::parse(target).map_or(target, |target| target.path_and_query),
    }
}

fn body_length(framing: Framing) -> BodyLength {
    match framing {
        Framing::None => BodyLength::None,
        Framing::Length(length) => BodyLength::Exact(length),
        Framing::Chunked | Framing::UntilClose => BodyLength::Unknown,
    }
}

/// Passes on the fields that are for the server: not those about this connection, and not the token, which ends here.
fn push_fields(fields: &mut Fields<'_>, head: &RequestHead, bytes: &[u8], token_field: Option<Known>) {
    let named_by_connection =
        |name: &[u8]| cmg_http1::connection_options(&head.fields, bytes).any(|option| cmg_http1::eq_ignore_case(option, name));
    let has_options = head.fields.iter().any(|field| field.known == Known::Connection);
    for field in &head.fields {
        let ends_here = match field.known {
            Known::Trailer => false,
            Known::Upgrade => !head.upgrade,
            Known::Host | Known::ContentLength | Known::Expect => true,
            known if Some(known) == token_field => true,
            Known::Other if has_options => named_by_connection(field.name.of(bytes)),
            known => is_hop_by_hop(known),
        };
        if !ends_here {
            fields.push(field.name.of(bytes), field.value.of(bytes));
        }
    }
}

/// Writes the gateway's own answer to a request that is not served.
async fn fail(
    client: &mut Client,
    gateway: &Gateway,
    state: &State,
    received: &Received,
    setting: Setting,
    account: &Account,
    failed: Failed,
) -> Done {
    let keep_alive = setting.keep_alive && received.head.framing == Framing::None && !client.known.is_hopeless();
    let allow = tenant::methods(state, &account.endpoint);
    let mut out = Vec::new();
    let nonce = gateway.prover.nonce_for(failed.refusal);
    answer::push_refusal(&mut out, failed.refusal, &allow, Setting { keep_alive, nonce, ..setting });
    let after = match client.write(&out).await {
        true if keep_alive => After::Again,
        true => After::Close,
        false => After::Cut,
    };
    let status = failed.refusal.row().status;
    Done { after, status, refusal: Some(failed.refusal), received: failed.received, sent: 0 }
}

/// For the log: whose certificate was refused, so that a device can be found that is not known by it; and the issuer whose certificate
/// is missing.
pub(crate) fn refused_certificate(
    refusal: Refusal,
    chain: Option<&[CertificateDer<'static>]>,
    state: &State,
    endpoint: &Endpoint,
) -> Option<String> {
    if !refusal.row().label.starts_with("certificate_") {
        return None;
    }
    let chain = chain?;
    let facts = certificate_facts(chain.first()?).ok()?;
    let thumbprint = credential::hex(&facts.thumbprint);
    let mut detail = format!("{thumbprint}, subject {}, issuer {}", facts.subject, facts.issuer);
    if refusal == Refusal::CertificateIssuerNotFound
        && let Some(issuer) = endpoint.trust.as_ref().and_then(|trust| state.verifier.issuer_not_found(trust, chain))
    {
        detail.insert_str(0, &format!("issuer not found: {issuer}; "));
    }
    Some(detail)
}

impl Account {
    /// The account of a request that has just come.
    pub(crate) fn open() -> Self {
        Self { id: request_id(), by: "none", who: Arc::default(), endpoint: String::new(), detail: None }
    }

    /// Tells log and metrics how the request ended.
    pub(crate) fn close(&self, gateway: &Gateway, client: SocketAddr, received: &Received, done: &Done) {
        let Received { head, bytes, at } = received;
        gateway.events.request_finished(&RequestFinished {
            id: self.id,
            client,
            method: head.method.of(bytes),
            target: head.target.of(bytes),
            endpoint: &self.endpoint,
            by: self.by,
            who: &self.who,
            status: done.status,
            refusal: done.refusal,
            detail: self.detail.as_deref(),
            received: done.received,
            sent: done.sent,
            took: at.elapsed(),
            cut: done.after == After::Cut,
        });
    }
}

impl FirstBody {
    fn take(framing: Framing, input: &mut BytesMut) -> Self {
        let length = match framing {
            Framing::None => 0,
            Framing::Length(length) => length,
            Framing::Chunked | Framing::UntilClose => return Self { bytes: Bytes::new(), whole: false },
        };
        let at_hand = usize::try_from(length).unwrap_or(usize::MAX).min(input.len());
        let first = Hub::first_bytes(at_hand);
        Self { bytes: input.split_to(first).freeze(), whole: first as u64 == length }
    }
}

pub(crate) fn request_id() -> RequestId {
    RequestId(u128::from(dice::draw()) << 64 | u128::from(dice::draw()))
}

fn setting(id: RequestId, head: &RequestHead, bytes: &[u8], gateway: &Gateway) -> Setting {
    Setting {
        id,
        version: head.version,
        is_head: head.method.of(bytes) == b"HEAD",
        keep_alive: head.keep_alive && !gateway.drain.has_begun(),
        nonce: None,
        is_bound: false,
    }
}
