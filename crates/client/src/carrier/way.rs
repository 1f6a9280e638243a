//! Ways to the site, and what came of them.

use std::fmt;

use cmg_core::choice::Trouble;
use tokio::sync::mpsc;

use super::CarryError;
use super::leg::LegError;
use super::question::Answer;

/// How the site is reached at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Not at all, or not known yet: why.
    Nowhere(String),
    /// Straight: by this management point of the intranet.
    Intranet(String),
    /// Through this internet-based service.
    Service(String),
}

/// What came of a request by a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The way.
    pub way: Way,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was a response.
    Answered,
    /// There was none, or one that says that the way does not work; in words, too.
    Failed(Trouble, String),
}

impl fmt::Display for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere(why) => write!(out, "nowhere: {why}"),
            Self::Intranet(name) => write!(out, "straight to management point {name}"),
            Self::Service(name) => write!(out, "through {name}"),
        }
    }
}

pub(super) fn tell(told: &mpsc::Sender<Told>, way: &Way, outcome: Outcome) {
    // Nobody waits for a listener that cannot follow.
    let _ = told.try_send(Told { way: way.clone(), outcome });
}

pub(super) fn failure(error: &LegError) -> Outcome {
    let trouble = match error {
        LegError::Connect(error) => error.trouble(),
        LegError::Unsent(_) | LegError::Broken(_) | LegError::BodyGone | LegError::Unwritten(_) => Trouble::Broken,
    };
    Outcome::Failed(trouble, cmg_process::log::chain(error))
}

/// What an answer says about the way that it came by: whoever is overloaded or cannot reach the site says so with 502 to 504.
pub(crate) fn judged(outcome: &Result<Answer, CarryError>) -> Outcome {
    match outcome {
        Ok(answer) if (502..=504).contains(&answer.status.as_u16()) => {
            let trouble = answer.retry_after().map_or(Trouble::Broken, Trouble::Busy);
            Outcome::Failed(trouble, format!("it answers {}", answer.status))
        }
        Ok(_) => Outcome::Answered,
        Err(CarryError::Leg(error)) => failure(error),
        Err(error) => Outcome::Failed(Trouble::Broken, error.to_string()),
    }
}
