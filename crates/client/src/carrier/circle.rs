//! A circle of servers that are believed in one way, and the connections to them that wait for their next request.
//!
//! A nonce for proofs counts at the instance that gave it, and an instance is known by its connection only, because a name may stand for
//! several: so the nonce stays with the connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::Sent;
use super::network::{ConnectError, Network, Stream};
use crate::origin::Origin;

/// Connections to one origin that are kept.
const KEPT: usize = 4;
/// How long they are; most servers close them after a minute.
const IDLE: Duration = Duration::from_secs(50);
/// The largest head of a response, in bytes.
const LARGEST_HEAD: usize = 64 << 10;

/// Servers that are believed in one way.
pub(crate) struct Circle {
    tls: Option<Arc<ClientConfig>>,
    idle: Mutex<BTreeMap<Origin, Vec<(Connection, Instant)>>>,
}

/// A connection that carries one request after the other.
pub(crate) struct Connection {
    sender: SendRequest<Sent>,
    /// Gone with the policy that it was of.
    circle: Weak<Circle>,
    origin: Origin,
    /// What the next proof has to hold.
    pub(crate) nonce: Option<String>,
    /// Whether it has carried a request before: then the other end may have closed it at any moment.
    pub(crate) is_used: bool,
}

/// A request that got no response.
pub(crate) struct Unanswered {
    pub(crate) source: hyper::Error,
    /// It never left.
    pub(crate) unsent: Option<Request<Sent>>,
}

impl Circle {
    /// Whoever shows a certificate that `tls` believes; none: only origins without TLS.
    pub(crate) fn new(tls: Option<Arc<ClientConfig>>) -> Arc<Self> {
        Arc::new(Self { tls, idle: Mutex::default() })
    }

    /// A connection that waits, or a new one.
    pub(crate) async fn connection(self: &Arc<Self>, origin: &Origin, network: &Network) -> Result<Connection, ConnectError> {
        match self.waiting(origin) {
            Some(connection) => Ok(connection),
            None => self.connect(origin, network).await,
        }
    }

    /// A new connection.
    pub(crate) async fn connect(self: &Arc<Self>, origin: &Origin, network: &Network) -> Result<Connection, ConnectError> {
        let sender = match network.connect(origin, self.tls.as_ref()).await? {
            Stream::Plain(stream) => begin(stream).await,
            Stream::Secure(stream) => begin(*stream).await,
        };
        let sender = sender.map_err(|source| ConnectError::Lost { host: origin.host.clone(), source })?;
        Ok(Connection { sender, circle: Arc::downgrade(self), origin: origin.clone(), nonce: None, is_used: false })
    }

    /// Forgets the connections that wait: the network is another one.
    pub(crate) fn forget(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn waiting(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let of_origin = idle.get_mut(origin)?;
        of_origin.retain(|(connection, since)| since.elapsed() < IDLE && !connection.sender.is_closed());
        of_origin.pop().map(|(connection, _)| connection)
    }
}

async fn begin(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<SendRequest<Sent>, hyper::Error> {
    let mut builder = Builder::new();
    builder.max_buf_size(LARGEST_HEAD);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // It ends with its last user, who learns of what went wrong.
    tokio::spawn(async move { _ = connection.with_upgrades().await });
    Ok(sender)
}

impl Connection {
    /// Sends a request, and waits for the head of the response.
    pub(crate) async fn send(&mut self, request: Request<Sent>) -> Result<Response<Incoming>, Unanswered> {
        if let Err(source) = self.sender.ready().await {
            return Err(Unanswered { source, unsent: Some(request) });
        }
        let answered = self.sender.try_send_request(request).await;
        self.is_used = true;
        answered.map_err(|mut error| {
            let unsent = error.take_message();
            Unanswered { source: error.into_error(), unsent }
        })
    }

    /// Lets it wait for the next request.
    pub(crate) fn give_back(self) {
        let Some(circle) = self.circle.upgrade().filter(|_| !self.sender.is_closed()) else { return };
        let mut idle = circle.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let of_origin = idle.entry(self.origin.clone()).or_default();
        if of_origin.len() < KEPT {
            of_origin.push((self, Instant::now()));
        }
    }
}
