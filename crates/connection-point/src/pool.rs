//! Connections to servers, used again: no client costs a port of its own.
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use cmg_core::refusal::Refusal;
use cmg_http1::Known;
use cmg_transport::connect::dial;
use cmg_transport::{ByteStream, TlsStream, is_quiet, set_server_options};
use pki_types::ServerName;
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::servers::Server;

/// Idle connections kept for one server.
const MOST_IDLE: usize = 256;

/// Idle time after which a connection is not used again. Most servers keep theirs longer.
const LONGEST_IDLE: Duration = Duration::from_secs(30);

/// Where a connection leads: what differs is never mixed.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    host: String,
    port: u16,
    /// Which TLS set-up, by address; none: plain TCP.
    tls: Option<usize>,
}

/// Idle connections by server.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<Key, Vec<Idle>>>,
}

struct Idle {
    stream: ByteStream,
    since: Instant,
    /// Keeps the address in the key from being used for another set-up.
    _tls: Option<Arc<ClientConfig>>,
}

/// A connection in use.
pub(crate) struct ServerConnection {
    pub(crate) stream: ByteStream,
    /// Received and not yet used.
    pub(crate) input: BytesMut,
    /// Whether it served a request before: the server may have closed it at this very moment.
    pub(crate) reused: bool,
}

/// Why a server was not reached.
pub(crate) struct Unreachable {
    pub(crate) refusal: Refusal,
    pub(crate) error: Box<dyn std::error::Error + Send + Sync>,
}

impl Pool {
    /// An idle connection to the server, if there is one that still stands.
    pub(crate) fn take(&self, server: &Server) -> Option<ServerConnection> {
        let mut pool = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = pool.get_mut(&key(server))?;
        while let Some(Idle { stream, since, .. }) = idle.pop() {
            if since.elapsed() < LONGEST_IDLE && is_quiet(stream.tcp()) {
                return Some(ServerConnection { stream, input: BytesMut::new(), reused: true });
            }
        }
        None
    }

    /// Keeps a connection whose last answer is whole.
    pub(crate) fn keep(&self, server: &Server, connection: ServerConnection) {
        let mut pool = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = pool.entry(key(server)).or_default();
        if idle.len() == MOST_IDLE {
            idle.remove(0);
        }
        idle.push(Idle { stream: connection.stream, since: Instant::now(), _tls: server.tls.clone() });
    }

    /// Closes what has been idle for too long.
    pub(crate) fn sweep(&self) {
        let mut pool = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        for idle in pool.values_mut() {
            idle.retain(|idle| idle.since.elapsed() < LONGEST_IDLE && is_quiet(idle.stream.tcp()));
        }
        pool.retain(|_, idle| !idle.is_empty());
    }
}

fn key(server: &Server) -> Key {
    Key { host: server.url.host.clone(), port: server.url.port, tls: server.tls.as_ref().map(|tls| Arc::as_ptr(tls) as usize) }
}

/// Whether a request with these fields may make the server believe that all that follows on its connection comes from the same user. NTLM
/// and Negotiate log in the connection, not the request; such a connection serves nobody else.
pub(crate) fn logs_in_its_connection<'a>(mut fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> bool {
    fields.any(|(name, value)| {
        let value = value.trim_ascii_start();
        let starts_with = |scheme: &[u8]| value.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        Known::of(name) == Known::Authorization && (starts_with(b"ntlm") || starts_with(b"negotiate"))
    })
}

/// Makes a new connection to the server within `within`, TLS included.
pub(crate) async fn connect(server: &Server, within: Duration) -> Result<ServerConnection, Unreachable> {
    let began = Instant::now();
    let unreachable = |error: Box<dyn std::error::Error + Send + Sync>| Unreachable { refusal: Refusal::ServerUnreachable, error };
    let tcp = dial(&server.url.host, server.url.port, None, within).await.map_err(|error| unreachable(error.into()))?;
    set_server_options(&tcp).map_err(|error| unreachable(error.into()))?;
    let stream = match &server.tls {
        None => ByteStream::Plain(tcp),
        Some(config) => {
            let name = ServerName::try_from(server.url.host.clone()).map_err(|error| unreachable(error.into()))?;
            match timeout(within.saturating_sub(began.elapsed()), TlsStream::connect(tcp, name, Arc::clone(config))).await {
                Ok(Ok(tls)) => ByteStream::Tls(Box::new(tls)),
                Ok(Err(error)) if is_untrusted(&error) => {
                    return Err(Unreachable { refusal: Refusal::ServerUntrusted, error: error.into() });
                }
                Ok(Err(error)) => return Err(unreachable(error.into())),
                Err(elapsed) => return Err(unreachable(elapsed.into())),
            }
        }
    };
    Ok(ServerConnection { stream, input: BytesMut::new(), reused: false })
}

/// Whether a handshake failed by the server's certificate, and not by the line or by what else the two could not agree on.
fn is_untrusted(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_logged_in_is_not_for_others() {
        let logs_in = |name: &'static str, value: &'static str| logs_in_its_connection([(name.as_bytes(), value.as_bytes())].into_iter());

        for value in ["NTLM TlRMTVNTUAAD", "ntlm x", " Negotiate YIIB", "NEGOTIATE"] {
            assert!(logs_in("AUTHORIZATION", value), "{value}");
        }
        assert!(!logs_in("Authorization", "Bearer ntlm") && !logs_in("Authorization", "Basic eA==") && !logs_in("X-Way", "NTLM x"));
    }
}
