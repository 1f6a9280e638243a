//! What the client itself asks of a management point.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, IF_NONE_MATCH, RETRY_AFTER};
use http::{HeaderMap, Method, Request, StatusCode};

use super::leg::LegError;
use super::{CarryError, Token};

/// A question of the client itself to a management point.
#[derive(Clone)]
pub struct Question {
    /// Its method.
    pub method: Method,
    /// Path and query below the management point's address.
    pub path: String,
    /// A body of JSON.
    pub body: Option<Bytes>,
    /// What the client has already.
    pub if_none_match: Option<String>,
    /// What it shows in place of its own token, such as a bulk registration token.
    pub shows: Option<Token>,
    /// The largest answer, in bytes.
    pub largest: usize,
    /// How long the answer may take.
    pub patience: Duration,
}

/// The answer of a management point.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Question {
    /// A question without a body; the answer may have 1 MiB and take 30 s.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: None,
            if_none_match: None,
            shows: None,
            largest: 1 << 20,
            patience: Duration::from_secs(30),
        }
    }

    /// A question with a body of JSON, or none.
    pub fn post(path: impl Into<String>, body: Option<Vec<u8>>) -> Self {
        Self { method: Method::POST, body: body.map(Bytes::from), ..Self::get(path) }
    }

    pub(super) fn head(&self) -> Result<Request<()>, CarryError> {
        let mut request = Request::builder().method(&self.method).uri("/").header("accept", "application/json, application/problem+json");
        if self.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(tag) = &self.if_none_match {
            request = request.header(IF_NONE_MATCH, tag);
        }
        request.body(()).map_err(|error| CarryError::Leg(LegError::Unwritten(error)))
    }
}

impl Answer {
    /// When to come again, where the other end says so in seconds; never more than an hour.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds: u64 = self.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds.min(3_600)))
    }
}
