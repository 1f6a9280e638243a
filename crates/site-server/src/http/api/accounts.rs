//! Accounts: list, show, new, set, remove, and their passwords.

use axum::http::StatusCode;
use cmg_core::problem::Problem;
use cmg_store::Account;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BASE;
use super::answer::Answer;
use super::asked::Asked;
use super::resources::DRY_RUN;
use super::route::{Method, Route};
use crate::app::accounts::AccountSetting;
use crate::app::change::ChangeRefused;
use crate::app::oidc::identity::{Identity, OidcTie};
use crate::app::roles::{Needs, Role};
use crate::app::sign_in::{self, Subject};
use crate::app::{accounts, passwords};
use crate::http::problem::{Kind, Refused};

pub(super) fn routes() -> Vec<Route> {
    let one = "/accounts/{name}";
    vec![
        Route::new(Method::Get, "/accounts", Needs::Read, "Lists accounts", list).gives::<AccountList>(),
        Route::new(Method::Post, "/accounts", Needs::Full, "Adds an account", create)
            .query(DRY_RUN)
            .once()
            .takes::<NewAccount>()
            .gives::<ShownAccount>(),
        Route::new(Method::Get, one, Needs::Read, "Shows an account", show).gives::<ShownAccount>(),
        Route::new(Method::Put, one, Needs::Full, "Sets role, right to sign in and provider; ends sessions and API tokens", set)
            .query(DRY_RUN)
            .matches()
            .takes::<AccountSetting>()
            .gives::<ShownAccount>(),
        Route::new(Method::Delete, one, Needs::Full, "Removes an account with its sessions and API tokens", remove)
            .query(DRY_RUN)
            .matches(),
        Route::new(
            Method::Post,
            "/accounts/{name}/password",
            Needs::SignedIn,
            "Sets a password: the own one with the old one, others as full administrator; ends sessions and API tokens",
            set_password,
        )
        .status(204)
        .takes::<NewPassword>(),
    ]
}

/// A new account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    /// Its name.
    name: String,
    /// What it may do.
    role: Role,
    /// Whether it may not sign in. Default false.
    #[serde(default)]
    disabled: bool,
    /// Its password, 12 characters or more. Default none, for one that signs in by a provider only.
    #[serde(default)]
    password: Option<String>,
    /// Whom of a sign-in provider it belongs to. Default none: it signs in by its password.
    #[serde(default)]
    oidc: Option<OidcTie>,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    /// The old one, for the own account.
    #[serde(default)]
    old: Option<String>,
    /// The new one, 12 characters or more.
    new: String,
}

/// An account, as it is shown.
#[derive(Serialize, ToSchema)]
struct ShownAccount {
    /// Its name.
    name: String,
    /// What it may do.
    role: String,
    /// Whether it may not sign in.
    disabled: bool,
    /// Whether it signs in by a password.
    has_password: bool,
    /// Whom of a sign-in provider it belongs to.
    oidc: Option<OidcTie>,
    /// When it was made, in seconds since 1970.
    created_at: i64,
    /// When it was changed last, in seconds since 1970.
    changed_at: i64,
    /// When it signed in last, in seconds since 1970.
    last_sign_in: Option<i64>,
    /// One more with every change: the ETag.
    version: u64,
}

/// All accounts.
#[derive(Serialize, ToSchema)]
struct AccountList {
    /// By name.
    items: Vec<ShownAccount>,
}

impl From<Account> for ShownAccount {
    fn from(account: Account) -> Self {
        Self {
            name: account.name,
            role: account.fields.role,
            disabled: account.fields.disabled,
            has_password: account.fields.password_hash.is_some(),
            oidc: account.fields.oidc_subject.as_deref().and_then(Identity::shown),
            created_at: account.created_at,
            changed_at: account.changed_at,
            last_sign_in: account.last_sign_in,
            version: account.version,
        }
    }
}

async fn list(asked: Asked) -> Result<Answer, Refused> {
    let accounts = asked.site().store.accounts().await?;
    Ok(Answer::ok(&AccountList { items: accounts.into_iter().map(ShownAccount::from).collect() }))
}

async fn show(asked: Asked) -> Result<Answer, Refused> {
    let name = asked.part("name");
    let account = asked.site().store.account(name).await?;
    let account = account.ok_or_else(|| ChangeRefused::NotFound { kind: accounts::KIND, name: name.to_owned() })?;
    let version = account.version;
    Ok(Answer::ok(&ShownAccount::from(account)).version(version))
}

async fn create(asked: Asked) -> Result<Answer, Refused> {
    let (once, dry_run) = (asked.once()?, asked.flag("dry_run")?);
    let NewAccount { name, role, disabled, password, oidc } = asked.body()?;
    let missing = (password.is_none() && oidc.is_none())
        .then(|| Problem::new("password", "is missing", "write one, or tie the account to a sign-in provider by oidc"));
    let problem = password.as_deref().and_then(|password| passwords::problem("password", password, &name));
    demand_none([accounts::name_problem(&name), missing, problem])?;
    let hash = match password {
        Some(password) => Some(asked.api.hasher.hash(password).await?),
        None => None,
    };
    let mut draft = asked.draft().await?;
    if let Some(answer) = asked.earlier(once.as_ref(), &mut draft).await? {
        return Ok(answer);
    }
    accounts::add(&mut draft, &AccountSetting { name: name.clone(), role, disabled, oidc }, hash).await?;
    let made = draft.change.account(&name).await?.ok_or(cmg_store::Error::NotFound)?;
    let answer = Answer::new(StatusCode::CREATED, &ShownAccount::from(made)).version(1).location(format!("{BASE}/accounts/{name}"));
    if !dry_run {
        asked.keep(once.as_ref(), &mut draft, &answer).await?;
        draft.commit().await?;
    }
    Ok(answer)
}

async fn set(asked: Asked) -> Result<Answer, Refused> {
    let (expected, dry_run, name) = (asked.expected()?, asked.flag("dry_run")?, asked.part("name"));
    let setting: AccountSetting = asked.body()?;
    if setting.name != name {
        let what = format!("it is \"{}\", and the address says \"{name}\"", setting.name);
        return Err(Refused::invalid(vec![Problem::new("name", what, "write the same; a name does not change")]));
    }
    let mut draft = asked.draft().await?;
    let (version, is_changed) = accounts::set(&mut draft, &setting, expected).await?;
    let account = draft.change.account(name).await?.ok_or(cmg_store::Error::NotFound)?;
    if is_changed && !dry_run {
        draft.commit().await?;
    }
    Ok(Answer::ok(&ShownAccount::from(account)).version(version))
}

async fn remove(asked: Asked) -> Result<Answer, Refused> {
    let (expected, dry_run) = (asked.expected()?, asked.flag("dry_run")?);
    let mut draft = asked.draft().await?;
    accounts::remove(&mut draft, asked.part("name"), expected).await?;
    if !dry_run {
        draft.commit().await?;
    }
    Ok(Answer::nothing())
}

async fn set_password(asked: Asked) -> Result<Answer, Refused> {
    let (caller, name) = (asked.caller()?, asked.part("name"));
    let is_own = caller.account == name;
    if !is_own && !Needs::Full.permits(Some(caller.role)) {
        return Err(Refused::new(Kind::NotPermitted, "only a full administrator sets the passwords of others"));
    }
    let NewPassword { old, new } = asked.body()?;
    let missing = (is_own && old.is_none()).then(|| Problem::new("old", "is missing", "write the password that you have"));
    demand_none([missing, passwords::problem("new", &new, name)])?;
    if is_own {
        demand_password(&asked, name, old.unwrap_or_default()).await?;
    }
    let hash = asked.api.hasher.hash(new).await?;
    let mut draft = asked.draft().await?;
    accounts::set_password(&mut draft, name, hash).await?;
    draft.commit().await?;
    Ok(Answer::nothing())
}

/// Who has found a session open must not be able to guess the password through it.
async fn demand_password(asked: &Asked, name: &str, password: String) -> Result<(), Refused> {
    let subjects = [Subject::own_password(name)];
    sign_in::count(asked.site(), &subjects).await?;
    let account = asked.site().store.account(name).await?;
    let hash = account.and_then(|account| account.fields.password_hash).map(|hash| hash.0);
    if !asked.api.hasher.verify(password, hash).await? {
        let what = "is not the password that this account has";
        return Err(Refused::invalid(vec![Problem::new("old", what, "write the password that you have")]));
    }
    Ok(sign_in::forget(asked.site(), &subjects).await?)
}

fn demand_none(problems: impl IntoIterator<Item = Option<Problem>>) -> Result<(), Refused> {
    let problems: Vec<Problem> = problems.into_iter().flatten().collect();
    if problems.is_empty() { Ok(()) } else { Err(Refused::invalid(problems)) }
}
