//! Requests to the site server, of which there may be several: any will do, the next is asked where one fails.
//!
//! Absent on purpose: a proxy out of the environment, redirects, cookies, anything else that a browser would do.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use cmg_api::bytes::Sha256;
use cmg_api::clients::Asked;
use cmg_api::control::{EnrolRequest, Enrolled, GenerationId, LARGEST_MESSAGE, LARGEST_PART, News, RenewRequest, StatusReport};
use cmg_api::device::{Kept, PassedOn, Presence, Tasks};
use reqwest::redirect::Policy;
use reqwest::{Method, Response};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// How long a site server that has no news holds a question. With the answer comes what the site says about the newest, which gateways
/// count as stale after 30 seconds.
pub const HELD: Duration = Duration::from_secs(10);

/// Longest time to a connection: several site servers may have to be tried.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Longest time for a question and its answer, beyond the time it is held.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// Longest time for a part, which may be large.
const PART_TIME: Duration = Duration::from_secs(600);

/// Longest time for what devices have sent: an upload is large.
const PASS_TIME: Duration = Duration::from_secs(180);

/// Longest silence within an answer.
const SILENCE: Duration = Duration::from_secs(30);

/// Bytes read of an answer that explains a refusal.
const LARGEST_EXPLANATION: usize = 16 * 1024;

/// Asks site servers.
pub struct SiteClient {
    http: reqwest::Client,
    /// What paths begin with: each kind of member has its own.
    base: &'static str,
    servers: ArcSwap<Vec<String>>,
    /// The place of the one that answered last.
    current: AtomicUsize,
    has_answered: AtomicBool,
}

/// Why no site server has answered as it should.
#[derive(Debug, Error)]
pub enum SiteError {
    /// Nobody answers there.
    #[error("{server} cannot be asked")]
    Unreachable {
        /// The site server.
        server: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It says no.
    #[error("{server} answered {status}{}", explained(.detail))]
    Refused {
        /// The site server.
        server: String,
        /// The status.
        status: u16,
        /// In its words.
        detail: String,
        /// When to ask again.
        retry_after: Option<Duration>,
    },
    /// It says too much.
    #[error("{server} answered with more than {limit} bytes")]
    TooLarge {
        /// The site server.
        server: String,
        /// The most that it may say, in bytes.
        limit: usize,
    },
    /// It says what nobody understands.
    #[error("{server} answered with what is no such answer")]
    Malformed {
        /// The site server.
        server: String,
        /// Why.
        source: serde_json::Error,
    },
    /// There is none to ask.
    #[error("no site server is known: enrol again with a new code")]
    NoServer,
}

/// An answer that is passed on as it is.
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// When to ask again.
    pub retry_after: Option<Duration>,
}

fn explained(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

impl SiteError {
    /// The status that a site server refused with.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Unreachable { .. } | Self::TooLarge { .. } | Self::Malformed { .. } | Self::NoServer => None,
        }
    }

    /// How long the site server asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Unreachable { .. } | Self::TooLarge { .. } | Self::Malformed { .. } | Self::NoServer => None,
        }
    }

    /// Whether another site server may do better.
    fn is_of_one_server(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::TooLarge { .. } | Self::Malformed { .. } | Self::NoServer => false,
        }
    }
}

impl SiteClient {
    /// Asks the `servers` (`https://HOST:PORT`) as a member of this kind, each over TLS as `tls` says.
    pub fn new(kind: &str, servers: Vec<String>, tls: ClientConfig) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .https_only(true)
            .connect_timeout(CONNECT_TIME)
            .read_timeout(SILENCE)
            .user_agent(format!("opencmg-{kind}/{}", env!("CARGO_PKG_VERSION")))
            .build()?;
        let base = if kind == "management-point" { "management-point/" } else { "" };
        Ok(Self { http, base, servers: ArcSwap::from_pointee(servers), current: AtomicUsize::new(0), has_answered: AtomicBool::new(false) })
    }

    /// Asks these `servers` from now on.
    pub fn ask_at(&self, servers: Vec<String>) {
        if **self.servers.load() != servers {
            self.has_answered.store(false, Ordering::Relaxed);
            self.current.store(0, Ordering::Relaxed);
            self.servers.store(Arc::new(servers));
        }
    }

    /// The server that answered last, if one of those that are asked has.
    pub fn answered(&self) -> Option<String> {
        let servers = self.servers.load();
        self.has_answered.load(Ordering::Relaxed).then(|| servers.get(self.current.load(Ordering::Relaxed)).cloned()).flatten()
    }

    /// Asks for the certificate of a new member.
    pub async fn enrol(&self, request: &EnrolRequest) -> Result<Enrolled, SiteError> {
        self.message("enrol", request).await
    }

    /// Asks for the certificate of a new gateway.
    pub async fn enrol_gateway(&self, request: &EnrolRequest) -> Result<Enrolled, SiteError> {
        self.message("gateway/enrol", request).await
    }

    /// Asks for a new certificate for this member.
    pub async fn renew(&self, request: &RenewRequest) -> Result<Enrolled, SiteError> {
        self.message(&self.own("renew"), request).await
    }

    /// Passes on that a gateway asks for a new certificate.
    pub async fn renew_gateway(&self, request: &RenewRequest) -> Result<Enrolled, SiteError> {
        self.message("gateway/renew", request).await
    }

    /// What is newer than `after`; held for a while where nothing is.
    pub async fn news(&self, after: GenerationId) -> Result<News, SiteError> {
        let path = format!("{}news?after={after}&wait={}", self.base, HELD.as_secs());
        let (server, bytes) = self.ask(&Question { limit: LARGEST_MESSAGE, within: HELD + ANSWER_TIME, ..Question::get(&path) }).await?;
        read(&server, &bytes)
    }

    /// A part by its digest, which the caller checks.
    pub async fn part(&self, digest: Sha256) -> Result<Vec<u8>, SiteError> {
        let path = self.own(&format!("part/{digest}"));
        let (_, bytes) = self.ask(&Question { limit: LARGEST_PART, within: PART_TIME, ..Question::get(&path) }).await?;
        Ok(bytes)
    }

    /// Tells how this member is, and whom it speaks for.
    pub async fn report(&self, report: &StatusReport) -> Result<(), SiteError> {
        self.ask(&Question::post(&self.own("status"), report)).await.map(|_| ())
    }

    /// Asks in a client's name. What a site server answers below 500 is an answer, whatever it says.
    pub async fn client(&self, what: &str, asked: &Asked) -> Result<Answered, SiteError> {
        let servers = self.servers.load_full();
        let (first, count) = (self.current.load(Ordering::Relaxed), servers.len());
        let path = format!("client/{what}");
        let mut failed = SiteError::NoServer;
        for place in (first..first + count).map(|place| place % count) {
            let server = &servers[place];
            match self.send(server, &Question::post(&path, asked)).await {
                Ok(response) if response.status().as_u16() >= 500 => failed = refused(server, response).await,
                Ok(response) => {
                    if Arc::ptr_eq(&servers, &self.servers.load()) {
                        self.current.store(place, Ordering::Relaxed);
                    }
                    return answered(server, response).await;
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Passes on what devices have sent.
    pub async fn pass_on(&self, messages: &PassedOn) -> Result<Kept, SiteError> {
        let question = Question { within: PASS_TIME, ..Question::post("client/messages", messages) };
        let (server, bytes) = self.ask(&question).await?;
        read(&server, &bytes)
    }

    /// Tells who is online.
    pub async fn presence(&self, presence: &Presence) -> Result<(), SiteError> {
        self.ask(&Question::post("client/presence", presence)).await.map(|_| ())
    }

    /// What devices shall do beyond the task `after`; held for a while where there is nothing.
    pub async fn tasks(&self, after: u64) -> Result<Tasks, SiteError> {
        let path = format!("client/tasks?after={after}&wait={}", HELD.as_secs());
        let (server, bytes) = self.ask(&Question { within: HELD + ANSWER_TIME, ..Question::get(&path) }).await?;
        read(&server, &bytes)
    }

    /// The path of this kind of member.
    fn own(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn message<T: DeserializeOwned>(&self, path: &str, message: &impl Serialize) -> Result<T, SiteError> {
        let (server, bytes) = self.ask(&Question::post(path, message)).await?;
        read(&server, &bytes)
    }

    /// Asks the site server that answered last, and then the others.
    async fn ask(&self, question: &Question<'_>) -> Result<(String, Vec<u8>), SiteError> {
        let servers = self.servers.load_full();
        let (first, count) = (self.current.load(Ordering::Relaxed), servers.len());
        let mut failed = SiteError::NoServer;
        for place in (first..first + count).map(|place| place % count) {
            match self.ask_one(&servers[place], question).await {
                Ok(bytes) => {
                    // Others may be asked meanwhile.
                    if Arc::ptr_eq(&servers, &self.servers.load()) {
                        self.current.store(place, Ordering::Relaxed);
                        self.has_answered.store(true, Ordering::Relaxed);
                    }
                    return Ok((servers[place].clone(), bytes));
                }
                Err(error) if error.is_of_one_server() => failed = error,
                Err(error) => return Err(error),
            }
        }
        Err(failed)
    }

    async fn send(&self, server: &str, question: &Question<'_>) -> Result<Response, SiteError> {
        let url = format!("{}/control/v1/{}", server.trim_end_matches('/'), question.path);
        let mut request = self.http.request(question.method.clone(), url).timeout(question.within);
        if let Some(body) = &question.body {
            request = request.header("content-type", "application/json").body(body.clone());
        }
        request.send().await.map_err(|source| unreachable(server, source))
    }

    async fn ask_one(&self, server: &str, question: &Question<'_>) -> Result<Vec<u8>, SiteError> {
        let mut response = self.send(server, question).await?;
        if !response.status().is_success() {
            return Err(refused(server, response).await);
        }
        let limit = question.limit;
        match bounded(&mut response, limit).await.map_err(|source| unreachable(server, source))? {
            Some(bytes) => Ok(bytes),
            None => Err(SiteError::TooLarge { server: server.to_owned(), limit }),
        }
    }
}

struct Question<'a> {
    method: Method,
    path: &'a str,
    body: Option<Vec<u8>>,
    limit: usize,
    within: Duration,
}

impl<'a> Question<'a> {
    fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, body: None, limit: LARGEST_MESSAGE, within: ANSWER_TIME }
    }

    fn post(path: &'a str, message: &impl Serialize) -> Self {
        let body = serde_json::to_vec(message).expect("messages have text keys only");
        Self { method: Method::POST, path, body: Some(body), limit: LARGEST_MESSAGE, within: ANSWER_TIME }
    }
}

fn unreachable(server: &str, source: reqwest::Error) -> SiteError {
    SiteError::Unreachable { server: server.to_owned(), source: source.without_url() }
}

async fn answered(server: &str, mut response: Response) -> Result<Answered, SiteError> {
    let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
    match bounded(&mut response, LARGEST_MESSAGE).await.map_err(|source| unreachable(server, source))? {
        Some(body) => Ok(Answered { status, body, retry_after }),
        None => Err(SiteError::TooLarge { server: server.to_owned(), limit: LARGEST_MESSAGE }),
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    seconds.map(Duration::from_secs)
}

fn read<T: DeserializeOwned>(server: &str, bytes: &[u8]) -> Result<T, SiteError> {
    serde_json::from_slice(bytes).map_err(|source| SiteError::Malformed { server: server.to_owned(), source })
}

/// The body; none: it is longer than `limit`.
async fn bounded(response: &mut Response, limit: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

async fn refused(server: &str, mut response: Response) -> SiteError {
    let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
    let body = bounded(&mut response, LARGEST_EXPLANATION).await.ok().flatten().unwrap_or_default();
    SiteError::Refused { server: server.to_owned(), status, detail: explanation(&body), retry_after }
}

/// What the body of a refusal says, as problem details (RFC 9457) or as text.
fn explanation(body: &[u8]) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let said = problem.as_ref().and_then(|problem| problem["detail"].as_str().or_else(|| problem["title"].as_str()));
    let text = said.map_or_else(|| String::from_utf8_lossy(body), Into::into);
    text.chars().filter(|character| !character.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_explained_by_its_detail_or_its_text() {
        assert_eq!(explanation(br#"{"title":"Forbidden","detail":"the code is spent"}"#), "the code is spent");
        assert_eq!(explanation(br#"{"title":"Forbidden"}"#), "Forbidden");
        assert_eq!(explanation(b"spent\r\n"), "spent");
    }
}
