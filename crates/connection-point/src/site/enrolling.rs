//! Gateways that wait for their first certificate: this connection point dials each, and carries its request to the site.
//!
//! The gateway proves to the site that it knows its code, over what TLS exports on this very connection as seen from here; so nobody in
//! between can put a key of his own into the request. The gateway's own certificate proves nothing and is not looked at.
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use cmg_api::bytes::Base64;
use cmg_api::control::{ENROL_PROTOCOL, EnrolRequest, Enrolled};
use cmg_credentials::tls::enrolling_gateway;
use cmg_process::dice;
use cmg_process::log::chain;
use cmg_site_client::{Backoff, Site, SiteError, Trouble};
use cmg_transport::connect::{DialError, Proxy, dial};
use cmg_tunnel::connector::Route;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::{info, warn};

/// The label of what TLS exports.
const EXPORTER: &[u8] = b"EXPORTER-cmg-enrol";

/// Longest time for the name, TCP, proxy and TLS, and for each message.
const STEP_TIME: Duration = Duration::from_secs(10);

/// The largest request of a gateway that nobody knows yet.
const LARGEST_REQUEST: usize = 64 * 1024;

/// A gateway that was given its certificate is left alone for so long. After that, if the site says that it still waits, something was
/// lost on the way.
const AFTERWARDS: Duration = Duration::from_secs(30);

/// A gateway instance that waits for its first certificate.
#[derive(Clone)]
pub(crate) struct Candidate {
    /// Its name, as the site knows it.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) route: Route,
}

/// The attempts under way.
#[derive(Default)]
pub(crate) struct Enrolling(BTreeMap<String, Attempts>);

struct Attempts {
    route: Route,
    task: JoinHandle<()>,
}

/// Why a gateway was not enrolled.
#[derive(Debug, Error)]
enum EnrolError {
    #[error("it cannot be reached")]
    Dial(#[from] DialError),
    #[error("it does not speak with a connection point that enrols it: does it wait for enrolment, with a code of this site?")]
    Tls(#[source] io::Error),
    #[error("it sent no request: does its code belong to this site?")]
    Request(#[source] io::Error),
    #[error("it sent what is no request")]
    Malformed(#[source] serde_json::Error),
    #[error("it is \"{found}\" at this address, not \"{wanted}\": correct the address, or use the right code there")]
    Another { found: String, wanted: String },
    #[error("the site did not enrol it")]
    Site(#[from] SiteError),
    #[error("it did not take its certificate")]
    Answer(#[source] io::Error),
    #[error("it did not answer in time")]
    Late,
}

impl Enrolling {
    /// Makes the attempts those for `candidates`.
    pub(crate) fn follow(&mut self, candidates: &[Candidate], site: &Arc<Site>) {
        self.0.retain(|name, attempts| {
            candidates.iter().any(|candidate| candidate.name == *name && is_same_way(&candidate.route, &attempts.route))
        });
        for candidate in candidates.iter().filter(|candidate| !self.0.contains_key(&candidate.name)).cloned().collect::<Vec<_>>() {
            let (name, route) = (candidate.name.clone(), candidate.route.clone());
            let task = tokio::spawn(keep_trying(candidate, Arc::clone(site)));
            self.0.insert(name, Attempts { route, task });
        }
    }
}

/// Whether two ways to a gateway are one.
fn is_same_way(one: &Route, other: &Route) -> bool {
    let proxy = |route: &Route| route.proxy.as_ref().map(|Proxy { host, port, login }| (host.clone(), *port, login.clone()));
    (&one.host, one.port, proxy(one)) == (&other.host, other.port, proxy(other))
}

impl Drop for Attempts {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_trying(candidate: Candidate, site: Arc<Site>) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    let mut trouble = Trouble::default();
    loop {
        let Candidate { name, route } = &candidate;
        match attempt(&candidate, &site).await {
            Ok(()) => {
                info!(gateway = name, "Gateway enrolled");
                backoff.reset();
                trouble.is_over();
                sleep(AFTERWARDS).await;
            }
            Err(error) => {
                let asked = if let EnrolError::Site(error) = &error { error.retry_after() } else { None };
                let text = chain(&error);
                if trouble.is_news(&text) {
                    warn!(gateway = name, host = route.host, port = route.port, error = text, "Gateway not enrolled");
                }
                sleep(backoff.failed(asked, dice::draw())).await;
            }
        }
    }
}

/// Carries one request to the site, and the answer back.
async fn attempt(candidate: &Candidate, site: &Site) -> Result<(), EnrolError> {
    let Route { host, port, proxy } = &candidate.route;
    let member = site.member();
    let tls = enrolling_gateway(&member.role, &member.identity.roots, ENROL_PROTOCOL);
    let tcp = dial(host, *port, proxy.as_ref(), STEP_TIME).await?;
    let name = ServerName::try_from(host.clone()).map_err(|error| EnrolError::Tls(io::Error::other(error)))?;
    let connecting = TlsConnector::from(Arc::new(tls)).connect(name, tcp);
    let mut stream = timeout(STEP_TIME, connecting).await.map_err(|_| EnrolError::Late)?.map_err(EnrolError::Tls)?;
    if stream.get_ref().1.alpn_protocol() != Some(ENROL_PROTOCOL) {
        return Err(EnrolError::Tls(io::Error::other("another protocol was chosen")));
    }
    let bytes = timeout(STEP_TIME, read_message(&mut stream)).await.map_err(|_| EnrolError::Late)?.map_err(EnrolError::Request)?;
    let request = expected(&bytes, &candidate.name)?;
    let exporter = exported(&stream).map_err(EnrolError::Tls)?;
    let enrolled = site.member().client.enrol_gateway(&EnrolRequest { exporter: Base64(exporter), ..request }).await?;
    let answer = timeout(STEP_TIME, write_message(&mut stream, &enrolled)).await;
    answer.map_err(|_| EnrolError::Late)?.map_err(EnrolError::Answer)
}

/// The request, if it is that of the gateway that is expected here.
fn expected(bytes: &[u8], wanted: &str) -> Result<EnrolRequest, EnrolError> {
    let request: EnrolRequest = serde_json::from_slice(bytes).map_err(EnrolError::Malformed)?;
    if request.kind != "gateway" || request.name != wanted {
        let shown = |text: &str| text.chars().filter(|character| !character.is_control()).take(64).collect::<String>();
        return Err(EnrolError::Another { found: format!("{}/{}", shown(&request.kind), shown(&request.name)), wanted: wanted.to_owned() });
    }
    Ok(request)
}

fn exported(stream: &TlsStream<TcpStream>) -> io::Result<Vec<u8>> {
    stream.get_ref().1.export_keying_material(vec![0; 32], EXPORTER, None).map_err(io::Error::other)
}

async fn read_message(stream: &mut TlsStream<TcpStream>) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await? as usize;
    if length > LARGEST_REQUEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its request is too long"));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write_message(stream: &mut TlsStream<TcpStream>, enrolled: &Enrolled) -> io::Result<()> {
    let body = serde_json::to_vec(enrolled).expect("messages have text keys only");
    let mut message = (body.len() as u32).to_be_bytes().to_vec();
    message.extend_from_slice(&body);
    stream.write_all(&message).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: &str, name: &str) -> Vec<u8> {
        let nothing = Base64::default;
        let (kind, name) = (kind.to_owned(), name.to_owned());
        let request = EnrolRequest { kind, name, csr: nothing(), sealing_key: nothing(), exporter: nothing(), mac: nothing() };
        serde_json::to_vec(&request).unwrap()
    }

    #[test]
    fn only_the_gateway_that_is_expected_is_enrolled() {
        assert!(expected(&request("gateway", "gw-1"), "gw-1").is_ok());
        for (kind, name) in [("gateway", "gw-2"), ("connection-point", "gw-1")] {
            assert!(matches!(expected(&request(kind, name), "gw-1"), Err(EnrolError::Another { .. })), "{kind}/{name}");
        }
        assert!(matches!(expected(b"{}", "gw-1"), Err(EnrolError::Malformed(_))));
    }
}
