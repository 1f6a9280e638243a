//! One client connection speaking HTTP/1.1: heads are read, requests served one after another, and nothing is held in between.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use cmg_core::refusal::Refusal;
use cmg_http1::{Fault, Field, RequestHead};
use cmg_process::shutdown::InFlight;
use cmg_transport::ByteStream;
use pki_types::CertificateDer;
use tokio::time::timeout;

use crate::admission::Door;
use crate::credential::Known;
use crate::request;
use crate::standing::Guest;
use crate::state::Gateway;

/// How long a connection that is being closed is read from, so that the client sees the answer and not a reset.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// Longest time for an answer of the gateway's own, which has a few hundred bytes.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Bytes read while lingering.
pub(crate) const LINGER_BYTES: usize = 1024 * 1024;

/// One client connection.
pub(crate) struct Client {
    pub(crate) stream: ByteStream,
    /// Received and not yet used.
    pub(crate) input: BytesMut,
    pub(crate) address: SocketAddr,
    /// The listener's port.
    pub(crate) port: u16,
    /// The TLS server name, lower-case.
    pub(crate) server_name: Option<String>,
    pub(crate) known: Known,
}

/// A head and the bytes its spans point into.
pub(crate) struct Received {
    pub(crate) head: RequestHead,
    pub(crate) bytes: Bytes,
    pub(crate) at: Instant,
}

/// What becomes of a connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may come.
    Again,
    /// The answer is complete; the connection is not used again.
    Close,
    /// The answer broke off, or nobody is there: no goodbye, so that nobody takes a part for the whole.
    Cut,
}

/// Why no request was read.
enum NoRequest {
    /// The client has gone: nobody hears a goodbye.
    Gone,
    /// The client was idle for too long, or the gateway drains.
    Over,
    /// The head is refused.
    Refused(Refusal, Option<Fault>),
}

/// Serves a connection to its end.
pub(crate) async fn run(mut client: Box<Client>, gateway: Arc<Gateway>) {
    let mut fields = Vec::new();
    loop {
        let mut in_flight = None;
        let after = match read_request(&mut client, &gateway, &mut fields, &mut in_flight).await {
            Ok(received) => Box::pin(request::serve(&mut client, &gateway, received)).await,
            Err(NoRequest::Gone) => After::Cut,
            Err(NoRequest::Over) => After::Close,
            Err(NoRequest::Refused(refusal, fault)) => request::refuse_head(&mut client, &gateway, refusal, fault).await,
        };
        match after {
            After::Again => {}
            After::Close => return close(&mut client).await,
            After::Cut => return,
        }
    }
}

/// Waits for a request and reads its head. From its first byte on it is `in_flight`: a drain waits for it.
async fn read_request(
    client: &mut Client,
    gateway: &Gateway,
    fields: &mut Vec<Field>,
    in_flight: &mut Option<InFlight>,
) -> Result<Received, NoRequest> {
    let limits = gateway.state.load().limits;
    if client.input.is_empty() {
        client.input = BytesMut::new();
        let first = tokio::select! {
            biased;
            read = timeout(limits.keep_alive, client.stream.fill(&mut client.input)) => read,
            () = gateway.drain.draining() => return Err(NoRequest::Over),
        };
        match first {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return Err(NoRequest::Gone),
            Err(_) => return Err(NoRequest::Over),
        }
    }
    *in_flight = Some(gateway.drain.guard());
    let at = Instant::now();
    match parse(client, &limits.head, fields) {
        Ok(Some(head)) => Ok(take(client, head, at)),
        Ok(None) => timeout(limits.head_time, read_rest(client, gateway, &limits.head, fields))
            .await
            .unwrap_or(Err(NoRequest::Refused(Refusal::HeadTimeout, None))),
        Err(fault) => Err(refused(fault)),
    }
}

/// Reads on until the head is whole.
async fn read_rest(
    client: &mut Client,
    gateway: &Gateway,
    limits: &cmg_http1::HeadLimits,
    fields: &mut Vec<Field>,
) -> Result<Received, NoRequest> {
    let mut held = gateway.heads.begin();
    loop {
        if !client.known.is_proven() && !held.grow(client.input.len()) {
            return Err(NoRequest::Refused(Refusal::Overloaded, None));
        }
        if !matches!(client.stream.fill(&mut client.input).await, Ok(1..)) {
            return Err(NoRequest::Gone);
        }
        match parse(client, limits, fields) {
            Ok(Some(head)) => return Ok(take(client, head, Instant::now())),
            Ok(None) => {}
            Err(fault) => return Err(refused(fault)),
        }
    }
}

fn parse(client: &Client, limits: &cmg_http1::HeadLimits, fields: &mut Vec<Field>) -> Result<Option<RequestHead>, Fault> {
    cmg_http1::parse_request(&client.input, limits, std::mem::take(fields))
}

fn take(client: &mut Client, head: RequestHead, at: Instant) -> Received {
    let bytes = client.input.split_to(head.len).freeze();
    Received { head, bytes, at }
}

fn refused(fault: Fault) -> NoRequest {
    NoRequest::Refused(refusal_of(fault), Some(fault))
}

/// What a client is told about a head with this fault.
pub(crate) fn refusal_of(fault: Fault) -> Refusal {
    match fault {
        _ if fault.too_large() => Refusal::HeadTooLarge,
        Fault::Expectation => Refusal::UnknownExpectation,
        Fault::Version => Refusal::UnknownVersion,
        _ => Refusal::Malformed,
    }
}

/// Says goodbye, then lets the client hear it.
async fn close(client: &mut Client) {
    if matches!(timeout(LINGER, client.stream.close()).await, Ok(Ok(()))) {
        linger(&mut client.stream).await;
    }
}

/// Reads for a while what the client has still sent to a connection that was closed: a reset would take the answer with it.
pub(crate) async fn linger(stream: &mut ByteStream) {
    let rest = async {
        let mut input = BytesMut::new();
        let mut left = LINGER_BYTES;
        loop {
            input.clear();
            match stream.fill(&mut input).await {
                Ok(read @ 1..) if read < left => left -= read,
                _ => return,
            }
        }
    };
    let _ = timeout(LINGER, rest).await;
}

impl Client {
    /// The certificate chain that the client showed in the handshake, also of a resumed session.
    pub(crate) fn chain(stream: &ByteStream) -> Option<&[CertificateDer<'static>]> {
        match stream {
            ByteStream::Tls(tls) => tls.peer_certificates(),
            ByteStream::Plain(_) => None,
        }
    }

    /// Where it came in.
    pub(crate) fn door(&self) -> Door<'_> {
        Door { port: self.port, server_name: self.server_name.as_deref() }
    }

    /// Who it is.
    pub(crate) fn guest(&self) -> Guest<'_> {
        Guest { door: self.door(), chain: Self::chain(&self.stream), address: self.address.ip() }
    }

    /// Drops the first `length` bytes received.
    pub(crate) fn used(&mut self, length: usize) {
        self.input.advance(length);
    }

    /// Writes an answer of the gateway's own.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        matches!(timeout(ANSWER_TIME, self.stream.write_all(bytes)).await, Ok(Ok(())))
    }
}
