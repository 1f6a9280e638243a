//! Starting, running, stopping: as a list.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cmg_authority::PrivateKey;
use cmg_core::ids::{Role, SiteServerId};
use cmg_core::problem::Problem;
use cmg_credentials::tls::{provider, site_server};
use cmg_credentials::{RoleIdentity, ServerIdentity};
use cmg_process::health::{Exposure, Health};
use cmg_process::log::{self, chain};
use cmg_process::metrics::Metrics;
use cmg_process::shutdown::{Drain, Signal, Signals};
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer};
use rustls::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use thiserror::Error;
use tokio::net::TcpListener;
use tracing::{error, info, warn};

use crate::app::setup::{PrepareRefused, prepare_setup};
use crate::app::wanted_keys;
use crate::config::Config;
use crate::http::listener::Service;
use crate::http::{api, control};
use crate::jobs;
use crate::site::{OpenRefused, Site};
use crate::tasks::{TaskEnded, Tasks};

/// Why the site server did not start.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration has problems.
    #[error("{}", lines(.0))]
    Config(Vec<Problem>),
    /// The site cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenRefused),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The set-up code cannot be made.
    #[error(transparent)]
    Setup(#[from] PrepareRefused),
    /// The own certificate cannot be made.
    #[error("the site server's own certificate cannot be made")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A task that the server is of no use without has ended.
    #[error(transparent)]
    TaskEnded(#[from] TaskEnded),
    /// The system refused something else.
    #[error("cannot start")]
    System(#[from] io::Error),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Runs a site server from its configuration file until it is told to stop.
pub async fn run(file: &Path) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    let config = Config::read(file).map_err(RunError::Config)?;
    let level = log::start(config.log.level, config.log.format).map_err(io::Error::other)?;
    let site = Site::open(&config).await?;
    let drain = Arc::new(Drain::default());
    let control_tls = Arc::new(ArcSwap::new(control_tls(&site, &config.control_names())?));
    let api_tls = config.identity.as_ref().map(|identity| Arc::new(ArcSwap::new(api_tls(identity))));
    let mut tasks = Tasks::default();
    let control = Service {
        listener: bind(config.control_listen).await?,
        tls: Some(Arc::clone(&control_tls)),
        router: control::router(Arc::clone(&site)),
        drain: Arc::clone(&drain),
    };
    let api = Service {
        listener: bind(config.listen).await?,
        tls: api_tls.clone(),
        router: api::router(Arc::clone(&site)),
        drain: Arc::clone(&drain),
    };
    if let Some(path) = prepare_setup(&site, &config.data).await? {
        info!(file = %path.display(), "There is no account yet: make the first one with the code in this file (`cmg setup`)");
    }
    tasks.spawn("control interface", control.run_for_members());
    tasks.spawn("administrators' interface", api.run());
    tasks.spawn("following the database", Arc::clone(&site).keep_fresh());
    let keep_certificate = keep_certificate(Arc::clone(&site), config.control_names(), Arc::clone(&control_tls));
    tasks.spawn("own certificate", keep_certificate);
    let holder = jobs::holder(&site);
    tasks.spawn("jobs", jobs::run(Arc::clone(&site), holder.clone()));
    tasks.spawn("wanted keys", wanted_keys::run(Arc::clone(&site)));
    let _health = health(&config, &site, &drain).await?;
    info!("Site server ready");
    let reload = || reload(file, &site, &level, &control_tls, api_tls.as_deref());
    if until_told(&mut signals, &mut tasks, reload).await? == Signal::Stop {
        return Ok(());
    }
    info!(in_flight = drain.in_flight(), "Draining");
    drain.begin();
    tokio::select! {
        left = drain.wait_idle(config.drain) => if let Err(left) = left {
            warn!(left, "Requests were still under way at the end of the drain");
        },
        () = signals.stop() => warn!("Drain cut short"),
    }
    tasks.shutdown().await;
    if let Err(error) = jobs::give_back(&site, &holder).await {
        warn!(error = chain(&error), "The lease for the site's jobs was not given back; they wait until it has run out");
    }
    site.store.close().await;
    info!("Stopped");
    Ok(())
}

/// Runs until the program is told to drain or to stop, or a task has ended: a server that looks ready and does nothing is worse than none.
async fn until_told(signals: &mut Signals, tasks: &mut Tasks, reload: impl Fn()) -> Result<Signal, RunError> {
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Reload => reload(),
                Signal::Drain | Signal::Stop => return Ok(signal),
            },
            ended = tasks.ended() => {
                error!(error = chain(&ended), "Stopping");
                return Err(ended.into());
            }
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })
}

/// The names and addresses that connection points dial.
type Names = (Vec<String>, Vec<IpAddr>);

/// How often the own certificate is made anew: it lasts for months, so that a day without luck does not matter.
const CERTIFICATE_AGE: Duration = Duration::from_secs(24 * 3600);

/// Makes the own certificate anew every day and whenever another key issues, until dropped.
async fn keep_certificate(site: Arc<Site>, names: Names, control: Arc<ArcSwap<ServerConfig>>) {
    let (mut newest, mut daily) = (site.newest(), tokio::time::interval(CERTIFICATE_AGE));
    let mut issuer = Vec::new();
    loop {
        tokio::select! {
            _ = daily.tick() => {}
            Ok(()) = newest.changed() => if site.keys().infrastructure.certificate() == issuer { continue },
        }
        issuer = site.keys().infrastructure.certificate().to_vec();
        match control_tls(&site, &names) {
            Ok(tls) => control.store(tls),
            Err(error) => error!(error = chain(&error), "The own certificate could not be renewed"),
        }
    }
}

/// How the control interface speaks TLS: with a certificate of the site's own, made at every start, every reload and every day.
fn control_tls(site: &Site, (names, addresses): &Names) -> Result<Arc<ServerConfig>, RunError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| RunError::Certificate(error);
    let key = PrivateKey::generate().map_err(|error| failed(Box::new(error)))?;
    let issued = site
        .keys()
        .infrastructure
        .site_server(&site.name, names, addresses, &key.public(), site.now())
        .map_err(|error| failed(Box::new(error)))?;
    // Those who are not enrolled yet know nothing but the root's digest, so the root comes along.
    let certificates = issued.chain.into_iter().chain(site.keys().roots()).map(CertificateDer::from).collect();
    let private_key = PrivateKeyDer::from_pem_slice(key.to_pem().expose()).map_err(|error| failed(Box::new(error)))?;
    let key = CertifiedKey::from_der(certificates, private_key, provider()).map_err(|error| failed(Box::new(error)))?;
    let identity = RoleIdentity { role: Role::SiteServer(SiteServerId::new(&site.name)), key: Arc::new(key) };
    let tls = site_server(identity, &site.keys().roots()).map_err(|problem| failed(problem.to_string().into()))?;
    Ok(Arc::new(tls))
}

/// How the administrators' interface speaks TLS.
fn api_tls(identity: &ServerIdentity) -> Arc<ServerConfig> {
    let mut tls = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites for both")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::clone(&identity.key))));
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(tls)
}

async fn health(config: &Config, site: &Arc<Site>, drain: &Arc<Drain>) -> Result<Health, RunError> {
    let mut metrics = Metrics::new("cmg_site");
    for (name, help, part) in
        [("generation_epoch", "Epoch of the configuration in force", 0), ("generation_number", "Number of the configuration in force", 1)]
    {
        let site = Arc::clone(site);
        metrics.gauge_of(name, help, move || {
            let generation = site.in_force().generation();
            [generation.epoch, generation.number][part]
        });
    }
    let of_site = |read: fn(&Site) -> u64| {
        let site = Arc::clone(site);
        move || read(&site)
    };
    metrics.gauge_of("database_answers", "Whether the database answers: 1 or 0", of_site(|site| site.database_answers().is_ok().into()));
    let silence = of_site(|site| site.database_silence().as_secs());
    metrics.gauge_of("database_silent_seconds", "Time since the database answered last", silence);
    let (drain, site) = (Arc::clone(drain), Arc::clone(site));
    let ready = move || if drain.has_begun() { Err("draining".to_owned()) } else { site.database_answers() };
    let (address, exposure) = (config.metrics_listen, if config.metrics_public { Exposure::Public } else { Exposure::Loopback });
    Health::start(address, exposure, Box::new(ready), Arc::new(metrics)).await.map_err(|source| RunError::Listen { address, source })
}

/// Reads the file again for the log level and the certificates; addresses and the database want a restart.
fn reload(file: &Path, site: &Site, level: &log::Level, control: &ArcSwap<ServerConfig>, api: Option<&ArcSwap<ServerConfig>>) {
    match Config::read(file) {
        Ok(config) => {
            level.set(config.log.level);
            match control_tls(site, &config.control_names()) {
                Ok(tls) => control.store(tls),
                Err(error) => error!(error = chain(&error), "The own certificate could not be renewed"),
            }
            if let (Some(identity), Some(api)) = (&config.identity, api) {
                api.store(api_tls(identity));
            }
            info!("Configuration applied; addresses and the database wait for a restart");
        }
        Err(problems) => {
            for problem in problems {
                error!(key = problem.key, "{}; {}", problem.what, problem.instead);
            }
            error!(file = %PathBuf::from(file).display(), "Configuration refused, the one before stays in force");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_or_panics_stops_the_program_with_an_error() {
        let mut signals = Signals::new().expect("signals");
        for (panics, words) in [(false, None), (true, Some("panicked"))] {
            let mut tasks = Tasks::default();
            tasks.spawn("clock", std::future::pending());
            tasks.spawn("worker", async move { assert!(!panics, "as a fault in the worker would") });

            let ended = until_told(&mut signals, &mut tasks, || ()).await.expect_err("the worker has ended");

            let told = chain(&ended);
            assert!(told.contains("\"worker\"") && words.is_none_or(|words| told.contains(words)), "{told}");
        }
    }
}
