//! Starting, running, stopping: as a list.
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use cmg_core::problem::Problem;
use cmg_core::snapshot::Generation;
use cmg_process::log;
use cmg_process::shutdown::{Signal, Signals};
use cmg_standalone::AtStart;
use thiserror::Error;
use tracing::{error, info, warn};

use crate::config::{Config, enrolled};
use crate::events::Reload;
use crate::running::{Instruments, Next, Running};
use crate::site;

/// Why the gateway did not start.
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
    /// The system refused something else.
    #[error("cannot start")]
    System(#[from] io::Error),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Runs a gateway from its configuration file until it is told to stop.
pub async fn run(file: &Path) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    if enrolled::is_enrolled(file) {
        return site::run(file, signals).await;
    }
    let config = Config::read(file).map_err(RunError::Config)?;
    let level = log::start(config.log.level, config.log.format).map_err(io::Error::other)?;
    let at_start = config.at_start();
    let instruments = Instruments::start((config.metrics_listen, config.metrics_public), &config.log, "starting", |_| ()).await?;
    let mut running = Running::start(config, FIRST, instruments)?;
    info!("Gateway ready");
    loop {
        match signals.next().await {
            Signal::Reload => reload(file, &mut running, &level, &at_start),
            Signal::Drain => break,
            Signal::Stop => return Ok(()),
        }
    }
    running.drain(&mut signals).await;
    Ok(())
}

/// The generation of a file that has not changed.
const FIRST: Generation = Generation { epoch: 0, number: 1 };

/// Reads the file again; a file with problems changes nothing.
fn reload(file: &Path, running: &mut Running, level: &log::Level, at_start: &AtStart) {
    let before = running.gateway.state();
    let generation = Generation { number: before.generation().number + 1, ..before.generation() };
    let applied = Config::read(file).and_then(|config| {
        let (wanted, waiting) = (config.log.level, at_start.changed_in(&config.at_start()));
        running.apply(Next::build(config, generation, &before)?).map(|()| (wanted, waiting))
    });
    match applied {
        Ok((wanted, waiting)) => {
            level.set(wanted);
            info!(generation = generation.number, "Configuration applied");
            wait_for_a_restart(&waiting);
            running.gateway.events.reloaded(Reload::Applied);
        }
        Err(problems) => {
            refuse(&problems);
            error!(file = %file.display(), "Configuration refused, the one before stays in force");
            running.gateway.events.reloaded(Reload::Refused);
        }
    }
}

/// Tells every problem of a configuration.
pub(crate) fn refuse(problems: &[Problem]) {
    for problem in problems {
        error!(key = problem.key, "{}; {}", problem.what, problem.instead);
    }
}

/// Tells which keys are not in force yet.
pub(crate) fn wait_for_a_restart(keys: &[&str]) {
    if !keys.is_empty() {
        warn!(keys = keys.join(", "), "Changed keys wait for a restart");
    }
}
