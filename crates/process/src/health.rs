//! `/livez`, `/readyz` and `/metrics`: a very small HTTP/1.1 server for the machine's own supervisors.
//!
//! It answers GET and HEAD, one request a connection, within fixed bounds, and shares nothing with the server that
//! strangers reach: not its parser, its limits or its port. Absent on purpose: TLS and log-in, which is why it
//! listens on loopback unless the administrator says otherwise.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::metrics::{CONTENT_TYPE, Metrics};

/// A scraper's request is a few hundred bytes.
const MOST_HEAD_BYTES: usize = 4 * 1024;

/// Supervisors come one by one; the seventeenth connection waits in the backlog.
const MOST_CONNECTIONS: usize = 16;

/// From accept to the last byte.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long nothing is accepted after the system refused a connection, which mostly means too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Who can reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// Only this machine; another address is refused.
    Loopback,
    /// Whoever can reach the address.
    Public,
}

/// The running server; dropping it ends it with all its connections.
pub struct Health {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// Says that the program can serve, or in a few words why not.
pub type Ready = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

struct Answers {
    ready: Ready,
    metrics: Arc<Metrics>,
}

struct Answer {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

impl Health {
    /// Listens on `address`. Must be called within a runtime.
    pub async fn start(address: SocketAddr, exposure: Exposure, ready: Ready, metrics: Arc<Metrics>) -> io::Result<Self> {
        if exposure == Exposure::Loopback && !address.ip().is_loopback() {
            let words = format!("{address} is no loopback address, and nobody is asked for a password here");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
        }
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, Arc::new(Answers { ready, metrics })));
        Ok(Self { address, task })
    }

    /// Where the server listens, with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, answers: Arc<Answers>) {
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let answers = Arc::clone(&answers);
        connections.spawn(async move {
            // A connection that failed or took too long concerns nobody but its other end.
            let _ = tokio::time::timeout(DEADLINE, serve(socket, &answers)).await;
            drop(permit);
        });
    }
}

async fn serve(mut socket: TcpStream, answers: &Answers) -> io::Result<()> {
    let head = read_head(&mut socket).await?;
    let (answer, with_body) = match head.as_deref().map(parse) {
        None => (Answer::words("431 Request Header Fields Too Large", "the request is too long"), true),
        Some(None) => (Answer::words("400 Bad Request", "this is no HTTP/1.1 request"), true),
        Some(Some(("GET", path))) => (answers.to(path), true),
        Some(Some(("HEAD", path))) => (answers.to(path), false),
        Some(Some(_)) => (Answer::words("405 Method Not Allowed", "only GET and HEAD"), true),
    };
    socket.write_all(answer.text(with_body).as_bytes()).await?;
    socket.shutdown().await
}

/// The bytes up to the blank line and what came with it; none if the blank line does not come soon enough.
async fn read_head(socket: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::with_capacity(MOST_HEAD_BYTES);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() == MOST_HEAD_BYTES {
            return Ok(None);
        }
        let room = (MOST_HEAD_BYTES - head.len()) as u64;
        if (&mut *socket).take(room).read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(head))
}

/// Method and path.
fn parse(head: &[u8]) -> Option<(&str, &str)> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = str::from_utf8(line).ok()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let path = target.split('?').next()?;
    let is_http = matches!(version, "HTTP/1.1" | "HTTP/1.0") && words.next().is_none();
    is_http.then_some((method, path))
}

impl Answers {
    fn to(&self, path: &str) -> Answer {
        match path {
            "/livez" => Answer::words("200 OK", "alive"),
            "/readyz" => match (self.ready)() {
                Ok(()) => Answer::words("200 OK", "ready"),
                Err(why) => Answer::words("503 Service Unavailable", &why),
            },
            "/metrics" => match self.metrics.render() {
                Ok(body) => Answer { status: "200 OK", content_type: CONTENT_TYPE, body },
                Err(_) => Answer::words("500 Internal Server Error", "the metrics cannot be written"),
            },
            _ => Answer::words("404 Not Found", "here are /livez, /readyz and /metrics"),
        }
    }
}

impl Answer {
    fn words(status: &'static str, words: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: format!("{words}\n") }
    }

    fn text(&self, with_body: bool) -> String {
        let Self { status, content_type, body } = self;
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n{}",
            if with_body { body } else { "" }
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const ANY_PORT: &str = "127.0.0.1:0";

    async fn server(ready: Ready) -> Health {
        let mut metrics = Metrics::new("gateway");
        metrics.counter("connections", "Accepted connections").inc_by(7);
        Health::start(ANY_PORT.parse().unwrap(), Exposure::Loopback, ready, Arc::new(metrics)).await.unwrap()
    }

    async fn always_ready() -> Health {
        server(Box::new(|| Ok(()))).await
    }

    async fn ask(health: &Health, request: &str) -> String {
        let mut socket = TcpStream::connect(health.address()).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(health: &Health, path: &str) -> String {
        ask(health, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
    }

    #[tokio::test]
    async fn livez_is_alive() {
        let answer = get(&always_ready().await, "/livez").await;

        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nalive\n"), "{answer}");
    }

    #[tokio::test]
    async fn readyz_says_why_not_and_changes_live() {
        static HAS_TUNNEL: AtomicBool = AtomicBool::new(false);
        let ready = || if HAS_TUNNEL.load(Ordering::Relaxed) { Ok(()) } else { Err("no connection point".to_owned()) };
        let health = server(Box::new(ready)).await;

        let before = get(&health, "/readyz").await;
        HAS_TUNNEL.store(true, Ordering::Relaxed);
        let after = get(&health, "/readyz").await;

        assert!(before.starts_with("HTTP/1.1 503 ") && before.ends_with("no connection point\n"), "{before}");
        assert!(after.starts_with("HTTP/1.1 200 "), "{after}");
    }

    #[tokio::test]
    async fn metrics_are_rendered() {
        let answer = get(&always_ready().await, "/metrics?name=all").await;

        assert!(answer.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{answer}");
        assert!(answer.contains("gateway_connections_total 7\n"), "{answer}");
    }

    #[tokio::test]
    async fn head_has_the_length_and_no_body() {
        let answer = ask(&always_ready().await, "HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;

        assert!(answer.contains("Content-Length: 6\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let health = always_ready().await;
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("GET /metrics/ HTTP/1.1\r\n\r\n", "404"),
            ("POST /livez HTTP/1.1\r\n\r\n", "405"),
            ("GET /livez\r\n\r\n", "400"),
            ("GET /livez HTTP/2.0\r\n\r\n", "400"),
            ("GET  /livez HTTP/1.1\r\n\r\n", "400"),
            ("\r\n\r\n", "400"),
        ] {
            let answer = ask(&health, request).await;

            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        }
    }

    #[tokio::test]
    async fn a_head_without_end_is_refused() {
        let endless = format!("GET /livez HTTP/1.1\r\nX: {}", "x".repeat(MOST_HEAD_BYTES));

        let answer = ask(&always_ready().await, &endless[..MOST_HEAD_BYTES]).await;

        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }

    /// On a clock that jumps to the next deadline when there is nothing else to do.
    #[tokio::test(start_paused = true)]
    async fn silent_connections_block_nobody_for_longer_than_the_deadline() {
        let health = always_ready().await;
        let mut silent = Vec::new();
        for _ in 0..MOST_CONNECTIONS {
            silent.push(TcpStream::connect(health.address()).await.unwrap());
        }
        let late = tokio::spawn({
            let address = health.address();
            async move {
                let mut socket = TcpStream::connect(address).await.unwrap();
                socket.write_all(b"GET /livez HTTP/1.1\r\n\r\n").await.unwrap();
                let mut answer = String::new();
                socket.read_to_string(&mut answer).await.unwrap();
                answer
            }
        });
        let mut nothing = Vec::new();
        silent[0].read_to_end(&mut nothing).await.unwrap();

        assert!(nothing.is_empty());
        assert!(late.await.unwrap().starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn another_address_than_loopback_must_be_asked_for() {
        let start = |exposure| {
            let metrics = Arc::new(Metrics::new("gateway"));
            Health::start("0.0.0.0:0".parse().unwrap(), exposure, Box::new(|| Ok(())), metrics)
        };

        assert!(start(Exposure::Loopback).await.is_err());
        assert!(start(Exposure::Public).await.is_ok());
    }

    #[tokio::test]
    async fn dropping_it_ends_it() {
        let health = always_ready().await;
        let address = health.address();
        get(&health, "/livez").await;

        drop(health);

        let refused = async { while TcpStream::connect(address).await.is_ok() {} };
        assert!(tokio::time::timeout(Duration::from_secs(60), refused).await.is_ok());
    }
}
