//! A site in a folder of its own, with an account of each role, and the interface in front of it.
//!
//! A site is founded once; every test works in a copy of its folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::{Extension, Router};
use cmg_authority::passwords::{hash_password, secret_digest};
use cmg_site_server::config::Config;
use cmg_site_server::http::api;
use cmg_site_server::http::listener::Peer;
use cmg_site_server::site::Site;
use cmg_store::{AccountFields, Hidden, Place};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tower::ServiceExt;

/// The password of every account.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Accounts, each with its role.
pub(crate) const ACCOUNTS: [(&str, &str); 3] =
    [("ann", "read-only-analyst"), ("ian", "infrastructure-administrator"), ("fay", "full-administrator")];

/// A founded site without accounts.
static FOUNDED: OnceCell<TempDir> = OnceCell::const_new();

/// A site.
pub(crate) struct House {
    folder: TempDir,
    pub(crate) site: Arc<Site>,
    router: Router,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// A request in the making.
pub(crate) struct Ask {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    peer: Option<Peer>,
}

impl House {
    /// A site that nobody can sign in to.
    pub(crate) async fn founded() -> Self {
        let founded = FOUNDED
            .get_or_init(|| async {
                let folder = tempfile::tempdir().unwrap();
                let site = Site::open(&config(folder.path(), "site-1")).await.unwrap();
                site.store.close().await;
                folder
            })
            .await;
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(founded.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let site = Site::open(&config(folder.path(), "site-1")).await.unwrap();
        let router = api::router(Arc::clone(&site));
        Self { folder, site, router }
    }

    /// A site with an account of each role.
    pub(crate) async fn new() -> Self {
        Self::founded().await.furnished().await
    }

    /// A site server at this database, which may be new; beside another one it has that one's vault key.
    #[allow(dead_code, reason = "for the tests of databases, which use this house too")]
    pub(crate) async fn at(database: Place, name: &str, beside: Option<&House>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some(beside) = beside {
            std::fs::copy(beside.folder().join("vault.key"), folder.path().join("vault.key")).unwrap();
        }
        let site = Site::open(&Config { database, ..config(folder.path(), name) }).await.unwrap();
        let router = api::router(Arc::clone(&site));
        let house = Self { folder, site, router };
        if beside.is_some() { house } else { house.furnished().await }
    }

    async fn furnished(self) -> Self {
        let house = self;
        let hash = tokio::task::spawn_blocking(|| hash_password(PASSWORD).unwrap()).await.unwrap();
        let mut change = house.site.store.begin(house.now()).await.unwrap();
        for (name, role) in ACCOUNTS {
            let password_hash = Some(Hidden(hash.clone()));
            let fields = AccountFields { role: role.to_owned(), password_hash, oidc_subject: None, disabled: false };
            change.add_account(name, &fields).await.unwrap();
        }
        change.commit().await.unwrap();
        house
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn now(&self) -> i64 {
        self.site.now().0 as i64
    }

    /// Another site server on the same database.
    pub(crate) async fn other(&self) -> (Arc<Site>, Router) {
        let site = Site::open(&config(self.folder(), "site-2")).await.unwrap();
        let router = api::router(Arc::clone(&site));
        (site, router)
    }

    /// A session of an account, begun without its password.
    pub(crate) async fn session(&self, account: &str) -> String {
        static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let secret = format!("session-{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let mut change = self.site.store.begin(self.now()).await.unwrap();
        change.add_session(&secret_digest(&secret), account, self.now() + 3_600).await.unwrap();
        change.commit().await.unwrap();
        secret
    }

    /// Asks, with the session of nobody.
    pub(crate) async fn ask(&self, ask: Ask) -> Answered {
        send(&self.router, ask).await
    }

    /// Asks as an account.
    pub(crate) async fn ask_as(&self, account: &str, ask: Ask) -> Answered {
        let secret = self.session(account).await;
        self.ask(ask.bearer(&secret)).await
    }

    /// How many audit records there are.
    pub(crate) async fn records(&self) -> u64 {
        self.site.store.count_audit(cmg_store::AuditFilter::default()).await.unwrap()
    }
}

/// Sends a request to a router.
pub(crate) async fn send(router: &Router, ask: Ask) -> Answered {
    let mut request = Request::builder().method(ask.method).uri(format!("/api/v1{}", ask.path));
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    let request = request.body(ask.body.map_or_else(Body::empty, Body::from)).unwrap();
    let peer = ask.peer.unwrap_or_else(|| peer("127.0.0.1:40000", false));
    let response = router.clone().layer(Extension(peer)).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()))
    };
    Answered { status: parts.status, headers: parts.headers, body }
}

pub(crate) fn peer(address: &str, is_tls: bool) -> Peer {
    Peer { address: address.parse::<SocketAddr>().unwrap(), member: None, fingerprint: None, is_tls }
}

impl Ask {
    pub(crate) fn new(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: Vec::new(), body: None, peer: None }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str, body: Value) -> Self {
        Self::new("POST", path).json(body)
    }

    pub(crate) fn put(path: &str, version: &str, body: Value) -> Self {
        Self::new("PUT", path).header("if-match", version).json(body)
    }

    pub(crate) fn delete(path: &str, version: &str) -> Self {
        Self::new("DELETE", path).header("if-match", version)
    }

    pub(crate) fn json(self, body: Value) -> Self {
        self.header("content-type", "application/json").bytes(body.to_string().into_bytes())
    }

    pub(crate) fn bytes(self, body: Vec<u8>) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bearer(self, secret: &str) -> Self {
        self.header("authorization", &format!("Bearer {secret}"))
    }

    pub(crate) fn from(self, peer: Peer) -> Self {
        Self { peer: Some(peer), ..self }
    }
}

impl Answered {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The keys of the problems.
    pub(crate) fn keys(&self) -> Vec<&str> {
        let problems = self.body["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
        problems.iter().map(|problem| problem["key"].as_str().unwrap()).collect()
    }

    /// The last part of the problem's type.
    pub(crate) fn kind(&self) -> &str {
        self.body["type"].as_str().and_then(|kind| kind.strip_prefix("/problems/")).unwrap_or("")
    }
}

/// The file of a site server with a database of its own.
pub(crate) fn config(folder: &Path, name: &str) -> Config {
    let passphrase: PathBuf = folder.join("passphrase");
    if !passphrase.exists() {
        std::fs::write(&passphrase, "a long passphrase for the roots\n").unwrap();
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&passphrase, closed).unwrap();
    }
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Config {
        name: name.to_owned(),
        site: "LAB".to_owned(),
        data: folder.to_owned(),
        database: Place::Sqlite(folder.join("site.db")),
        root_passphrase_file: Some(passphrase),
        listen: loopback,
        identity: None,
        control_listen: loopback,
        control_urls: vec!["https://site.example:8445".to_owned()],
        metrics_listen: loopback,
        metrics_public: false,
        acme_hooks: std::collections::BTreeMap::new(),
        drain: std::time::Duration::from_secs(1),
        keep: cmg_site_server::app::growth::Keep {
            audit: std::time::Duration::from_secs(400 * 86_400),
            messages: std::time::Duration::from_secs(30 * 86_400),
        },
        log: cmg_api::LogFile::default(),
    }
}
