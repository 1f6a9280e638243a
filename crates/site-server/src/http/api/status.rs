//! The state of the site and of each member.

use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Route};
use crate::app::roles::Needs;
use crate::app::status::{self, SiteStatus};
use crate::http::problem::Refused;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::Get, "/status", Needs::Read, "Which generation runs where, and who lags since when and why", show)
            .gives::<SiteStatus>(),
    ]
}

async fn show(asked: Asked) -> Result<Answer, Refused> {
    Ok(Answer::ok(&status::status(asked.site(), &asked.api.seen).await?))
}
