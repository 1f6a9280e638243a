//! Signing in by a provider in a browser: the site says which address to open and which letters to show, and asks for these in the
//! browser, so that nobody is lured into the sign-in of another. Then the browser comes back to this machine with a one-time code, which
//! counts together with a secret that stays here (RFC 8252, RFC 7636).

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::server::{Request, Server};
use crate::sign_in::keep;
use crate::surroundings::Surroundings;
use crate::told::Told;

/// How long somebody may take in the browser: the site waits as long.
const PATIENCE: Duration = Duration::from_secs(600);

/// The longest that one request of the browser may take, and its largest head in bytes.
const HEAD_TIME: Duration = Duration::from_secs(10);
const LARGEST_HEAD: usize = 16 << 10;

/// Connections at once: browsers open some that they do not use.
const CONNECTIONS: usize = 16;

pub(crate) async fn login(provider: &str, opens: bool, server: &Server, surroundings: &mut Surroundings) -> Result<Told, Failure> {
    let no_port = |error: io::Error| Failure::failed("no port of this machine can be opened for the browser", &error);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(no_port)?;
    let port = listener.local_addr().map_err(no_port)?.port();
    let (path, verifier) = (format!("/{}", random()?), random()?);
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    let redirect = format!("http://127.0.0.1:{port}{path}");
    let body = json!({"provider": provider, "redirect": redirect, "code_challenge": challenge});
    let begun = server.ask_unknown(Request::post(&["sign-in", "oidc"], body)).await?.body;
    let url = begun["url"].as_str().filter(|url| is_address(url));
    let url = url.ok_or_else(|| Failure::Failed("the site server gave no address to open".to_owned()))?;
    show(url, begun["words"].as_str().filter(|words| is_plain(words)), opens, surroundings);
    let Ok(code) = timeout(PATIENCE, code(&listener, &path)).await else {
        return Err(Failure::Failed("nobody came back from the browser in ten minutes: look at what it says, and try again".to_owned()));
    };
    let body = json!({"code": code, "code_verifier": verifier});
    let made = server.ask_unknown(Request::post(&["sign-in", "oidc", "session"], body)).await?.body;
    let name = made["account"].as_str().unwrap_or_default().to_owned();
    keep(&name, &made, server, surroundings)
}

/// Nothing that a shell or a program could take for something else than an address.
fn is_address(url: &str) -> bool {
    url.starts_with("https://") && url.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Nothing that a terminal could take for something else than letters.
fn is_plain(words: &str) -> bool {
    words.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn show(url: &str, words: Option<&str>, opens: bool, surroundings: &mut Surroundings) {
    if let Some(words) = words {
        let _ = writeln!(surroundings.err, "When the browser asks for letters, type\n\n  {words}\n");
    }
    let is_opened = opens && (surroundings.browse)(url).is_ok();
    let words = if is_opened { "A browser opens at the provider; if it does not, open" } else { "Open in a browser on this machine" };
    // Where nobody reads, there is still the browser.
    let _ = writeln!(surroundings.err, "{words}:\n\n  {url}\n").and_then(|()| surroundings.err.flush());
}

fn random() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::Failed("this machine has no random numbers".to_owned()))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Waits until the browser brings the code.
async fn code(listener: &TcpListener, path: &str) -> String {
    let (found, mut codes) = mpsc::channel(1);
    let path: Arc<str> = path.into();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(code) = codes.recv() => {
                // Whoever has brought it shall read what it is told.
                let _ = timeout(Duration::from_secs(1), async { while connections.join_next().await.is_some() {} }).await;
                return code;
            }
            Ok((stream, _)) = listener.accept(), if connections.len() < CONNECTIONS => {
                let (path, found) = (Arc::clone(&path), found.clone());
                connections.spawn(async move {
                    let _ = timeout(HEAD_TIME, serve(stream, &path, &found)).await;
                });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, path: &str, found: &mpsc::Sender<String>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await?;
        if read == 0 || head.len() + read > LARGEST_HEAD {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..read]);
    }
    let code = code_in(&head, path);
    let (status, words) = match &code {
        Some(_) => ("200 OK", "The sign-in goes on at the command line. You can close this page.\n"),
        None => ("404 Not Found", "There is nothing here.\n"),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{words}",
        words.len()
    );
    let told = stream.write_all(answer.as_bytes()).await;
    if let Some(code) = code {
        // One is enough; another one is the same page loaded again.
        let _ = found.try_send(code);
    }
    told
}

/// The code in a request for this path; none: it is something else, such as a browser's wish for an icon.
fn code_in(head: &[u8], path: &str) -> Option<String> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let target = std::str::from_utf8(line).ok()?.strip_prefix("GET ")?.split(' ').next()?;
    let query = target.strip_prefix(path)?.strip_prefix('?')?;
    let code = query.split('&').find_map(|pair| pair.strip_prefix("code="))?;
    let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    is_code.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_comes_by_the_path_that_only_the_site_was_told() {
        let code = |head: &str| code_in(head.as_bytes(), "/secret");

        assert_eq!(code("GET /secret?code=a-_B HTTP/1.1\r\nHost: x\r\n\r\n").as_deref(), Some("a-_B"));
        for other in [
            "GET /?code=a HTTP/1.1",
            "GET /secret HTTP/1.1",
            "GET /secret?code= HTTP/1.1",
            "POST /secret?code=a HTTP/1.1",
            "GET /secret?code=%41 HTTP/1.1",
            "",
        ] {
            assert_eq!(code(other), None, "{other}");
        }
    }

    #[test]
    fn only_an_https_address_is_opened() {
        assert!(is_address("https://login.example/auth?x=1&y=%20"));
        for wrong in ["http://login.example/", "file:///etc/passwd", "--help", "https://a b", "https://a\nb"] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }
}
