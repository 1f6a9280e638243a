//! `compare`: every case on every system, round after round, systems taking turns so that whatever else the machine
//! does falls on all of them alike. Each measurement has a freshly started system.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::Result;
use crate::cases::{Case, Extent};
use crate::figures::Metrics;
use crate::report::{Failure, Machine, Report, Sample};
use crate::systems::{Lab, System, refuses_strangers};

/// No measurement takes longer unless the system hangs.
const GIVE_UP: Duration = Duration::from_secs(120);

/// The command line.
#[derive(Args)]
pub(crate) struct CompareArgs {
    /// How often everything is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only these cases
    #[arg(long, value_delimiter = ',')]
    only: Vec<Case>,
    /// Only these systems
    #[arg(long, value_delimiter = ',')]
    systems: Vec<System>,
    /// How long each timed measurement takes
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How many idle connections
    #[arg(long, default_value_t = 19_000)]
    idle: usize,
    /// How many keep-alive connections ask in the closed and open loops
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Where the JSON goes
    #[arg(long, default_value = "bench/results.json")]
    out: PathBuf,
    /// The `cmg` program; built first where none is given
    #[arg(long)]
    binary: Option<PathBuf>,
}

pub(crate) async fn run(args: CompareArgs) -> Result<()> {
    let systems = or_all(&args.systems);
    let cases = or_all(&args.only);
    let binary = match args.binary {
        Some(binary) => binary,
        None if systems.contains(&System::Cmg) => build()?,
        None => PathBuf::new(),
    };
    let mut dir = tempfile::tempdir()?;
    let lab = Lab::create(dir.path(), &binary)?;
    for system in &systems {
        refuses_strangers(&system.start(&lab).await?, &lab).await?;
    }

    let extent = Extent { seconds: args.seconds, idle: args.idle, connections: args.connections };
    let mut report = Report { machine: Machine::this(), extent, samples: Vec::new(), failures: Vec::new() };
    for round in 0..args.rounds {
        for case in &cases {
            for turn in 0..systems.len() {
                let system = systems[(turn + round) % systems.len()];
                one(&mut report, &lab, *case, system, round).await;
            }
        }
        std::fs::write(&args.out, report.json()?)?;
    }
    dir.disable_cleanup(!report.failures.is_empty());
    Ok(std::io::stdout().write_all(report.text().as_bytes())?)
}

/// One measurement into the report, good or bad.
async fn one(report: &mut Report, lab: &Lab, case: Case, system: System, round: usize) {
    let headline = match measure(lab, case, system, report.extent).await {
        Ok(metrics) => {
            let headline = format!("{metrics}");
            report.samples.push(Sample { case, system, round, metrics });
            headline
        }
        Err(error) => {
            let reason = error.to_string();
            report.failures.push(Failure { case, system, round, reason: reason.clone() });
            reason
        }
    };
    // Progress is for eyes only.
    drop(writeln!(std::io::stderr(), "round {round} {} {}: {headline}", case.name(), system.name()));
}

async fn measure(lab: &Lab, case: Case, system: System, extent: Extent) -> Result<Metrics> {
    let mut running = system.start(lab).await?;
    let result = match tokio::time::timeout(GIVE_UP, case.run(&running, lab, extent)).await {
        Ok(result) => result,
        Err(_) => Err("took too long".into()),
    };
    result.map_err(|error| format!("{error}; logs are in {}", running.keep().display()).into())
}

fn or_all<T: ValueEnum + Clone>(chosen: &[T]) -> Vec<T> {
    if chosen.is_empty() { T::value_variants().to_vec() } else { chosen.to_vec() }
}

/// Builds `cmg` beside this program, in the same profile.
pub(crate) fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--release", "-p", "cmg"]).status()?;
    if !status.success() {
        return Err("cmg does not build".into());
    }
    let this = std::env::current_exe()?;
    Ok(this.parent().unwrap_or(Path::new(".")).join("cmg"))
}
