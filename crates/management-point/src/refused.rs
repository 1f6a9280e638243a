//! Why a client gets nothing from this management point itself: one table of words, statuses and challenges.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cmg_api::clients::ClientProblem;
use cmg_core::challenge::Challenge;
use cmg_core::refusal::Refusal;
use cmg_credentials::Nonce;

/// When whoever is to come again does so, in seconds.
const AGAIN: u64 = 10;

/// Where a client learns the nonce for its next proof (RFC 9449).
const NONCE: &str = "dpop-nonce";

/// A refusal of the management point's own.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) word: &'static str,
    status: StatusCode,
    detail: String,
    challenge: Option<Challenge>,
    nonce: Option<Nonce>,
}

impl Refused {
    pub(crate) fn new(word: &'static str, status: StatusCode, detail: impl Into<String>) -> Self {
        Self { word, status, detail: detail.into(), challenge: None, nonce: None }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new("malformed", StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new("unavailable", StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The same, which tells a stranger the nonce to use where it is asked for a proof.
    #[must_use]
    pub(crate) fn telling(mut self, nonce: Nonce) -> Self {
        self.nonce = self.challenge.is_some_and(Challenge::has_nonce).then_some(nonce);
        self
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let (word, status, detail) = match refusal {
            Refusal::TokenExpired => ("token-expired", StatusCode::UNAUTHORIZED, "the token has ended: get another one".to_owned()),
            Refusal::TokenBlocked => ("token-blocked", StatusCode::FORBIDDEN, "the token is blocked".to_owned()),
            Refusal::ProofMissing => ("no-proof", StatusCode::UNAUTHORIZED, "send a proof of possession in DPoP (RFC 9449)".to_owned()),
            Refusal::ProofNonce => ("proof", StatusCode::UNAUTHORIZED, "make the proof with the nonce in DPoP-Nonce".to_owned()),
            Refusal::ProofKey => ("wrong-key", StatusCode::UNAUTHORIZED, "the proof is by another key than the token's".to_owned()),
            Refusal::ProofTooMany => ("too-many", StatusCode::TOO_MANY_REQUESTS, "there were too many proofs by this key".to_owned()),
            Refusal::Overloaded => {
                ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "too many ask at this moment: ask again later".to_owned())
            }
            refusal if refusal.challenge().is_some_and(Challenge::has_nonce) => {
                ("proof", StatusCode::UNAUTHORIZED, format!("the proof of possession does not count: {}", refusal.row().label))
            }
            refusal => ("credential", StatusCode::UNAUTHORIZED, format!("the credential does not count: {}", refusal.row().label)),
        };
        Self { challenge: refusal.challenge(), ..Self::new(word, status, detail) }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self { word, status, detail, challenge, nonce } = self;
        let mut response = (status, Json(ClientProblem::new(word, status.as_u16(), detail))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, AGAIN.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            let value = challenge.map_or("DPoP realm=\"cmg\"", Challenge::value);
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        tell(headers, nonce);
        response
    }
}

/// Tells the nonce to use from here on.
pub(crate) fn tell(headers: &mut HeaderMap, nonce: Option<Nonce>) {
    if let Some(value) = nonce.and_then(|nonce| HeaderValue::from_str(nonce.as_str()).ok()) {
        headers.insert(NONCE, value);
    }
}
