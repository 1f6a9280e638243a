//! An enrolled gateway, as a list: start, become a member, put the last good configuration in force, follow the site.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use cmg_api::LogLevel;
use cmg_api::control::{GenerationId, Manifest, RefusedGeneration};
use cmg_core::problem::{Finding, Problem};
use cmg_enrolled::{DataError, DataFolder, Identity, Snapshots};
use cmg_process::log::{self, chain};
use cmg_process::shutdown::{Signal, Signals};
use cmg_standalone::AtStart;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tracing::{error, info};

use super::follow::{Follower, Update, of_core};
use super::metrics::SiteMetrics;
use super::{Own, Site, enrolment, milliseconds, renewal, report};
use crate::config::Config;
use crate::config::enrolled::{self, Document, Local, of_data, of_parts};
use crate::events::Reload;
use crate::run::{RunError, refuse, wait_for_a_restart};
use crate::running::{Instruments, Next, Running};
use crate::state::{State, now};

/// Runs a gateway whose file has `[site]`, until it is told to stop.
pub(crate) async fn run(file: &Path, mut signals: Signals) -> Result<(), RunError> {
    let mut local = Local::read(file).map_err(RunError::Config)?;
    let level = log::start(local.log.level, local.log.format).map_err(io::Error::other)?;
    let folder = DataFolder::open(&local.data).map_err(wrong)?;
    let known = Identity::load(&folder).map_err(wrong)?;
    let mut site_metrics = None;
    let at = (local.metrics_listen, local.metrics_public);
    let register = |metrics: &mut _| site_metrics = Some(SiteMetrics::new(metrics));
    let instruments = Instruments::start(at, &local.log, "not enrolled yet", register).await?;
    let identity = match known {
        Some(identity) => identity,
        None => match wait_for_identity(file, &mut local, &folder, &level, &mut signals).await? {
            Some(identity) => identity,
            None => return Ok(()),
        },
    };
    let Some(metrics) = site_metrics else { return Err(io::Error::other("the metrics are not registered").into()) };
    let set_level = Box::new(move |wanted| level.set(wanted));
    let mut gateway = Enrolled::start(file, folder, identity, instruments, metrics, set_level)?;
    info!("Gateway ready");
    loop {
        let event = tokio::select! {
            signal = signals.next() => match signal {
                Signal::Reload => Event::Reload,
                Signal::Drain => break,
                Signal::Stop => return Ok(()),
            },
            event = gateway.event() => event,
        };
        gateway.take(event).await;
    }
    gateway.running.drain(&mut signals).await;
    Ok(())
}

fn wrong(error: DataError) -> RunError {
    RunError::Config(vec![of_data(&error)])
}

/// Listens until a connection point has made this machine a member; none: it was told to end before.
async fn wait_for_identity(
    file: &Path,
    local: &mut Local,
    folder: &DataFolder,
    level: &log::Level,
    signals: &mut Signals,
) -> Result<Option<Identity>, RunError> {
    let mut listening = JoinSet::new();
    loop {
        let done = tokio::select! {
            identity = enrolment::enrol(local, folder, &mut listening) => Ok(identity?),
            signal = signals.next() => Err(signal),
        };
        // Whoever listens next finds the addresses free.
        listening.shutdown().await;
        match done {
            Ok(identity) => return Ok(Some(identity)),
            Err(Signal::Reload) => match Local::read(file).and_then(with_code) {
                Ok(changed) => {
                    level.set(changed.log.level);
                    *local = changed;
                }
                Err(problems) => refuse(&problems),
            },
            Err(Signal::Drain | Signal::Stop) => return Ok(None),
        }
    }
}

fn with_code(local: Local) -> Result<Local, Vec<Problem>> {
    local.code().map(|_| ()).map_err(|problem| vec![problem])?;
    Ok(local)
}

/// A gateway that is a member.
pub(super) struct Enrolled {
    file: PathBuf,
    set_level: SetLevel,
    at_start: AtStart,
    running: Running,
    pub(super) site: Arc<Site>,
    /// What is in force.
    current: Option<Manifest>,
    /// A newer one that could not be put in force. The reason may be in the file.
    refused: Option<Update>,
    updates: mpsc::Receiver<Update>,
    renewed: Arc<Notify>,
    _tasks: JoinSet<()>,
}

/// Changes what is logged.
type SetLevel = Box<dyn Fn(LogLevel) + Send>;

/// What an enrolled gateway is woken for.
pub(super) enum Event {
    /// A snapshot has come.
    Update(Box<Update>),
    /// There is a new role certificate.
    Renewed,
    /// The file has changed.
    Reload,
}

/// What the file and a snapshot say together, ready to be put in force.
struct Prepared {
    next: Next,
    level: LogLevel,
    at_start: AtStart,
    findings: Vec<Finding>,
}

impl Enrolled {
    /// Puts the last good configuration in force, and starts to follow the site. Without a configuration the gateway takes tunnels only.
    pub(super) fn start(
        file: &Path,
        folder: DataFolder,
        identity: Identity,
        instruments: Instruments,
        metrics: SiteMetrics,
        set_level: SetLevel,
    ) -> Result<Self, RunError> {
        let snapshots = Snapshots::open(&folder).map_err(wrong)?;
        let (current, (config, findings)) = match last_good(file, &folder, &identity, &snapshots) {
            Some((manifest, config)) => (Some(manifest), config),
            None => (None, enrolled::read(file, &folder, &identity, None).map_err(RunError::Config)?),
        };
        let generation = current.as_ref().map(|manifest| manifest.generation).unwrap_or_default();
        let at_start = config.at_start();
        snapshots.revoked(config.revoked.clone());
        let running = Running::start(config, of_core(generation), instruments)?;
        let findings = findings.iter().map(ToString::to_string).collect();
        let own = Own { applied: generation, applied_at: milliseconds(), refused: None, findings };
        let site = Arc::new(Site {
            gateway: Arc::clone(&running.gateway),
            folder,
            snapshots,
            identity: ArcSwap::from_pointee(identity),
            believes: Notify::new(),
            own: watch::Sender::new(own),
            metrics,
        });
        let (followed, updates) = mpsc::channel(1);
        let renewed = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(Follower::new(Arc::clone(&site), generation, followed).run());
        tasks.spawn(report::run(Arc::clone(&site)));
        tasks.spawn(renewal::run(Arc::clone(&site), Arc::clone(&renewed)));
        Ok(Self { file: file.to_owned(), set_level, at_start, running, site, current, refused: None, updates, renewed, _tasks: tasks })
    }

    /// What comes next of the tasks. Nothing is lost if this future is dropped.
    pub(super) async fn event(&mut self) -> Event {
        tokio::select! {
            Some(update) = self.updates.recv() => Event::Update(Box::new(update)),
            () = self.renewed.notified() => Event::Renewed,
        }
    }

    /// Does what an event asks for.
    pub(super) async fn take(&mut self, event: Event) {
        match event {
            Event::Update(update) => _ = self.follow(*update).await,
            Event::Renewed => self.again("The role certificate").await,
            Event::Reload => match self.refused.take() {
                Some(update) if self.follow(update.clone()).await => self.running.gateway.events.reloaded(Reload::Applied),
                _ => self.again("The file").await,
            },
        }
    }

    /// Puts a snapshot in force that has come from the site, or refuses it; gives whether it is in force.
    async fn follow(&mut self, update: Update) -> bool {
        let Update { signed, manifest } = update;
        let generation = manifest.generation;
        self.refused = None;
        if let Err(problems) = self.put_in_force(Some(&manifest)).await {
            refuse(&problems);
            error!(%generation, "Configuration of the site refused, the one before stays in force");
            self.site.metrics.snapshots.count(Reload::Refused);
            let problems = problems.iter().map(ToString::to_string).collect();
            self.site.own.send_modify(|own| own.refused = Some(RefusedGeneration { generation, problems }));
            self.refused = Some(Update { signed, manifest });
            return false;
        }
        info!(%generation, "Configuration applied");
        self.site.metrics.snapshots.count(Reload::Applied);
        self.current = Some(manifest.clone());
        let snapshots = self.site.snapshots.clone();
        let kept = spawn_blocking(move || snapshots.keep(&signed, &manifest, now())).await;
        if let Ok(Err(error)) = kept {
            error!(error = chain(&error), "The configuration is in force, but cannot be kept for the next start");
        }
        true
    }

    /// Puts the configuration in force once more, since something beside it has changed.
    async fn again(&mut self, what: &str) {
        match self.put_in_force(self.current.clone().as_ref()).await {
            Ok(()) => {
                info!(generation = %self.generation(), "Configuration applied");
                self.running.gateway.events.reloaded(Reload::Applied);
            }
            Err(problems) => {
                refuse(&problems);
                error!(file = %self.file.display(), "{what} has changed and cannot be used, the configuration before stays in force");
                self.running.gateway.events.reloaded(Reload::Refused);
            }
        }
    }

    async fn put_in_force(&mut self, manifest: Option<&Manifest>) -> Result<(), Vec<Problem>> {
        let (file, site, before) = (self.file.clone(), Arc::clone(&self.site), self.running.gateway.state());
        let wanted = manifest.cloned();
        let prepared = spawn_blocking(move || prepare(&file, &site, wanted, &before)).await;
        let stopped = |_| vec![Problem::new("site", "the configuration was not looked at to its end", "start the gateway again")];
        let Prepared { next, level, at_start, findings } = prepared.map_err(stopped)??;
        self.running.apply(next)?;
        self.site.snapshots.revoked(self.running.gateway.state().revoked.clone());
        (self.set_level)(level);
        let waiting = self.at_start.changed_in(&at_start);
        wait_for_a_restart(&waiting);
        let mut findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
        findings.extend(waiting.iter().map(|key| format!("{key}: the change waits for a restart of the gateway")));
        let generation = manifest.map(|manifest| manifest.generation).unwrap_or_default();
        self.site.own.send_modify(|own| {
            if own.applied != generation {
                (own.applied, own.applied_at, own.refused) = (generation, milliseconds(), None);
            }
            own.findings = findings;
        });
        Ok(())
    }

    fn generation(&self) -> GenerationId {
        self.current.as_ref().map(|manifest| manifest.generation).unwrap_or_default()
    }
}

/// What was found, with what it means.
type Read = (Config, Vec<Finding>);

/// The last good snapshot, if there is one and it is still of use.
fn last_good(file: &Path, folder: &DataFolder, identity: &Identity, snapshots: &Snapshots) -> Option<(Manifest, Read)> {
    let manifest = match snapshots.current(&identity.member(), &identity.roots) {
        Ok(current) => current?,
        Err(error) => {
            error!(error = chain(&error), "The last good configuration cannot be read; connection points are asked for another");
            return None;
        }
    };
    let read = document(snapshots, &manifest, identity).and_then(|document| enrolled::read(file, folder, identity, Some(document)));
    match read {
        Ok(read) => {
            info!(generation = %manifest.generation, "The last good configuration is in force");
            Some((manifest, read))
        }
        Err(problems) => {
            refuse(&problems);
            error!("The last good configuration is of no use any more; connection points are asked for another");
            None
        }
    }
}

fn document(snapshots: &Snapshots, manifest: &Manifest, identity: &Identity) -> Result<Document, Vec<Problem>> {
    let text = snapshots.document(manifest).map_err(|error| vec![of_parts(&error)])?;
    let files = snapshots.files(manifest.clone(), &identity.sealing).map_err(|error| vec![of_parts(&error)])?;
    Ok(Document { text, files: Arc::new(files) })
}

/// Reads the file and the snapshot. May take as long as a large block list does.
fn prepare(file: &Path, site: &Site, manifest: Option<Manifest>, before: &State) -> Result<Prepared, Vec<Problem>> {
    if let Some(manifest) = &manifest {
        site.believe(manifest)?;
    }
    let identity = site.identity.load_full();
    let document = manifest.as_ref().map(|manifest| document(&site.snapshots, manifest, &identity)).transpose()?;
    let (config, findings) = enrolled::read(file, &site.folder, &identity, document)?;
    let (level, at_start) = (config.log.level, config.at_start());
    let generation = of_core(manifest.map(|manifest| manifest.generation).unwrap_or_default());
    Ok(Prepared { next: Next::build(config, generation, before)?, level, at_start, findings })
}
