//! Signing in by an OpenID Connect provider: it begins here, the browser comes back here, and the session is made here.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BASE;
use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Parameter, Route};
use super::sessions::cookie;
use crate::app::oidc::{self, BeginRefused, Beginning, ReturnRefused, Returned};
use crate::app::roles::Needs;
use crate::app::sessions::LONGEST;
use crate::http::problem::{Kind, Refused};

/// What the provider says by the browser.
const RETURNED: &[Parameter] = &[
    Parameter("state", "string", "Which sign-in it is."),
    Parameter("code", "string", "What the site redeems for an ID token."),
    Parameter("iss", "string", "Which provider says so (RFC 9207)."),
    Parameter("error", "string", "Why nobody was signed in."),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::Post, "/sign-in/oidc", Needs::Nobody, "Begins a sign-in by a provider, in a browser", begin)
            .takes::<OidcBeginning>()
            .gives::<OidcBegun>(),
        Route::new(
            Method::Get,
            "/sign-in/oidc/callback/{provider}",
            Needs::Nobody,
            "Where this provider sends the browser back to; sends it on with a one-time code, or says why not",
            returned,
        )
        .query(RETURNED)
        .free_query()
        .status(303),
        Route::new(Method::Post, "/sign-in/oidc/session", Needs::Nobody, "Ends a sign-in by a provider with a session", finish)
            .takes::<OidcCode>()
            .gives::<OidcSession>(),
    ]
}

/// What whoever begins a sign-in says.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OidcBeginning {
    /// The name of the sign-in provider.
    provider: String,
    /// Where the browser goes with the one-time code: `http://127.0.0.1:PORT/PATH`, `http://[::1]:PORT/PATH`, or a path of the site.
    redirect: String,
    /// SHA-256 of a verifier that only the caller knows, in base64 for URLs (`S256` of RFC 7636).
    code_challenge: String,
}

/// A sign-in that has begun.
#[derive(Serialize, ToSchema)]
struct OidcBegun {
    /// What the browser shall open, within ten minutes.
    url: String,
}

/// The end of a sign-in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OidcCode {
    /// The one-time code that the browser brought, within two minutes.
    code: String,
    /// The verifier.
    code_verifier: String,
}

/// A session that has begun. Browsers get it as a cookie too.
#[derive(Serialize, ToSchema)]
struct OidcSession {
    /// Whose it is.
    account: String,
    /// What is sent as `Authorization: Bearer`; it is shown this once.
    token: String,
    /// When it ends at the latest, in seconds since 1970. It ends after an hour without a request.
    expires_at: i64,
}

async fn begin(asked: Asked) -> Result<Answer, Refused> {
    let OidcBeginning { provider, redirect, code_challenge } = asked.body()?;
    let beginning = Beginning { provider, redirect, code_challenge };
    let url = oidc::begin(asked.site(), &asked.api.providers, &asked.actor(), beginning).await?;
    Ok(Answer::new(StatusCode::CREATED, &OidcBegun { url }))
}

async fn returned(asked: Asked) -> Result<Answer, Refused> {
    let text = |name| asked.text(name).map(str::to_owned);
    let provider = asked.part("provider").to_owned();
    let returned = Returned { provider, state: text("state"), code: text("code"), issuer: text("iss"), error: text("error") };
    match oidc::returned(asked.site(), &asked.api.providers, &asked.actor(), returned).await {
        Ok(location) => Ok(Answer::see(location)),
        Err(refused) => {
            tracing::info!(reason = %refused, request_id = asked.id, "Sign-in by a provider refused");
            Ok(Answer::page(status(&refused), format!("{refused}\n\nrequest {}\n", asked.id)))
        }
    }
}

async fn finish(asked: Asked) -> Result<Answer, Refused> {
    let OidcCode { code, code_verifier } = asked.body()?;
    let (session, account) = oidc::finish(asked.site(), &asked.actor(), &code, &code_verifier).await?;
    let cookie = cookie(asked.is_tls(), &session.secret.text, LONGEST);
    let body = OidcSession { account, token: session.secret.text.to_string(), expires_at: session.expires_at };
    Ok(Answer::new(StatusCode::CREATED, &body).location(format!("{BASE}/sessions/current")).cookie(cookie))
}

fn status(refused: &ReturnRefused) -> StatusCode {
    match refused {
        ReturnRefused::State | ReturnRefused::OtherProvider { .. } | ReturnRefused::Issuer | ReturnRefused::NoCode => {
            StatusCode::BAD_REQUEST
        }
        ReturnRefused::Denied(_) | ReturnRefused::Gone | ReturnRefused::Unknown { .. } | ReturnRefused::Disabled => StatusCode::FORBIDDEN,
        ReturnRefused::Provider(_) | ReturnRefused::IdToken(_) => StatusCode::BAD_GATEWAY,
        ReturnRefused::Change(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<BeginRefused> for Refused {
    fn from(refused: BeginRefused) -> Self {
        let words = refused.to_string();
        match refused {
            BeginRefused::Problems(problems) => Self::invalid(problems),
            BeginRefused::Provider(_) => Self::new(Kind::Unavailable, words).retry_after(30),
            BeginRefused::TooMany => Self::new(Kind::TooMany, words).retry_after(60),
            BeginRefused::SignIn(refused) => refused.into(),
            BeginRefused::Failed(_) => Self::failed(&refused),
        }
    }
}
