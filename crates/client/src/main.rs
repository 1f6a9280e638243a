//! The client alone.
use std::path::PathBuf;
use std::process::ExitCode;

use cmg_process::{exit, runtime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(clippy::print_stderr, reason = "how it is called")]
fn main() -> ExitCode {
    let Some(file) = file() else {
        eprintln!("usage: cmg-client --config FILE");
        return ExitCode::from(2);
    };
    let runtime = runtime::build_single().map_err(cmg_client::RunError::System);
    exit::code(runtime.and_then(|runtime| runtime.block_on(cmg_client::run(&file))))
}

/// The configuration file named on the command line.
fn file() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(flag), Some(file), None) if flag == "--config" => Some(file.into()),
        _ => None,
    }
}
