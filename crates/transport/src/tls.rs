//! A TLS connection over TCP that owns no buffer while it rests.
//!
//! rustls' unbuffered interface decrypts in place and encrypts straight into the memory that is handed to the socket. Between two
//! polls a connection keeps only what cannot be otherwise: a partial record that has come in, and records the socket did not take.
//! rustls' own buffers would cost one more copy each way and reads of 4 KiB.
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{Acceptor, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedConnectionCommon, UnbufferedStatus};
use rustls::{ClientConfig, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::scratch;
use crate::stream::make_room;

/// Ciphertext that waits for more to leave with: session tickets go with the first answer.
const HELD: usize = 4 * 1024;

/// Longest TLS record, with its header and what encryption adds (RFC 5246, 6.2.3, allows 2 KiB).
const RECORD: usize = 5 + 16 * 1024 + 2 * 1024;

/// A ClientHello longer than this is refused.
const HELLO_LIMIT: usize = 16 * 1024;

enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// One TLS connection.
pub struct TlsStream {
    tcp: TcpStream,
    side: Side,
    /// Ciphertext that is not yet a whole record.
    partial: Vec<u8>,
    /// Ciphertext that the socket has not yet taken, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
    /// Plaintext that came in while only writing was asked for.
    early: Vec<u8>,
    peer_closed: bool,
    /// The closing alert has been encrypted.
    closing: bool,
    handshaking: bool,
    /// The peer has sent what is no TLS, or what was not accepted. rustls then remembers places in bytes that are gone, and must not be
    /// asked again.
    failed: bool,
}

/// What a ClientHello asks for, with the bytes it came in.
#[derive(Debug)]
pub struct Hello {
    /// Server name, lower-case.
    pub server_name: Option<String>,
    /// Protocol names offered by ALPN, in order.
    pub protocols: Vec<Vec<u8>>,
    bytes: Vec<u8>,
}

/// Reads a ClientHello and leaves the handshake to [`TlsStream::accept`]. The caller sets the deadline.
pub async fn read_hello(tcp: &TcpStream) -> io::Result<Hello> {
    let mut acceptor = Acceptor::default();
    let mut bytes = Vec::new();
    loop {
        let fresh = bytes.len();
        read_some(tcp, &mut bytes).await?;
        acceptor.read_tls(&mut &bytes[fresh..])?;
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let server_name = hello.server_name().map(str::to_ascii_lowercase);
                let protocols = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
                return Ok(Hello { server_name, protocols, bytes });
            }
            Ok(None) if bytes.len() < HELLO_LIMIT => {}
            Ok(None) => return Err(invalid("the ClientHello is too long")),
            Err((error, mut alert)) => {
                let mut out = Vec::new();
                alert.write_all(&mut out)?;
                let _ = tcp.try_write(&out);
                return Err(invalid(error));
            }
        }
    }
}

async fn read_some(tcp: &TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    loop {
        tcp.readable().await?;
        let mut chunk = [0; 2048];
        match tcp.try_read(&mut chunk) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                bytes.extend_from_slice(&chunk[..read]);
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

impl TlsStream {
    /// Finishes the server's side of the handshake that `hello` began.
    pub async fn accept(tcp: TcpStream, hello: Hello, config: Arc<ServerConfig>) -> io::Result<Self> {
        let connection = UnbufferedServerConnection::new(config).map_err(invalid)?;
        let mut stream = Self::new(tcp, Side::Server(Box::new(connection)));
        stream.partial = hello.bytes;
        stream.handshake().await?;
        Ok(stream)
    }

    /// Makes the client's side of a handshake with `name`.
    pub async fn connect(tcp: TcpStream, name: ServerName<'static>, config: Arc<ClientConfig>) -> io::Result<Self> {
        let connection = UnbufferedClientConnection::new(config, name).map_err(invalid)?;
        let mut stream = Self::new(tcp, Side::Client(Box::new(connection)));
        stream.handshake().await?;
        Ok(stream)
    }

    fn new(tcp: TcpStream, side: Side) -> Self {
        Self {
            tcp,
            side,
            partial: Vec::new(),
            unsent: Vec::new(),
            sent: 0,
            early: Vec::new(),
            peer_closed: false,
            closing: false,
            handshaking: true,
            failed: false,
        }
    }

    async fn handshake(&mut self) -> io::Result<()> {
        let result = std::future::poll_fn(|cx| self.poll_handshake(cx)).await;
        if result.is_err() {
            let _ = self.tcp.try_write(&self.unsent[self.sent..]);
        }
        result
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut early = std::mem::take(&mut self.early);
            let mut bytes = std::mem::take(&mut self.partial);
            let driven = self.drive(&mut bytes, &mut early);
            self.early = early;
            let used = driven.map_err(invalid)?;
            bytes.drain(..used);
            self.partial = bytes;
            if self.handshaking || !self.may_hold_tickets() {
                ready!(self.poll_flush_socket(cx))?;
            }
            if !self.handshaking {
                self.partial.shrink_to_fit();
                return Poll::Ready(Ok(()));
            }
            if self.peer_closed {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
            ready!(self.poll_read_partial(cx))?;
        }
    }

    /// Whether the client can go on without what this end has left to send: in TLS 1.3 only tickets follow its last flight.
    fn may_hold_tickets(&self) -> bool {
        match &self.side {
            Side::Server(tls) => tls.protocol_version() == Some(ProtocolVersion::TLSv1_3) && self.unsent.len() <= HELD,
            Side::Client(_) => false,
        }
    }

    /// Reads ciphertext behind what is held of a record; for handshakes, where flights are small.
    fn poll_read_partial(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        scratch::with(|scratch| {
            let mut buf = ReadBuf::new(&mut scratch[..scratch::CHUNK]);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
            self.partial.extend_from_slice(buf.filled());
            Poll::Ready(Ok(()))
        })
    }

    /// Advances the connection over the records in `bytes`: plaintext goes to `out`, answers to `unsent`. Gives the bytes used up.
    fn drive(&mut self, bytes: &mut [u8], out: &mut impl Plaintext) -> Result<usize, rustls::Error> {
        if self.failed {
            return Err(rustls::Error::General("TLS has failed before".to_owned()));
        }
        let mut progress = Progress { unsent: &mut self.unsent, peer_closed: &mut self.peer_closed, handshaking: &mut self.handshaking };
        let driven = match &mut self.side {
            Side::Server(tls) => drive(bytes, out, &mut progress, tls, |tls, bytes| tls.process_tls_records(bytes)),
            Side::Client(tls) => drive(bytes, out, &mut progress, tls, |tls, bytes| tls.process_tls_records(bytes)),
        };
        self.failed = driven.is_err();
        driven
    }

    /// Reads once from the socket and appends the plaintext to `out`. `Ok(0)` is the end: the peer closed in an orderly way.
    ///
    /// A connection cut without a closing alert is [`ErrorKind::UnexpectedEof`], so that a cut body is never taken for a whole one.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, out: &mut BytesMut) -> Poll<io::Result<usize>> {
        let before = out.len();
        if !self.early.is_empty() {
            out.extend_from_slice(&std::mem::take(&mut self.early));
            return Poll::Ready(Ok(out.len() - before));
        }
        while !self.peer_closed {
            ready!(scratch::with(|scratch| self.poll_fill_once(cx, out, scratch)))?;
            if out.len() > before {
                return Poll::Ready(Ok(out.len() - before));
            }
        }
        Poll::Ready(Ok(0))
    }

    fn poll_fill_once(&mut self, cx: &mut Context<'_>, out: &mut BytesMut, scratch: &mut [u8]) -> Poll<io::Result<()>> {
        let kept = self.partial.len();
        let mut buf = ReadBuf::new(&mut scratch[kept..kept.max(scratch::CHUNK)]);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buf))?;
        let read = buf.filled().len();
        if read == 0 {
            return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
        }
        scratch[..kept].copy_from_slice(&self.partial);
        make_room(out, kept + read);
        let used = self.drive(&mut scratch[..kept + read], out).map_err(invalid)?;
        if kept + read - used > RECORD && !self.peer_closed {
            // A handshake message that goes on and on: rustls keeps what has come of it.
            return Poll::Ready(Err(invalid("a message longer than a record")));
        }
        self.partial.clear();
        self.partial.extend_from_slice(&scratch[used..kept + read]);
        if self.partial.is_empty() {
            self.partial = Vec::new();
        }
        // Answers to key updates and the like leave with the next write; nothing waits for them.
        Poll::Ready(Ok(()))
    }

    /// Encrypts and writes a part of `data`; gives how much was taken. What the socket did not take leaves with
    /// [`TlsStream::poll_flush`], which must be polled before the task rests.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    /// The same for parts that lie in several places: they leave in one system call.
    pub fn poll_write_vectored(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.unsent.len() - self.sent > HELD {
            ready!(self.poll_flush_socket(cx))?;
        }
        let mut taken = 0;
        scratch::with(|scratch| {
            let held = self.unsent.len() - self.sent;
            scratch[..held].copy_from_slice(&self.unsent[self.sent..]);
            (self.unsent, self.sent) = (Vec::new(), 0);
            let mut length = held;
            for part in parts {
                let now = part.len().min(scratch::WRITE_CHUNK - taken);
                if now > 0 {
                    length += self.seal(Outgoing::Data(&part[..now]), &mut scratch[length..])?;
                    taken += now;
                }
            }
            if self.unsent.is_empty() {
                let written = self.write_now(cx, &scratch[..length])?;
                self.unsent.extend_from_slice(&scratch[written..length]);
            } else {
                // Sealing had to answer a key update first: that answer goes between.
                self.unsent.splice(0..0, scratch[..held].iter().copied());
                self.unsent.extend_from_slice(&scratch[held..length]);
            }
            Ok::<(), io::Error>(())
        })?;
        Poll::Ready(Ok(taken))
    }

    /// Writes what the socket takes at once.
    fn write_now(&mut self, cx: &mut Context<'_>, ciphertext: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < ciphertext.len() {
            match Pin::new(&mut self.tcp).poll_write(cx, &ciphertext[written..]) {
                Poll::Ready(Ok(more)) => written += more,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok(written)
    }

    /// Writes one thing as records into `out`; gives their length.
    fn seal(&mut self, what: Outgoing<'_>, out: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut partial = std::mem::take(&mut self.partial);
        let mut progress = Progress { unsent: &mut self.unsent, peer_closed: &mut self.peer_closed, handshaking: &mut self.handshaking };
        let sealed = match &mut self.side {
            Side::Server(tls) => {
                seal(what, out, &mut partial, &mut self.early, &mut progress, tls, |tls, bytes| tls.process_tls_records(bytes))
            }
            Side::Client(tls) => {
                seal(what, out, &mut partial, &mut self.early, &mut progress, tls, |tls, bytes| tls.process_tls_records(bytes))
            }
        };
        self.partial = partial;
        sealed
    }

    /// Hands everything encrypted so far to the socket.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush_socket(cx)
    }

    fn poll_flush_socket(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.unsent[self.sent..]))?;
            self.sent += written;
        }
        self.sent = 0;
        self.unsent = Vec::new();
        Poll::Ready(Ok(()))
    }

    /// Says goodbye: the closing alert, then the end of the TCP stream. The peer then knows that nothing was cut off.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut alert = [0; 64];
        if !std::mem::replace(&mut self.closing, true)
            && let Ok(length) = self.seal(Outgoing::Goodbye, &mut alert)
        {
            self.unsent.extend_from_slice(&alert[..length]);
        }
        ready!(self.poll_flush_socket(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    /// The socket, for waiting and for its addresses.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// The certificates that the peer showed, its own first; of the original handshake where the session was resumed.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match &self.side {
            Side::Server(tls) => tls.peer_certificates(),
            Side::Client(tls) => tls.peer_certificates(),
        }
    }

    /// The protocol that ALPN chose.
    pub fn protocol(&self) -> Option<&[u8]> {
        match &self.side {
            Side::Server(tls) => tls.alpn_protocol(),
            Side::Client(tls) => tls.alpn_protocol(),
        }
    }
}

/// Where decrypted bytes go.
trait Plaintext {
    fn take(&mut self, bytes: &[u8]);
}

impl Plaintext for BytesMut {
    fn take(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Plaintext for Vec<u8> {
    fn take(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// What changes besides plaintext while records are worked through.
struct Progress<'a> {
    unsent: &'a mut Vec<u8>,
    peer_closed: &'a mut bool,
    handshaking: &'a mut bool,
}

/// Works through the whole records in `bytes`; gives how many bytes they were.
fn drive<Data>(
    bytes: &mut [u8],
    out: &mut impl Plaintext,
    progress: &mut Progress<'_>,
    tls: &mut UnbufferedConnectionCommon<Data>,
    process: impl for<'c, 'i> Fn(&'c mut UnbufferedConnectionCommon<Data>, &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Data>,
) -> Result<usize, rustls::Error> {
    let mut used = 0;
    loop {
        let UnbufferedStatus { discard, state } = process(tls, &mut bytes[used..]);
        used += discard;
        let state = match state {
            Ok(state) => state,
            Err(error) => {
                encode_alert(&mut bytes[used..], progress, tls, process);
                return Err(error);
            }
        };
        match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    used += record.discard;
                    out.take(record.payload);
                }
            }
            ConnectionState::EncodeTlsData(mut data) => encode(&mut data, progress.unsent)?,
            ConnectionState::TransmitTlsData(transmit) => transmit.done(),
            ConnectionState::PeerClosed => *progress.peer_closed = true,
            ConnectionState::Closed => {
                *progress.peer_closed = true;
                return Ok(used);
            }
            ConnectionState::WriteTraffic(_) => {
                *progress.handshaking = false;
                return Ok(used);
            }
            ConnectionState::BlockedHandshake => return Ok(used),
            other => return Err(rustls::Error::General(format!("unexpected TLS state {other:?}"))),
        }
    }
}

/// Takes what tells the peer why it is left. `bytes`: those that the error was found in, since rustls remembers places in them.
fn encode_alert<Data>(
    bytes: &mut [u8],
    progress: &mut Progress<'_>,
    tls: &mut UnbufferedConnectionCommon<Data>,
    process: impl for<'c, 'i> Fn(&'c mut UnbufferedConnectionCommon<Data>, &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Data>,
) {
    if let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(mut data)), .. } = process(tls, bytes) {
        let _ = encode(&mut data, progress.unsent);
    }
}

/// What is to be encrypted.
enum Outgoing<'a> {
    Data(&'a [u8]),
    Goodbye,
}

/// Brings the connection to where it may write, then writes. Plaintext met on the way is kept in `early`.
fn seal<Data>(
    what: Outgoing<'_>,
    out: &mut [u8],
    partial: &mut Vec<u8>,
    early: &mut Vec<u8>,
    progress: &mut Progress<'_>,
    tls: &mut UnbufferedConnectionCommon<Data>,
    process: impl for<'c, 'i> Fn(&'c mut UnbufferedConnectionCommon<Data>, &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Data>,
) -> io::Result<usize> {
    loop {
        let UnbufferedStatus { discard, state } = process(tls, partial);
        match state.map_err(invalid)? {
            ConnectionState::WriteTraffic(mut traffic) => {
                return match what {
                    Outgoing::Data(data) => traffic.encrypt(data, out).map_err(invalid),
                    Outgoing::Goodbye => traffic.queue_close_notify(out).map_err(invalid),
                };
            }
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    early.take(record.map_err(invalid)?.payload);
                }
            }
            ConnectionState::EncodeTlsData(mut data) => encode(&mut data, progress.unsent).map_err(invalid)?,
            ConnectionState::TransmitTlsData(transmit) => transmit.done(),
            ConnectionState::PeerClosed => *progress.peer_closed = true,
            _ => return Err(ErrorKind::BrokenPipe.into()),
        }
        partial.drain(..discard);
    }
}

fn encode<Data>(data: &mut rustls::unbuffered::EncodeTlsData<'_, Data>, unsent: &mut Vec<u8>) -> Result<(), rustls::Error> {
    let start = unsent.len();
    let required = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(error)) => error.required_size,
        Err(EncodeError::AlreadyEncoded) | Ok(_) => return Ok(()),
    };
    unsent.resize(start + required, 0);
    data.encode(&mut unsent[start..]).map(drop).map_err(|error| rustls::Error::General(error.to_string()))
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if stream.early.is_empty() {
            let mut plaintext = BytesMut::new();
            ready!(stream.poll_fill(cx, &mut plaintext))?;
            stream.early = plaintext.into();
        }
        let taken = stream.early.len().min(buf.remaining());
        buf.put_slice(&stream.early[..taken]);
        stream.early.drain(..taken);
        if stream.early.is_empty() {
            stream.early = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(cx)
    }
}
