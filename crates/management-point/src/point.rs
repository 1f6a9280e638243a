//! What a management point works by: what the site has said last, ready to verify with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use cmg_api::ManagementPointDocument;
use cmg_api::control::{GenerationId, Manifest, MemberStatus, RefusedGeneration, Signed};
use cmg_core::ids::TrustName;
use cmg_core::problem::Problem;
use cmg_core::time::WallTime;
use cmg_credentials::Verifier;
use cmg_credentials::load::Files;
use cmg_enrolled::{DataFolder, Identity, PartError, Snapshots};
use cmg_process::log::chain;
use cmg_process::shutdown::Drain;
use cmg_site_client::Site;
use cmg_standalone::{Reading, credential_parts};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Semaphore, watch};
use tracing::{error, info};

use crate::policy::Held;
use crate::proof::Prover;

/// Requests under way at once: the site does one change after the other, so more would only wait.
const REQUESTS: usize = 128;

/// A management point at work.
pub(crate) struct Point {
    pub(crate) site: Arc<Site>,
    pub(crate) snapshots: Snapshots,
    folder: DataFolder,
    pub(crate) drain: Drain,
    /// Free places for requests.
    pub(crate) places: Semaphore,
    pub(crate) told: Told,
    pub(crate) prover: Prover,
    /// None: nothing has come from the site yet.
    state: ArcSwap<Option<State>>,
    /// What the site is told about this member.
    pub(crate) own: watch::Sender<MemberStatus>,
}

/// What is counted.
pub(crate) struct Told {
    pub(crate) answered: Counter,
    pub(crate) refused: Counter,
    pub(crate) unavailable: Counter,
}

/// One generation.
pub(crate) struct State {
    pub(crate) generation: GenerationId,
    /// Connection points that count.
    pub(crate) connection_points: BTreeSet<String>,
    /// SHA-256 of certificates of members that count no more.
    pub(crate) revoked: BTreeSet<[u8; 32]>,
    pub(crate) client_trust: Option<TrustName>,
    pub(crate) verifier: Verifier,
    /// `iss` of the site's own tokens; their subjects are ids of clients.
    pub(crate) token_issuer: Option<String>,
    /// None: the site has made none yet.
    pub(crate) policy: Option<Held>,
}

impl State {
    /// Whether this connection point, by this certificate, is believed about clients.
    pub(crate) fn counts(&self, connection_point: &str, fingerprint: &[u8; 32]) -> bool {
        self.connection_points.contains(connection_point) && !self.revoked.contains(fingerprint)
    }
}

impl Point {
    pub(crate) fn new(site: Arc<Site>, folder: DataFolder, snapshots: Snapshots, told: Told) -> Self {
        let status = MemberStatus {
            applied: GenerationId::default(),
            applied_at: 0,
            refused: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            certificate_ends: site.member().identity.ends.0,
            findings: Vec::new(),
            tunnels: Default::default(),
            wanted_keys: Vec::new(),
            said_at: 0,
        };
        Self {
            site,
            snapshots,
            folder,
            drain: Drain::default(),
            places: Semaphore::new(REQUESTS),
            told,
            prover: Prover::default(),
            state: ArcSwap::default(),
            own: watch::Sender::new(status),
        }
    }

    /// What is in force.
    pub(crate) fn state(&self) -> Arc<Option<State>> {
        self.state.load_full()
    }

    /// The policy that there is; zero: none yet.
    pub(crate) fn policy_generation(&self) -> GenerationId {
        let state = self.state();
        state.as_ref().as_ref().and_then(|state| state.policy.as_ref()).map(|held| held.policy.generation).unwrap_or_default()
    }

    /// Puts the last good configuration in force, where there is one that can be used.
    pub(crate) fn cold_start(&self) {
        let member = self.site.member();
        match self.snapshots.current(&member.identity.member(), &member.identity.roots) {
            Ok(None) => {}
            Ok(Some(manifest)) => self.take(&manifest, None),
            Err(error) => error!(error = chain(&error), "The last good configuration cannot be read; the site is asked for another"),
        }
    }

    /// Puts a snapshot in force, or refuses it; `signed` is kept for the next start.
    pub(crate) fn take(&self, manifest: &Manifest, signed: Option<&Signed>) {
        let generation = manifest.generation;
        let believed = self.site.believe(manifest, &self.folder).map_err(|problem| vec![problem]);
        match believed.and_then(|()| read(&self.snapshots, manifest, &self.site.member().identity)) {
            Ok((state, site_servers)) => {
                self.site.know_servers(&self.folder, &site_servers);
                self.snapshots.revoked(state.revoked.iter().copied().collect());
                self.state.store(Arc::new(Some(state)));
                info!(%generation, "Configuration applied");
                self.own.send_modify(|own| (own.applied, own.applied_at, own.refused) = (generation, milliseconds(), None));
                if let Some(Err(error)) = signed.map(|signed| self.snapshots.keep(signed, manifest, now())) {
                    error!(error = chain(&error), "The configuration is in force, but cannot be kept for the next start");
                }
            }
            Err(problems) => {
                for problem in &problems {
                    error!(key = problem.key, "{}; {}", problem.what, problem.instead);
                }
                error!(%generation, "Configuration of the site refused, the one before stays in force");
                let problems = problems.iter().map(ToString::to_string).collect();
                self.own.send_modify(|own| own.refused = Some(RefusedGeneration { generation, problems }));
            }
        }
    }

    /// Another certificate is in force.
    pub(crate) fn renewed(&self) {
        let ends = self.site.member().identity.ends.0;
        self.own.send_modify(|own| own.certificate_ends = ends);
    }
}

fn read(snapshots: &Snapshots, manifest: &Manifest, identity: &Identity) -> Result<(State, Vec<String>), Vec<Problem>> {
    let damaged = |error: PartError| vec![Problem::new("site.data", error.to_string(), "it is fetched again")];
    let text = snapshots.document(manifest).map_err(damaged)?;
    let files: Arc<dyn Files> = Arc::new(snapshots.files(manifest.clone(), &identity.sealing).map_err(damaged)?);
    let mut reading = Reading::of_files(Arc::clone(&files));
    let Some(document) = reading.go_on::<ManagementPointDocument>(&text, Arc::clone(&files)) else { return reading.finish(None) };
    let parts = credential_parts(&document.trust, &document.block_lists, &document.token_key, &mut reading);
    reading.judge(&parts);
    let verifier = reading.keep_all(Verifier::new(&parts.trusts, &parts.blocks, &parts.token_keys));
    let policy = document.policy.as_deref().and_then(|path| reading.keep(Held::read(path, identity.role.name(), &*files)));
    let state = verifier.map(|verifier| State {
        generation: manifest.generation,
        revoked: document.revoked_members.iter().map(|digest| digest.0).collect(),
        connection_points: document.connection_points.into_iter().collect(),
        client_trust: document.client_trust.as_deref().map(TrustName::new),
        verifier,
        token_issuer: document.token_issuer,
        policy,
    });
    reading.finish(state.map(|state| (state, document.site_servers)))
}

pub(crate) fn now() -> WallTime {
    WallTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
