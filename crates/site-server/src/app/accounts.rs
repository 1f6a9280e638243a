//! Accounts: who may sign in, and as what.
//!
//! Whatever changes an account's role, password or right to sign in ends its sessions and API tokens. Somebody can always sign in as
//! full administrator: the last one can be neither removed, disabled nor demoted.

use cmg_core::ids::is_name;
use cmg_core::problem::Problem;
use cmg_store::{Account, AccountFields, Hidden};
use serde::Deserialize;
use utoipa::ToSchema;

use super::change::{ChangeRefused, Draft};
use super::oidc::identity::{Identity, OidcTie};
use super::roles::Role;
use super::sessions;

/// The kind, as it is audited.
pub const KIND: &str = "account";

/// The role of an account; none: it is one that this program does not know.
pub fn role_of(account: &Account) -> Option<Role> {
    Role::parse(&account.fields.role)
}

/// What is wrong with the name of a new account.
pub fn name_problem(name: &str) -> Option<Problem> {
    let instead = "write 1 to 64 letters, digits, dots, hyphens or underscores";
    (!is_name(name)).then(|| Problem::new("name", format!("\"{name}\" is no name"), instead))
}

/// What is set of an account, besides its password.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountSetting {
    /// Its name.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) role: Role,
    /// Whether it may not sign in. Default false.
    #[serde(default)]
    pub(crate) disabled: bool,
    /// Whom of a sign-in provider it belongs to. Default none.
    #[serde(default)]
    pub(crate) oidc: Option<OidcTie>,
}

/// Adds an account that signs in by a password, by a provider, or by both.
pub(crate) async fn add(draft: &mut Draft<'_>, setting: &AccountSetting, hash: Option<String>) -> Result<(), ChangeRefused> {
    let name = &setting.name;
    let oidc_subject = tied(draft, name, setting.oidc.as_ref(), None).await?;
    let role = setting.role.as_str().to_owned();
    let fields = AccountFields { role, password_hash: hash.map(Hidden), oidc_subject, disabled: setting.disabled };
    match draft.change.add_account(name, &fields).await {
        Ok(()) => {}
        Err(cmg_store::Error::Conflict) => return Err(ChangeRefused::Exists { kind: KIND, name: name.to_owned() }),
        Err(error) => return Err(error.into()),
    }
    draft.record("new", KIND, name, None, Some(audited(name, &fields))).await
}

/// Sets role, right to sign in and provider; the version after that, and whether anything changed.
pub(crate) async fn set(draft: &mut Draft<'_>, setting: &AccountSetting, expected: Option<u64>) -> Result<(u64, bool), ChangeRefused> {
    let (version, is_changed) = put(draft, setting, expected).await?;
    if is_changed {
        demand_administrator(draft, if setting.disabled { "disabled" } else { "role" }).await?;
    }
    Ok((version, is_changed))
}

/// The same, where it is asked afterwards whether an administrator is left.
pub(crate) async fn put(draft: &mut Draft<'_>, setting: &AccountSetting, expected: Option<u64>) -> Result<(u64, bool), ChangeRefused> {
    let name = &setting.name;
    let before = present(draft, name, expected).await?;
    let oidc_subject = tied(draft, name, setting.oidc.as_ref(), before.fields.oidc_subject.as_deref()).await?;
    let role = setting.role.as_str().to_owned();
    let fields = AccountFields { role, disabled: setting.disabled, oidc_subject, ..before.fields.clone() };
    if fields == before.fields {
        return Ok((before.version, false));
    }
    Ok((replace(draft, &before, &fields, "set").await?, true))
}

/// Whom an account is tied to, as it is stored. What is the same as before stays, whatever has become of the provider; who is named
/// without an issuer is meant at the one that the provider has, so that naming somebody again ties him again.
async fn tied(draft: &mut Draft<'_>, name: &str, tie: Option<&OidcTie>, before: Option<&str>) -> Result<Option<String>, ChangeRefused> {
    let Some(tie) = tie else { return Ok(None) };
    if let Some(before) = before.filter(|before| tie.means(before, &draft.model)) {
        return Ok(Some(before.to_owned()));
    }
    let identity = Identity::of_tie(tie, &draft.model).map_err(|problem| ChangeRefused::Problems(vec![problem]))?;
    match draft.change.account_by_subject(identity.as_str()).await? {
        Some(other) if other.name != name => {
            let what = format!("account \"{}\" is tied to it", other.name);
            Err(ChangeRefused::Problems(vec![Problem::new("oidc.subject", what, "untie that one first")]))
        }
        _ => Ok(Some(identity.as_str().to_owned())),
    }
}

/// Sets the password to the one of this hash.
pub(crate) async fn set_password(draft: &mut Draft<'_>, name: &str, hash: String) -> Result<(), ChangeRefused> {
    let before = present(draft, name, None).await?;
    let fields = AccountFields { password_hash: Some(Hidden(hash)), ..before.fields.clone() };
    replace(draft, &before, &fields, "set-password").await.map(|_| ())
}

/// Takes an account away, with everything that it can show.
pub(crate) async fn remove(draft: &mut Draft<'_>, name: &str, expected: Option<u64>) -> Result<(), ChangeRefused> {
    take_away(draft, name, expected).await?;
    demand_administrator(draft, "name").await
}

/// The same, where it is asked afterwards whether an administrator is left.
pub(crate) async fn take_away(draft: &mut Draft<'_>, name: &str, expected: Option<u64>) -> Result<(), ChangeRefused> {
    let before = present(draft, name, expected).await?;
    draft.change.remove_account(name, expected).await?;
    draft.record("remove", KIND, name, Some(audited(name, &before.fields)), None).await
}

async fn present(draft: &mut Draft<'_>, name: &str, expected: Option<u64>) -> Result<Account, ChangeRefused> {
    match draft.change.account(name).await? {
        None => Err(ChangeRefused::NotFound { kind: KIND, name: name.to_owned() }),
        Some(account) if expected.is_some_and(|expected| expected != account.version) => {
            Err(ChangeRefused::Stale { present: account.version })
        }
        Some(account) => Ok(account),
    }
}

async fn replace(draft: &mut Draft<'_>, before: &Account, fields: &AccountFields, action: &str) -> Result<u64, ChangeRefused> {
    let name = &before.name;
    let version = draft.change.replace_account(name, fields, before.version).await?;
    sessions::end_all(&mut draft.change, name).await?;
    draft.record(action, KIND, name, Some(audited(name, &before.fields)), Some(audited(name, fields))).await?;
    Ok(version)
}

/// Somebody must be left who can sign in and change accounts: by a password, since a provider may be gone when it is needed most.
pub(crate) async fn demand_administrator(draft: &mut Draft<'_>, key: &str) -> Result<(), ChangeRefused> {
    let accounts = draft.change.accounts().await?;
    let signs_in = |fields: &AccountFields| !fields.disabled && fields.password_hash.is_some();
    if accounts.iter().any(|account| role_of(account) == Some(Role::FullAdministrator) && signs_in(&account.fields)) {
        return Ok(());
    }
    let what = "nobody would be left who can sign in as full administrator by a password";
    Err(ChangeRefused::Problems(vec![Problem::new(key, what, "make another full administrator first")]))
}

/// An account as it stands in audit records: without its password's hash.
fn audited(name: &str, fields: &AccountFields) -> String {
    let mut shown = shown(name, fields);
    shown["has_password"] = fields.password_hash.is_some().into();
    shown.to_string()
}

/// What is set of an account, as it is shown.
pub(crate) fn shown(name: &str, fields: &AccountFields) -> serde_json::Value {
    let oidc = fields.oidc_subject.as_deref().and_then(Identity::shown);
    serde_json::json!({ "name": name, "role": fields.role, "disabled": fields.disabled, "oidc": oidc })
}
