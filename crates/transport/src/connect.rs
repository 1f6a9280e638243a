//! Dialling out: directly, or through an HTTP proxy that allows CONNECT.
use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A proxy's answer longer than this is not read.
const ANSWER_LIMIT: usize = 8 * 1024;

/// An HTTP proxy on the way out.
#[derive(Clone)]
pub struct Proxy {
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password for Basic; none: no log-in.
    pub login: Option<(String, String)>,
}

/// Why a connection was not made.
#[derive(Debug, Error)]
pub enum DialError {
    /// The name did not resolve, or nobody answered.
    #[error("cannot connect to {to}")]
    Unreachable {
        /// Host and port.
        to: String,
        /// What the system said.
        source: io::Error,
    },
    /// Time ran out.
    #[error("no connection to {to} within {within:?}")]
    Timeout {
        /// Host and port.
        to: String,
        /// The time that was allowed.
        within: Duration,
    },
    /// The proxy wants another log-in.
    #[error("the proxy {proxy} asks for a log-in: set proxy_user and proxy_password_file ({scheme})")]
    ProxyLogin {
        /// The proxy.
        proxy: String,
        /// What it offers.
        scheme: String,
    },
    /// The proxy said no.
    #[error("the proxy {proxy} refused the connection to {to}: {answer}")]
    ProxyRefused {
        /// The proxy.
        proxy: String,
        /// Host and port asked for.
        to: String,
        /// Its status line.
        answer: String,
    },
}

/// Connects to `host` and `port` within `within`, through `proxy` where one is given. Names are resolved anew each time; every
/// address is tried.
pub async fn dial(host: &str, port: u16, proxy: Option<&Proxy>, within: Duration) -> Result<TcpStream, DialError> {
    let to = format!("{}:{port}", bracketed(host));
    let attempt = async {
        match proxy {
            None => direct(host, port, &to).await,
            Some(proxy) => through(proxy, &to).await,
        }
    };
    timeout(within, attempt).await.unwrap_or(Err(DialError::Timeout { to: to.clone(), within }))
}

async fn direct(host: &str, port: u16, to: &str) -> Result<TcpStream, DialError> {
    TcpStream::connect((host, port)).await.map_err(|source| DialError::Unreachable { to: to.to_owned(), source })
}

async fn through(proxy: &Proxy, to: &str) -> Result<TcpStream, DialError> {
    let name = format!("{}:{}", bracketed(&proxy.host), proxy.port);
    let mut tcp = direct(&proxy.host, proxy.port, &name).await?;
    let failed = |source| DialError::Unreachable { to: name.clone(), source };
    tcp.write_all(request(proxy, to).as_bytes()).await.map_err(failed)?;
    let answer = read_head(&mut tcp).await.map_err(failed)?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" => Ok(tcp),
        "407" => Err(DialError::ProxyLogin { proxy: name, scheme: offered(&answer) }),
        _ => Err(DialError::ProxyRefused { proxy: name, to: to.to_owned(), answer: first_line(&answer) }),
    }
}

fn request(proxy: &Proxy, to: &str) -> String {
    let login = match &proxy.login {
        Some((user, password)) => format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}"))),
        None => String::new(),
    };
    format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{login}\r\n")
}

/// Reads to the end of the head byte by byte: what follows belongs to the tunnel.
async fn read_head(tcp: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == ANSWER_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the proxy's answer is too long"));
        }
        head.push(tcp.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn offered(answer: &str) -> String {
    let scheme = answer.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"));
    scheme.map(|(_, value)| value.trim().to_owned()).unwrap_or_else(|| "no scheme named".to_owned())
}

fn first_line(answer: &str) -> String {
    answer.lines().next().unwrap_or_default().chars().take(200).collect()
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
