//! A client that speaks HTTP/2 and can misbehave: the client half of the `h2` crate.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use cmg_lab::Lab;
use cmg_transport::TlsStream;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Error, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{Caller, PATIENCE, Site, wait};

/// One connection.
pub(crate) struct Peer {
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), Error>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

/// Connects for a host name; `offered`: the protocols of ALPN.
pub(crate) fn tls(lab: &Lab, caller: Caller, host: &str, offered: &[&[u8]]) -> TlsStream {
    let mut config = None;
    let _ = caller.tls(|tls| {
        tls.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        config = Some(Arc::new(tls.clone()));
    });
    let name = ServerName::try_from(host.to_owned()).unwrap();
    wait(async {
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, lab.gateways[0].port)).await.unwrap();
        TlsStream::connect(tcp, name, config.unwrap()).await.unwrap()
    })
}

impl Peer {
    /// Connects for a host name.
    pub(crate) fn connect(site: &Site, caller: Caller, host: &str) -> Self {
        Self::connect_to(site.lab(), caller, host)
    }

    /// The same with a gateway of any laboratory.
    pub(crate) fn connect_to(lab: &Lab, caller: Caller, host: &str) -> Self {
        let stream = tls(lab, caller, host, &[b"h2"]);
        assert_eq!(stream.protocol(), Some(&b"h2"[..]));
        wait(async {
            // Room for many answers at once, so that only streams can stall.
            let (send, connection) = Builder::new().initial_connection_window_size(16 << 20).handshake(stream).await.unwrap();
            Self { send, connection: tokio::spawn(connection) }
        })
    }

    /// Opens a stream; `whole`: without a body.
    pub(crate) fn open(&self, request: Request<()>, whole: bool) -> Result<(ResponseFuture, SendStream<Bytes>), Error> {
        let send = self.send.clone();
        patiently(async { send.ready().await?.send_request(request, whole) })
    }

    /// One request without a body, and its answer.
    #[track_caller]
    pub(crate) fn ask(&self, request: Request<()>) -> Answer {
        let (answer, _) = self.open(request, true).unwrap();
        read(answer).unwrap()
    }

    /// One request with a body, and its answer. Whoever is refused early may find the stream closed; the answer tells.
    #[track_caller]
    pub(crate) fn send(&self, request: Request<()>, body: &[u8], trailers: Option<HeaderMap>) -> Answer {
        let (answer, mut stream) = self.open(request, false).unwrap();
        let upload = patiently(async {
            let mut rest = Bytes::copy_from_slice(body);
            while !rest.is_empty() {
                let room = room(&mut stream, rest.len()).await?;
                stream.send_data(rest.split_to(room), false)?;
            }
            match trailers {
                Some(trailers) => stream.send_trailers(trailers),
                None => stream.send_data(Bytes::new(), true),
            }
        });
        drop(upload);
        read(answer).unwrap()
    }

    /// Streams that the server allows at once.
    pub(crate) fn allowed_streams(&self) -> usize {
        self.send.current_max_send_streams()
    }

    /// How the connection ended.
    pub(crate) fn end(self) -> Result<(), Error> {
        drop(self.send);
        patiently(self.connection).unwrap()
    }
}

/// Waits until a part of `wanted` bytes may be sent.
pub(crate) async fn room(stream: &mut SendStream<Bytes>, wanted: usize) -> Result<usize, Error> {
    stream.reserve_capacity(wanted);
    while stream.capacity() == 0 {
        std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.ok_or(h2::Reason::STREAM_CLOSED)??;
    }
    Ok(stream.capacity().min(wanted))
}

/// Reads an answer to its end.
pub(crate) fn read(answer: ResponseFuture) -> Result<Answer, Error> {
    patiently(async { whole(answer.await?).await })
}

async fn whole(answer: Response<RecvStream>) -> Result<Answer, Error> {
    let (head, mut stream) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        body.extend_from_slice(&part);
    }
    let trailers = stream.trailers().await?;
    Ok(Answer { status: head.status.as_u16(), fields: head.headers, body, trailers })
}

pub(crate) fn patiently<F: Future>(future: F) -> F::Output {
    wait(async { timeout(PATIENCE, future).await }).expect("the gateway answers in time")
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
