//! Requests to the site server.
//!
//! A secret goes over TLS, or to this machine; it follows no redirect, and no proxy sees it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cmg_credentials::load::{Disk, read_certificates};
use cmg_credentials::tls::provider;
use cmg_process::log::chain;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH};
use reqwest::redirect::Policy;
use reqwest::{Method, Url};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use crate::Common;
use crate::failure::{Failure, Refusal};
use crate::session::{self, Session};
use crate::surroundings::{Surroundings, secret_line};

/// Where a site server is without a word.
const DEFAULT: &str = "http://127.0.0.1:8444";

/// How long a connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long an answer may take: the largest configuration is judged and stored in that time.
const ANSWER_TIME: Duration = Duration::from_secs(120);

/// Where operating systems keep the roots that they believe.
const BUNDLES: [&str; 4] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"];

/// How many items are asked for at once.
const PAGE: u64 = 500;

/// A site server, and in whose name it is asked.
pub(crate) struct Server {
    http: reqwest::Client,
    url: Url,
    /// The same as text, as a session keeps it.
    pub(crate) name: String,
    /// The roots by which it is believed; none: those of the operating system.
    pub(crate) ca: Option<PathBuf>,
    token: Option<String>,
    why_not: String,
}

/// A request.
pub(crate) struct Request<'r> {
    method: Method,
    path: &'r [&'r str],
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    version: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// What it says; null: nothing.
    pub(crate) body: Value,
    /// Which generation the change has made.
    pub(crate) generation: Option<String>,
}

impl<'r> Request<'r> {
    fn new(method: Method, path: &'r [&'r str]) -> Self {
        Self { method, path, query: Vec::new(), body: None, version: None }
    }

    pub(crate) fn get(path: &'r [&'r str]) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: &'r [&'r str], body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::POST, path) }
    }

    /// Asks for something to be done about which nothing more is to be said.
    pub(crate) fn act(path: &'r [&'r str]) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn put(path: &'r [&'r str], body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::PUT, path) }
    }

    pub(crate) fn delete(path: &'r [&'r str]) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub(crate) fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Only where it has this version; none: whichever it has.
    pub(crate) fn version(self, version: Option<u64>) -> Self {
        Self { version: Some(version.map_or_else(|| "*".to_owned(), |version| format!("\"{version}\""))), ..self }
    }
}

impl Server {
    /// The server that the command line, the environment or the session names, with the secret that goes there.
    pub(crate) fn new(common: &Common, surroundings: &Surroundings) -> Result<Self, Failure> {
        let session = session::read(&surroundings.session_file()?)?;
        let text = |value: std::ffi::OsString| value.into_string().map_err(|_| Failure::Usage("CMG_SERVER is no text".to_owned()));
        let named = match &common.server {
            Some(server) => Some(server.clone()),
            None => surroundings.set("CMG_SERVER").map(text).transpose()?,
        };
        let named = named.or_else(|| session.as_ref().map(|session| session.server.clone()));
        let (url, name) = address(named.as_deref().unwrap_or(DEFAULT))?;
        let session = session.filter(|session| session.server == name);
        let ca = common.ca.clone().or_else(|| surroundings.set("CMG_CA_FILE").map(PathBuf::from));
        let ca = ca.or_else(|| session.as_ref().and_then(|session| session.ca.clone()));
        let token = match surroundings.set("CMG_TOKEN_FILE") {
            Some(file) => Some(secret_line("CMG_TOKEN_FILE", Path::new(&file))?),
            None => session.as_ref().map(|session: &Session| session.token.clone()),
        };
        let http = client(&url, ca.as_deref())?;
        let why_not = format!("nobody is signed in at {name}");
        Ok(Self { http, url, name, ca, token, why_not })
    }

    /// Asks in the name of whoever signed in.
    pub(crate) async fn ask(&self, request: Request<'_>) -> Result<Reply, Failure> {
        if self.token.is_none() {
            return Err(Failure::NotSignedIn(self.why_not.clone()));
        }
        self.send(request, self.token.as_deref()).await
    }

    /// Asks by this secret.
    pub(crate) async fn ask_by(&self, request: Request<'_>, token: &str) -> Result<Reply, Failure> {
        self.send(request, Some(token)).await
    }

    /// Asks in nobody's name.
    pub(crate) async fn ask_unknown(&self, request: Request<'_>) -> Result<Reply, Failure> {
        self.send(request, None).await
    }

    /// All items of a list, or the first `limit` of them, page by page, as one answer. `cursor` is the parameter that leads to the next page.
    pub(crate) async fn list(
        &self,
        path: &[&str],
        query: &[(&'static str, Option<String>)],
        cursor: &'static str,
        limit: Option<u64>,
    ) -> Result<Value, Failure> {
        let (mut items, mut next) = (Vec::new(), None::<String>);
        loop {
            let wanted = limit.map_or(PAGE, |limit| PAGE.min(limit - items.len() as u64));
            let mut request = Request::get(path).query(cursor, next.take()).query("limit", Some(wanted));
            request.query.extend(query.iter().filter_map(|(name, value)| Some((*name, value.clone()?))));
            let Value::Object(mut page) = self.ask(request).await?.body else { return Err(Failure::Failed("the list is none".to_owned())) };
            if let Some(Value::Array(more)) = page.remove("items") {
                items.extend(more);
            }
            next =
                page.get("next").and_then(|next| next.as_str().map(str::to_owned).or_else(|| next.as_i64().map(|next| next.to_string())));
            if next.is_none() || limit.is_some_and(|limit| items.len() as u64 >= limit) {
                page.insert("items".to_owned(), items.into());
                return Ok(Value::Object(page));
            }
        }
    }

    async fn send(&self, request: Request<'_>, token: Option<&str>) -> Result<Reply, Failure> {
        let Request { method, path, query, body, version } = request;
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| Failure::file("token", "it has letters that no token has", "write the token alone into the first line"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(Ok(version)) = version.map(HeaderValue::try_from) {
            headers.insert(IF_MATCH, version);
        }
        let mut request = self.http.request(method, self.target(path, &query)).headers(headers);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let response = request.send().await.map_err(|error| self.not_reached(error))?;
        let status = response.status();
        let generation = response.headers().get("x-generation").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let bytes = response.bytes().await.map_err(|error| self.not_reached(error))?;
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() {
            return Ok(Reply { body, generation });
        }
        Err(self.refused(status.as_u16(), body))
    }

    fn target(&self, path: &[&str], query: &[(&'static str, String)]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn refused(&self, status: u16, body: Value) -> Failure {
        let kind = body["type"].as_str().unwrap_or("");
        if kind.ends_with("/not-signed-in") {
            return Failure::NotSignedIn(body["detail"].as_str().unwrap_or(&self.why_not).to_owned());
        }
        Failure::Refused(Box::new(Refusal { status, body, hint: None }))
    }

    fn not_reached(&self, error: reqwest::Error) -> Failure {
        Failure::NotReached(format!("the site server at {} was not reached: {}", self.name, chain(&error.without_url())))
    }
}

/// The address of a site server, and the same as it is kept.
fn address(text: &str) -> Result<(Url, String), Failure> {
    let wrong = |what: &str| Failure::Usage(format!("`{text}` {what}: write https://HOST:PORT"));
    let url = Url::parse(text).map_err(|_| wrong("is no address of a site server"))?;
    let host = url.host_str().ok_or_else(|| wrong("names no host"))?;
    let is_here = host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback());
    match url.scheme() {
        "https" => {}
        "http" if is_here => {}
        "http" => return Err(wrong("is not encrypted, and secrets would cross the network")),
        _ => return Err(wrong("is no address of a site server")),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has parts that it must not have"));
    }
    let name = url.as_str().trim_end_matches('/').to_owned();
    Ok((url, name))
}

fn client(url: &Url, ca: Option<&Path>) -> Result<reqwest::Client, Failure> {
    let builder = reqwest::Client::builder()
        .http1_only()
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIME)
        .timeout(ANSWER_TIME)
        .user_agent(concat!("cmg/", env!("CARGO_PKG_VERSION")));
    // The client wants TLS even where it does not speak it.
    let tls = tls(if url.scheme() == "https" { roots(ca)? } else { RootCertStore::empty() });
    builder.tls_backend_preconfigured(tls).build().map_err(|error| Failure::failed("no connection can be made", &error))
}

fn tls(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// The roots that the site server is believed by.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, Failure> {
    let named = ca.or_else(|| BUNDLES.iter().map(Path::new).find(|path| path.exists()));
    let Some(path) = named else {
        return Err(Failure::file("--ca", "this machine has no file of root certificates", "name one by --ca or CMG_CA_FILE"));
    };
    let mut roots = RootCertStore::empty();
    let certificates = read_certificates(&Disk, "--ca", path)?.into_iter().map(CertificateDer::from);
    if roots.add_parsable_certificates(certificates).0 == 0 {
        return Err(Failure::file("--ca", format!("{} holds no root certificate", path.display()), "name a PEM file of root certificates"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_cross_the_network_over_tls_only() {
        for text in ["http://127.0.0.1:8444", "http://[::1]:1", "http://localhost:1", "https://site.example:8444", "https://h/below"] {
            assert!(address(text).is_ok(), "{text}");
        }
        for text in ["http://site.example", "http://127.0.0.1.example", "ftp://127.0.0.1", "site.example:8444", "https://u:p@h", ""] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
