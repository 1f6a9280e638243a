//! The certificate doctor.

use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Route};
use crate::app::doctor::{self, Examination, Question};
use crate::app::roles::Needs;
use crate::http::problem::Refused;

pub(super) fn routes() -> Vec<Route> {
    let summary = "Says step by step what a gateway would decide about a client certificate; changes nothing";
    vec![
        Route::new(Method::Post, "/certificate-doctor", Needs::Read, summary, examine)
            .status(200)
            .takes::<Question>()
            .gives::<Examination>(),
    ]
}

async fn examine(asked: Asked) -> Result<Answer, Refused> {
    let question: Question = asked.body()?;
    let (in_force, now) = (asked.site().in_force(), asked.site().now());
    let examined = tokio::task::spawn_blocking(move || doctor::examine(&question, &in_force, now)).await;
    let examination = examined.map_err(|error| Refused::failed(&error))?.map_err(Refused::invalid)?;
    Ok(Answer::ok(&examination))
}
