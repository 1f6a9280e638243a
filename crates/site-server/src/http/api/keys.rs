//! The site's signing keys: list, roll, withdraw.

use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Route};
use crate::app::change::ChangeRefused;
use crate::app::roles::Needs;
use crate::app::rollover::{self, Purpose, Shown};
use crate::http::problem::Refused;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::Get, "/keys", Needs::Read, "Lists the keys that sign snapshots and tokens", list).gives::<SigningKeys>(),
        Route::new(
            Method::Post,
            "/keys/{key}/roll",
            Needs::Full,
            "Makes a successor of a signing key now; one of tokens signs as soon as every member knows it",
            roll,
        )
        .status(200)
        .gives::<SigningKeys>(),
        Route::new(
            Method::Post,
            "/keys/{key}/forget",
            Needs::Full,
            "Withdraws the signing key of a thumbprint: what it has signed counts no more, anywhere",
            forget,
        )
        .status(200)
        .gives::<SigningKeys>(),
    ]
}

/// A key that signs for the site.
#[derive(Serialize, ToSchema)]
struct SigningKey {
    /// `roots`, `snapshots`, `tokens-rs256` or `tokens-es256`.
    purpose: String,
    /// `signs`; `next`: it signs as soon as every member knows it; `earlier`: what it has signed still counts.
    state: String,
    /// What its tokens name it by; of a key of snapshots, SHA-256 of its certificate.
    thumbprint: Option<String>,
    /// Until when it signs, or what an earlier one has signed may count, in seconds since 1970.
    until: i64,
}

/// The keys that sign for the site.
#[derive(Serialize, ToSchema)]
struct SigningKeys {
    /// By purpose, the one that signs first.
    items: Vec<SigningKey>,
}

impl From<Shown> for SigningKey {
    fn from(shown: Shown) -> Self {
        let Shown { purpose, state, thumbprint, until } = shown;
        Self { purpose: purpose.to_owned(), state: state.to_owned(), thumbprint, until }
    }
}

async fn list(asked: Asked) -> Result<Answer, Refused> {
    let earlier = rollover::earlier_of_snapshots(asked.site()).await.map_err(ChangeRefused::from)?;
    let all = rollover::list(asked.site()).into_iter().chain(earlier);
    Ok(Answer::ok(&SigningKeys { items: all.map(SigningKey::from).collect() }))
}

async fn roll(asked: Asked) -> Result<Answer, Refused> {
    let name = asked.part("key");
    let purpose = Purpose::named(name).ok_or_else(|| ChangeRefused::NotFound { kind: rollover::KIND, name: name.to_owned() })?;
    let generation = rollover::roll(asked.site(), &asked.actor(), purpose).await?;
    Ok(list(asked).await?.generation(generation))
}

async fn forget(asked: Asked) -> Result<Answer, Refused> {
    let generation = rollover::withdraw(asked.site(), &asked.actor(), asked.part("key")).await?;
    Ok(list(asked).await?.generation(generation))
}
