//! The load generator's transport: TCP, plain or with TLS 1.3 and a client certificate. It offers one suite and one
//! group, so that every system negotiates the same, and checks no server certificate: it is there to make load, and
//! what it saves leaves more of its processor to make it with. Only the clients of a fleet check it: they are to behave as devices do.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;

use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use crate::Result;
use crate::pki::{HOST, Pki};

thread_local! {
    /// One read buffer for all connections, so that an idle one holds none and a bulk one reads much at once.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 256 * 1024]);
}

/// A TLS identity, ready to connect with.
pub(crate) type Identity = Arc<ClientConfig>;

/// A connection to a system, or straight to the origin.
pub(crate) struct Stream {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Stream {
    /// Connects, from `source` if given, and shakes hands if there is an identity.
    pub(crate) async fn open(address: SocketAddr, source: Option<IpAddr>, identity: Option<&Identity>) -> io::Result<Self> {
        Self::open_as(HOST, address, source, identity).await
    }

    /// As [`Self::open`], to a server of another name.
    pub(crate) async fn open_as(name: &str, address: SocketAddr, source: Option<IpAddr>, identity: Option<&Identity>) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(source) = source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let tcp = socket.connect(address).await?;
        tcp.set_nodelay(true)?;
        let tls = match identity {
            None => None,
            Some(identity) => Some(Box::new(client(identity, name).map_err(io::Error::other)?)),
        };
        let mut stream = Self { tcp, tls };
        stream.shake_hands().await?;
        Ok(stream)
    }

    async fn shake_hands(&mut self) -> io::Result<()> {
        let mut nothing = Vec::new();
        loop {
            self.flush().await?;
            let Some(tls) = &self.tls else { return Ok(()) };
            if !tls.is_handshaking() {
                return Ok(());
            }
            if self.read_some(&mut nothing).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub(crate) fn resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    pub(crate) async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return self.tcp.write_all(bytes).await };
        while !bytes.is_empty() {
            let taken = tls.writer().write(bytes)?;
            bytes = &bytes[taken..];
            flush(tls, &mut self.tcp).await?;
        }
        Ok(())
    }

    /// Appends what arrives next to `out` and returns how much; 0 is the end.
    pub(crate) async fn receive(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        let before = out.len();
        loop {
            let read = self.read_some(out).await?;
            if read == 0 || out.len() > before {
                return Ok(out.len() - before);
            }
            // Tickets and other handshake messages carry nothing for `out`.
        }
    }

    /// Says goodbye as a client should.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => flush(tls, &mut self.tcp).await,
            None => Ok(()),
        }
    }

    /// One read of the socket; returns its size, of which `out` may get less or nothing.
    async fn read_some(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        let Self { tcp, tls } = self;
        poll_fn(|context| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut *tcp).poll_read(context, &mut buffer))?;
                let read = buffer.filled();
                match tls {
                    Some(tls) => decrypt(tls, read, out)?,
                    None => out.extend_from_slice(read),
                }
                Ok(read.len()).into()
            })
        })
        .await
    }
}

async fn flush(tls: &mut ClientConnection, tcp: &mut TcpStream) -> io::Result<()> {
    let mut records = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut records)?;
    }
    tcp.write_all(&records).await
}

fn decrypt(tls: &mut ClientConnection, mut input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    while !input.is_empty() {
        tls.read_tls(&mut input)?;
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let start = out.len();
        out.resize(start + state.plaintext_bytes_to_read(), 0);
        tls.reader().read_exact(&mut out[start..]).or_else(|error| if out.len() == start { Ok(()) } else { Err(error) })?;
    }
    Ok(())
}

fn client(identity: &Identity, name: &str) -> Result<ClientConnection, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).map_err(|_| rustls::Error::General(format!("{name} is no name of a server")))?;
    ClientConnection::new(Arc::clone(identity), name)
}

/// The first `count` clients of the laboratory, as TLS identities that always make full handshakes.
pub(crate) fn identities(pki: &Pki, count: usize) -> Result<Vec<Identity>> {
    load(pki, "clients.pem", count, false)
}

/// The same clients, each with a memory of its own for one server's tickets.
pub(crate) fn resuming_identities(pki: &Pki, count: usize) -> Result<Vec<Identity>> {
    load(pki, "clients.pem", count, true)
}

/// A client whose certificate is on the CRL.
pub(crate) fn revoked_identity(pki: &Pki) -> Result<Identity> {
    load(pki, "revoked.pem", 1, false)?.pop().ok_or_else(|| "no revoked client".into())
}

/// Someone without any certificate.
pub(crate) fn anonymous_identity() -> Result<Identity> {
    Ok(Arc::new(builder()?.with_no_client_auth()))
}

/// Someone without any certificate who believes these authorities (PEM), and nobody else.
pub(crate) fn believing(authorities: &str) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        roots.add(root?)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn load(pki: &Pki, bundle: &str, count: usize, resume: bool) -> Result<Vec<Identity>> {
    let issuing = CertificateDer::from_pem_file(pki.dir.join("clients-issuing.pem"))?;
    let path = pki.dir.join(bundle);
    let pairs = CertificateDer::pem_file_iter(&path)?.zip(PrivateKeyDer::pem_file_iter(&path)?);
    pairs.take(count).map(|(certificate, key)| identity(vec![certificate?, issuing.clone()], key?, resume)).collect()
}

fn identity(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>, resume: bool) -> Result<Identity> {
    let mut config = builder()?.with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = if resume { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn builder() -> Result<Builder> {
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[&rustls::version::TLS13])?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked)))
}

/// Takes any server certificate.
#[derive(Debug)]
struct Unchecked;

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
