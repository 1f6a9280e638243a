//! Accounts of a whole configuration: role, right to sign in, and whom of a sign-in provider each belongs to. Never a password.

use std::collections::BTreeSet;

use cmg_core::problem::Problem;
use cmg_store::Account;
use serde_json::Value;

use super::{Action, Difference, Step, Taken, differences};
use crate::app::accounts::{AccountSetting, KIND, add, demand_administrator, name_problem, put, shown, take_away};
use crate::app::change::{ChangeRefused, Draft};
use crate::site::Site;

/// What is shown of an account beside what is set, and stands in no file.
const SHOWN: [&str; 5] = ["has_password", "created_at", "changed_at", "last_sign_in", "version"];

/// Takes out what was shown and is not set, and says what does not belong into a list.
pub(crate) fn tidy(account: &mut toml::Table) -> Option<Problem> {
    for key in SHOWN {
        account.remove(key);
    }
    let name = account.get("name").and_then(toml::Value::as_str).unwrap_or("NAME");
    let instead = format!("leave it out, and set it by `cmg account password {name}`, which asks for it");
    account.get("password").map(|_| Problem::new("password", "passwords do not stand in a list that is applied", instead))
}

/// An account shall be like this.
pub(crate) struct WantedAccount(pub(crate) AccountSetting);

impl Step for WantedAccount {
    fn named(&self) -> (&'static str, String) {
        (KIND, self.0.name.clone())
    }

    fn take<'a>(self: Box<Self>, _site: &'a Site, draft: &'a mut Draft<'_>) -> Taken<'a> {
        Box::pin(async move {
            let Self(setting) = *self;
            let before = draft.change.account(&setting.name).await?;
            demand_way_in(&setting, before.as_ref())?;
            let action = match &before {
                None => {
                    add(draft, &setting, None).await?;
                    Action::Created
                }
                Some(_) if put(draft, &setting, None).await?.1 => Action::Changed,
                Some(_) => Action::Unchanged,
            };
            let after = draft.change.account(&setting.name).await?;
            let fields = differences::<Value>(before.as_ref().map(of).as_ref(), after.as_ref().map(of).as_ref());
            Ok(Difference { kind: KIND, name: setting.name, action, fields })
        })
    }
}

/// A file brings no password, so whoever has none has to come by a provider.
fn demand_way_in(setting: &AccountSetting, before: Option<&Account>) -> Result<(), ChangeRefused> {
    let name = &setting.name;
    let problem = match before {
        None => name_problem(name).or_else(|| {
            let instead = format!(
                "add it by `cmg account new {name} --role {}`, which asks for its password, or tie it to a sign-in provider by oidc",
                setting.role.as_str()
            );
            setting.oidc.is_none().then(|| Problem::new("oidc", "the account is new, and would have nothing to sign in by", instead))
        }),
        Some(account) => {
            let has_way = setting.oidc.is_some() || setting.disabled || account.fields.password_hash.is_some();
            let instead = format!("set one by `cmg account password {name}`, or write oidc or disabled = true");
            (!has_way).then(|| Problem::new("oidc", "the account has no password, and would have nothing to sign in by", instead))
        }
    };
    problem.map_or(Ok(()), |problem| Err(ChangeRefused::Problems(vec![problem])))
}

/// Removes the accounts that are not among `kept`; whoever applies stays.
pub(crate) async fn prune(draft: &mut Draft<'_>, kept: &BTreeSet<String>) -> Result<Vec<Difference>, ChangeRefused> {
    let mut differences = Vec::new();
    for Account { name, .. } in draft.change.accounts().await? {
        if kept.contains(&name) {
            continue;
        }
        if name == draft.actor().account {
            let what = format!("it is the account that applies, \"{name}\", and would be removed");
            return Err(ChangeRefused::Problems(vec![Problem::new(format!("accounts/{name}"), what, "write it into the list too")]));
        }
        take_away(draft, &name, None).await?;
        differences.push(Difference { kind: KIND, name, action: Action::Removed, fields: Vec::new() });
    }
    Ok(differences)
}

/// Whether somebody is left who can sign in and change accounts. Asked once for all, since one account may follow another.
pub(crate) async fn judge(draft: &mut Draft<'_>, differences: &[Difference]) -> Result<(), ChangeRefused> {
    let is_changed = |difference: &Difference| difference.kind == KIND && difference.action != Action::Unchanged;
    if differences.iter().any(is_changed) { demand_administrator(draft, "accounts").await } else { Ok(()) }
}

fn of(account: &Account) -> Value {
    shown(&account.name, &account.fields)
}
