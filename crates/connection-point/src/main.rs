//! The connection point alone.
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(clippy::print_stderr, reason = "the program ends with this")]
fn main() -> ExitCode {
    let Some(file) = file() else {
        eprintln!("usage: cmg-connection-point --config FILE");
        return ExitCode::from(2);
    };
    let outcome = cmg_process::runtime::build()
        .map_err(cmg_connection_point::RunError::System)
        .and_then(|runtime| runtime.block_on(cmg_connection_point::run(&file)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The configuration file named on the command line.
fn file() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(flag), Some(file), None) if flag == "--config" => Some(file.into()),
        _ => None,
    }
}
