//! `cmg`: every program of opencmg in one binary.
mod check;
mod files;
mod quickstart;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use cmg_process::{exit, runtime};

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
    /// Write the completions of a shell to standard output
    Completions {
        /// Which shell's
        shell: cmg_cli::Shell,
    },
    /// The client on this device
    #[command(subcommand)]
    Client(cmg_client::command::Command),
    #[command(flatten)]
    Administrator(cmg_cli::Command),
}

#[derive(Clone, Copy, ValueEnum)]
enum Program {
    /// The public listener
    Gateway,
    /// The CMG connection point
    ConnectionPoint,
    /// The management point
    ManagementPoint,
    /// The site server
    Site,
    /// The client on a device
    Client,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        Command::Check { program, file } => return check::run(*program, file),
        Command::Completions { shell } => {
            let code = cmg_cli::completions(*shell, &mut Cli::command(), &mut cmg_cli::Surroundings::of_process());
            return ExitCode::from(code);
        }
        _ => {}
    }
    // What runs on every device is to be small; a command waits for one answer after the other.
    let is_of_device = matches!(&cli.command, Command::Client(_) | Command::Run { program: Program::Client, .. });
    let runtime = match if is_of_device { runtime::build_single() } else { runtime::build() } {
        Ok(runtime) => runtime,
        Err(error) => return exit::code(Err(error)),
    };
    match cli.command {
        Command::Run { program: Program::Gateway, config } => exit::code(runtime.block_on(cmg_gateway::run(&config))),
        Command::Run { program: Program::ConnectionPoint, config } => exit::code(runtime.block_on(cmg_connection_point::run(&config))),
        Command::Run { program: Program::ManagementPoint, config } => exit::code(runtime.block_on(cmg_management_point::run(&config))),
        Command::Run { program: Program::Site, config } => exit::code(runtime.block_on(cmg_site_server::run(&config))),
        Command::Run { program: Program::Client, config } => exit::code(runtime.block_on(cmg_client::run(&config))),
        Command::Client(command) => exit::code(runtime.block_on(cmg_client::command::carry_out(command, &mut std::io::stdout()))),
        Command::Quickstart(options) => runtime.block_on(quickstart::run(options)),
        Command::Administrator(command) => {
            if let Some(work) = command.on_files() {
                return exit::code(runtime.block_on(files::carry_out(work)));
            }
            ExitCode::from(runtime.block_on(cmg_cli::run(command, &mut cmg_cli::Surroundings::of_process())))
        }
        Command::Check { .. } | Command::Completions { .. } => ExitCode::SUCCESS,
    }
}
