//! A client that sees and says every byte: one TLS connection, requests as text, answers read strictly.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use cmg_lab::lab::HOST;
use cmg_lab::{Issued, Lab};
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned, SupportedProtocolVersion,
};

use super::PATIENCE;

/// Who calls, and where: a connection is made anew for each request sent through it.
#[derive(Clone)]
pub(crate) struct Caller {
    address: SocketAddr,
    server_name: String,
    host: String,
    tls: Arc<ClientConfig>,
    fields: String,
    before_tls: Vec<u8>,
}

/// One connection.
pub(crate) struct Wire {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
    received: Vec<u8>,
    host: String,
    fields: String,
    asked_head: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// The 1xx answers before it.
    pub(crate) interim: Vec<Reply>,
}

impl Caller {
    pub(crate) fn new(lab: &Lab, certificate: Option<&Issued>) -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, lab.gateways[0].port).into(),
            server_name: HOST.to_owned(),
            host: HOST.to_owned(),
            tls: tls(&lab.servers.certificate_pem(), certificate, rustls::ALL_VERSIONS),
            fields: String::new(),
            before_tls: Vec::new(),
        }
    }

    /// With one more header field in every request that is written for the caller.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// To another port.
    pub(crate) fn port(mut self, port: u16) -> Self {
        self.address.set_port(port);
        self
    }

    /// To another address.
    pub(crate) fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// For another host name, in TLS and in the Host field.
    pub(crate) fn host(mut self, name: &str) -> Self {
        self.server_name = name.to_owned();
        self.host_field(name)
    }

    /// For another host name in the Host field only.
    pub(crate) fn host_field(mut self, name: &str) -> Self {
        self.host = name.to_owned();
        self
    }

    /// Sends some bytes before TLS begins.
    pub(crate) fn before_tls(mut self, bytes: &[u8]) -> Self {
        self.before_tls = bytes.to_vec();
        self
    }

    /// Changes how TLS is spoken.
    pub(crate) fn tls(mut self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        change(Arc::make_mut(&mut self.tls));
        self
    }

    /// Believes the authority in `ca_pem` and no other.
    pub(crate) fn believing(mut self, ca_pem: &str, certificate: Option<&Issued>) -> Self {
        self.tls = tls(ca_pem, certificate, rustls::ALL_VERSIONS);
        self
    }

    /// Asks as an ACME server does whose the name is (RFC 8737), and believes whoever answers.
    pub(crate) fn asking_for_a_challenge(self) -> Self {
        let provider = Arc::clone(self.tls.crypto_provider());
        self.tls(|tls| {
            tls.alpn_protocols = vec![b"acme-tls/1".to_vec()];
            tls.dangerous().set_certificate_verifier(Arc::new(Believes(provider)));
        })
    }

    /// Speaks one version of TLS only.
    pub(crate) fn version(mut self, lab: &Lab, certificate: Option<&Issued>, version: &'static SupportedProtocolVersion) -> Self {
        self.tls = tls(&lab.servers.certificate_pem(), certificate, &[version]);
        self
    }

    /// Connects.
    pub(crate) fn open(&self) -> Wire {
        self.try_open().unwrap()
    }

    /// Connects; an error where the handshake fails.
    pub(crate) fn try_open(&self) -> Result<Wire> {
        let mut socket = TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        socket.write_all(&self.before_tls)?;
        let name = ServerName::try_from(self.server_name.clone()).map_err(Error::other)?;
        let mut connection = ClientConnection::new(Arc::clone(&self.tls), name).map_err(Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let stream = StreamOwned::new(connection, socket);
        Ok(Wire { stream, received: Vec::new(), host: self.host.clone(), fields: self.fields.clone(), asked_head: false })
    }

    pub(crate) fn get(&self, target: &str) -> Reply {
        self.request("GET", target, &[], b"")
    }

    /// One request with a connection of its own.
    pub(crate) fn request(&self, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut wire = self.open();
        wire.send(method, target, fields, body);
        wire.read()
    }

    /// The bytes of one request, as they stand, with a connection of their own.
    pub(crate) fn raw(&self, request: &[u8]) -> Reply {
        let mut wire = self.open();
        wire.write(request);
        wire.read()
    }
}

/// Believes everybody. Certificates that answer an ACME server hold an extension that verifiers of ordinary ones refuse.
#[derive(Debug)]
struct Believes(Arc<CryptoProvider>);

impl ServerCertVerifier for Believes {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl Wire {
    /// SHA-256 of the certificate that the server has shown, in hexadecimal.
    pub(crate) fn shown_fingerprint(&self) -> String {
        super::sha256(&self.stream.conn.peer_certificates().unwrap()[0])
    }

    /// Sends a request; a body comes with its Content-Length unless the fields frame it.
    pub(crate) fn send(&mut self, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) {
        let framed = fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"));
        let length = body.len().to_string();
        let mut fields = fields.to_vec();
        if !framed && !body.is_empty() {
            fields.push(("Content-Length", &length));
        }
        self.send_head(method, target, &fields);
        self.write(body);
    }

    /// Sends a head with Host and the caller's own fields.
    pub(crate) fn send_head(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n{}", self.host, self.fields);
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.asked_head = method == "HEAD";
        self.write(head.as_bytes());
    }

    /// Sends bytes as they stand. Whoever is refused early may find the connection closed; the answer tells.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// Sends one chunk of a chunked body.
    pub(crate) fn write_chunk(&mut self, bytes: &[u8]) {
        self.write(&[format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat());
    }

    /// Reads a whole answer.
    #[track_caller]
    pub(crate) fn read(&mut self) -> Reply {
        self.try_read().unwrap()
    }

    /// Reads a whole answer; an error where it breaks off.
    pub(crate) fn try_read(&mut self) -> Result<Reply> {
        let mut interim = Vec::new();
        loop {
            let head = self.read_head()?;
            if (100..200).contains(&head.status) && head.status != 101 {
                interim.push(head);
                continue;
            }
            return self.read_body(Reply { interim, ..head });
        }
    }

    /// Reads the next head, be it interim or final.
    pub(crate) fn read_head(&mut self) -> Result<Reply> {
        let mut lines = self.read_lines()?.into_iter();
        let status_line = lines.next().ok_or(ErrorKind::InvalidData)?;
        let mut parts = status_line.splitn(3, ' ');
        if parts.next() != Some("HTTP/1.1") {
            return Err(Error::new(ErrorKind::InvalidData, status_line));
        }
        Ok(Reply {
            status: parts.next().and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?,
            reason: parts.next().unwrap_or_default().to_owned(),
            fields: lines.map(|line| pair(&line)).collect(),
            body: Vec::new(),
            trailers: Vec::new(),
            interim: Vec::new(),
        })
    }

    /// Reads exactly that many bytes.
    pub(crate) fn read_bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.received.len() < length {
            self.fill()?;
        }
        Ok(self.received.drain(..length).collect())
    }

    /// Says the TLS goodbye and closes.
    pub(crate) fn close(mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.flush();
    }

    /// Whether the other side has said goodbye and sent nothing before.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.received.is_empty() && matches!(self.receive(&mut [0]), Ok(0) | Err(_))
    }

    /// Whether the other side has said the TLS goodbye, and nothing before it.
    pub(crate) fn is_closed_properly(&mut self) -> bool {
        self.received.is_empty() && matches!(self.receive(&mut [0]), Ok(0))
    }

    /// Reads one chunk of a chunked answer; empty: the last one.
    pub(crate) fn read_chunk(&mut self) -> Result<Vec<u8>> {
        let size = self.read_line()?;
        let size = usize::from_str_radix(&size, 16).map_err(Error::other)?;
        if size == 0 {
            return Ok(Vec::new());
        }
        let chunk = self.read_bytes(size)?;
        self.read_bytes(2)?;
        Ok(chunk)
    }

    fn read_body(&mut self, mut reply: Reply) -> Result<Reply> {
        if std::mem::take(&mut self.asked_head) || matches!(reply.status, 101 | 204 | 304) {
            return Ok(reply);
        }
        if reply.field("Transfer-Encoding").is_some() {
            loop {
                let chunk = self.read_chunk()?;
                if chunk.is_empty() {
                    break;
                }
                reply.body.extend(chunk);
            }
            reply.trailers = self.read_lines()?.iter().map(|line| pair(line)).collect();
        } else if let Some(length) = reply.field("Content-Length") {
            let length = length.parse().map_err(Error::other)?;
            reply.body = self.read_bytes(length)?;
        } else {
            reply.body = std::mem::take(&mut self.received);
            self.stream.read_to_end(&mut reply.body)?;
        }
        Ok(reply)
    }

    /// Lines up to an empty one.
    fn read_lines(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok(lines);
            }
            lines.push(line);
        }
    }

    fn read_line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.fill()?;
        }
    }

    /// Reads what has been decrypted. Not as the stream does, which first writes what is left of a request that nobody reads.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let StreamOwned { conn, sock } = &mut self.stream;
        loop {
            match conn.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => match conn.read_tls(sock) {
                    // A program that was killed on purpose is heard of by a signal.
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    read => {
                        read?;
                        conn.process_new_packets().map_err(Error::other)?;
                    }
                },
                read => return read,
            }
        }
    }

    fn fill(&mut self) -> Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.receive(&mut buffer)? {
            0 => Err(ErrorKind::ConnectionAborted.into()),
            read => {
                self.received.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }
}

impl Reply {
    /// The first field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What the origin's `/echo` or `/upload` reports.
    #[track_caller]
    pub(crate) fn report(&self) -> serde_json::Value {
        assert_eq!(self.status, 200, "{} {}", self.reason, self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// All values of a header field in what the origin's `/echo` reports.
    #[track_caller]
    pub(crate) fn echoed(&self, name: &str) -> Vec<String> {
        let report = self.report();
        let pairs = report["headers"].as_array().unwrap().iter();
        let found = pairs.filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name));
        found.map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
    }
}

fn pair(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_owned(), value.trim().to_owned())
}

fn tls(ca_pem: &str, certificate: Option<&Issued>, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(ca_pem.as_bytes()).map(|certificate| certificate.unwrap()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap().with_root_certificates(roots);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let chain = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes()).map(|certificate| certificate.unwrap()).collect();
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}
