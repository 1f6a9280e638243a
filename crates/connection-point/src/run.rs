//! Starting, running, stopping: as a list.
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use cmg_core::problem::Problem;
use cmg_core::snapshot::Generation;
use cmg_process::shutdown::{Signal, Signals};
use cmg_process::{log, open_files};
use cmg_standalone::AtStart;
use thiserror::Error;
use tracing::{error, info, warn};

use crate::config::{Config, enrolled};
use crate::events::Reload;
use crate::running::{Running, telemetry};
use crate::site;

/// Why the connection point did not start.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration has problems.
    #[error("{}", lines(.0))]
    Config(Vec<Problem>),
    /// The address for metrics cannot be listened on.
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

/// Runs a connection point from its configuration file until it is told to stop.
pub async fn run(file: &Path) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    if enrolled::is_enrolled(file) {
        return site::run(file, signals).await;
    }
    let config = Config::read(file).map_err(RunError::Config)?;
    let level = log::start(config.machine.log.level, config.machine.log.format).map_err(io::Error::other)?;
    // Each tunnel, each lane and each connection to a server is one.
    open_files::raise();
    let at_start = config.at_start();
    let (metrics, events) = telemetry()?;
    let mut running = Running::start(&config.machine, metrics, events).await?;
    running.apply(config, numbered(1)).map_err(RunError::Config)?;
    info!("Connection point ready");
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

/// Without a site there are no epochs.
fn numbered(number: u64) -> Generation {
    Generation { epoch: 0, number }
}

/// Reads the file again; a file with problems changes nothing.
fn reload(file: &Path, running: &mut Running, level: &log::Level, at_start: &AtStart) {
    let number = running.point.state().snapshot.generation.number + 1;
    let next = Config::read(file).and_then(|config| {
        let (wanted, waiting) = (config.machine.log.level, at_start.changed_in(&config.at_start()));
        running.apply(config, numbered(number)).map(|()| (wanted, waiting))
    });
    match next {
        Ok((wanted, waiting)) => {
            level.set(wanted);
            info!(generation = number, "Configuration applied");
            if !waiting.is_empty() {
                warn!(keys = waiting.join(", "), "Changed keys wait for a restart");
            }
            running.point.events.reloaded(Reload::Applied);
        }
        Err(problems) => {
            refuse(&problems);
            error!(file = %file.display(), "Configuration refused, the one before stays in force");
            running.point.events.reloaded(Reload::Refused);
        }
    }
}

/// Tells what is wrong with a configuration.
pub(crate) fn refuse(problems: &[Problem]) {
    for problem in problems {
        error!(key = problem.key, "{}; {}", problem.what, problem.instead);
    }
}
