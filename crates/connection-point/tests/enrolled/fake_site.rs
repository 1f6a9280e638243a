//! A site server's end, played: it signs and enrols as a real one, answers with what a test tells it to, and remembers what it was told.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cmg_api::EnrolmentCode;
use cmg_api::bytes::{Base64, Sha256};
use cmg_api::control::{
    EnrolRequest, Enrolled, FRESHNESS_CONTEXT, Freshness, GenerationId, MANIFEST_CONTEXT, Manifest, MemberStatus, News, RenewRequest,
    Signed, StatusReport,
};
use cmg_authority::{InfrastructureIssuer, MemberKind, PrivateKey, Roots, SnapshotSigner, check_enrolment, check_renewal, new_code};
use cmg_core::ids::{Role, SiteServerId};
use cmg_core::time::WallTime;
use cmg_credentials::RoleIdentity;
use cmg_credentials::tls::{provider, site_server};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::now;

/// Seconds.
pub(crate) const DAY: u64 = 86_400;

/// Keys of a site.
pub(crate) struct Keys {
    pub(crate) roots: Roots,
    pub(crate) issuer: InfrastructureIssuer,
    pub(crate) signer: SnapshotSigner,
}

impl Keys {
    /// Keys of a site that has been there for a while.
    pub(crate) fn new() -> Self {
        let then = WallTime(now().0 - 100 * DAY);
        let roots = Roots::generate("LAB", then).unwrap();
        let issuer = roots.infrastructure_issuer(then).unwrap();
        let signer = issuer.snapshot_signer(1, then).unwrap();
        Self { roots, issuer, signer }
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        self.roots.infrastructure_certificate().to_vec()
    }

    /// A role certificate with its key and the root behind it.
    pub(crate) fn identity(&self, role: Role) -> RoleIdentity {
        let key = PrivateKey::generate().unwrap();
        let issued = match &role {
            Role::SiteServer(id) => self.issuer.site_server(id.as_str(), &[], &[], &key.public(), now()),
            _ => self.issuer.member(&role, &key.public(), now()),
        };
        let chain = issued.unwrap().chain.into_iter().chain([self.root()]).map(CertificateDer::from).collect();
        let private_key = PrivateKeyDer::from_pem_slice(key.to_pem().expose()).unwrap();
        let key = provider().key_provider.load_private_key(private_key).unwrap();
        RoleIdentity { role, key: Arc::new(CertifiedKey::new(chain, key)) }
    }

    fn sign(&self, context: &str, what: &impl Serialize) -> Signed {
        self.signer.sign(context, serde_json::to_string(what).unwrap()).unwrap()
    }
}

/// What a test sets and looks at.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) generation: GenerationId,
    pub(crate) news: News,
    pub(crate) parts: BTreeMap<Sha256, Vec<u8>>,
    pub(crate) codes: BTreeMap<String, EnrolmentCode>,
    /// When the certificates of new members were issued, if not in this moment.
    pub(crate) issued_at: Option<WallTime>,
    /// What is said about the newest was not told yet: the question that is held, or the next one, is answered with it.
    pub(crate) is_said_anew: bool,
    /// The last status of each member.
    pub(crate) statuses: BTreeMap<String, MemberStatus>,
    /// Methods and paths, in order.
    pub(crate) asked: Vec<String>,
}

/// A site server's end.
pub(crate) struct FakeSite {
    pub(crate) keys: Arc<Keys>,
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinSet<()>,
}

struct Shared {
    keys: Arc<Keys>,
    table: Mutex<Table>,
    version: watch::Sender<u64>,
}

impl FakeSite {
    pub(crate) async fn start() -> Self {
        let keys = Arc::new(Keys::new());
        let tls = site_server(keys.identity(Role::SiteServer(SiteServerId::new("site-1"))), &[keys.root()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { keys: Arc::clone(&keys), table: Mutex::default(), version: watch::Sender::default() });
        let mut task = JoinSet::new();
        task.spawn(accept(listener, Arc::new(tls), Arc::clone(&shared)));
        Self { keys, address, shared, task }
    }

    /// Nobody answers any more.
    pub(crate) async fn go_away(&mut self) {
        self.task.shutdown().await;
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// A code for a member, which is known here.
    pub(crate) fn code(&self, kind: MemberKind, name: &str) -> EnrolmentCode {
        let code = new_code(kind, name, self.keys.roots.infrastructure_digest(), now(), vec![self.url()]).unwrap();
        self.change(|table| drop(table.codes.insert(format!("{}/{name}", kind.name()), code.clone())));
        code
    }

    /// Changes what is answered.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let changed = change(&mut self.shared.table.lock().unwrap());
        self.shared.version.send_modify(|version| *version += 1);
        changed
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(&self.shared.table.lock().unwrap())
    }

    /// Publishes a document for each member, at the next generation.
    pub(crate) fn publish(&self, documents: &[(&str, &str)]) -> GenerationId {
        let next = self.look(|table| GenerationId { epoch: 1, number: table.generation.number + 1 });
        self.publish_at(next, documents, &self.keys);
        next
    }

    /// The same at some generation, signed by `keys`.
    pub(crate) fn publish_at(&self, generation: GenerationId, documents: &[(&str, &str)], keys: &Keys) {
        self.change(|table| {
            table.generation = generation;
            for (member, document) in documents {
                let digest = sha256(document.as_bytes());
                let parts = BTreeMap::from([(digest, document.len() as u64)]);
                let member = (*member).to_owned();
                let manifest = Manifest {
                    member: member.clone(),
                    generation,
                    document: digest,
                    parts,
                    sealed: BTreeMap::new(),
                    authorities: Vec::new(),
                };
                table.parts.insert(digest, document.as_bytes().to_vec());
                table.news.manifests.insert(member, keys.sign(MANIFEST_CONTEXT, &manifest));
            }
            let freshness = Freshness { newest: generation, at: now().0 };
            table.news.freshness = Some(keys.sign(FRESHNESS_CONTEXT, &freshness));
        });
    }

    /// Says once more what is newest, and answers the questions that are held.
    pub(crate) fn say_newest(&self, at: u64) -> Signed {
        self.change(|table| {
            let signed = self.keys.sign(FRESHNESS_CONTEXT, &Freshness { newest: table.generation, at });
            table.news.freshness = Some(signed.clone());
            table.is_said_anew = true;
            signed
        })
    }

    /// The generation that a member has said to be in force.
    pub(crate) fn applied(&self, member: &str) -> Option<GenerationId> {
        self.look(|table| table.statuses.get(member).map(|status| status.applied))
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().try_into().unwrap())
}

async fn accept(listener: TcpListener, tls: Arc<ServerConfig>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (acceptor, shared) = (TlsAcceptor::from(Arc::clone(&tls)), Arc::clone(&shared));
        connections.spawn(async move {
            if let Ok(stream) = acceptor.accept(tcp).await {
                serve(stream, &shared).await;
            }
        });
    }
}

async fn serve(mut stream: TlsStream<TcpStream>, shared: &Shared) {
    let is_member = stream.get_ref().1.peer_certificates().is_some();
    let mut input = Vec::new();
    while let Some((method, path, body)) = read_request(&mut stream, &mut input).await {
        let (status, answer) = shared.answer(&method, &path, &body, is_member).await;
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", answer.len());
        if stream.write_all(&[head.as_bytes(), &answer].concat()).await.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut TlsStream<TcpStream>, input: &mut Vec<u8>) -> Option<(String, String, Vec<u8>)> {
    let end = loop {
        if let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        fill(stream, input).await?;
    };
    let head = String::from_utf8(input.drain(..end).collect()).unwrap();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    while input.len() < length {
        fill(stream, input).await?;
    }
    let mut words = head.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.strip_prefix("/control/v1/")?.to_owned());
    Some((method, path, input.drain(..length).collect()))
}

async fn fill(stream: &mut TlsStream<TcpStream>, input: &mut Vec<u8>) -> Option<()> {
    stream.read_buf(input).await.ok().filter(|read| *read > 0).map(|_| ())
}

type Answer = (u16, Vec<u8>);

impl Shared {
    async fn answer(&self, method: &str, target: &str, body: &[u8], is_member: bool) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        self.table.lock().unwrap().asked.push(format!("{method} {path}"));
        match (method, path) {
            ("POST", "enrol") => self.enrol(body),
            _ if !is_member => (403, b"show your certificate".to_vec()),
            ("POST", "gateway/enrol") => self.enrol(body),
            ("POST", "renew" | "gateway/renew") => self.renew(body),
            ("POST", "status") => self.status(body),
            ("GET", "news") => self.news(query).await,
            ("GET", _) => self.part(path),
            _ => (404, vec![]),
        }
    }

    fn enrol(&self, body: &[u8]) -> Answer {
        let request: EnrolRequest = serde_json::from_slice(body).unwrap();
        let code = self.table.lock().unwrap().codes.get(&format!("{}/{}", request.kind, request.name)).cloned();
        let checked = code.and_then(|code| check_enrolment(&request, &code, now()).ok());
        let Some(enrolment) = checked else { return (403, br#"{"detail":"the code does not count"}"#.to_vec()) };
        let issued_at = self.table.lock().unwrap().issued_at.unwrap_or_else(now);
        self.enrolled(self.keys.issuer.member(&enrolment.role, &enrolment.key, issued_at).unwrap().chain)
    }

    fn renew(&self, body: &[u8]) -> Answer {
        let request: RenewRequest = serde_json::from_slice(body).unwrap();
        match check_renewal(&request, &[self.keys.root()], now()) {
            Ok(renewal) => self.enrolled(self.keys.issuer.member(&renewal.role, &renewal.key, now()).unwrap().chain),
            Err(_) => (403, vec![]),
        }
    }

    fn enrolled(&self, chain: Vec<Vec<u8>>) -> Answer {
        let enrolled = Enrolled { chain: chain.into_iter().map(Base64).collect(), authorities: vec![Base64(self.keys.root())] };
        (200, serde_json::to_vec(&enrolled).unwrap())
    }

    fn status(&self, body: &[u8]) -> Answer {
        let report: StatusReport = serde_json::from_slice(body).unwrap();
        let mut table = self.table.lock().unwrap();
        table.statuses.extend(report.members);
        for (member, signed) in report.gateways {
            table.statuses.insert(member, serde_json::from_str(&signed.payload).unwrap());
        }
        (204, vec![])
    }

    /// Held while there is nothing after what is known. Everything is answered, as a careless site server would.
    async fn news(&self, query: &str) -> Answer {
        let after = query.strip_prefix("after=").and_then(|rest| GenerationId::parse(rest.split('&').next()?)).unwrap();
        let mut version = self.version.subscribe();
        loop {
            version.mark_unchanged();
            {
                let mut table = self.table.lock().unwrap();
                if std::mem::take(&mut table.is_said_anew) {
                    let news = News { freshness: table.news.freshness.clone(), ..News::default() };
                    return (200, serde_json::to_vec(&news).unwrap());
                }
                if table.generation != after && table.generation != GenerationId::default() {
                    return (200, serde_json::to_vec(&table.news).unwrap());
                }
            }
            if tokio::time::timeout(Duration::from_secs(20), version.changed()).await.is_err() {
                return (200, serde_json::to_vec(&News::default()).unwrap());
            }
        }
    }

    fn part(&self, path: &str) -> Answer {
        let digest = path.strip_prefix("part/").and_then(|digest| digest.parse().ok());
        let found = digest.and_then(|digest: Sha256| self.table.lock().unwrap().parts.get(&digest).cloned());
        found.map_or((404, vec![]), |bytes| (200, bytes))
    }
}
