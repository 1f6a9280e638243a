//! Who asks, whether the role permits it, and whether a browser asks for a page of another site.

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::Api;
use super::route::Route;
use super::sessions::{COOKIE, COOKIE_TLS};
use crate::app::roles::Needs;
use crate::app::sessions::{self, Caller};
use crate::http::listener::Peer;
use crate::http::problem::{Kind, Refused};

/// How a secret came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Named on purpose.
    Bearer,
    /// By a browser, without anybody's doing.
    Cookie,
}

/// Who asks, where the route needs to know; refused where the role does not permit it.
pub(crate) async fn caller(api: &Api, route: &Route, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Option<(Shown, Caller)>, Refused> {
    if route.needs == Needs::Nobody {
        return Ok(None);
    }
    let Some((shown, secret)) = secret(headers, is_tls(peer))? else {
        return Err(Refused::new(Kind::NotSignedIn, "sign in by POST /api/v1/sessions, or send an API token as Authorization: Bearer"));
    };
    let Some(caller) = sessions::who(&api.site, secret).await? else {
        return Err(Refused::new(Kind::NotSignedIn, "this session or API token does not count, or not any more: sign in again"));
    };
    if !route.needs.permits(Some(caller.role)) {
        let detail = format!("the role {} does not permit this: ask a full administrator", caller.role.as_str());
        return Err(Refused::new(Kind::NotPermitted, detail));
    }
    Ok(Some((shown, caller)))
}

/// A page of another site can make a browser send a request with the cookie. It cannot make it lie about where the page came from.
pub(crate) fn demand_own_site(route: &Route, parts: &Parts, peer: Option<&Peer>, caller: Option<&(Shown, Caller)>) -> Result<(), Refused> {
    if !route.method.changes() {
        return Ok(());
    }
    let by_cookie = caller.is_some_and(|(shown, _)| *shown == Shown::Cookie);
    let origin = parts.headers.get(header::ORIGIN);
    let is_own = match (origin, parts.headers.get(header::HOST)) {
        (None, _) => !by_cookie,
        (Some(origin), Some(host)) => {
            let scheme: &[u8] = if is_tls(peer) { b"https://" } else { b"http://" };
            origin.as_bytes().strip_prefix(scheme).is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_bytes()))
        }
        (Some(_), None) => false,
    };
    if is_own {
        return Ok(());
    }
    Err(Refused::new(Kind::NotPermitted, "a page of another site asked for this: Origin and Host do not agree"))
}

fn is_tls(peer: Option<&Peer>) -> bool {
    peer.is_some_and(|peer| peer.is_tls)
}

/// The secret that a request shows. Two different ones would be somebody's confusion. Of the cookies only the one counts that is set
/// on such a connection: over TLS, the other may come from a page without TLS, or from a neighbour in the domain.
fn secret(headers: &HeaderMap, is_tls: bool) -> Result<Option<(Shown, &str)>, Refused> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().unwrap_or("");
        let bearer = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, secret)| secret.trim());
        let what = "Authorization has another form: send Authorization: Bearer and the session or API token";
        return bearer.map(|secret| Some((Shown::Bearer, secret))).ok_or_else(|| Refused::new(Kind::NotSignedIn, what));
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let cookie = if is_tls { COOKIE_TLS } else { COOKIE };
    Ok(pairs.find(|(name, _)| *name == cookie).map(|(_, secret)| (Shown::Cookie, secret)))
}
