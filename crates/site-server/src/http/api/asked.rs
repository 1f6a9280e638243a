//! A request that came past the guard, and what its parts say.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Query;
use axum::http::{HeaderMap, Uri, header};
use cmg_core::problem::Problem;
use serde::de::DeserializeOwned;

use super::answer::Answer;
use super::route::Route;
use super::{Api, body};
use crate::app::change::{Actor, Draft};
use crate::app::idempotency::{Earlier, Once};
use crate::app::sessions::Caller;
use crate::http::listener::Peer;
use crate::http::problem::{Kind, Refused};
use crate::site::Site;

/// The longest idempotency key.
const LONGEST_KEY: usize = 128;

/// A request.
pub(crate) struct Asked {
    pub(crate) api: Arc<Api>,
    pub(crate) caller: Option<Caller>,
    pub(crate) peer: Option<Peer>,
    pub(crate) id: String,
    pub(crate) path: Vec<(String, String)>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) uri: Uri,
    pub(crate) body: Bytes,
}

/// The parameters of the query, each of which the route must know.
pub(crate) fn query(route: &Route, uri: &Uri) -> Result<Vec<(String, String)>, Refused> {
    let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| Refused::new(Kind::Malformed, "the query cannot be read: write name=value, joined by &"))?;
    let known: Vec<_> = route.query.iter().map(|parameter| parameter.0).collect();
    let mut problems = Vec::new();
    for (place, (name, _)) in query.iter().enumerate() {
        if !known.contains(&name.as_str()) {
            if route.free_query {
                continue;
            }
            let instead =
                if known.is_empty() { "no parameter is known here".to_owned() } else { format!("known here: {}", known.join(", ")) };
            problems.push(Problem::new(format!("?{name}"), "no such parameter", instead));
        } else if query[..place].iter().any(|(other, _)| other == name) {
            problems.push(Problem::new(format!("?{name}"), "stands twice", "write it once"));
        }
    }
    if problems.is_empty() { Ok(query) } else { Err(Refused::invalid(problems)) }
}

impl Asked {
    pub(crate) fn site(&self) -> &Site {
        &self.api.site
    }

    /// Who asks. Routes that nobody may use without signing in always have one.
    pub(crate) fn caller(&self) -> Result<&Caller, Refused> {
        self.caller.as_ref().ok_or_else(|| Refused::new(Kind::NotSignedIn, "sign in first"))
    }

    /// From which address.
    pub(crate) fn address(&self) -> String {
        self.peer.as_ref().map_or_else(|| "unknown".to_owned(), |peer| peer.address.ip().to_string())
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.is_tls)
    }

    /// Who changes something, for the audit record.
    pub(crate) fn actor(&self) -> Actor {
        Actor {
            account: self.caller.as_ref().map_or_else(String::new, |caller| caller.account.clone()),
            role: self.caller.as_ref().map_or_else(String::new, |caller| caller.role.as_str().to_owned()),
            address: self.address(),
            request_id: self.id.clone(),
        }
    }

    /// A draft in the name of who asks.
    pub(crate) async fn draft(&self) -> Result<Draft<'_>, Refused> {
        Ok(self.site().draft(&self.actor()).await?)
    }

    /// A variable part of the path.
    pub(crate) fn part(&self, name: &str) -> &str {
        self.path.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// A parameter of the query.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query that is a number.
    pub(crate) fn number(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Refused> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => {
                let what = format!("\"{text}\" does not fit");
                let instead =
                    if most == i64::MAX { format!("write a number of {least} or more") } else { format!("write {least} to {most}") };
                Err(Refused::invalid(vec![Problem::new(format!("?{name}"), what, instead)]))
            }
        }
    }

    /// A parameter of the query that is true or false; absent is false.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refused> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(text) => {
                Err(Refused::invalid(vec![Problem::new(format!("?{name}"), format!("\"{text}\" does not fit"), "write true or false")]))
            }
        }
    }

    /// The body.
    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T, Refused> {
        body::read(&self.body)
    }

    /// The version in `If-Match`; none: `*`, any version.
    pub(crate) fn expected(&self) -> Result<Option<u64>, Refused> {
        let Some(value) = self.headers.get(header::IF_MATCH) else {
            let what = "send the version that you have read as If-Match, such as If-Match: \"3\"; * is any";
            return Err(Refused::new(Kind::MatchRequired, what));
        };
        let text = value.to_str().unwrap_or("").trim();
        if text == "*" {
            return Ok(None);
        }
        let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
        let what = "If-Match is no version: send the ETag of what you have read, such as If-Match: \"3\"";
        version.map(Some).ok_or_else(|| Refused::new(Kind::Malformed, what))
    }

    /// The key of a creation that is carried out once, where there is one.
    pub(crate) fn once(&self) -> Result<Option<Once>, Refused> {
        let Some(key) = self.headers.get("idempotency-key") else { return Ok(None) };
        let key = key.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
        let key = key.ok_or_else(|| Refused::new(Kind::Malformed, format!("Idempotency-Key has 1 to {LONGEST_KEY} characters")))?;
        let request = [self.uri.to_string().into_bytes(), self.body.to_vec()];
        Ok(Some(Once::new(&self.caller()?.account, key, &[&request[0], &request[1]])))
    }

    /// The answer that this request was given before.
    pub(crate) async fn earlier(&self, once: Option<&Once>, draft: &mut Draft<'_>) -> Result<Option<Answer>, Refused> {
        let Some(once) = once else { return Ok(None) };
        match once.earlier(self.site(), draft).await? {
            Earlier::None => Ok(None),
            Earlier::Other => {
                Err(Refused::new(Kind::KeyReused, "this Idempotency-Key came with another request in the last 24 hours: use a new one"))
            }
            Earlier::Answer(text) => Ok(Some(serde_json::from_str(&text).map_err(|error| Refused::failed(&error))?)),
        }
    }

    /// Keeps an answer for the same request.
    pub(crate) async fn keep(&self, once: Option<&Once>, draft: &mut Draft<'_>, answer: &Answer) -> Result<(), Refused> {
        let Some(once) = once else { return Ok(()) };
        let text = serde_json::to_string(answer).map_err(|error| Refused::failed(&error))?;
        Ok(once.keep(self.site(), draft, answer.status(), text).await?)
    }
}
