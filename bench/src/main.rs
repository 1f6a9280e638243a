//! Measures our gateway and connection point beside nginx, on one machine, with one load generator and one origin.
//! `docs/performance.md` explains the figures.

mod bulk;
mod cases;
mod client;
mod compare;
mod cpu;
mod figures;
mod fleet;
mod idle;
mod load;
mod memory;
mod nginx;
mod origin;
mod ours;
mod pki;
mod process;
mod report;
mod site;
mod soak;
mod stream;
mod systems;
mod wan;

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

/// Reasons to stop are for a person to read; nothing here recovers by kind.
type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

#[derive(Parser)]
#[command(about = "Measures opencmg beside nginx")]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Measures every system in interleaved rounds, prints a table and writes JSON
    Compare(compare::CompareArgs),
    /// Checks that many requests and tunnel reconnects leave nothing behind
    Soak(soak::SoakArgs),
    /// Measures small requests beside downloads over a long, lossy line
    Wan(wan::WanArgs),
    /// Measures how soon a change of the site's configuration is in force on every member
    Site(site::SiteArgs),
    /// Measures what thousands of clients experience
    Fleet(fleet::FleetArgs),
    /// Serves as the origin of a measurement
    #[command(hide = true)]
    Origin { address: SocketAddr },
    /// Holds idle connections for a measurement
    #[command(hide = true)]
    Hold(idle::HoldArgs),
    /// Is some of the clients of a fleet
    #[command(hide = true)]
    FleetProcess,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let _priority = match cli.command {
        Verb::Compare(_) | Verb::Soak(_) | Verb::Wan(_) => {
            cpu::pin_this_process(cpu::GENERATOR)?;
            Some(cpu::Priority::raise())
        }
        // Many processes: nobody gets a processor of his own.
        Verb::Site(_) | Verb::Fleet(_) | Verb::Origin { .. } | Verb::Hold(_) | Verb::FleetProcess => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Verb::Compare(args) => compare::run(args).await,
            Verb::Soak(args) => soak::run(args).await,
            Verb::Wan(args) => wan::run(args).await,
            Verb::Site(args) => site::run(args).await,
            Verb::Origin { address } => origin::run(address).await,
            Verb::Hold(args) => idle::hold(args).await,
            Verb::Fleet(args) => fleet::run(args).await,
            Verb::FleetProcess => fleet::process().await,
        }
    })
}
