//! Every way in which a command ends badly: what is said, and the exit code.

use std::fmt;

use cmg_core::problem::Problem;
use cmg_process::log::chain;
use serde::Deserialize;
use serde_json::Value;

use crate::table::plain;

/// Why a command did not do what it was told to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line does not make sense.
    Usage(String),
    /// Files of the command line are wrong.
    Files(Vec<Problem>),
    /// The site server refused.
    Refused(Box<Refusal>),
    /// Nobody is signed in.
    NotSignedIn(String),
    /// The site server was not reached.
    NotReached(String),
    /// Something on this machine failed.
    Failed(String),
}

/// A refusal of the site server, as it came.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The status code.
    pub(crate) status: u16,
    /// The problem details, or whatever came in their place.
    pub(crate) body: Value,
    /// What to do about it, where this command knows better than the site server.
    pub(crate) hint: Option<String>,
}

/// Problem details, as far as people read them.
#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    problems: Vec<FieldProblem>,
    #[serde(default)]
    request_id: String,
}

#[derive(Deserialize)]
struct FieldProblem {
    key: String,
    what: String,
    instead: String,
}

impl Failure {
    /// One problem of a file or an argument.
    pub(crate) fn file(key: &str, what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self::Files(vec![Problem::new(key, what, instead)])
    }

    /// Something on this machine failed, and why.
    pub(crate) fn failed(what: impl fmt::Display, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Failed(format!("{what}: {}", chain(error)))
    }

    /// The same with a hint, where the site server answered `status`.
    pub(crate) fn hint(self, status: u16, hint: impl FnOnce() -> String) -> Self {
        match self {
            Self::Refused(refusal) if refusal.status == status => Self::Refused(Box::new(Refusal { hint: Some(hint()), ..*refusal })),
            other => other,
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Files(_) | Self::Refused(_) | Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotSignedIn(_) => 3,
            Self::NotReached(_) => 4,
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Files(vec![problem])
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) | Self::Failed(what) => write!(out, "error: {what}"),
            Self::Files(problems) => {
                for (place, problem) in problems.iter().enumerate() {
                    write!(out, "{}error: {problem}", if place == 0 { "" } else { "\n" })?;
                }
                Ok(())
            }
            Self::Refused(refusal) => refusal.fmt(out),
            Self::NotSignedIn(what) => write!(out, "error: {what}\n\nhint: sign in by `cmg login`, or name an API token by CMG_TOKEN_FILE"),
            Self::NotReached(what) => write!(out, "error: {what}\n\nhint: name the site server by --server or CMG_SERVER"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(details) = Details::deserialize(&self.body) else {
            return write!(out, "error: the site server answered {} and no reason", self.status);
        };
        let what = if details.detail.is_empty() { &details.title } else { &details.detail };
        match details.problems.as_slice() {
            [] => write!(out, "error: {}", plain(what))?,
            problems => {
                write!(out, "error: {}", plain(&details.title))?;
                for FieldProblem { key, what, instead } in problems {
                    write!(out, "\n  {}: {}; {}", plain(key), plain(what), plain(instead))?;
                }
            }
        }
        if self.status >= 500 && !details.request_id.is_empty() {
            write!(out, " (request {})", plain(&details.request_id))?;
        }
        match &self.hint {
            Some(hint) => write!(out, "\n\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(body: Value) -> String {
        Failure::Refused(Box::new(Refusal { status: 422, body, hint: None })).to_string()
    }

    #[test]
    fn every_problem_is_shown_with_its_key() {
        let problems = json!([
            {"key": "host", "what": "is missing", "instead": "write a name"},
            {"key": "instances[0].address", "what": "is no address", "instead": "write HOST:PORT"},
        ]);

        let text = refusal(json!({"title": "The request has problems", "detail": "2 fields are wrong", "problems": problems}));

        assert_eq!(
            text,
            "error: The request has problems\n  host: is missing; write a name\n  instances[0].address: is no address; write HOST:PORT"
        );
    }

    #[test]
    fn what_a_server_says_cannot_steer_the_terminal() {
        assert!(!refusal(json!({"detail": "a\u{1b}[2Jb"})).contains('\u{1b}'));
    }

    #[test]
    fn an_answer_that_is_no_problem_is_told_by_its_status() {
        assert_eq!(refusal(json!("<html>")), "error: the site server answered 422 and no reason");
    }
}
