//! The certificate doctor.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Route};
use crate::app::doctor::{self, Examination, Question};
use crate::app::roles::Needs;
use crate::http::problem::{Kind, Refused};

/// Examinations at once: each takes a processor for as long as much is blocked.
const AT_ONCE: usize = 2;

/// When whoever finds the doctor busy asks again, in seconds.
const AGAIN: u64 = 2;

pub(super) fn routes() -> Vec<Route> {
    let summary = "Says step by step what a gateway would decide about a client certificate; changes nothing";
    vec![
        Route::new(Method::Post, "/certificate-doctor", Needs::Read, summary, examine)
            .status(200)
            .takes::<Question>()
            .gives::<Examination>(),
    ]
}

/// The doctor's chairs.
pub(crate) struct Chairs(Arc<Semaphore>);

impl Default for Chairs {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Chairs {
    fn take(&self) -> Result<OwnedSemaphorePermit, Refused> {
        let busy = |_| Refused::new(Kind::Unavailable, "the doctor examines others at the moment: try again").retry_after(AGAIN);
        Arc::clone(&self.0).try_acquire_owned().map_err(busy)
    }
}

async fn examine(asked: Asked) -> Result<Answer, Refused> {
    let question: Question = asked.body()?;
    let chair = asked.api.chairs.take()?;
    let (in_force, now) = (asked.site().in_force(), asked.site().now());
    let work = move || {
        // Whoever asked may be gone before the examination is over; it takes its chair as long as it lasts.
        let _chair = chair;
        doctor::examine(&question, &in_force, now)
    };
    let examined = tokio::task::spawn_blocking(work).await;
    let examination = examined.map_err(|error| Refused::failed(&error))?.map_err(Refused::invalid)?;
    Ok(Answer::ok(&examination))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_at_once_is_told_when_to_come_again() {
        let chairs = Chairs::default();
        let (first, second) = (chairs.take(), chairs.take());

        let refused = chairs.take().map(drop).expect_err("both chairs are taken").into_response("1");

        assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &2.into()));
        assert!(second.is_ok());
        drop(first);
        assert!(chairs.take().is_ok());
    }
}
