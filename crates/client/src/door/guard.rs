//! What may come in by the door: no web page, and nothing under another name.
//!
//! A web page in a browser on this machine can make the browser ask loopback addresses, and by a name of its own that leads to them
//! (DNS rebinding) even read the answers. So a request that a page could have caused is refused, and `Host` must be the server's name.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};

use crate::origin::Origin;

/// Why a request does not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwelcome {
    /// A browser sends it, in the name of a page.
    Browser,
    /// It is for another host.
    Host,
    /// It names no server.
    NoServer,
}

impl Unwelcome {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Browser => "requests of web pages do not come in here",
            Self::Host => "Host is not the name of the server",
            Self::NoServer => "ask as one asks a proxy: the address with scheme and host, or CONNECT",
        }
    }
}

/// Refuses what a web page could have caused.
pub(crate) fn no_browser(headers: &HeaderMap) -> Result<(), Unwelcome> {
    let is_page = headers.contains_key(ORIGIN) || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"));
    if is_page { Err(Unwelcome::Browser) } else { Ok(()) }
}

/// Refuses a request with a Host that is neither the server's nor, where `by_address`, a loopback address.
pub(crate) fn host_of(headers: &HeaderMap, origin: &Origin, by_address: bool) -> Result<(), Unwelcome> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, more) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next());
    let Some(host) = host.filter(|_| more.is_none()) else { return Err(Unwelcome::Host) };
    let named = Origin::parse(&format!("{}://{host}", if origin.secure { "https" } else { "http" }));
    let Some(named) = named else { return Err(Unwelcome::Host) };
    let is_loopback = named.host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback()) || named.host == "localhost";
    if named.host == origin.host || by_address && is_loopback { Ok(()) } else { Err(Unwelcome::Host) }
}

/// The server that a target in absolute form names.
pub(crate) fn server_of(target: &Uri) -> Result<Origin, Unwelcome> {
    Origin::parse(target.to_string().split('?').next().unwrap_or_default()).ok_or(Unwelcome::NoServer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn what_a_web_page_could_have_caused_is_refused() {
        for page in
            [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]
        {
            assert_eq!(no_browser(&headers(&[page])), Err(Unwelcome::Browser), "{page:?}");
        }
        assert_eq!(no_browser(&headers(&[("user-agent", "Debian APT-HTTP/1.3")])), Ok(()));
    }

    #[test]
    fn a_name_that_only_leads_here_is_refused() {
        let origin = Origin::parse("https://wsus.corp.example:8531").expect("an origin");
        let host = |host| host_of(&headers(&[("host", host)]), &origin, true);

        assert_eq!(
            (host("WSUS.corp.example:8531"), host("127.0.0.1:8531"), host("localhost:8531"), host("[::1]:1")),
            (Ok(()), Ok(()), Ok(()), Ok(()))
        );
        assert_eq!(
            (host("evil.example:8531"), host("127.0.0.1.evil.example"), host("10.0.0.1")),
            (Err(Unwelcome::Host), Err(Unwelcome::Host), Err(Unwelcome::Host))
        );
        assert_eq!(host_of(&headers(&[]), &origin, true), Err(Unwelcome::Host));
        assert_eq!(host_of(&headers(&[("host", "127.0.0.1")]), &origin, false), Err(Unwelcome::Host));
    }

    #[test]
    fn a_proxied_request_names_its_server() {
        let of = |target: &str| server_of(&target.parse().expect("a target")).map(|origin| origin.to_string());

        assert_eq!(of("http://Repo.corp.example/dists?x=1").as_deref(), Ok("http://repo.corp.example"));
        assert_eq!(of("/dists"), Err(Unwelcome::NoServer));
    }
}
