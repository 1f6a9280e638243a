//! The site as one value: what everything else works with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use cmg_api::control::{FRESHNESS_CONTEXT, Freshness, GenerationId, Signed};
use cmg_authority::VaultKey;
use cmg_core::time::WallTime;
use cmg_store::{Place, Store};
use tokio::sync::{Mutex, watch};
use tracing::{error, info};

use crate::app::founding::{self, FoundingRefused};
use crate::app::growth::Keep;
use crate::app::in_force::{InForce, NotInForce, id};
use crate::app::keys::Keys;
use crate::app::publish::Judged;
use crate::app::registration::{Limits, Verifiers};
use crate::app::reports::Reports;
use crate::app::wanted_keys::WantedKeys;
use crate::config::Config;

/// How often the site says which generation is the newest.
const FRESHNESS: Duration = Duration::from_secs(2);

/// How often it is looked whether another site server has changed something.
const LOOK: Duration = Duration::from_millis(250);

/// A database that has not answered for so long is out of use, though it has not refused yet.
const SILENT: Duration = Duration::from_secs(10);

/// The site, as one site server has it.
pub struct Site {
    /// The name of this site server.
    pub name: String,
    /// The site code.
    pub code: String,
    /// The database.
    pub store: Store,
    vault: Arc<VaultKey>,
    /// How connection points reach the site servers.
    pub control_urls: Vec<String>,
    /// Programs that change DNS for ACME servers, by name.
    pub acme_hooks: BTreeMap<String, PathBuf>,
    /// How long records are kept.
    pub keep: Keep,
    in_force: ArcSwap<InForce>,
    turn: Mutex<()>,
    judged: Judged,
    /// How often clients may ask.
    pub(crate) limits: Limits,
    /// What verifies what clients show.
    pub(crate) verifiers: Verifiers,
    newest: watch::Sender<GenerationId>,
    freshness: ArcSwap<Option<Signed>>,
    /// Whose keys members want.
    pub(crate) wanted_keys: WantedKeys,
    /// What connection points say of members.
    pub reports: Reports,
    /// The last number that a task of a device was given.
    tasks: watch::Sender<u64>,
    /// When the database answered last, and why not since then.
    database: std::sync::Mutex<(Instant, Option<String>)>,
}

/// Why a site cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenRefused {
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] cmg_store::Error),
    /// The site cannot be founded, or its keys cannot be opened.
    #[error(transparent)]
    Founding(#[from] FoundingRefused),
    /// What is in the database cannot be put in force.
    #[error(transparent)]
    InForce(#[from] NotInForce),
    /// The first change of this start failed.
    #[error(transparent)]
    Change(#[from] crate::app::change::ChangeRefused),
}

impl Site {
    /// Opens the site that `config` names, and founds it where there is none.
    pub async fn open(config: &Config) -> Result<Arc<Self>, OpenRefused> {
        if let Place::Sqlite(_) = &config.database {
            founding::make_folder(&config.data)?;
        }
        let store = Store::open(config.database.clone()).await?;
        let vault = founding::open(config, &store, now()).await?;
        let judged = Judged::default();
        let in_force = InForce::read(&mut store.view().await?, &vault, &judged, &config.site).await?;
        info!(site = config.site, generation = %in_force.generation(), database = store.engine(), "Site opened");
        let site = Arc::new(Self {
            name: config.name.clone(),
            code: config.site.clone(),
            store,
            vault,
            control_urls: config.control_urls.clone(),
            acme_hooks: config.acme_hooks.clone(),
            keep: config.keep,
            newest: watch::Sender::new(in_force.generation()),
            in_force: ArcSwap::from_pointee(in_force),
            turn: Mutex::default(),
            judged,
            limits: Limits::default(),
            verifiers: Verifiers::default(),
            freshness: ArcSwap::default(),
            wanted_keys: WantedKeys::default(),
            reports: Reports::default(),
            tasks: watch::Sender::new(0),
            database: std::sync::Mutex::new((Instant::now(), None)),
        });
        site.seal_missing().await?;
        crate::app::addresses::publish(&site).await?;
        site.say_newest();
        Ok(site)
    }

    /// What is in force.
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// The keys of the site, as they are with the generation in force.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.in_force.load().keys)
    }

    pub(crate) fn vault(&self) -> &Arc<VaultKey> {
        &self.vault
    }

    /// The wall clock.
    pub fn now(&self) -> WallTime {
        now()
    }

    /// Changes whenever another generation is in force.
    pub fn newest(&self) -> watch::Receiver<GenerationId> {
        self.newest.subscribe()
    }

    /// What the site said last about which generation is the newest.
    pub fn freshness(&self) -> Option<Signed> {
        self.freshness.load().as_ref().clone()
    }

    /// Keeps what is in force up to date with what other site servers change, and says which generation is the newest, until dropped.
    pub async fn keep_fresh(self: Arc<Self>) {
        let (mut look, mut say) = (tokio::time::interval(LOOK), tokio::time::interval(FRESHNESS));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut was_refused = false;
        loop {
            tokio::select! {
                _ = look.tick() => match self.look().await {
                    Ok(()) => {
                        was_refused = false;
                        *self.answered() = (Instant::now(), None);
                    }
                    Err(error) => {
                        self.answered().1 = Some(cmg_process::log::chain(&error));
                        if !std::mem::replace(&mut was_refused, true) {
                            error!(error = cmg_process::log::chain(&error), "The database cannot be followed");
                        }
                    }
                },
                // A site server that does not know what is in the database must not say that nothing is newer.
                _ = say.tick() => if !was_refused { self.say_newest() },
            }
        }
    }

    fn answered(&self) -> std::sync::MutexGuard<'_, (Instant, Option<String>)> {
        self.database.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How long ago the database answered last.
    pub fn database_silence(&self) -> Duration {
        self.answered().0.elapsed()
    }

    /// Whether the database answers; else since when it does not, and why.
    pub fn database_answers(&self) -> Result<(), String> {
        let (at, error) = &*self.answered();
        let seconds = at.elapsed().as_secs();
        match error {
            Some(error) => Err(format!("the database has not answered for {seconds} s: {error}")),
            None if at.elapsed() > SILENT => Err(format!("the database has not answered for {seconds} s")),
            None => Ok(()),
        }
    }

    /// Changes whenever a device shall do something.
    pub fn tasks(&self) -> watch::Receiver<u64> {
        self.tasks.subscribe()
    }

    /// Notes the last number that a task was given.
    pub(crate) fn note_task(&self, last: u64) {
        self.tasks.send_if_modified(|known| std::mem::replace(known, last) != last);
    }

    async fn look(&self) -> Result<(), NotInForce> {
        self.note_task(self.store.last_task().await?);
        if id(self.store.generation().await?) == self.in_force().generation() {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let mut view = self.store.view().await?;
        if id(view.generation().await?) != self.in_force().generation() {
            self.put_in_force(InForce::read(&mut view, &self.vault, &self.judged, &self.code).await?);
        }
        Ok(())
    }

    /// Seals what is not sealed to its member yet.
    async fn seal_missing(&self) -> Result<(), OpenRefused> {
        let _turn = self.turn.lock().await;
        let mut change = self.store.begin(self.now().0 as i64).await?;
        let mut before = self.in_force();
        if id(change.generation().await?) != before.generation() {
            // Another site server has changed something since it was read.
            before = Arc::new(InForce::read(&mut change, &self.vault, &self.judged, &self.code).await?);
        }
        let mut ground = before.ground.clone();
        crate::app::change::seal_secrets(self, &mut change, &before.model, &mut ground).await?;
        change.commit().await?;
        self.put_in_force(InForce::new(before.model.clone(), ground, Arc::clone(&before.keys), &self.judged, before.generation())?);
        Ok(())
    }

    pub(crate) fn turn(&self) -> &Mutex<()> {
        &self.turn
    }

    pub(crate) fn judged(&self) -> &Judged {
        &self.judged
    }

    pub(crate) fn put_in_force(&self, next: InForce) {
        let generation = next.generation();
        self.in_force.store(Arc::new(next));
        self.say_newest();
        self.newest.send_replace(generation);
    }

    fn say_newest(&self) {
        let freshness = Freshness { newest: self.in_force().generation(), at: now().0 };
        let payload = serde_json::to_string(&freshness).expect("three numbers");
        match self.keys().snapshots.sign(FRESHNESS_CONTEXT, payload) {
            Ok(signed) => self.freshness.store(Arc::new(Some(signed))),
            Err(error) => error!(%error, "Which generation is the newest cannot be signed"),
        }
    }
}

fn now() -> WallTime {
    WallTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs())
}
