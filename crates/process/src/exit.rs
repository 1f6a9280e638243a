//! How a program ends: in silence, or with what stopped it and everything that caused that.
use std::error::Error;
use std::iter::successors;
use std::process::ExitCode;

/// The exit code for `outcome`. An error is written to standard error first, each of its causes on a line of its own.
#[expect(clippy::print_stderr, reason = "the program ends with this")]
pub fn code<E: Error>(outcome: Result<(), E>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    eprintln!("{error}");
    for cause in successors(error.source(), |&cause| cause.source()) {
        eprintln!("  because: {cause}");
    }
    ExitCode::FAILURE
}
