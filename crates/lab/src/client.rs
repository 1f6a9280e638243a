//! A small HTTPS client, one connection a request, that blocks: nothing of it is shared with the programs under test,
//! so it can judge them.
//!
//! Call it on a thread that may wait (`tokio::task::spawn_blocking`).

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::issued::Issued;

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest answer that is kept.
const ANSWER_BYTES: u64 = 256 * 1024 * 1024;

/// A client, with or without a certificate.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    address: Option<SocketAddr>,
}

/// An answer, and how long each step took since the step before.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Reason phrase.
    pub reason: String,
    /// Header fields in order.
    pub fields: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// Until TCP was connected.
    pub connect: Duration,
    /// Until TLS was set up.
    pub handshake: Duration,
    /// Until the answer was complete.
    pub exchange: Duration,
}

impl Client {
    /// A client that trusts the authorities in `ca_pem` and shows `certificate`, if any.
    pub fn new(ca_pem: &str, certificate: Option<&Issued>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(authority.map_err(Error::other)?).map_err(Error::other)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(Error::other)?.with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let chain = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes());
                let chain = chain.collect::<std::result::Result<Vec<_>, _>>().map_err(Error::other)?;
                let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).map_err(Error::other)?;
                builder.with_client_auth_cert(chain, key).map_err(Error::other)?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), address: None })
    }

    /// The same at this address, whatever host its URLs name.
    pub fn at(self, address: SocketAddr) -> Self {
        Self { address: Some(address), ..self }
    }

    /// GET of an `https` URL with further header fields.
    pub fn get(&self, url: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        self.request("GET", url, fields, b"")
    }

    /// A request to an `https` URL with further header fields and a body.
    pub fn request(&self, method: &str, url: &str, fields: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let rest = url.strip_prefix("https://").ok_or_else(|| Error::new(ErrorKind::InvalidInput, "no https URL"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut request = format!("{method} /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
        for (name, value) in fields {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        self.send(authority, &[request.as_bytes(), body].concat())
    }

    /// Sends the bytes of one request to `host:port`, whatever they are, and reads to the end of the connection: let
    /// the request say `Connection: close`.
    pub fn send(&self, authority: &str, request: &[u8]) -> Result<Answer> {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let name = ServerName::try_from(host.to_owned()).map_err(Error::other)?;

        let start = Instant::now();
        let mut socket = match self.address {
            Some(address) => TcpStream::connect(address)?,
            None => TcpStream::connect(authority)?,
        };
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let connected = Instant::now();
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name).map_err(Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let secured = Instant::now();
        let mut stream = StreamOwned::new(connection, socket);
        stream.write_all(request)?;
        let bytes = read_to_end(stream)?;

        let mut answer = parse(&bytes, request.starts_with(b"HEAD "))?;
        (answer.connect, answer.handshake, answer.exchange) = (connected - start, secured - connected, secured.elapsed());
        Ok(answer)
    }
}

impl Answer {
    /// The first field of that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Reads until the server closes; a missing TLS close is told apart by the framing of the answer.
pub(crate) fn read_to_end(stream: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match stream.take(ANSWER_BYTES).read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof || bytes.is_empty() => Err(error),
        _ => Ok(bytes),
    }
}

/// Reads the final answer in the bytes of a whole connection.
pub(crate) fn parse(bytes: &[u8], head_only: bool) -> Result<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    let (head, rest) = (String::from_utf8_lossy(&bytes[..end]), &bytes[end + 4..]);
    let mut lines = head.split("\r\n");
    let mut status_line = lines.next().unwrap_or_default().splitn(3, ' ').skip(1);
    let status = status_line.next().and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    if (100..200).contains(&status) && status != 101 {
        return parse(rest, head_only);
    }
    let fields = lines.filter_map(|line| line.split_once(':'));
    let mut answer = Answer {
        status,
        reason: status_line.next().unwrap_or_default().to_owned(),
        fields: fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(),
        body: Vec::new(),
        connect: Duration::ZERO,
        handshake: Duration::ZERO,
        exchange: Duration::ZERO,
    };
    if !head_only {
        answer.body = body(&answer, rest)?;
    }
    Ok(answer)
}

fn body(answer: &Answer, rest: &[u8]) -> Result<Vec<u8>> {
    if answer.field("Transfer-Encoding").is_some() {
        return unchunk(rest);
    }
    let Some(length) = answer.field("Content-Length") else { return Ok(rest.to_vec()) };
    let length: usize = length.parse().map_err(|_| ErrorKind::InvalidData)?;
    Ok(rest.get(..length).ok_or(ErrorKind::UnexpectedEof)?.to_vec())
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").ok_or(ErrorKind::UnexpectedEof)?;
        let size = String::from_utf8_lossy(&rest[..line]);
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| ErrorKind::InvalidData)?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(rest.get(..size).ok_or(ErrorKind::UnexpectedEof)?);
        rest = rest.get(size + 2..).ok_or(ErrorKind::UnexpectedEof)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_phrase_is_kept_whole() {
        let answer = parse(b"HTTP/1.1 990 Odd but true\r\nContent-Length: 2\r\n\r\nokmore", false).unwrap();

        assert_eq!((answer.status, answer.reason.as_str(), answer.body.as_slice()), (990, "Odd but true", b"ok".as_slice()));
    }

    #[test]
    fn an_early_hint_is_passed_over() {
        let bytes = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";

        assert_eq!(parse(bytes, false).unwrap().status, 204);
    }

    #[test]
    fn chunks_are_joined() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";

        assert_eq!(parse(bytes, false).unwrap().body, b"abc");
    }

    #[test]
    fn a_body_cut_short_is_an_error() {
        let error = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", false).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true).unwrap().body.is_empty());
    }
}
