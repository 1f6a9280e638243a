//! One stream: from its head to a permit at the connection's desk, then in a task of its own to the end of its answer.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cmg_core::endpoint::Endpoint;
use cmg_core::refusal::Refusal;
use cmg_http1::Fault;
use cmg_process::shutdown::InFlight;
use cmg_transport::TlsStream;
use cmg_tunnel::{Exchange, Way};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::request::Parts;
use http::{Request, Response};
use pki_types::CertificateDer;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::relay::Relay;
use super::{answer, head};
use crate::admission::{Door, Visitor, admit, find};
use crate::clients::Admission;
use crate::connection::{After, LINGER, LINGER_BYTES, Received};
use crate::credential::Known;
use crate::events::RequestFinished;
use crate::proof::Due;
use crate::relay::{Done, Failed};
use crate::request::{self, Account, FirstBody, TRIES, may_repeat};
use crate::standing::{Basis, Guest, Standing};
use crate::state::{Gateway, State};
use crate::tenant;
use cmg_credentials::Nonce;

/// What the connection knows about its client; every stream is admitted here.
pub(super) struct Desk {
    pub(super) caller: Arc<Caller>,
    known: Known,
    gateway: Arc<Gateway>,
}

/// Who is at the other end of the connection.
pub(super) struct Caller {
    pub(super) address: SocketAddr,
    port: u16,
    server_name: Option<String>,
    chain: Option<Vec<CertificateDer<'static>>>,
}

/// A request, and the state it is decided by to its end.
struct Asked {
    received: Received,
    state: Arc<State>,
    account: Account,
    /// The part of the body that goes with the head: none of it. Whole where there is no body.
    first: FirstBody,
    /// Ways on which this request has failed.
    avoid: Vec<Way>,
}

/// A request that was let through.
struct Admitted {
    exchange: Exchange,
    endpoint: Endpoint,
    basis: Basis,
    nonce: Option<Nonce>,
    is_bound: bool,
    _admission: Admission,
}

/// A stream asks the desk once more.
pub(super) struct Again {
    asked: Asked,
    reply: oneshot::Sender<(Asked, Result<Admitted, Refusal>)>,
}

/// A stream whose request was let through.
pub(super) struct Stream {
    asked: Asked,
    admitted: Admitted,
    client: Client,
    caller: Arc<Caller>,
    again: mpsc::UnboundedSender<Again>,
    gateway: Arc<Gateway>,
    in_flight: InFlight,
}

/// The client's end of a stream.
pub(super) struct Client {
    pub(super) body: RecvStream,
    pub(super) respond: SendResponse<Bytes>,
    pub(super) is_head: bool,
    /// The nonce that it is told to use in proofs.
    pub(super) nonce: Option<Nonce>,
    /// Its token is bound to its key.
    pub(super) is_bound: bool,
}

/// What may still come of the body of a request that has its answer.
pub(super) struct Rest {
    body: RecvStream,
    in_flight: InFlight,
}

/// How a stream ended. The request counts as under way until this is dropped.
pub(super) struct Ended {
    /// The client broke it off, or the protocol.
    pub(super) is_broken_off: bool,
    _in_flight: InFlight,
}

impl Desk {
    pub(super) fn new(tls: &TlsStream, address: SocketAddr, port: u16, server_name: Option<String>, gateway: Arc<Gateway>) -> Self {
        let chain = tls.peer_certificates().map(<[_]>::to_vec);
        Self { caller: Arc::new(Caller { address, port, server_name, chain }), known: Known::default(), gateway }
    }

    /// Decides about a request and opens its exchange.
    fn admit(&mut self, asked: &mut Asked) -> Result<Admitted, Refusal> {
        let Asked { received, state, account, first, avoid } = asked;
        let Guest { door, chain, address } = self.caller.guest();
        let found = find(&received.head, &received.bytes, door, state)?;
        let endpoint = found.endpoint;
        account.endpoint = endpoint.id.as_str().to_owned();
        if !endpoint.h2 {
            // Reached over a connection that was made for another name, or before a reload: the client comes again with HTTP/1.1.
            return Err(Refusal::Misdirected);
        }
        let due = if avoid.is_empty() { Due::Now(&self.gateway.prover, account.id) } else { Due::Done };
        let visitor = Visitor { chain, known: &mut self.known, address, due };
        let admitted = admit(found, received, visitor, state, &self.gateway.clients).inspect_err(|refusal| {
            account.detail = request::refused_certificate(*refusal, chain, state, endpoint);
        })?;
        account.by = admitted.by;
        account.who = Arc::clone(&admitted.who);
        let admission = self.gateway.clients.admit(&admitted.client, state.limits.rate, state.limits.concurrent_requests)?;
        let (basis, nonce, is_bound) = (Basis::of(&admitted, state), admitted.nonce, admitted.is_bound);
        let exchange = request::open(&self.gateway, admitted, received, first, self.caller.address, account.id, avoid)?;
        Ok(Admitted { exchange, endpoint: endpoint.clone(), basis, nonce, is_bound, _admission: admission })
    }

    /// What the gateway itself knows about an Entra ID tenant, where that is asked.
    fn tenant_told(&mut self, asked: &mut Asked) -> Option<Result<String, Refusal>> {
        let Asked { received, state, account, .. } = asked;
        let Guest { door, address, .. } = self.caller.guest();
        tenant::answer(received, door, address, &mut self.known, state, &self.gateway.clients, &mut account.endpoint)
    }

    /// Whether the client has shown so many bad credentials that the connection is ended.
    pub(super) fn is_hopeless(&self) -> bool {
        self.known.is_hopeless()
    }

    /// Admits a request for another try.
    pub(super) fn serve_again(&mut self, again: Again) {
        let Again { mut asked, reply } = again;
        let admitted = self.admit(&mut asked);
        let _ = reply.send((asked, admitted));
    }

    /// Answers a head that is no request.
    fn refuse_head(&self, parts: &Parts, (refusal, fault): (Refusal, Option<Fault>), respond: &mut SendResponse<Bytes>, is_head: bool) {
        let id = request::request_id();
        refuse(respond, answer::refused(refusal, &[], id, None), is_head);
        self.gateway.events.request_finished(&RequestFinished {
            id,
            client: self.caller.address,
            method: head::method(parts),
            target: head::target(parts),
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
    }
}

impl Caller {
    pub(super) fn guest(&self) -> Guest<'_> {
        let door = Door { port: self.port, server_name: self.server_name.as_deref() };
        Guest { door, chain: self.chain.as_deref(), address: self.address.ip() }
    }
}

impl Stream {
    /// Decides about a stream that has come in. What is refused is answered here.
    pub(super) fn begin(
        desk: &mut Desk,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        again: &mpsc::UnboundedSender<Again>,
    ) -> Result<Self, Rest> {
        let in_flight = desk.gateway.drain.guard();
        let state = desk.gateway.state();
        let (parts, body) = request.into_parts();
        let is_head = parts.method == http::Method::HEAD;
        let whole = body.is_end_stream();
        let received = match head::receive(&parts, whole, &state.limits.head) {
            Ok(received) => received,
            Err(refused) => {
                desk.refuse_head(&parts, refused, &mut respond, is_head);
                return Err(Rest { body, in_flight });
            }
        };
        let first = FirstBody { bytes: Bytes::new(), whole };
        let mut asked = Asked { received, state, account: Account::open(), first, avoid: Vec::new() };
        let mut client = Client { body, respond, is_head, nonce: None, is_bound: false };
        if let Some(told) = desk.tenant_told(&mut asked) {
            let done = match told {
                Ok(text) => tell(&mut client, &asked, text),
                Err(refusal) => fail(&mut client, &desk.gateway, &asked, refusal.into()),
            };
            asked.account.close(&desk.gateway, desk.caller.address, &asked.received, &done);
            return Err(Rest { body: client.body, in_flight });
        }
        match desk.admit(&mut asked) {
            Ok(admitted) => {
                (client.nonce, client.is_bound) = (admitted.nonce, admitted.is_bound);
                let (caller, gateway) = (Arc::clone(&desk.caller), Arc::clone(&desk.gateway));
                Ok(Self { asked, admitted, client, caller, again: again.clone(), gateway, in_flight })
            }
            Err(refusal) => {
                let done = fail(&mut client, &desk.gateway, &asked, refusal.into());
                asked.account.close(&desk.gateway, desk.caller.address, &asked.received, &done);
                Err(Rest { body: client.body, in_flight })
            }
        }
    }

    /// Carries the request to the end of its answer.
    pub(super) async fn run(self) -> Ended {
        let Self { mut asked, mut admitted, mut client, caller, again, gateway, in_flight } = self;
        let done = loop {
            let Admitted { exchange, endpoint, basis, _admission, .. } = admitted;
            let way = exchange.way();
            let standing = (Standing::new(&gateway, &asked.received, &endpoint.id, basis), &*caller);
            let relay = Relay::new(&mut client, exchange, &endpoint, &asked.received.head, asked.account.id, standing);
            let failed = match relay.run().await {
                Ok(done) => break done,
                Err(failed) => failed,
            };
            drop(_admission);
            let Received { head, bytes, .. } = &asked.received;
            if asked.avoid.len() + 1 >= TRIES || !may_repeat(&failed, head, bytes, &asked.first) {
                break fail(&mut client, &gateway, &asked, failed);
            }
            asked.avoid.push(way);
            gateway.events.replayed(asked.account.id);
            match ask_again(asked, &again).await {
                Ok((back, Ok(next))) => (asked, admitted) = (back, next),
                Ok((back, Err(refusal))) => {
                    asked = back;
                    break fail(&mut client, &gateway, &asked, refusal.into());
                }
                // The connection is gone, and the request went with it: nobody is left to tell.
                Err(_) => return Ended { is_broken_off: true, _in_flight: in_flight },
            }
        };
        asked.account.close(&gateway, caller.address, &asked.received, &done);
        if done.after != After::Cut {
            return Rest { body: client.body, in_flight }.pass().await;
        }
        Ended { is_broken_off: done.refusal.is_none(), _in_flight: in_flight }
    }
}

impl Rest {
    /// Whether anything can still come.
    pub(super) fn is_over(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Lets it come and pass for a while: clients there are that lose the answer when their upload is stopped behind it. What is left
    /// then is reset.
    pub(super) async fn pass(mut self) -> Ended {
        let pass = async {
            let mut left = LINGER_BYTES;
            while let Some(Ok(bytes)) = self.body.data().await {
                let _ = self.body.flow_control().release_capacity(bytes.len());
                left = left.saturating_sub(bytes.len());
                if left == 0 {
                    return;
                }
            }
        };
        let _ = timeout(LINGER, pass).await;
        Ended { is_broken_off: false, _in_flight: self.in_flight }
    }
}

/// Brings a request back to the desk.
async fn ask_again(
    asked: Asked,
    again: &mpsc::UnboundedSender<Again>,
) -> Result<(Asked, Result<Admitted, Refusal>), oneshot::error::RecvError> {
    let (reply, answer) = oneshot::channel();
    let _ = again.send(Again { asked, reply });
    answer.await
}

/// Answers by what the gateway itself knows.
fn tell(client: &mut Client, asked: &Asked, text: String) -> Done {
    let length = text.len();
    let told = answer::own(length, asked.account.id).is_some_and(|head| match client.respond.send_response(head, client.is_head) {
        Ok(_) if client.is_head => true,
        Ok(mut stream) => stream.send_data(Bytes::from(text), true).is_ok(),
        Err(_) => false,
    });
    let (after, sent) = if told { (After::Again, length as u64) } else { (After::Cut, 0) };
    Done { after, status: 200, refusal: None, received: 0, sent: if client.is_head { 0 } else { sent } }
}

/// Answers a request that is not served.
fn fail(client: &mut Client, gateway: &Gateway, asked: &Asked, failed: Failed) -> Done {
    let allow = tenant::methods(&asked.state, &asked.account.endpoint);
    let refusal = failed.refusal;
    let own = answer::refused(refusal, &allow, asked.account.id, gateway.prover.nonce_for(refusal));
    let told = refuse(&mut client.respond, own, client.is_head);
    let after = if told { After::Again } else { After::Cut };
    Done { after, status: refusal.row().status, refusal: Some(refusal), received: failed.received, sent: 0 }
}

/// Says no; false: nobody is there.
fn refuse(respond: &mut SendResponse<Bytes>, own: Option<(Response<()>, String)>, is_head: bool) -> bool {
    let Some((head, body)) = own else {
        respond.send_reset(Reason::INTERNAL_ERROR);
        return false;
    };
    match respond.send_response(head, is_head) {
        Ok(_) if is_head => true,
        // A few bytes, for which the client need not make room.
        Ok(mut stream) => stream.send_data(Bytes::from(body), true).is_ok(),
        Err(_) => false,
    }
}
