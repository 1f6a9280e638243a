//! `fleet`: thousands of clients, each the state machine that a real one runs, over real TLS connections, against a laboratory of real
//! programs. The report says what the clients experienced.

mod crowd;
mod device;
mod dice;
mod laboratory;
mod plan;
mod report;
mod scenario;
mod wire;
mod work;
mod worker;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use self::crowd::Crowd;
use self::laboratory::Laboratory;
use self::plan::{Pace, Plan};
pub(crate) use self::worker::run as process;
use crate::Result;
use crate::compare::build;

/// How many clients share a bulk registration token.
const CLIENTS_OF_A_TOKEN: usize = 100;

/// What happens to the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Clients choose; then a service dies, and its clients work elsewhere
    Shares,
    /// Every gateway dies and comes back
    Outage,
    /// Clients roam, and lose their networks
    Life,
    /// Clients register, as fast as they may
    Register,
    /// Clients ask for their policy, as fast as they may
    Poll,
}

/// The command line.
#[derive(Args)]
pub(crate) struct FleetArgs {
    /// What happens
    #[arg(value_enum)]
    scenario: Scenario,
    /// Clients
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Processes that they live in, at least; one holds 15,000
    #[arg(long, default_value_t = 1)]
    processes: usize,
    /// Gateways, each of which is a service to the clients
    #[arg(long, default_value_t = 4)]
    gateways: usize,
    /// Over how many seconds clients start; 0: four milliseconds each
    #[arg(long, default_value_t = 0)]
    arrive: u64,
    /// How long the measured part lasts where nothing else ends it, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How long everybody may take to work, in seconds, before the measurement gives up
    #[arg(long, default_value_t = 300)]
    patience: u64,
    /// The processor that the management point has for itself
    #[arg(long)]
    pin: Option<usize>,
    /// What the draws of the clients begin with
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The file for the report
    #[arg(long, default_value = "bench/fleet.json")]
    out: PathBuf,
    /// The `cmg` program; built first where none is given
    #[arg(long)]
    binary: Option<PathBuf>,
}

impl FleetArgs {
    fn arrive(&self) -> Duration {
        match self.arrive {
            0 => Duration::from_millis(4) * self.clients as u32,
            seconds => Duration::from_secs(seconds),
        }
    }

    fn pace(&self) -> Pace {
        let quiet = Pace {
            policy_every: Duration::from_secs(20),
            heartbeat_every: Duration::from_secs(300),
            inventory_every: Duration::from_secs(600),
            notification_wait: Duration::from_secs(60),
            restless_every: Duration::ZERO,
        };
        let nothing_else =
            Pace { heartbeat_every: Duration::ZERO, inventory_every: Duration::ZERO, notification_wait: Duration::ZERO, ..quiet };
        match self.scenario {
            Scenario::Shares | Scenario::Outage => quiet,
            Scenario::Life => Pace { restless_every: Duration::from_secs(60), ..quiet },
            Scenario::Register => Pace { policy_every: Duration::from_secs(86_400), ..nothing_else },
            Scenario::Poll => Pace { policy_every: Duration::ZERO, ..nothing_else },
        }
    }
}

pub(crate) async fn run(args: FleetArgs) -> Result<()> {
    let binary = args.binary.clone().map_or_else(build, Ok)?;
    let mut laboratory = Laboratory::start(&binary, args.gateways, args.pin).await?;
    let plan = Plan {
        services: laboratory.services(),
        authority: laboratory.authority(),
        bulk_tokens: laboratory.bulk_tokens(args.clients.div_ceil(CLIENTS_OF_A_TOKEN))?,
        first: 0,
        count: 0,
        arrive: args.arrive(),
        seed: args.seed,
        pace: args.pace(),
    };
    let crowd = Crowd::start(&plan, args.clients, args.processes)?;
    let outcome = match args.scenario {
        Scenario::Shares => scenario::shares(&args, &mut laboratory, &crowd).await,
        Scenario::Outage => scenario::outage(&args, &mut laboratory, &crowd).await,
        Scenario::Life => scenario::life(&args, &crowd).await,
        Scenario::Register => scenario::rate(&args, &laboratory, &crowd, "register 201").await,
        Scenario::Poll => scenario::rate(&args, &laboratory, &crowd, "policy ").await,
    };
    let tally = crowd.tally();
    let told = outcome.as_ref().map_or_else(|error| json!({ "failed": error.to_string() }), Clone::clone);
    let report = json!({ "scenario": format!("{:?}", args.scenario).to_lowercase(), "outcome": told, "clients": report::figures(&tally) });
    std::fs::write(&args.out, serde_json::to_string_pretty(&report)? + "\n")?;
    let mut out = std::io::stdout();
    writeln!(out, "{}\n{}", report::table(&tally), serde_json::to_string_pretty(&told)?)?;
    outcome.map(drop)
}
