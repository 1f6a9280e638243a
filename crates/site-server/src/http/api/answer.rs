//! What a route answers when it succeeds. It can be kept as text, for a request that is sent twice.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cmg_api::control::GenerationId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which generation a change has made.
const GENERATION: &str = "x-generation";

/// A success.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<Value>,
    /// In the place of a body: a text for a person in a browser, or one that is JSON already.
    #[serde(default)]
    page: Option<String>,
}

impl Answer {
    /// With a body.
    pub(crate) fn new(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_value(body).expect("what is answered is tables, texts, numbers and lists");
        Self { status: status.as_u16(), headers: Vec::new(), body: Some(body), page: None }
    }

    /// 200 with a body.
    pub(crate) fn ok(body: &impl Serialize) -> Self {
        Self::new(StatusCode::OK, body)
    }

    /// 204.
    pub(crate) fn nothing() -> Self {
        Self { status: StatusCode::NO_CONTENT.as_u16(), headers: Vec::new(), body: None, page: None }
    }

    /// Sends a browser on.
    pub(crate) fn see(location: String) -> Self {
        Self { status: StatusCode::SEE_OTHER.as_u16(), headers: Vec::new(), body: None, page: None }.location(location)
    }

    /// A text for a person in a browser.
    pub(crate) fn page(status: StatusCode, text: String) -> Self {
        Self { status: status.as_u16(), headers: Vec::new(), body: None, page: Some(text) }
    }

    /// 200 with a text that is JSON, however large: it is not looked into.
    pub(crate) fn json(text: String) -> Self {
        Self::page(StatusCode::OK, text).header(header::CONTENT_TYPE.as_str(), "application/json".to_owned())
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The version of what is answered.
    pub(crate) fn version(self, version: u64) -> Self {
        self.header(header::ETAG.as_str(), format!("\"{version}\""))
    }

    /// Where what was made is.
    pub(crate) fn location(self, path: impl Into<String>) -> Self {
        self.header(header::LOCATION.as_str(), path.into())
    }

    /// Which generation this change has made, or which is in force where it made none.
    pub(crate) fn generation(self, generation: GenerationId) -> Self {
        self.header(GENERATION, generation.to_string())
    }

    /// A cookie.
    pub(crate) fn cookie(self, cookie: String) -> Self {
        self.header(header::SET_COOKIE.as_str(), cookie)
    }

    /// A header.
    pub(crate) fn header(mut self, name: &str, value: String) -> Self {
        self.headers.push((name.to_owned(), value));
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = match (self.body, self.page) {
            (Some(body), _) => (status, Json(body)).into_response(),
            (None, Some(text)) => (status, text).into_response(),
            (None, None) => status.into_response(),
        };
        for (name, value) in self.headers {
            match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                (Ok(header::CONTENT_TYPE), Ok(value)) => _ = response.headers_mut().insert(header::CONTENT_TYPE, value),
                (Ok(name), Ok(value)) => _ = response.headers_mut().append(name, value),
                _ => {}
            }
        }
        response
    }
}
