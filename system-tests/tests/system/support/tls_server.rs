//! A server that speaks TLS, asks for a client certificate, and says who came.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use cmg_lab::Issued;
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// It serves until the test process ends.
pub(crate) struct TlsServer {
    pub(crate) port: u16,
}

impl TlsServer {
    /// Shows `certificate` and lets in who shows one of the authorities in `clients_pem`.
    pub(crate) fn start(certificate: &Issued, clients_pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(clients_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
        let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes()).map(|der| der.unwrap()).collect();
        let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).unwrap();
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(builder.with_client_cert_verifier(clients).with_single_cert(chain, key).unwrap());

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                // Whoever is not believed, or has gone, ends the connection and no more.
                std::thread::spawn(move || drop(serve(stream, config)));
            }
        });
        Self { port }
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    let tls = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(tls, stream));
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let asked = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
        let mut length = 0;
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
        }
        std::io::copy(&mut (&mut stream).take(length), &mut std::io::sink())?;
        let body = format!("{asked} from {}\n", visitor(&stream.get_ref().conn));
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.get_mut().write_all(answer.as_bytes())?;
        stream.get_mut().flush()?;
    }
}

/// The common name in the visitor's certificate, found the simple way: it is the one that the tests put there.
fn visitor(tls: &ServerConnection) -> &'static str {
    const NAME: &str = "the-connection-point";
    let shown = tls.peer_certificates().and_then(|chain| chain.first());
    let is_it = shown.is_some_and(|certificate| certificate.windows(NAME.len()).any(|part| part == NAME.as_bytes()));
    if is_it { NAME } else { "somebody else" }
}
