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
        Program::ManagementPoint => cmg_management_point::config::check(file),
        Program::Client => cmg_client::config::check(file),
        Program::Site => cmg_site_server::config::check(file),
    };
    match checked {
        Ok(findings) => {
            for finding in &findings {
                println!("finding: {finding}");
            }
            println!("{}: sound, {}", file.display(), count(findings.len(), "finding"));
            ExitCode::SUCCESS
        }
        Err(problems) => {
            for problem in &problems {
                eprintln!("{problem}");
            }
            eprintln!("{}: {}", file.display(), count(problems.len(), "problem"));
            ExitCode::FAILURE
        }
    }
}

fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|number| count(number, "finding")), ["0 findings", "1 finding", "2 findings"]);
    }
}
