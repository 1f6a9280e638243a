//! `cmg check`: everything that is wrong with a configuration file, or everything worth knowing about it.
use std::path::Path;
use std::process::ExitCode;

use crate::Program;

/// Checks a file; the exit code is 1 if the program would not start with it.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "that is what the command is for")]
pub(crate) fn run(program: Program, file: &Path) -> ExitCode {
    let checked = match program {
        Program::Gateway => cmg_gateway::config::check(file),
        Program::ConnectionPoint => cmg_connection_point::config::check(file),
    };
    match checked {
        Ok(findings) => {
            for finding in &findings {
                println!("finding: {finding}");
            }
            println!("{}: sound, {} findings", file.display(), findings.len());
            ExitCode::SUCCESS
        }
        Err(problems) => {
            for problem in &problems {
                eprintln!("{problem}");
            }
            eprintln!("{}: {} problems", file.display(), problems.len());
            ExitCode::FAILURE
        }
    }
}
