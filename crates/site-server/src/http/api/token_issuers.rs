//! Keys of token issuers: which were fetched and when, and fetching them now.

use cmg_api::resource::{Resource, TokenIssuer};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Route};
use crate::app::change::ChangeRefused;
use crate::app::fetching::Fetcher;
use crate::app::roles::Needs;
use crate::app::token_issuers::{self, SyncRefused};
use crate::http::problem::{Kind, Refused};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::Get, "/token-issuers/{name}/keys", Needs::Read, "Shows which keys of an issuer were fetched", show)
            .gives::<FetchedKeys>(),
        Route::new(
            Method::Post,
            "/token-issuers/{name}/sync",
            Needs::Infrastructure,
            "Fetches the keys of an issuer now, at most once a minute",
            sync,
        )
        .status(200)
        .gives::<FetchedKeys>(),
    ]
}

/// Keys that were fetched from an issuer.
#[derive(Serialize, ToSchema)]
struct FetchedKeys {
    /// What `iss` of its tokens may be.
    issuers: Vec<String>,
    /// Ids of the keys.
    keys: Vec<String>,
    /// When they were fetched, in seconds since 1970.
    fetched_at: Option<i64>,
    /// When it was tried last, in seconds since 1970.
    tried_at: Option<i64>,
    /// Why the last try failed; none: it did not.
    error: Option<String>,
}

async fn show(asked: Asked) -> Result<Answer, Refused> {
    let name = asked.part("name");
    let Some(issuer) = asked.site().in_force().model.token_issuers.get(name).cloned() else {
        return Err(ChangeRefused::NotFound { kind: TokenIssuer::KIND, name: name.to_owned() }.into());
    };
    let fetched = token_issuers::fetched(&mut asked.site().store.view().await?, name).await?;
    Ok(Answer::ok(&FetchedKeys {
        issuers: token_issuers::issuers(&issuer),
        keys: fetched.keys.into_iter().map(|key| key.id).collect(),
        fetched_at: fetched.fetched_at,
        tried_at: Some(fetched.tried_at).filter(|at| *at > 0),
        error: fetched.error,
    }))
}

async fn sync(asked: Asked) -> Result<Answer, Refused> {
    let now = asked.site().now().0 as i64;
    match token_issuers::sync(asked.site(), &Fetcher::of_system(), asked.part("name"), now).await {
        // Why it failed is shown with what is held.
        Ok(_) | Err(SyncRefused::Failed(_)) => show(asked).await,
        Err(refused) => Err(refused.into()),
    }
}

impl From<SyncRefused> for Refused {
    fn from(refused: SyncRefused) -> Self {
        let words = refused.to_string();
        match refused {
            SyncRefused::NotFound(name) => ChangeRefused::NotFound { kind: TokenIssuer::KIND, name }.into(),
            SyncRefused::Change(refused) => refused.into(),
            SyncRefused::TooSoon(seconds) => Self::new(Kind::TooMany, words).retry_after(u64::try_from(seconds).unwrap_or(1)),
            SyncRefused::Uploaded(_) | SyncRefused::Failed(_) => {
                Self::invalid(vec![cmg_core::problem::Problem::new("kind", words, "ask for an issuer of kind oidc or entra")])
            }
        }
    }
}
