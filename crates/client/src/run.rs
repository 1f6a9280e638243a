//! Starting, running, stopping: as a list.

use std::io;
use std::path::Path;
use std::sync::Arc;

use cmg_core::problem::Problem;
use cmg_credentials::load::{Disk as Files, PairFiles, read_pair};
use cmg_process::log;
use cmg_process::shutdown::{Signal, Signals};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::agent::{Agent, Parts};
use crate::carrier::Carrier;
use crate::config::Config;
use crate::desk;
use crate::disk::{Disk, DiskError};
use crate::door::{self, DoorError};
use crate::identity::{CertificateFiles, Identity};
use crate::key::DeviceKey;
use crate::policy::{Expected, Keeper};
use crate::queue::Queue;

/// Words that wait for the agent's loop.
const WAITING: usize = 64;

/// Why the client did not start.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration has problems.
    #[error("{}", lines(.0))]
    Config(Vec<Problem>),
    /// The device is not registered.
    #[error("this device is not registered: run `cmg client install`")]
    NotInstalled,
    /// The client's folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The door does not open.
    #[error("the door does not open")]
    Door(#[from] DoorError),
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

/// Runs the client from its configuration file until it is told to stop. What waits is on disk, so it stops at once.
pub async fn run(file: &Path) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    let config = Config::read(file).map_err(RunError::Config)?;
    let level = log::start(config.log.level, config.log.format).map_err(io::Error::other)?;
    let disk = Disk::open(&config.data)?;
    let identity = Identity::load(&disk)?.ok_or(RunError::NotInstalled)?;
    let key = DeviceKey::load(&disk)?.ok_or(RunError::NotInstalled)?;
    let certificate = identity.certificate.as_ref().map(certified).transpose().map_err(|problem| RunError::Config(vec![problem]))?;
    let keeper = Keeper::open(disk.clone(), Expected { site: identity.site.clone(), root: identity.site_root })?;
    let queue = Queue::open(disk.within("messages")?)?;
    let listener = desk::open(&disk).await?;
    let (telling, told) = mpsc::channel(WAITING);
    let (asking, asked) = mpsc::channel(WAITING);
    let carrier = Carrier::new(key, certificate, config.network(), &identity.first_contact, telling);
    info!(device = identity.name, client_id = identity.given.client_id, "Client started");
    let parts = Parts { disk, carrier, told, asked, identity, keeper, queue, always_internet: config.always_internet };
    let mut door = door::open(&config.door, &parts.disk, parts.carrier.clone()).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(desk::serve(listener, asking));
    tasks.spawn(Agent::new(parts).run());
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Reload => reload(file, &level),
                Signal::Drain | Signal::Stop => break,
            },
            Some(_) = tasks.join_next() => return Err(RunError::Ended),
            Some(_) = door.join_next() => return Err(RunError::Ended),
        }
    }
    info!("Client stopped");
    Ok(())
}

/// Reads the device's own certificate.
pub(crate) fn certified(files: &CertificateFiles) -> Result<Arc<CertifiedKey>, Problem> {
    let pair = PairFiles { chain_key: "certificate", chain: &files.certificate, private_key_key: "key", private_key: &files.key };
    read_pair(&Files, pair)
}

/// The level of the log changes at once; everything else is read at the start.
fn reload(file: &Path, level: &log::Level) {
    match Config::read(file) {
        Ok(changed) => {
            level.set(changed.log.level);
            info!("The level of the log is applied; other keys wait for a restart");
        }
        Err(problems) => {
            for problem in problems {
                error!(key = problem.key, "{}; {}", problem.what, problem.instead);
            }
        }
    }
}
