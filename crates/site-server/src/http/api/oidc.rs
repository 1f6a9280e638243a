//! Signing in by an OpenID Connect provider: it begins here, the browser comes back here, and the session is made here.

use axum::extract::Query;
use axum::http::{StatusCode, Uri, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BASE;
use super::answer::Answer;
use super::asked::Asked;
use super::pages::{escaped, page};
use super::route::{Method, Parameter, Route};
use super::sessions::cookie;
use crate::app::oidc::confirming::{self, Question};
use crate::app::oidc::{self, BeginRefused, Beginning, Onward, ReturnRefused, Returned};
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
            "Where this provider sends the browser back to; asks the person there, or sends it on to a page with a one-time code",
            returned,
        )
        .query(RETURNED)
        .free_query(),
        Route::new(
            Method::Post,
            "/sign-in/oidc/answer",
            Needs::Nobody,
            "What the person at the browser has typed; sends the browser on with a one-time code",
            answered,
        )
        .status(200)
        .takes::<OidcAnswer>()
        .form(),
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
    /// What to show to the person at the browser, who is asked for it there; none: the browser goes to a page of the site.
    words: Option<String>,
}

/// What the form in the browser sends.
#[derive(Deserialize, ToSchema)]
struct OidcAnswer {
    /// Which question it answers.
    ticket: String,
    /// The letters that whoever began the sign-in shows.
    words: String,
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
    let begun = oidc::begin(asked.site(), &asked.api.providers, &asked.actor(), beginning).await?;
    Ok(Answer::new(StatusCode::CREATED, &OidcBegun { url: begun.url, words: begun.words }))
}

async fn returned(asked: Asked) -> Result<Answer, Refused> {
    let text = |name| asked.text(name).map(str::to_owned);
    let provider = asked.part("provider").to_owned();
    let returned = Returned { provider, state: text("state"), code: text("code"), issuer: text("iss"), error: text("error") };
    match oidc::returned(asked.site(), &asked.api.providers, &asked.actor(), returned).await {
        Ok(Onward::To(location)) => Ok(Answer::see(location)),
        Ok(Onward::Asked(question)) => Ok(question_page(&question, asked.is_tls())),
        Err(refused) => Ok(refusal_page(&refused, &asked)),
    }
}

async fn answered(asked: Asked) -> Result<Answer, Refused> {
    let form = form(&asked.body)?;
    let cookie = asked.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookie.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let cookie = pairs.find(|(name, _)| *name == question_cookie(asked.is_tls())).map(|(_, value)| value);
    let gone = format!("{}=; {} Max-Age=0", question_cookie(asked.is_tls()), attributes(asked.is_tls()));
    let answer = match confirming::answered(asked.site(), &asked.actor(), &form.ticket, cookie, &form.words).await {
        Ok(location) => onward_page(&location),
        Err(refused) => refusal_page(&refused, &asked),
    };
    Ok(answer.cookie(gone))
}

fn refusal_page(refused: &ReturnRefused, asked: &Asked) -> Answer {
    tracing::info!(reason = %refused, request_id = asked.id, "Sign-in by a provider refused");
    Answer::page(status(refused), format!("{refused}\n\nrequest {}\n", asked.id))
}

/// The form that the browser sends, which is small; the rest of it is not looked at.
fn form(body: &[u8]) -> Result<OidcAnswer, Refused> {
    let refused = || Refused::new(Kind::Malformed, "the body is no form with ticket and words: begin the sign-in again");
    let text = std::str::from_utf8(body).map_err(|_| refused())?;
    let uri: Uri = format!("/?{text}").parse().map_err(|_| refused())?;
    Query::try_from_uri(&uri).map(|Query(answer)| answer).map_err(|_| refused())
}

/// Who would be signed in, and where; the words are not on the page, so that who was lured to it has nothing to type.
fn question_page(question: &Question, is_tls: bool) -> Answer {
    let Question { ticket, cookie, account, place, begun_from, patience } = question;
    let (account, place, begun_from) = (escaped(account), escaped(place), escaped(begun_from));
    let body = format!(
        "<p>You are about to sign in the program that listens on <strong>{place}</strong> of this machine as <strong>{account}</strong>. It \
         was begun from the address <strong>{begun_from}</strong>.</p>\n\
         <p><strong>If you have not started <code>cmg login</code> yourself, close this page.</strong> Never type letters that somebody else \
         gave you: he would be signed in as you.</p>\n\
         <form method=\"post\" action=\"{BASE}/sign-in/oidc/answer\" autocomplete=\"off\">\n\
         <input type=\"hidden\" name=\"ticket\" value=\"{}\">\n\
         <p><label>The letters that <code>cmg login</code> shows in your terminal: \
         <input name=\"words\" required autofocus maxlength=\"20\" spellcheck=\"false\"></label></p>\n\
         <p><button type=\"submit\">Sign in</button></p>\n</form>\n",
        escaped(&ticket.text)
    );
    let cookie = format!("{}={}; {} Max-Age={patience}", question_cookie(is_tls), *cookie.text, attributes(is_tls));
    page(StatusCode::OK, "Sign in a command line?", &body).cookie(cookie)
}

/// Sends the browser on. A redirect would be refused by browsers that look whether the form may be sent there.
fn onward_page(location: &str) -> Answer {
    let location = escaped(location);
    let body = format!(
        "<meta http-equiv=\"refresh\" content=\"0;url={location}\">\n<p><a href=\"{location}\" rel=\"noreferrer\">Go on to the command line</a></p>\n"
    );
    page(StatusCode::OK, "The sign-in goes on", &body)
}

/// The cookie that binds the answer to the browser that was asked; by its name, browsers take it over TLS from nobody but this host.
fn question_cookie(is_tls: bool) -> &'static str {
    if is_tls { "__Host-cmg-sign-in" } else { "cmg-sign-in" }
}

fn attributes(is_tls: bool) -> String {
    format!("Path=/;{} HttpOnly; SameSite=Strict;", if is_tls { " Secure;" } else { "" })
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
        ReturnRefused::Denied(_)
        | ReturnRefused::Gone
        | ReturnRefused::Unknown { .. }
        | ReturnRefused::Disabled
        | ReturnRefused::OtherBrowser
        | ReturnRefused::Words => StatusCode::FORBIDDEN,
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
