//! Before the gateway is a member: it listens where it always will, speaks with connection points of the root that its code pins, and
//! asks the site for its certificate through one of them.
//!
//! What is proven: see `cmg_enrolled::Applicant`. A stranger costs a handshake within bounds, and a client gets a TLS alert.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cmg_api::control::{ENROL_PROTOCOL, Enrolled};
use cmg_credentials::tls::new_gateway;
use cmg_enrolled::{Applicant, DataFolder, Identity, ephemeral};
use cmg_process::log::chain;
use cmg_transport::proxy_protocol::{self, Network};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use crate::config::enrolled::Local;
use crate::listener::{Addresses, OneFrom};
use crate::run::RunError;
use crate::state::now;

/// The label of what TLS exports.
const EXPORTER: &[u8] = b"EXPORTER-cmg-enrol";

/// Connections at a time. A site has a few connection points; all others must not be able to keep them out.
const MOST_CONNECTIONS: usize = 512;

/// Connections of one address at a time that have proven nothing yet.
const MOST_OF_ADDRESS: u32 = 4;

/// Longest time for the handshake, and for the request to leave.
const STEP_TIME: Duration = Duration::from_secs(3);

/// Longest time for the answer: the connection point asks the site.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// The largest answer, in bytes: a chain and roots.
const LARGEST_ANSWER: usize = 256 * 1024;

/// Pause after the system refused a connection, which mostly means too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// What every connection works with.
pub(super) struct Desk {
    tls: TlsAcceptor,
    applicant: Applicant,
    proxies: Vec<Network>,
    places: Arc<Semaphore>,
    shaking: Arc<Addresses>,
    answers: mpsc::Sender<Enrolled>,
}

impl Desk {
    /// The desk of a gateway that applies so. Answers go into `answers`.
    pub(super) fn new(local: &Local, applicant: Applicant, answers: mpsc::Sender<Enrolled>) -> io::Result<Self> {
        let shown = ephemeral::certificate().map_err(io::Error::other)?;
        let tls = TlsAcceptor::from(new_gateway(applicant.root(), &shown, ENROL_PROTOCOL));
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        Ok(Self { tls, applicant, proxies: local.proxies.clone(), places, shaking: Arc::default(), answers })
    }
}

/// Waits until a connection point has brought the certificate, and keeps it in `folder`. What listens meanwhile is in `listening`.
pub(super) async fn enrol(local: &Local, folder: &DataFolder, listening: &mut JoinSet<()>) -> Result<Identity, RunError> {
    let code = local.code().map_err(|problem| RunError::Config(vec![problem]))?;
    let (answers, mut answered) = mpsc::channel(1);
    let applicant = Applicant::kept(&code, folder).map_err(io::Error::other)?;
    let desk = Arc::new(Desk::new(local, applicant, answers)?);
    for address in &local.listen {
        let listener = cmg_transport::listen::bind(*address).map_err(|source| RunError::Listen { address: *address, source })?;
        listening.spawn(accept(listener, Arc::clone(&desk)));
    }
    info!(member = code.name, "Not enrolled yet: waiting for a connection point of the site");
    let identity = loop {
        let Some(answer) = answered.recv().await else { return Err(io::Error::other("nobody listens").into()) };
        match desk.applicant.accept(&answer, folder, now()) {
            Ok(identity) => break identity,
            Err(error) => warn!(error = chain(&error), "Enrolment refused"),
        }
    };
    info!(member = identity.member(), "Enrolled");
    Ok(identity)
}

/// Accepts connections until dropped; they end with it.
async fn accept(listener: TcpListener, desk: Arc<Desk>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&desk.places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((tcp, address)) => {
                let desk = Arc::clone(&desk);
                connections.spawn(async move {
                    serve(tcp, address, &desk).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "No connection accepted");
                sleep(PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(tcp: TcpStream, address: SocketAddr, desk: &Desk) {
    let handshake = async {
        let (stream, _from) = handshake(tcp, address, desk).await?;
        ask(stream, &desk.applicant).await
    };
    let stream = match timeout(STEP_TIME, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "Connection refused: not enrolled yet"),
        Err(_) => return debug!("Connection refused: not enrolled yet, and the handshake took too long"),
    };
    match timeout(ANSWER_TIME, answer(stream)).await {
        Ok(Ok(answer)) => drop(desk.answers.send(answer).await),
        Ok(Err(error)) => warn!(%error, "The site has not enrolled this gateway; the connection point tells the reason in its log"),
        Err(_) => warn!("The site has not answered in time"),
    }
}

/// Speaks TLS with whoever has come, unless its address does so too often already.
pub(super) async fn handshake(mut tcp: TcpStream, address: SocketAddr, desk: &Desk) -> io::Result<(TlsStream<TcpStream>, OneFrom)> {
    let mut from = address.ip();
    if desk.proxies.iter().any(|network| network.contains(address.ip().to_canonical())) {
        from = proxy_protocol::read(&mut tcp).await?.map_or(from, |told| told.ip());
    }
    let too_many = || io::Error::other("too many handshakes of this address");
    let from = OneFrom::new(&desk.shaking, from, MOST_OF_ADDRESS).ok_or_else(too_many)?;
    let stream = desk.tls.accept(tcp).await?;
    match stream.get_ref().1.alpn_protocol() {
        Some(ENROL_PROTOCOL) => Ok((stream, from)),
        _ => Err(io::Error::other("another protocol was chosen")),
    }
}

/// Sends the request, bound to this connection.
async fn ask(mut stream: TlsStream<TcpStream>, applicant: &Applicant) -> io::Result<TlsStream<TcpStream>> {
    let exporter = stream.get_ref().1.export_keying_material([0; 32], EXPORTER, None).map_err(io::Error::other)?;
    let request = applicant.request(&exporter).map_err(io::Error::other)?;
    let message = serde_json::to_vec(&request).map_err(io::Error::other)?;
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&message).await?;
    stream.flush().await?;
    Ok(stream)
}

async fn answer(mut stream: TlsStream<TcpStream>) -> io::Result<Enrolled> {
    let length = stream.read_u32().await? as usize;
    if length > LARGEST_ANSWER {
        return Err(io::Error::other("the answer is too long"));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    serde_json::from_slice(&message).map_err(io::Error::other)
}
