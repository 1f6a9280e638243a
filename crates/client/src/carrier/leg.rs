//! One leg: a request over one connection to one address, with the device's credential, challenge and all.
//!
//! A token that is bound to the device's key wants a proof with a nonce of the instance that answers. The instance says so with a 401 before
//! anything passes inside, so the request is sent again on the same connection. A body that can be sent only once is not risked: the
//! nonce is asked for first, by a HEAD that goes no further than the instance.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use std::sync::Arc;

use thiserror::Error;

use super::body::{Carried, Outward};
use super::circle::{Circle, Connection, Unanswered};
use super::network::{ConnectError, Network};
use crate::clock::Drift;
use crate::key::{DeviceKey, Proof};
use crate::origin::Base;

const DPOP: HeaderName = HeaderName::from_static("dpop");
const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// Where the device's token stands beside a credential of the application's own.
const BESIDE: HeaderName = HeaderName::from_static("cmg-authorization");

/// The largest refusal that is read to its end so that the connection can go on, in bytes.
const LARGEST_CHALLENGE: usize = 64 << 10;

/// Why there is no response.
#[derive(Debug, Error)]
pub enum LegError {
    /// There is no connection: nothing was sent.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke before the request had left.
    #[error("the connection broke before the request had left")]
    Unsent(#[source] hyper::Error),
    /// The connection broke after the request, or a part of it, had left.
    #[error("the connection broke before the response came")]
    Broken(#[source] hyper::Error),
    /// The body cannot be sent a second time.
    #[error("the request would have to be sent again, and its body is gone")]
    BodyGone,
    /// The request is none.
    #[error("the request cannot be written")]
    Unwritten(#[source] http::Error),
}

impl LegError {
    /// Whether nobody can have seen the request.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Unsent(_))
    }
}

/// What stands beside a request.
#[derive(Clone)]
pub(crate) enum Shows {
    /// Nothing; or the certificate, which TLS has shown.
    Nothing,
    /// A token.
    Token {
        /// The token.
        token: String,
        /// Whether a proof goes with it.
        proof: bool,
        /// `DPoP`, or `Bearer`.
        scheme: &'static str,
    },
}

/// Where a request goes.
pub(crate) struct Leg<'a> {
    pub(crate) circle: &'a Arc<Circle>,
    pub(crate) base: &'a Base,
    pub(crate) shows: Shows,
    pub(crate) key: &'a DeviceKey,
    pub(crate) network: &'a Network,
    pub(crate) drift: &'a Drift,
}

impl Leg<'_> {
    /// Sends `head` with `body`; its target is `path`, below the base.
    pub(crate) async fn send(&self, head: &Parts, path: &str, body: &mut Outward) -> Result<Response<Carried>, LegError> {
        let mut connection = self.circle.connection(&self.base.origin, self.network).await?;
        loop {
            let was_used = connection.is_used;
            match self.on(connection, head, path, body).await {
                // A server may close a connection that waits at the moment when it is used again: that proves nothing about the server.
                Err(LegError::Unsent(_) | LegError::Broken(_)) if was_used && body.can_be_sent() && may_repeat(head, body) => {
                    connection = self.circle.connect(&self.base.origin, self.network).await?;
                }
                outcome => return outcome,
            }
        }
    }

    async fn on(&self, mut connection: Connection, head: &Parts, path: &str, body: &mut Outward) -> Result<Response<Carried>, LegError> {
        if self.wants_nonce(&connection) && !body.is_whole() {
            connection = self.ask_nonce(connection, path).await?;
        }
        let mut is_repeated = false;
        loop {
            let response = self.once(&mut connection, head, path, body).await?;
            let nonce = response.headers().get(NONCE).and_then(|nonce| nonce.to_str().ok()).map(str::to_owned);
            let is_challenge = response.status() == StatusCode::UNAUTHORIZED && nonce.is_some() && self.proves();
            connection.nonce = nonce.or(connection.nonce);
            if self.base.origin.secure {
                self.drift.learn(response.headers());
            }
            if !is_challenge || is_repeated || !body.can_be_sent() {
                return Ok(response.map(|incoming| Carried::new(incoming, connection)));
            }
            is_repeated = true;
            if read_away(response).await.is_none() {
                // What it says is too long to be heard: another connection may be another instance, which says so itself.
                connection = self.circle.connect(&self.base.origin, self.network).await?;
            }
        }
    }

    async fn once(
        &self,
        connection: &mut Connection,
        head: &Parts,
        path: &str,
        body: &mut Outward,
    ) -> Result<Response<Incoming>, LegError> {
        let url = format!("{}{path}", self.base);
        let mut request = Request::builder().method(&head.method).uri(format!("{}{path}", self.base.path));
        if let Some(headers) = request.headers_mut() {
            *headers = head.headers.clone();
            headers.remove(TRANSFER_ENCODING);
            self.name_host(headers);
            self.show(headers, &head.method, &url, connection.nonce.as_deref());
            if let Outward::Whole(bytes) = body
                && (!bytes.is_empty() || matches!(head.method, Method::POST | Method::PUT | Method::PATCH))
            {
                headers.insert(CONTENT_LENGTH, bytes.len().into());
            }
        }
        let request = request.body(body.take().ok_or(LegError::BodyGone)?).map_err(LegError::Unwritten)?;
        connection.send(request).await.map_err(|Unanswered { source, unsent }| match unsent {
            Some(request) => {
                body.put_back(request.into_body());
                LegError::Unsent(source)
            }
            None => LegError::Broken(source),
        })
    }

    /// Asks for nothing but the nonce.
    async fn ask_nonce(&self, mut connection: Connection, path: &str) -> Result<Connection, LegError> {
        let (head, ()) = Request::head("/").body(()).map_err(LegError::Unwritten)?.into_parts();
        let response = self.once(&mut connection, &head, path, &mut Outward::Whole(Default::default())).await?;
        connection.nonce = response.headers().get(NONCE).and_then(|nonce| nonce.to_str().ok()).map(str::to_owned);
        match read_away(response).await {
            Some(()) => Ok(connection),
            None => Ok(self.circle.connect(&self.base.origin, self.network).await?),
        }
    }

    fn proves(&self) -> bool {
        matches!(self.shows, Shows::Token { proof: true, .. })
    }

    fn wants_nonce(&self, connection: &Connection) -> bool {
        self.proves() && connection.nonce.is_none()
    }

    fn name_host(&self, headers: &mut HeaderMap) {
        if let Ok(host) = HeaderValue::from_str(&self.base.origin.authority()) {
            headers.insert(HOST, host);
        }
    }

    fn show(&self, headers: &mut HeaderMap, method: &Method, url: &str, nonce: Option<&str>) {
        let Shows::Token { token, proof, scheme } = &self.shows else { return };
        let Ok(mut value) = HeaderValue::from_str(&format!("{scheme} {token}")) else { return };
        value.set_sensitive(true);
        let field = if headers.contains_key(AUTHORIZATION) { BESIDE } else { AUTHORIZATION };
        headers.insert(field, value);
        let url = url.split(['?', '#']).next().unwrap_or(url);
        let about = Proof { method: method.as_str(), url, token, nonce, at: self.drift.theirs() };
        if let Some(proof) = proof.then(|| self.key.prove(&about)).flatten().and_then(|proof| HeaderValue::from_str(&proof).ok()) {
            headers.insert(DPOP, proof);
        }
    }
}

/// Whether a request may be sent again although the first may have arrived.
pub(crate) fn may_repeat(head: &Parts, body: &Outward) -> bool {
    body.is_empty() && cmg_core::method::may_repeat(head.method.as_str().as_bytes())
}

/// Reads a response to its end, so that its connection can go on; none: it is too long, or broke.
async fn read_away(response: Response<Incoming>) -> Option<()> {
    Limited::new(response.into_body(), LARGEST_CHALLENGE).collect().await.ok().map(drop)
}
