//! One client on one connection that stays open, blocking, with nothing of the programs under test in it.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(15);

/// The laboratory's device, as a TLS configuration.
pub(super) fn device(folder: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    let chain = CertificateDer::pem_file_iter(folder.join("client.pem")).unwrap().map(|one| one.unwrap()).collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("client.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// How an exchange went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A whole answer.
    Answered(u16),
    /// The answer broke off behind its head.
    Cut,
    /// The connection ended without any answer.
    Broken(ErrorKind),
    /// There was no connection, and so no request.
    NotConnected,
}

/// A connection.
pub(super) struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    received: Vec<u8>,
    /// The server has said that it closes.
    pub(super) is_over: bool,
}

impl Client {
    pub(super) fn connect(config: &Arc<ClientConfig>, port: u16) -> Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("localhost").map_err(Error::other)?;
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream, received: Vec::new(), is_over: false })
    }

    /// Sends a request and reads the whole answer; `head_only`: it has no body.
    pub(super) fn exchange(&mut self, request: &[u8], head_only: bool) -> Ending {
        let (status, length) = match self.start(request) {
            Ok((status, _)) if head_only => return Ending::Answered(status),
            Ok(head) => head,
            Err(error) => return Ending::Broken(error.kind()),
        };
        if self.read_body(length).is_ok() { Ending::Answered(status) } else { Ending::Cut }
    }

    /// Sends a request and reads the head of its answer: status and length of the body.
    pub(super) fn start(&mut self, request: &[u8]) -> Result<(u16, usize)> {
        self.stream.write_all(request)?;
        self.received.clear();
        let end = loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.received[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?;
        self.is_over |= head.contains("\r\nconnection: close");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(Ok(0), |length| length.trim().parse());
        self.received.drain(..end);
        Ok((status, length.map_err(Error::other)?))
    }

    /// Reads to the end of a body of this length.
    pub(super) fn read_body(&mut self, length: usize) -> Result<()> {
        while self.received.len() < length {
            self.fill()?;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.received.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }
}
