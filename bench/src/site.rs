//! `site`: how soon a change is in force on every member, while requests flow. A real site server, gateway instances and connection
//! points of their own, on this machine; each member's own clock says when it applied a generation.

mod lists;
mod revocations;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use cmg_lab::{Api, Issued, Lab, LabOptions, Origin, Published, System};
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::Result;
use crate::client::{content_length, head_end};
use crate::compare::build;

/// The longest that one generation may take to be everywhere before the measurement gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The command line.
#[derive(Args)]
pub(crate) struct SiteArgs {
    /// Gateway instances
    #[arg(long, default_value_t = 16)]
    gateways: usize,
    /// Connection points
    #[arg(long, default_value_t = 4)]
    connection_points: usize,
    /// Changes that are measured
    #[arg(long, default_value_t = 100)]
    changes: usize,
    /// Requests a second that flow meanwhile, over all gateways
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Certificates that are blocked before anything is measured
    #[arg(long, default_value_t = 0)]
    blocked: usize,
    /// Devices that are blocked after that, one after the other, each with an answer under way at every gateway
    #[arg(long, default_value_t = 20)]
    revocations: usize,
    /// Measures list pages and `apply` with 100,000 clients, 1,000 endpoints and 10,000 audit records instead
    #[arg(long)]
    lists: bool,
    /// The `cmg` program; built first where none is given
    #[arg(long)]
    binary: Option<PathBuf>,
}

pub(crate) async fn run(args: SiteArgs) -> Result<()> {
    let binary = args.binary.clone().map_or_else(build, Ok)?;
    let dir = tempfile::tempdir()?;
    let origin = Origin::start(([127, 0, 0, 1], 0).into()).await?;
    let options = LabOptions {
        published: vec![Published::new("app", &origin.url())?],
        gateways: args.gateways,
        connection_points: args.connection_points,
        managed: true,
        ..LabOptions::default()
    };
    let system = Arc::new(System::start(&binary, Lab::new(dir.path(), options)?, drop).await?);
    let managed = system.managed.as_ref().ok_or("the laboratory has no site server")?;
    let token = std::fs::read_to_string(&managed.admin_token_file)?.trim().to_owned();
    let port = system.lab.site.as_ref().ok_or("the laboratory has no site server")?.port;
    let api = Arc::new(Api { port, token: Some(token) });
    if args.lists {
        return lists::run(api, &system.lab.site_dir().join("site-1-data").join("site.db"), origin.url()).await;
    }
    let parts = system.lab.site_dir().join("gateway-1-data").join("parts");
    let load = Load::start(&system.lab, args.rate)?;
    let origin_url = origin.url();
    let measured = Arc::clone(&system);
    let measuring = tokio::task::spawn_blocking(move || -> Result<_> {
        Ok((measure(&api, &args, &origin_url)?, revocations::measure(&api, &measured.lab, args.revocations)?))
    });
    let (report, revocations) = measuring.await??;
    // The origin answers on this thread, so nobody may wait here.
    let (answered, failed) = tokio::task::spawn_blocking(move || load.stop().map_err(|error| error.to_string())).await??;
    say(&json!({ "gateway_parts_bytes": bytes_in(&parts)? }))?;
    say(&json!({ "report": report, "revocations": revocations, "requests_answered": answered, "requests_failed": failed }))
}

fn measure(api: &Api, args: &SiteArgs, origin: &str) -> Result<Value> {
    if args.blocked > 0 {
        block(api, args.blocked)?;
    }
    everywhere(api)?;
    let mut everywhere_after = Vec::new();
    let mut accepted_after = Vec::new();
    let mut visible_after = Vec::new();
    for number in 0..args.changes {
        let endpoint = json!({
            "name": format!("change-{number}"),
            "prefix": format!("/change-{number}"),
            "face": "mutual",
            "trust": "devices",
            "servers": [origin],
        });
        let asked = Instant::now();
        api.add("endpoints", &endpoint)?;
        let accepted = now_ms();
        accepted_after.push(asked.elapsed().as_millis() as u64);
        let last = everywhere(api)?;
        visible_after.push(now_ms().saturating_sub(last));
        everywhere_after.push(last.saturating_sub(accepted));
    }
    Ok(json!({
        "gateways": args.gateways,
        "connection_points": args.connection_points,
        "blocked": args.blocked,
        "changes": args.changes,
        "accepted_ms": percentiles(&mut accepted_after),
        "in_force_everywhere_ms": percentiles(&mut everywhere_after),
        "seen_in_the_status_ms": percentiles(&mut visible_after),
    }))
}

/// Blocks that many thumbprints, in requests of ten thousand.
fn block(api: &Api, count: usize) -> Result<()> {
    let thumbprints: Vec<Value> = (0..count).map(|number| json!({ "thumbprint": format!("{number:064x}") })).collect();
    for some in thumbprints.chunks(10_000) {
        let asked = Instant::now();
        api.ask("POST", "/blocks/bulk", Some(&json!({ "blocks": some })))?;
        say(&json!({ "blocked": some.len(), "accepted_ms": asked.elapsed().as_millis() as u64 }))?;
    }
    let asked = now_ms();
    let last = everywhere(api)?;
    say(&json!({ "blocked": count, "in_force_everywhere_ms": last.saturating_sub(asked) }))
}

/// Waits until every member runs by the generation in force; when the last one applied it, in milliseconds since 1970.
fn everywhere(api: &Api) -> Result<u64> {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = api.ask("GET", "/status", None)?;
        if status["everywhere"] == true {
            let members = status["members"].as_array().ok_or("a status without members")?;
            return Ok(members.iter().filter_map(|member| member["applied_at"].as_u64()).max().unwrap_or(0));
        }
        if Instant::now() > until {
            return Err(format!("the generation is not everywhere: {status}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a folder's files hold.
fn bytes_in(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

fn percentiles(values: &mut [u64]) -> Value {
    values.sort_unstable();
    let at = |share: f64| values.get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1))).copied();
    let named: BTreeMap<_, _> = [("p50", at(0.5)), ("p95", at(0.95)), ("p99", at(0.99)), ("max", values.last().copied())].into();
    json!(named)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

fn say(value: &Value) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{value}")?)
}

/// Requests at a steady rate, one connection a gateway instance.
struct Load {
    threads: Vec<JoinHandle<()>>,
    over: Arc<AtomicBool>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Load {
    fn start(lab: &Lab, rate: u64) -> Result<Self> {
        let (over, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let tls = tls_of(lab, &lab.client)?;
        let path = path_of(lab) + "/echo";
        let pause = Duration::from_secs_f64(lab.gateways.len() as f64 / rate.max(1) as f64);
        let threads = lab
            .gateways
            .iter()
            .map(|gateway| {
                let address = SocketAddr::from((gateway.address, gateway.port));
                let (over, counts, tls, path) = (Arc::clone(&over), Arc::clone(&counts), Arc::clone(&tls), path.clone());
                std::thread::spawn(move || ask_steadily(address, &tls, &path, pause, &over, &counts))
            })
            .collect();
        Ok(Self { threads, over, counts })
    }

    fn stop(self) -> Result<(u64, u64)> {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| "a client panicked")?;
        }
        Ok((self.counts.answered.load(Ordering::Relaxed), self.counts.failed.load(Ordering::Relaxed)))
    }
}

fn ask_steadily(address: SocketAddr, tls: &Arc<ClientConfig>, path: &str, pause: Duration, over: &AtomicBool, counts: &Counts) {
    let mut connection = None;
    let mut due = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let asked = match &mut connection {
            Some(connection) => ask(connection, path),
            None => connect(address, tls).and_then(|made| ask(connection.insert(made), path)),
        };
        match asked {
            Ok(()) => _ = counts.answered.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                let _ = writeln!(std::io::stderr(), "{address}: {error}");
                connection = None;
            }
        }
        due += pause;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

type Connection = StreamOwned<ClientConnection, TcpStream>;

fn connect(address: SocketAddr, tls: &Arc<ClientConfig>) -> Result<Connection> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(StreamOwned::new(ClientConnection::new(Arc::clone(tls), ServerName::try_from("localhost")?)?, socket))
}

/// One request; an error for everything but 200 and a whole body.
fn ask(connection: &mut Connection, path: &str) -> Result<()> {
    connection.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = head_end(&received) {
            if !received.starts_with(b"HTTP/1.1 200") {
                return Err(String::from_utf8_lossy(&received[..end]).into_owned().into());
            }
            let length = content_length(&received[..end]).ok_or("an answer without a length")?;
            if received.len() as u64 >= end as u64 + length {
                return Ok(());
            }
        }
        match connection.read(&mut buffer)? {
            0 => return Err("closed in mid-answer".into()),
            read => received.extend_from_slice(&buffer[..read]),
        }
    }
}

/// The path of the first published server for clients with a certificate.
fn path_of(lab: &Lab) -> String {
    let url = lab.mutual_url(&lab.endpoints[0]);
    let after_scheme = url.split_once("//").map_or("", |(_, rest)| rest);
    after_scheme.find('/').map_or("", |start| &after_scheme[start..]).to_owned()
}

fn tls_of(lab: &Lab, certificate: &Issued) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(lab.servers.certificate_pem().as_bytes())?)?;
    let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_client_auth_cert(chain, key)?))
}
