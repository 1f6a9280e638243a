//! `cmg`: every program of opencmg in one binary.
mod check;
mod quickstart;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Manage devices on the internet with servers that stay inside
#[derive(Parser)]
#[command(name = "cmg", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one program until it is told to stop
    Run {
        /// Which one
        program: Program,
        /// Its configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check a configuration file and tell every problem and finding
    Check {
        /// Which program's
        program: Program,
        /// The configuration file
        file: PathBuf,
    },
    /// Start everything on this machine and send first requests through it
    Quickstart(quickstart::Options),
}

#[derive(Clone, Copy, ValueEnum)]
enum Program {
    /// The public listener
    Gateway,
    /// The CMG connection point
    ConnectionPoint,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Check { program, file } = &cli.command {
        return check::run(*program, file);
    }
    let runtime = match cmg_process::runtime::build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match cli.command {
        Command::Run { program: Program::Gateway, config } => ended(runtime.block_on(cmg_gateway::run(&config))),
        Command::Run { program: Program::ConnectionPoint, config } => ended(runtime.block_on(cmg_connection_point::run(&config))),
        Command::Quickstart(options) => runtime.block_on(quickstart::run(options)),
        Command::Check { .. } => ExitCode::SUCCESS,
    }
}

fn ended<E: std::error::Error>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Says an error with everything that caused it.
#[expect(clippy::print_stderr, reason = "the program ends with this")]
fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}
