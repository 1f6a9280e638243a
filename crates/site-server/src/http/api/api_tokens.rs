//! API tokens of an account: list, new, revoke.

use axum::http::StatusCode;
use cmg_core::problem::Problem;
use cmg_store::ApiToken;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BASE;
use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Route};
use crate::app::accounts;
use crate::app::api_tokens;
use crate::app::change::ChangeRefused;
use crate::app::roles::{Needs, Role};
use crate::app::sessions::By;
use crate::http::problem::{Kind, Refused};

/// The longest name of a token, in characters.
const LONGEST_NAME: usize = 200;

pub(super) fn routes() -> Vec<Route> {
    let (all, one) = ("/accounts/{name}/api-tokens", "/accounts/{name}/api-tokens/{id}");
    vec![
        Route::new(Method::Get, all, Needs::Read, "Lists the API tokens of an account", list).gives::<ApiTokenList>(),
        Route::new(Method::Post, all, Needs::SignedIn, "Makes an API token: of the own account, or of any as full administrator", create)
            .once()
            .takes::<NewApiToken>()
            .gives::<MadeApiToken>(),
        Route::new(
            Method::Delete,
            one,
            Needs::SignedIn,
            "Revokes an API token: of the own account, or of any as full administrator",
            revoke,
        ),
    ]
}

/// A new API token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewApiToken {
    /// What it is for, for people.
    name: String,
    /// How many days it lasts, at most 366.
    days: i64,
    /// The most that it may. Default: what the account may.
    #[serde(default)]
    role: Option<Role>,
}

/// An API token that was made.
#[derive(Serialize, ToSchema)]
struct MadeApiToken {
    /// Its id.
    id: String,
    /// The token itself, which is shown this once.
    token: String,
    /// The most that it may.
    role: Role,
    /// When it ends, in seconds since 1970.
    expires_at: i64,
}

/// An API token, as it is shown.
#[derive(Serialize, ToSchema)]
struct ShownApiToken {
    /// Its id.
    id: String,
    /// What it is for.
    name: String,
    /// The most that it may.
    role: Option<Role>,
    /// When it was made, in seconds since 1970.
    created_at: i64,
    /// When it ends, in seconds since 1970.
    expires_at: i64,
    /// When it was used last, to the minute, in seconds since 1970.
    last_used_at: Option<i64>,
    /// When it was revoked, in seconds since 1970.
    revoked_at: Option<i64>,
}

/// All API tokens of an account.
#[derive(Serialize, ToSchema)]
struct ApiTokenList {
    /// By id.
    items: Vec<ShownApiToken>,
}

impl From<ApiToken> for ShownApiToken {
    fn from(token: ApiToken) -> Self {
        let role = api_tokens::role_of(&token.id);
        let ApiToken { id, name, created_at, expires_at, last_used_at, revoked_at, .. } = token;
        Self { id, name, role, created_at, expires_at, last_used_at, revoked_at }
    }
}

async fn list(asked: Asked) -> Result<Answer, Refused> {
    let name = asked.part("name");
    if asked.site().store.account(name).await?.is_none() {
        return Err(ChangeRefused::NotFound { kind: accounts::KIND, name: name.to_owned() }.into());
    }
    let tokens = asked.site().store.api_tokens_of(name).await?;
    Ok(Answer::ok(&ApiTokenList { items: tokens.into_iter().map(ShownApiToken::from).collect() }))
}

async fn create(asked: Asked) -> Result<Answer, Refused> {
    let account = demand_own_or_full(&asked)?;
    if let By::Token(_) = asked.caller()?.by {
        return Err(Refused::new(Kind::NotPermitted, "an API token makes no others, or it would never end: sign in with a password"));
    }
    let once = asked.once()?;
    let NewApiToken { name, days, role } = asked.body()?;
    let long = (name.chars().count() > LONGEST_NAME)
        .then(|| Problem::new("name", "is too long", format!("write at most {LONGEST_NAME} characters")));
    let problems: Vec<Problem> = [long, api_tokens::days_problem(days)].into_iter().flatten().collect();
    if !problems.is_empty() {
        return Err(Refused::invalid(problems));
    }
    let mut draft = asked.draft().await?;
    if let Some(answer) = asked.earlier(once.as_ref(), &mut draft).await? {
        return Ok(answer);
    }
    let owner = draft.change.account(account).await?;
    let owner = owner.ok_or_else(|| ChangeRefused::NotFound { kind: accounts::KIND, name: account.to_owned() })?;
    let most = accounts::role_of(&owner).unwrap_or(Role::ReadOnlyAnalyst);
    let role = role.unwrap_or(most);
    if role > most {
        let what = format!("the account is {} and no more", most.as_str());
        return Err(Refused::invalid(vec![Problem::new("role", what, "write the same role or a lesser one")]));
    }
    let made = api_tokens::add(&mut draft, account, &name, role, days).await?;
    let location = format!("{BASE}/accounts/{account}/api-tokens/{}", made.id);
    let body = MadeApiToken { id: made.id, token: made.secret.text.to_string(), role, expires_at: made.expires_at };
    let answer = Answer::new(StatusCode::CREATED, &body).location(location);
    asked.keep(once.as_ref(), &mut draft, &answer).await?;
    draft.commit().await?;
    Ok(answer)
}

async fn revoke(asked: Asked) -> Result<Answer, Refused> {
    let account = demand_own_or_full(&asked)?;
    let mut draft = asked.draft().await?;
    let caller = asked.caller()?;
    if let By::Token(_) = caller.by
        && draft.change.account(account).await?.as_ref().and_then(accounts::role_of).is_some_and(|role| caller.role < role)
    {
        let what = "an API token of a lesser role than the account's revokes none of its tokens: sign in with a password";
        return Err(Refused::new(Kind::NotPermitted, what));
    }
    api_tokens::revoke(&mut draft, account, asked.part("id")).await?;
    draft.commit().await?;
    Ok(Answer::nothing())
}

fn demand_own_or_full(asked: &Asked) -> Result<&str, Refused> {
    let (caller, name) = (asked.caller()?, asked.part("name"));
    if caller.account == name || Needs::Full.permits(Some(caller.role)) {
        return Ok(name);
    }
    Err(Refused::new(Kind::NotPermitted, "only a full administrator works with the API tokens of others"))
}
