//! Every refusal of the API, and the one table that says how it is answered: problem details of RFC 9457.
//!
//! `type` is stable and for programs; `detail`, `problems` and their words are for people. What broke inside stands in the log under
//! the request id, never in an answer.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cmg_core::problem::Problem;
use cmg_process::log::chain;
use serde::Serialize;
use tracing::{error, warn};

use crate::app::change::ChangeRefused;

/// When whoever found the database busy or gone asks again, in seconds.
const DATABASE_AGAIN: u64 = 2;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The body is no JSON, or too deep.
    Malformed,
    /// Nobody is signed in.
    NotSignedIn,
    /// Name or password is wrong.
    WrongCredentials,
    /// The role does not permit it, or the request comes from another site in a browser.
    NotPermitted,
    /// The body does not come.
    TooSlow,
    /// There is no such thing.
    NotFound,
    /// The address does not have this method.
    MethodNotAllowed,
    /// It exists already.
    Exists,
    /// `If-Match` did not match.
    Stale,
    /// The body is too large.
    TooLarge,
    /// The body is not of the type that it must have.
    MediaType,
    /// The request can be read and does not hold.
    Invalid,
    /// The idempotency key belongs to another request.
    KeyReused,
    /// `If-Match` is missing.
    MatchRequired,
    /// Too many tries.
    TooMany,
    /// The site server failed.
    Failed,
    /// The database is busy or gone.
    Unavailable,
    /// The database is full.
    Full,
}

impl Kind {
    /// Status, the last part of the type, and the title.
    fn answer(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request cannot be read"),
            Self::NotSignedIn => (StatusCode::UNAUTHORIZED, "not-signed-in", "Nobody is signed in"),
            Self::WrongCredentials => (StatusCode::UNAUTHORIZED, "wrong-credentials", "The credentials are wrong"),
            Self::NotPermitted => (StatusCode::FORBIDDEN, "not-permitted", "This is not permitted"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "The body came too slowly"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "This address does not have this method"),
            Self::Exists => (StatusCode::CONFLICT, "exists", "It exists already"),
            Self::Stale => (StatusCode::PRECONDITION_FAILED, "stale", "Somebody else has changed it"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The body is of another type"),
            Self::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request has problems"),
            Self::KeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "The idempotency key belongs to another request")
            }
            Self::MatchRequired => (StatusCode::PRECONDITION_REQUIRED, "if-match-required", "If-Match is missing"),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too-many-tries", "Too many tries"),
            Self::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "failed", "The site server failed"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The site server cannot do this at the moment"),
            Self::Full => (StatusCode::INSUFFICIENT_STORAGE, "full", "The database is full"),
        }
    }
}

/// A refusal.
#[derive(Debug)]
pub(crate) struct Refused {
    kind: Kind,
    detail: String,
    problems: Vec<Problem>,
    version: Option<u64>,
    retry_after: Option<u64>,
    cause: Option<String>,
}

/// Problem details, as they are sent.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ProblemDetails {
    /// Which kind of problem: stable, for programs.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The status code.
    status: u16,
    /// What is wrong with this request, and what to do.
    detail: String,
    /// Every field that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<FieldProblem>,
    /// The version that is there, where `If-Match` named another.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// The request, as the log and the audit records name it.
    request_id: String,
}

/// What is wrong with one field.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct FieldProblem {
    /// The path of the field, such as `instances[0].address`; of another resource, such as `gateways/main.certificates[0]`.
    key: String,
    /// What is wrong.
    what: String,
    /// What to write instead.
    instead: String,
}

impl Refused {
    /// A refusal that `detail` explains.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), problems: Vec::new(), version: None, retry_after: None, cause: None }
    }

    /// A refusal for every one of these problems.
    pub(crate) fn invalid(problems: Vec<Problem>) -> Self {
        let detail = match problems.as_slice() {
            [one] => one.to_string(),
            _ => format!("{} fields are wrong", problems.len()),
        };
        Self { problems, ..Self::new(Kind::Invalid, detail) }
    }

    /// A refusal that ends after so many seconds.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Something that must not happen.
    pub(crate) fn failed(cause: &(dyn std::error::Error + 'static)) -> Self {
        let detail = "the site server failed; its log has the reason under the request id";
        Self { cause: Some(chain(cause)), ..Self::new(Kind::Failed, detail) }
    }

    /// The same, with the keys of its problems changed.
    pub(crate) fn with_keys(mut self, key: impl Fn(&str) -> String) -> Self {
        for problem in &mut self.problems {
            problem.key = key(&problem.key);
        }
        if self.kind == Kind::Invalid {
            return Self::invalid(self.problems);
        }
        self
    }

    /// Whether it is for problems of fields.
    pub(crate) fn into_problems(self) -> Result<Vec<Problem>, Self> {
        match self.kind {
            Kind::Invalid => Ok(self.problems),
            _ => Err(self),
        }
    }

    /// The answer to the request of this id.
    pub(crate) fn into_response(self, request_id: &str) -> Response {
        let (status, slug, title) = self.kind.answer();
        if let Some(cause) = &self.cause {
            match self.kind {
                Kind::Failed => error!(request_id, error = cause, "A request failed"),
                _ => warn!(request_id, error = cause, "The database refused"),
            }
        }
        let problems = self.problems.into_iter().map(|Problem { key, what, instead }| FieldProblem { key, what, instead }).collect();
        let details = ProblemDetails {
            kind: format!("/problems/{slug}"),
            title,
            status: status.as_u16(),
            detail: self.detail,
            problems,
            version: self.version,
            request_id: request_id.to_owned(),
        };
        let mut response = (status, axum::Json(details)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(version) = self.version
            && let Ok(tag) = HeaderValue::try_from(format!("\"{version}\""))
        {
            headers.insert(header::ETAG, tag);
        }
        if matches!(self.kind, Kind::NotSignedIn | Kind::WrongCredentials) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"cmg\""));
        }
        response
    }
}

impl From<ChangeRefused> for Refused {
    fn from(refused: ChangeRefused) -> Self {
        let words = refused.to_string();
        match refused {
            ChangeRefused::Problems(problems) => Self::invalid(problems),
            ChangeRefused::NotFound { .. } => Self::new(Kind::NotFound, words),
            ChangeRefused::Exists { .. } => Self::new(Kind::Exists, format!("{words}: choose another name, or change that one")),
            ChangeRefused::Stale { present } => Self { version: Some(present), ..Self::new(Kind::Stale, words) },
            ChangeRefused::Store(error) => error.into(),
            ChangeRefused::Failed(error) => Self::failed(&*error),
        }
    }
}

impl From<cmg_store::Error> for Refused {
    fn from(error: cmg_store::Error) -> Self {
        use cmg_store::Error::{Busy, Conflict, Full, Gone, NewerSchema, NotFound, OlderSchema, Other, ReadOnly, Stale};
        let kind = match &error {
            Busy(_) | Gone(_) | ReadOnly(_) => Kind::Unavailable,
            Full(_) => Kind::Full,
            Conflict => Kind::Exists,
            NotFound => Kind::NotFound,
            Stale { present } => return ChangeRefused::Stale { present: *present }.into(),
            NewerSchema { .. } | OlderSchema { .. } | Other(..) => return Self::failed(&error),
        };
        let refused = Self::new(kind, error.to_string());
        match kind {
            Kind::Unavailable => Self { cause: Some(chain(&error)), ..refused.retry_after(DATABASE_AGAIN) },
            Kind::Full => Self { cause: Some(chain(&error)), ..refused },
            _ => refused,
        }
    }
}
