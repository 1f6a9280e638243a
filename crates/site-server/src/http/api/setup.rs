//! The first full administrator, by the code that the first start has written.

use axum::http::StatusCode;
use cmg_core::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BASE;
use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Route};
use crate::app::roles::{Needs, Role};
use crate::app::setup::{self, SetupRefused};
use crate::app::{accounts, passwords};
use crate::http::problem::{Kind, Refused};

pub(super) fn routes() -> Vec<Route> {
    let summary = "Makes the first full administrator, by the set-up code; not any more once there is an account";
    vec![Route::new(Method::Post, "/setup", Needs::Nobody, summary, set_up).takes::<Setup>().gives::<SetUp>()]
}

/// The first full administrator.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Setup {
    /// What stands in the file `setup-code` in the data folder of the site server.
    code: String,
    /// The name of the account.
    name: String,
    /// Its password, 12 characters or more.
    password: String,
}

/// The account that was made.
#[derive(Serialize, ToSchema)]
struct SetUp {
    /// Its name.
    name: String,
    /// Its role.
    role: Role,
}

async fn set_up(asked: Asked) -> Result<Answer, Refused> {
    if asked.site().store.count_accounts().await? > 0 {
        return Err(SetupRefused::Done.into());
    }
    let Setup { code, name, password } = asked.body()?;
    let problems: Vec<Problem> =
        [accounts::name_problem(&name), passwords::problem("password", &password, &name)].into_iter().flatten().collect();
    if !problems.is_empty() {
        return Err(Refused::invalid(problems));
    }
    setup::set_up(asked.site(), &asked.api.hasher, &asked.actor(), &code, &name, password).await?;
    let location = format!("{BASE}/accounts/{name}");
    Ok(Answer::new(StatusCode::CREATED, &SetUp { name, role: Role::FullAdministrator }).location(location))
}

impl From<SetupRefused> for Refused {
    fn from(refused: SetupRefused) -> Self {
        let words = refused.to_string();
        match refused {
            SetupRefused::Done => Self::new(Kind::NotFound, words),
            SetupRefused::Code => Self::new(Kind::WrongCredentials, words),
            SetupRefused::Wait(seconds) => Self::new(Kind::TooMany, words).retry_after(seconds.unsigned_abs()),
            SetupRefused::Hash(refused) => refused.into(),
            SetupRefused::Change(refused) => refused.into(),
        }
    }
}
