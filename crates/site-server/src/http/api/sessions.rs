//! Signing in and out, and who one is.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BASE;
use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Route};
use crate::app::passwords::HashRefused;
use crate::app::roles::{Needs, Role};
use crate::app::sessions::{self, By, LONGEST};
use crate::app::sign_in::{self, SignInRefused};
use crate::http::problem::{Kind, Refused};

/// The cookie of a session over TLS; by its name, browsers take it from nobody but this host.
pub(super) const COOKIE_TLS: &str = "__Host-cmg-session";

/// The cookie of a session on loopback without TLS, where browsers refuse the other.
pub(super) const COOKIE: &str = "cmg-session";

pub(super) fn routes() -> Vec<Route> {
    let current = "/sessions/current";
    vec![
        Route::new(Method::Post, "/sessions", Needs::Nobody, "Signs in by name and password", sign_in)
            .takes::<Credentials>()
            .gives::<MadeSession>(),
        Route::new(Method::Get, current, Needs::SignedIn, "Shows the session that is used", show).gives::<Whoami>(),
        Route::new(Method::Delete, current, Needs::SignedIn, "Signs out", sign_out),
        Route::new(Method::Get, "/whoami", Needs::SignedIn, "Who asks, and in which role", show).gives::<Whoami>(),
    ]
}

/// What somebody signs in by.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    /// The name of the account.
    name: String,
    /// Its password.
    password: String,
}

/// A session that has begun. Browsers get it as a cookie too.
#[derive(Serialize, ToSchema)]
struct MadeSession {
    /// What is sent as `Authorization: Bearer`; it is shown this once.
    token: String,
    /// When it ends at the latest, in seconds since 1970. It ends after an hour without a request.
    expires_at: i64,
}

/// Who asks.
#[derive(Serialize, ToSchema)]
struct Whoami {
    /// The account.
    account: String,
    /// In which role.
    role: Role,
    /// The id of the API token that was sent; none: it is a session.
    api_token: Option<String>,
    /// When session or token end at the latest, in seconds since 1970.
    expires_at: i64,
}

async fn sign_in(asked: Asked) -> Result<Answer, Refused> {
    let Credentials { name, password } = asked.body()?;
    let session = sign_in::sign_in(asked.site(), &asked.api.hasher, &asked.actor(), &name, password).await?;
    let cookie = cookie(asked.is_tls(), &session.secret.text, LONGEST);
    let body = MadeSession { token: session.secret.text.to_string(), expires_at: session.expires_at };
    Ok(Answer::new(StatusCode::CREATED, &body).location(format!("{BASE}/sessions/current")).cookie(cookie))
}

async fn show(asked: Asked) -> Result<Answer, Refused> {
    let caller = asked.caller()?;
    let api_token = match &caller.by {
        By::Token(id) => Some(id.clone()),
        By::Session(_) => None,
    };
    Ok(Answer::ok(&Whoami { account: caller.account.clone(), role: caller.role, api_token, expires_at: caller.expires_at }))
}

async fn sign_out(asked: Asked) -> Result<Answer, Refused> {
    match &asked.caller()?.by {
        By::Session(digest) => sessions::end(asked.site(), digest).await?,
        By::Token(_) => return Err(Refused::new(Kind::NotFound, "an API token is no session: revoke it where it no longer shall count")),
    }
    Ok(Answer::nothing().cookie(cookie(asked.is_tls(), "", 0)))
}

pub(super) fn cookie(is_tls: bool, secret: &str, seconds: i64) -> String {
    let (name, secure) = if is_tls { (COOKIE_TLS, " Secure;") } else { (COOKIE, "") };
    format!("{name}={secret}; Path=/;{secure} HttpOnly; SameSite=Strict; Max-Age={seconds}")
}

impl From<SignInRefused> for Refused {
    fn from(refused: SignInRefused) -> Self {
        let words = refused.to_string();
        match refused {
            SignInRefused::Wrong | SignInRefused::Code => Self::new(Kind::WrongCredentials, words),
            SignInRefused::Wait(seconds) => Self::new(Kind::TooMany, words).retry_after(seconds.unsigned_abs()),
            SignInRefused::Hash(refused) => refused.into(),
            SignInRefused::Change(refused) => refused.into(),
        }
    }
}

impl From<HashRefused> for Refused {
    fn from(refused: HashRefused) -> Self {
        match &refused {
            HashRefused::Busy => Self::new(Kind::Unavailable, refused.to_string()).retry_after(5),
            HashRefused::Failed(_) => Self::failed(&refused),
        }
    }
}
