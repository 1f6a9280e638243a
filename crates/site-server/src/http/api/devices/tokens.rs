//! The tokens of devices, and those that end soon.

use cmg_store::ClientToken;
use serde::Serialize;
use utoipa::ToSchema;

use super::known;
use crate::app::client_tokens::{self, WINDOWS};
use crate::app::roles::Needs;
use crate::http::api::answer::Answer;
use crate::http::api::asked::Asked;
use crate::http::api::route::{Method, Parameter, Route};
use crate::http::problem::Refused;

const ENDING: &[Parameter] = &[Parameter("days", "integer", "Within so many days, 1 to 90. Default 30.")];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::Get, "/devices/{id}/tokens", Needs::Read, "Lists the tokens of a device", tokens).gives::<ClientTokenList>(),
        Route::new(
            Method::Get,
            "/client-tokens/ending",
            Needs::Read,
            "Lists tokens that end soon, of devices that have no later one",
            ending,
        )
        .query(ENDING)
        .gives::<EndingTokens>(),
    ]
}

/// A token of a client, as it is shown: never itself.
#[derive(Serialize, ToSchema)]
struct ShownClientToken {
    /// Its id.
    id: String,
    /// The client.
    client: String,
    /// When it was issued, in seconds since 1970.
    issued_at: i64,
    /// When it ends, in seconds since 1970.
    expires_at: i64,
    /// Whether it is blocked.
    blocked: bool,
}

/// All tokens of a client.
#[derive(Serialize, ToSchema)]
struct ClientTokenList {
    /// The latest first.
    items: Vec<ShownClientToken>,
}

/// Tokens that end soon.
#[derive(Serialize, ToSchema)]
struct EndingTokens {
    /// The first to end first, at most 500.
    items: Vec<ShownClientToken>,
    /// How many end within 30 days.
    within_30_days: usize,
    /// How many end within 14 days.
    within_14_days: usize,
    /// How many end within 7 days.
    within_7_days: usize,
}

impl ShownClientToken {
    fn of(token: ClientToken, blocked: bool) -> Self {
        Self { id: token.id, client: token.client, issued_at: token.issued_at, expires_at: token.expires_at, blocked }
    }
}

async fn tokens(asked: Asked) -> Result<Answer, Refused> {
    let client = known(&asked).await?;
    let tokens = client_tokens::of_client(asked.site(), &client.id).await?;
    let items = tokens.into_iter().map(|shown| ShownClientToken::of(shown.token, shown.is_blocked)).collect();
    Ok(Answer::ok(&ClientTokenList { items }))
}

/// The most tokens that are listed.
const LISTED: usize = 500;

async fn ending(asked: Asked) -> Result<Answer, Refused> {
    let days = asked.number("days", 1, 90)?.unwrap_or(WINDOWS[0]);
    let now = asked.site().now().0 as i64;
    let tokens = client_tokens::ending(asked.site(), now, days.max(WINDOWS[0])).await?;
    let within = |days: i64| tokens.iter().filter(|token| token.expires_at < now + days * 86_400).count();
    let [within_30_days, within_14_days, within_7_days] = WINDOWS.map(within);
    let wanted = within(days).min(LISTED);
    let items = tokens.into_iter().take(wanted).map(|token| ShownClientToken::of(token, false)).collect();
    Ok(Answer::ok(&EndingTokens { items, within_30_days, within_14_days, within_7_days }))
}
