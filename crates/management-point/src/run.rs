//! Starting, running, stopping: as a list.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use cmg_core::problem::Problem;
use cmg_credentials::tls::management_point_server;
use cmg_enrolled::{DataFolder, Identity, Snapshots};
use cmg_process::health::Health;
use cmg_process::metrics::Metrics;
use cmg_process::shutdown::{Signal, Signals};
use cmg_process::{log, open_files};
use cmg_site_client::{Applying, Member, Site, enrol, of_data, renew_until_dropped};
use rustls::ServerConfig;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::config::{Config, no_code};
use crate::desk::{Desk, Gauges};
use crate::follow::follow;
use crate::point::{Point, Told};
use crate::report::report;
use crate::{desk, listener, passing, requests};

/// Why the management point did not start.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration has problems.
    #[error("{}", lines(.0))]
    Config(Vec<Problem>),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A part of the program has ended.
    #[error("a part of the program has ended; its log says why")]
    Ended,
    /// The system refused something else.
    #[error("cannot start")]
    System(#[from] io::Error),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn wrong(problem: Problem) -> RunError {
    RunError::Config(vec![problem])
}

/// What `/readyz` says while there is nothing to serve.
type Obstacle = Arc<ArcSwap<Option<String>>>;

/// Runs a management point from its configuration file until it is told to stop.
pub async fn run(file: &Path) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    let mut config = Config::read(file).map_err(RunError::Config)?;
    let level = log::start(config.log.level, config.log.format).map_err(io::Error::other)?;
    open_files::raise();
    let folder = DataFolder::open(&config.data).map_err(|error| wrong(of_data(error)))?;
    let known = Identity::load(&folder).map_err(|error| wrong(of_data(error)))?;
    if known.is_none() {
        applying(&config).read().map_err(wrong)?;
    }
    let listener = bind(config.listen).await?;
    let (obstacle, told, gauges, metrics) = telemetry();
    let _health = health(&config, &obstacle, metrics).await?;
    let identity = match known {
        Some(identity) => identity,
        None => match wait_for_identity(file, &mut config, &folder, &obstacle, &mut signals).await {
            Some(identity) => identity,
            None => return Ok(()),
        },
    };
    let site = Arc::new(Site::new(Member::new(identity, &folder).map_err(wrong)?));
    let snapshots = Snapshots::open(&folder).map_err(|error| wrong(of_data(error)))?;
    let point = Arc::new(Point::new(Arc::clone(&site), folder.clone(), snapshots, told));
    point.cold_start();
    let desk = Arc::new(Desk::open(Arc::clone(&point), &folder, config.spool, gauges)?);
    let tls = Arc::new(ArcSwap::new(server(&site).map_err(wrong)?));
    let mut changes = site.changes();
    let mut tasks = JoinSet::new();
    let router = desk::router(Arc::clone(&desk)).merge(requests::router(Arc::clone(&point)));
    tasks.spawn(listener::serve(listener, Arc::clone(&tls), router, Arc::clone(&point)));
    tasks.spawn(follow(Arc::clone(&point)));
    tasks.spawn(report(Arc::clone(&point)));
    tasks.spawn(renew_until_dropped(Arc::clone(&site), folder.clone(), Arc::default()));
    tasks.spawn(keep_ready(Arc::clone(&desk), Arc::clone(&obstacle)));
    tasks.spawn(Arc::clone(&desk).follow_policy());
    tasks.spawn(passing::messages(Arc::clone(&desk)));
    tasks.spawn(passing::presence(Arc::clone(&desk)));
    tasks.spawn(passing::tasks(Arc::clone(&desk)));
    info!(member = site.member().identity.member(), "Management point ready");
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Reload => reload(file, &mut config, &level),
                Signal::Drain => break,
                Signal::Stop => return Ok(()),
            },
            Ok(()) = changes.changed() => show_renewed(&point, &site, &tls),
            Some(_) = tasks.join_next() => return Err(RunError::Ended),
        }
    }
    drain(&point, &config, &mut signals).await;
    Ok(())
}

fn applying(config: &Config) -> Applying<'_> {
    Applying { kind: "management-point", code: config.enrolment.as_deref(), no_code }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })
}

fn telemetry() -> (Obstacle, Told, Gauges, Metrics) {
    let mut metrics = Metrics::new("cmg_management_point");
    let told = Told {
        answered: metrics.counter("requests_answered", "Requests of clients that got what they asked for"),
        refused: metrics.counter("requests_refused", "Requests of clients that were refused"),
        unavailable: metrics.counter("requests_unavailable", "Requests of clients that the site could not be asked about"),
    };
    let gauges = Gauges {
        held: metrics.gauge("notifications_held", "Requests for notifications that are held"),
        waiting: metrics.gauge("messages_waiting", "Messages of devices that are on disk and wait for the site"),
    };
    (Arc::new(ArcSwap::from_pointee(Some("not enrolled yet".to_owned()))), told, gauges, metrics)
}

async fn health(config: &Config, obstacle: &Obstacle, metrics: Metrics) -> Result<Health, RunError> {
    let (address, obstacle) = (config.metrics_listen, Arc::clone(obstacle));
    let ready = move || obstacle.load().as_ref().clone().map_or(Ok(()), Err);
    let health = Health::start(address, config.exposure(), Box::new(ready), Arc::new(metrics)).await;
    health.map_err(|source| RunError::Listen { address, source })
}

/// Asks until this machine is a member; none: it was told to end before.
async fn wait_for_identity(
    file: &Path,
    config: &mut Config,
    folder: &DataFolder,
    obstacle: &Obstacle,
    signals: &mut Signals,
) -> Option<Identity> {
    loop {
        let applying = applying(config);
        let signal = tokio::select! {
            identity = enrol(&applying, folder, |why| obstacle.store(Arc::new(Some(why)))) => return Some(identity),
            signal = signals.next() => signal,
        };
        match signal {
            Signal::Reload => match Config::read(file) {
                Ok(changed) => *config = changed,
                Err(problems) => refuse(&problems),
            },
            Signal::Drain | Signal::Stop => return None,
        }
    }
}

/// Says whether there is a configuration to serve by, and room for messages, until dropped.
async fn keep_ready(desk: Arc<Desk>, obstacle: Obstacle) {
    let (point, mut trouble) = (Arc::clone(&desk.point), desk.spool.trouble());
    let mut own = point.own.subscribe();
    loop {
        own.borrow_and_update();
        let no_room = trouble.borrow_and_update().clone();
        let why = point.state().is_none().then(|| "no configuration has come from the site yet".to_owned()).or(no_room);
        obstacle.store(Arc::new(why));
        tokio::select! {
            changed = own.changed() => if changed.is_err() { return },
            changed = trouble.changed() => if changed.is_err() { return },
            () = point.drain.draining() => {
                obstacle.store(Arc::new(Some("draining".to_owned())));
                std::future::pending::<()>().await;
            }
        }
    }
}

fn server(site: &Site) -> Result<Arc<ServerConfig>, Problem> {
    let member = site.member();
    management_point_server(&member.role, &member.identity.roots)
}

fn show_renewed(point: &Point, site: &Site, tls: &ArcSwap<ServerConfig>) {
    match server(site) {
        Ok(renewed) => {
            tls.store(renewed);
            point.renewed();
        }
        Err(problem) => error!(key = problem.key, "The renewed certificate cannot be shown: {}; {}", problem.what, problem.instead),
    }
}

fn refuse(problems: &[Problem]) {
    for problem in problems {
        error!(key = problem.key, "{}; {}", problem.what, problem.instead);
    }
}

fn reload(file: &Path, config: &mut Config, level: &log::Level) {
    match Config::read(file) {
        Ok(changed) => {
            level.set(changed.log.level);
            let waiting = config.at_start().changed_in(&changed.at_start());
            if !waiting.is_empty() {
                warn!(keys = waiting.join(", "), "Changed keys wait for a restart");
            }
            config.log = changed.log;
            info!("Configuration applied");
        }
        Err(problems) => {
            refuse(&problems);
            error!(file = %file.display(), "Configuration refused, the one before stays in force");
        }
    }
}

async fn drain(point: &Point, config: &Config, signals: &mut Signals) {
    info!(in_flight = point.drain.in_flight(), "Draining");
    point.drain.begin();
    tokio::select! {
        left = point.drain.wait_idle(config.drain) => if let Err(left) = left {
            warn!(left, "Requests were still under way at the end of the drain");
        },
        () = signals.stop() => warn!("Drain cut short"),
    }
    info!("Stopped");
}
