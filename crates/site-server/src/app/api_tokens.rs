//! API tokens: by these, programs act as an account, in its role or a lesser one, for at most a year.
//!
//! The id says the most that the token may, `ROLE.RANDOM`; so it can be read off a list, and cannot be changed.

use cmg_authority::passwords::{NewSecret, new_api_token};
use cmg_core::problem::Problem;
use cmg_process::dice;

use super::change::{ChangeRefused, Draft};
use super::roles::Role;

/// The kind, as it is audited.
pub const KIND: &str = "api-token";

/// The longest that a token lasts, in days.
pub const LONGEST: i64 = 366;

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// A token that was made.
pub(crate) struct NewToken {
    /// Its id.
    pub(crate) id: String,
    /// What its holder shows; nobody sees it again.
    pub(crate) secret: NewSecret,
    /// When it ends, in seconds since 1970.
    pub(crate) expires_at: i64,
}

/// The most that the token of this id may.
pub fn role_of(id: &str) -> Option<Role> {
    Role::parse(id.split_once('.')?.0)
}

/// What is wrong with how long a token shall last.
pub fn days_problem(days: i64) -> Option<Problem> {
    (!(1..=LONGEST).contains(&days)).then(|| Problem::new("days", format!("{days} does not fit"), format!("write 1 to {LONGEST}")))
}

/// Makes a token for an account, which carries at most `role`.
pub(crate) async fn add(draft: &mut Draft<'_>, account: &str, name: &str, role: Role, days: i64) -> Result<NewToken, ChangeRefused> {
    let secret = new_api_token().map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    let id = format!("{}.{:016x}{:016x}", role.as_str(), dice::draw(), dice::draw());
    let expires_at = draft.now + days * DAY;
    match draft.change.add_api_token(&id, account, name, &secret.digest, expires_at).await {
        Ok(()) => {}
        Err(cmg_store::Error::NotFound) => {
            return Err(ChangeRefused::NotFound { kind: super::accounts::KIND, name: account.to_owned() });
        }
        Err(error) => return Err(error.into()),
    }
    let after = serde_json::json!({ "id": id, "account": account, "name": name, "role": role, "expires_at": expires_at }).to_string();
    draft.record("new", KIND, &id, None, Some(after)).await?;
    Ok(NewToken { id, secret, expires_at })
}

/// Revokes a token.
pub(crate) async fn revoke(draft: &mut Draft<'_>, account: &str, id: &str) -> Result<(), ChangeRefused> {
    match draft.change.revoke_api_token(account, id).await {
        Ok(()) => draft.record("revoke", KIND, id, None, None).await,
        Err(cmg_store::Error::NotFound) => Err(ChangeRefused::NotFound { kind: KIND, name: id.to_owned() }),
        Err(error) => Err(error.into()),
    }
}
