//! Certificates from ACME servers: asking for one now.

use axum::http::StatusCode;
use cmg_api::resource::{Certificate, Resource};
use cmg_core::problem::Problem;

use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Route};
use crate::app::acme::{self, AcmeStatus, RenewRefused};
use crate::app::change::ChangeRefused;
use crate::app::roles::Needs;
use crate::http::problem::{Kind, Refused};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::Post,
            "/certificates/{name}/renew",
            Needs::Infrastructure,
            "Has the ACME server of a certificate issue a new one now, at most once a minute",
            renew,
        )
        .status(202)
        .gives::<AcmeStatus>(),
    ]
}

async fn renew(asked: Asked) -> Result<Answer, Refused> {
    let status = acme::renew(asked.site(), &asked.actor(), asked.part("name")).await?;
    Ok(Answer::new(StatusCode::ACCEPTED, &status))
}

impl From<RenewRefused> for Refused {
    fn from(refused: RenewRefused) -> Self {
        let words = refused.to_string();
        match refused {
            RenewRefused::NotFound(name) => ChangeRefused::NotFound { kind: Certificate::KIND, name }.into(),
            RenewRefused::Change(refused) => refused.into(),
            RenewRefused::TooSoon(seconds) => Self::new(Kind::TooMany, words).retry_after(u64::try_from(seconds).unwrap_or(1)),
            RenewRefused::Uploaded(_) => Self::invalid(vec![Problem::new("acme", words, "ask for a certificate with an acme table")]),
        }
    }
}
