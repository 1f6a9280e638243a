//! One connection of a simulated client: TLS that believes the services' root alone, and HTTP/1.1 over it. An idle one holds no buffer.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cmg_core::choice::Trouble;
use tokio::time::timeout;

use crate::client::{content_length, head_end};
use crate::stream::{Identity, Stream};

/// The longest that a connection may take, with its handshake.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The largest answer.
const LARGEST: usize = 9 << 20;
/// The wait that a server gets when it asks for one without saying how long.
const SOME_TIME: Duration = Duration::from_secs(10);

/// A connection.
pub(super) struct Wire(Stream);

/// A request.
pub(super) struct Asking<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) host: &'a str,
    /// Fields, each a whole line without its end.
    pub(super) fields: Vec<String>,
    pub(super) body: &'a [u8],
    pub(super) within: Duration,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    fields: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// What the answer says about the service, whatever it says about the request.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let wait = self.field("retry-after").map(|wait| wait.parse().map_or(SOME_TIME, Duration::from_secs));
        match (self.status, wait) {
            (429 | 503, Some(wait)) => Some(Trouble::Busy(wait)),
            (500.., _) => Some(Trouble::Broken),
            _ => None,
        }
    }
}

impl Wire {
    pub(super) async fn connect(name: &str, address: SocketAddr, source: IpAddr, identity: &Identity) -> Result<Self, Trouble> {
        let connecting = timeout(CONNECT_WITHIN, Stream::open_as(name, address, Some(source), Some(identity))).await;
        connecting.map_err(|_| Trouble::Broken)?.map(Self).map_err(|error| trouble(&error))
    }

    pub(super) async fn ask(&mut self, asking: &Asking<'_>) -> Result<Answer, Trouble> {
        let exchange = async {
            let Asking { method, path, host, fields, body, .. } = asking;
            let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
            let length = if *method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
            let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: cmg-bench\r\n{length}{fields}\r\n");
            self.0.send(&[head.as_bytes(), body].concat()).await?;
            self.receive().await
        };
        timeout(asking.within, exchange).await.map_err(|_| Trouble::Broken)?.map_err(|error| trouble(&error))
    }

    async fn receive(&mut self) -> io::Result<Answer> {
        let mut received = Vec::new();
        let end = loop {
            self.more(&mut received).await?;
            if let Some(end) = head_end(&received) {
                break end;
            }
        };
        let body = received.split_off(end);
        let (status, fields) = head(&received).ok_or_else(|| broken("not an answer"))?;
        let mut answer = Answer { status, fields, body };
        if matches!(status, 204 | 304) {
            return Ok(answer);
        }
        match content_length(&received) {
            Some(length) => {
                while (answer.body.len() as u64) < length {
                    self.more(&mut answer.body).await?;
                }
            }
            None => answer.body = self.chunks(answer.body).await?,
        }
        Ok(answer)
    }

    async fn chunks(&mut self, mut received: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                match received.windows(2).position(|window| window == b"\r\n") {
                    Some(end) => break received.drain(..end + 2).collect::<Vec<_>>(),
                    None => self.more(&mut received).await?,
                }
            };
            let digits = std::str::from_utf8(&line).unwrap_or_default().split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16).ok().filter(|length| *length <= LARGEST);
            let length = length.ok_or_else(|| broken("a chunk without a length"))?;
            while received.len() < length + 2 {
                self.more(&mut received).await?;
            }
            body.extend(received.drain(..length + 2).take(length));
            if length == 0 {
                return Ok(body);
            }
        }
    }

    async fn more(&mut self, received: &mut Vec<u8>) -> io::Result<()> {
        if received.len() > LARGEST {
            return Err(broken("an answer that is too large"));
        }
        match self.0.receive(received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn head(bytes: &[u8]) -> Option<(u16, BTreeMap<String, String>)> {
    let mut lines = std::str::from_utf8(bytes).ok()?.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let field = |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    Some((status, lines.filter_map(field).collect()))
}

/// What an error says about who was asked.
fn trouble(error: &io::Error) -> Trouble {
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (of_tls, error.kind()) {
        (Some(rustls::Error::InvalidCertificate(_)), _) => Trouble::Untrusted,
        (_, io::ErrorKind::ConnectionRefused | io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => Trouble::Refused,
        _ => Trouble::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head_of: &str) -> Answer {
        let (status, fields) = head(head_of.as_bytes()).unwrap();
        Answer { status, fields, body: Vec::new() }
    }

    #[test]
    fn a_head_gives_its_status_and_its_fields_in_any_spelling() {
        let answer = answer("HTTP/1.1 401 Unauthorized\r\nDPoP-Nonce: abc\r\n\r\n");

        assert_eq!((answer.status, answer.field("dpop-nonce")), (401, Some("abc")));
    }

    #[test]
    fn a_service_that_says_how_long_it_is_busy_is_believed() {
        assert_eq!(answer("HTTP/1.1 503 No\r\nRetry-After: 7\r\n\r\n").trouble(), Some(Trouble::Busy(Duration::from_secs(7))));
        assert_eq!(answer("HTTP/1.1 502 No\r\n\r\n").trouble(), Some(Trouble::Broken));
        assert_eq!(answer("HTTP/1.1 403 No\r\n\r\n").trouble(), None);
    }
}
