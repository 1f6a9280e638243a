//! An enrolled connection point, as a list: start, become a member, put the last good configuration in force, follow the site.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cmg_api::control::{GenerationId, Manifest, RefusedGeneration, Signed};
use cmg_core::problem::Problem;
use cmg_core::snapshot::Generation;
use cmg_enrolled::{DataFolder, Identity, Snapshots};
use cmg_process::log::{self, chain};
use cmg_process::open_files;
use cmg_process::shutdown::{Signal, Signals};
use cmg_site_client::{Applying, Member, Site, enrol, of_data, renew_until_dropped};
use cmg_standalone::AtStart;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::enrolling::Enrolling;
use super::follow::{Follower, Update};
use super::metrics::SiteMetrics;
use super::relay::Relay;
use super::report::{Own, Reporter};
use super::store::GatewayStore;
use crate::config::enrolled::{self, Document, Local, no_code};
use crate::events::Reload;
use crate::run::{RunError, refuse};
use crate::running::{Running, telemetry};
use crate::state::now;

/// Runs a connection point whose file has `[site]`, until it is told to stop.
pub(crate) async fn run(file: &Path, mut signals: Signals) -> Result<(), RunError> {
    let mut local = Local::read(file).map_err(RunError::Config)?;
    let level = log::start(local.machine.log.level, local.machine.log.format).map_err(std::io::Error::other)?;
    open_files::raise();
    let folder = DataFolder::open(&local.data).map_err(|error| wrong(of_data(error)))?;
    let (mut metrics, events) = telemetry()?;
    let site_metrics = SiteMetrics::new(&mut metrics);
    let known = Identity::load(&folder).map_err(|error| wrong(of_data(error)))?;
    if known.is_none() {
        applying(&local).read().map_err(wrong)?;
    }
    let running = Running::start(&local.machine, metrics, events).await?;
    let identity = match known {
        Some(identity) => identity,
        None => match wait_for_identity(file, &mut local, &folder, &running, &mut signals).await {
            Some(identity) => identity,
            None => return Ok(()),
        },
    };
    let mut point = Enrolled::new(file, local, folder, identity, running, level, site_metrics).map_err(wrong)?;
    let mut updates = point.start();
    let renewed = Arc::clone(&point.renewed);
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Reload => point.reload(),
                Signal::Drain => break,
                Signal::Stop => return Ok(()),
            },
            Some(update) = updates.recv() => point.take(update),
            () = renewed.notified() => point.again("The role certificate"),
        }
    }
    point.running.drain(&mut signals).await;
    Ok(())
}

fn wrong(problem: Problem) -> RunError {
    RunError::Config(vec![problem])
}

fn applying(local: &Local) -> Applying<'_> {
    Applying { kind: "connection-point", code: local.enrolment.as_deref(), no_code }
}

/// Asks until this machine is a member; none: it was told to end before.
async fn wait_for_identity(
    file: &Path,
    local: &mut Local,
    folder: &DataFolder,
    running: &Running,
    signals: &mut Signals,
) -> Option<Identity> {
    running.obstacle.set(Some("not enrolled yet".to_owned()));
    loop {
        let (applying, obstacle) = (applying(local), running.obstacle.clone());
        let signal = tokio::select! {
            identity = enrol(&applying, folder, |why| obstacle.set(Some(why))) => return Some(identity),
            signal = signals.next() => signal,
        };
        match signal {
            Signal::Reload => match Local::read(file) {
                Ok(changed) => *local = changed,
                Err(problems) => refuse(&problems),
            },
            Signal::Drain | Signal::Stop => return None,
        }
    }
}

/// A connection point that is a member.
struct Enrolled {
    file: PathBuf,
    folder: DataFolder,
    /// The file as it was read last without a problem.
    local: Local,
    at_start: AtStart,
    level: log::Level,
    running: Running,
    site: Arc<Site>,
    snapshots: Snapshots,
    relay: Arc<Relay>,
    enrolling: Enrolling,
    metrics: SiteMetrics,
    own: watch::Sender<Own>,
    renewed: Arc<Notify>,
    /// What is in force.
    current: Option<Manifest>,
    tasks: JoinSet<()>,
}

impl Enrolled {
    fn new(
        file: &Path,
        local: Local,
        folder: DataFolder,
        identity: Identity,
        running: Running,
        level: log::Level,
        metrics: SiteMetrics,
    ) -> Result<Self, Problem> {
        let snapshots = Snapshots::open(&folder).map_err(of_data)?;
        let gateways = DataFolder::open(&folder.path().join("gateways")).and_then(|folder| cmg_enrolled::Parts::open(&folder));
        let site = Arc::new(Site::new(Member::new(identity, &folder)?));
        let relay = Arc::new(Relay::new(gateways.map_err(of_data)?, Arc::clone(&site), running.point.drain.clone()));
        Ok(Self {
            file: file.to_owned(),
            at_start: local.at_start(),
            local,
            level,
            running,
            site,
            snapshots,
            relay,
            enrolling: Enrolling::default(),
            metrics,
            own: watch::Sender::new(Own::default()),
            renewed: Arc::default(),
            current: None,
            tasks: JoinSet::new(),
            folder,
        })
    }

    /// Puts the last good configuration in force, and starts to follow the site.
    fn start(&mut self) -> mpsc::Receiver<Update> {
        self.running.obstacle.set(Some("no configuration has come from the site yet".to_owned()));
        let member = self.site.member();
        self.own.send_modify(|own| own.certificate_ends = member.identity.ends.0);
        let gateways = self.gateways(&member);
        self.cold_start(&member);
        // Only now: what gateways ask has answers.
        let _ = self.running.point.control.set(Arc::clone(&self.relay));
        let (updates, taken) = mpsc::channel(1);
        if let Some(gateways) = gateways {
            let follower = Follower {
                site: Arc::clone(&self.site),
                snapshots: self.snapshots.clone(),
                gateways,
                relay: Arc::clone(&self.relay),
                heard: self.metrics.heard(),
                seen: self.generation(),
                updates,
            };
            self.tasks.spawn(follower.run());
        }
        let reporter = Reporter {
            me: member.identity.member(),
            own: self.own.subscribe(),
            live: self.running.live(),
            point: Arc::clone(&self.running.point),
            relay: Arc::clone(&self.relay),
            site: Arc::clone(&self.site),
        };
        self.tasks.spawn(reporter.run());
        self.tasks.spawn(renew_until_dropped(Arc::clone(&self.site), self.folder.clone(), Arc::clone(&self.renewed)));
        info!(member = member.identity.member(), "Connection point ready");
        taken
    }

    /// What was kept for gateways, posted.
    fn gateways(&self, member: &Member) -> Option<GatewayStore> {
        match GatewayStore::open(&self.folder) {
            Ok(mut store) => {
                self.relay.board.send_modify(|board| store.post(board, &member.identity.roots));
                Some(store)
            }
            Err(error) => {
                error!(error = chain(&error), "The gateways' configurations cannot be read");
                None
            }
        }
    }

    fn cold_start(&mut self, member: &Member) {
        match self.snapshots.current(&member.identity.member(), &member.identity.roots) {
            Ok(None) => {}
            Ok(Some(manifest)) => match self.put_in_force(&manifest) {
                Ok(()) => info!(generation = %manifest.generation, "The last good configuration is in force"),
                Err(problems) => {
                    refuse(&problems);
                    error!("The last good configuration is of no use any more; the site is asked for another");
                }
            },
            Err(error) => error!(error = chain(&error), "The last good configuration cannot be read; the site is asked for another"),
        }
    }

    /// Puts a snapshot in force that has come from the site, or refuses it.
    fn take(&mut self, update: Update) {
        let Update { signed, manifest, done } = update;
        match self.put_in_force(&manifest) {
            Ok(()) => {
                info!(generation = %manifest.generation, "Configuration applied");
                self.keep(&signed, &manifest);
            }
            Err(problems) => {
                refuse(&problems);
                error!(generation = %manifest.generation, "Configuration of the site refused, the one before stays in force");
                self.metrics.refused();
                if self.current.is_none() {
                    let first = problems.first().map(ToString::to_string).unwrap_or_default();
                    self.running.obstacle.set(Some(format!("the configuration of the site is refused: {first}")));
                }
                let problems = problems.iter().map(ToString::to_string).collect();
                self.own.send_modify(|own| own.refused = Some(RefusedGeneration { generation: manifest.generation, problems }));
            }
        }
        // Whoever asked may be gone.
        let _ = done.send(());
    }

    fn keep(&self, signed: &Signed, manifest: &Manifest) {
        if let Err(error) = self.snapshots.keep(signed, manifest, now()) {
            error!(error = chain(&error), "The configuration is in force, but cannot be kept for the next start");
        }
    }

    fn put_in_force(&mut self, manifest: &Manifest) -> Result<(), Vec<Problem>> {
        self.site.believe(manifest, &self.folder).map_err(|problem| vec![problem])?;
        let member = self.site.member();
        let damaged = |error: cmg_enrolled::PartError| vec![Problem::new("site.data", error.to_string(), "it is fetched again")];
        let text = self.snapshots.document(manifest).map_err(damaged)?;
        let files = self.snapshots.files(manifest.clone(), &member.identity.sealing).map_err(damaged)?;
        let found = enrolled::read(&self.local, &self.folder, &member.identity, Document { text, files })?;
        let GenerationId { epoch, number } = manifest.generation;
        let revoked = found.config.tunnel.revoked.clone();
        self.running.apply(found.config, Generation { epoch, number })?;
        self.snapshots.revoked(revoked);
        self.site.know_servers(&self.folder, &found.site_servers);
        self.enrolling.follow(&found.candidates, &self.site);
        self.relay.board.send_modify(|board| board.keep(|name| found.gateways.iter().any(|known| known == name)));
        let is_new = self.current.as_ref().is_none_or(|current| current.generation != manifest.generation);
        self.current = Some(manifest.clone());
        self.own.send_modify(|own| {
            own.findings = found.findings.iter().map(ToString::to_string).collect();
            own.certificate_ends = member.identity.ends.0;
            own.gateways = found.gateways;
            if is_new {
                (own.applied, own.applied_at, own.refused) = (manifest.generation, milliseconds(), None);
            }
        });
        if is_new {
            self.metrics.applied(manifest.generation);
        }
        Ok(())
    }

    /// Reads the file again. What the site says stays.
    fn reload(&mut self) {
        match Local::read(&self.file) {
            Ok(local) => self.local = local,
            Err(problems) => return self.refuse_file(&problems),
        }
        self.level.set(self.local.machine.log.level);
        let waiting = self.at_start.changed_in(&self.local.at_start());
        if !waiting.is_empty() {
            warn!(keys = waiting.join(", "), "Changed keys wait for a restart");
        }
        self.again("The file");
    }

    /// Puts the configuration in force once more, since something beside it has changed.
    fn again(&mut self, what: &str) {
        let Some(manifest) = self.current.clone() else { return };
        match self.put_in_force(&manifest) {
            Ok(()) => {
                info!(generation = %manifest.generation, "Configuration applied");
                self.running.point.events.reloaded(Reload::Applied);
            }
            Err(problems) => {
                error!("{what} has changed and cannot be used");
                self.refuse_file(&problems);
            }
        }
    }

    fn refuse_file(&self, problems: &[Problem]) {
        refuse(problems);
        error!(file = %self.file.display(), "Configuration refused, the one before stays in force");
        self.running.point.events.reloaded(Reload::Refused);
    }

    fn generation(&self) -> GenerationId {
        self.current.as_ref().map(|manifest| manifest.generation).unwrap_or_default()
    }
}

fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
