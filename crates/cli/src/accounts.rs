//! Accounts of administrators, their passwords and API tokens.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::access::{secret, written};
use crate::failure::Failure;
use crate::gateways::demand_free;
use crate::resources::demand_something;
use crate::server::{Request, Server};
use crate::surroundings::{Surroundings, secret_line};
use crate::table::{Column, Form, time};
use crate::told::Told;

const ACCOUNTS: &[Column] = &[
    Column("NAME", "name", Form::Plain),
    Column("ROLE", "role", Form::Plain),
    Column("DISABLED", "disabled", Form::Plain),
    Column("PASSWORD", "has_password", Form::Plain),
    Column("PROVIDER", "oidc.provider", Form::Plain),
    Column("SIGNED IN", "last_sign_in", Form::Time),
];

const TOKENS: &[Column] = &[
    Column("ID", "id", Form::Plain),
    Column("NAME", "name", Form::Plain),
    Column("ROLE", "role", Form::Plain),
    Column("ENDS", "expires_at", Form::Time),
    Column("USED", "last_used_at", Form::Time),
    Column("REVOKED", "revoked_at", Form::Time),
];

/// What an account may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Role {
    /// Read everything, change nothing
    ReadOnlyAnalyst,
    /// Change the configuration
    InfrastructureAdministrator,
    /// That, and accounts
    FullAdministrator,
}

/// What is done with accounts.
#[derive(Debug, Subcommand)]
pub enum AccountVerb {
    /// List them
    List,
    /// Show one
    Show {
        /// Its name
        name: String,
    },
    /// Add one
    New(NewAccount),
    /// Change role, right to sign in or provider; ends its sessions and API tokens
    Set(SetAccount),
    /// Remove one with its sessions and API tokens
    Remove {
        /// Its name
        name: String,
    },
    /// Set a password; ends the sessions and API tokens of the account
    Password(Password),
}

/// A new account.
#[derive(Debug, Args)]
pub struct NewAccount {
    /// Its name
    name: String,
    /// What it may do
    #[arg(long)]
    role: Role,
    /// A file with its password in its first line, mode 0600; else it is asked for, or read from standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// It signs in by this sign-in provider, and without a file by no password
    #[arg(long, value_name = "NAME", requires = "subject")]
    provider: Option<String>,
    /// What the provider's ID tokens call it: `sub`
    #[arg(long, value_name = "TEXT", requires = "provider")]
    subject: Option<String>,
    /// Judge everything and store nothing
    #[arg(long)]
    dry_run: bool,
}

/// A changed account.
#[derive(Debug, Args)]
pub struct SetAccount {
    /// Its name
    name: String,
    /// What it may do
    #[arg(long)]
    role: Option<Role>,
    /// Whether it may not sign in
    #[arg(long, value_name = "true|false")]
    disabled: Option<bool>,
    /// It signs in by this sign-in provider too
    #[arg(long, value_name = "NAME", requires = "subject")]
    provider: Option<String>,
    /// What the provider's ID tokens call it: `sub`
    #[arg(long, value_name = "TEXT", requires = "provider")]
    subject: Option<String>,
    /// It signs in by no provider any more
    #[arg(long, conflicts_with = "provider")]
    untie: bool,
    /// Only if it still has this version
    #[arg(long, value_name = "VERSION")]
    version: Option<u64>,
}

/// A new password.
#[derive(Debug, Args)]
pub struct Password {
    /// The account
    name: String,
    /// A file with the new password in its first line, mode 0600; else it is asked for, or read from standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// A file with the present password, for the own account; else it is asked for
    #[arg(long, value_name = "FILE")]
    old_password_file: Option<PathBuf>,
}

/// What is done with API tokens.
#[derive(Debug, Subcommand)]
pub enum ApiTokenVerb {
    /// List those of an account
    List(Whose),
    /// Make one; it is shown this once
    New(NewApiToken),
    /// Revoke one
    Revoke {
        /// Its id
        id: String,
        #[command(flatten)]
        whose: Whose,
    },
}

/// Whose API tokens.
#[derive(Debug, Args)]
pub struct Whose {
    /// The account; else the own one
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
}

/// A new API token.
#[derive(Debug, Args)]
pub struct NewApiToken {
    /// What it is for
    name: String,
    /// How many days it lasts, at most 366
    #[arg(long, value_name = "N", default_value = "90")]
    days: u32,
    /// The most that it may; else what the account may
    #[arg(long)]
    role: Option<Role>,
    /// Where it is written: a new file, mode 0600; else to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    whose: Whose,
}

impl Role {
    fn word(self) -> Value {
        match self {
            Self::ReadOnlyAnalyst => "read-only-analyst".into(),
            Self::InfrastructureAdministrator => "infrastructure-administrator".into(),
            Self::FullAdministrator => "full-administrator".into(),
        }
    }
}

pub(crate) async fn account(verb: AccountVerb, server: &Server, surroundings: &mut Surroundings) -> Result<Told, Failure> {
    let all = "accounts";
    match verb {
        AccountVerb::List => Ok(Told::list(server.ask(Request::get(&[all])).await?.body, ACCOUNTS)),
        AccountVerb::Show { name } => Ok(Told::thing(server.ask(Request::get(&[all, &name])).await?.body)),
        AccountVerb::New(new) => {
            let words = format!("password of {}", new.name);
            let tie = tie(new.provider.as_deref(), new.subject.as_deref());
            let password = match (&new.password_file, &tie) {
                (None, Some(_)) => None,
                (file, _) => Some(surroundings.new_password("--password-file", &words, file.as_deref())?),
            };
            let fields = [("name", Some(new.name.clone().into())), ("role", Some(new.role.word()))];
            let body = written(&[&fields[..], &[("password", password.map(Value::from)), ("oidc", tie)]].concat());
            let reply = server.ask(Request::post(&[all], body).query("dry_run", new.dry_run.then_some(true))).await?;
            let what = if new.dry_run { "Would add" } else { "Added" };
            Ok(Told::note(format!("{what} account {}", new.name)).value(reply.body))
        }
        AccountVerb::Set(set) => set_account(&set, server).await,
        AccountVerb::Remove { name } => {
            server.ask(Request::delete(&[all, &name]).version(None)).await?;
            Ok(Told::note(format!("Removed account {name}")))
        }
        AccountVerb::Password(password) => set_password(&password, server, surroundings).await,
    }
}

async fn set_account(set: &SetAccount, server: &Server) -> Result<Told, Failure> {
    demand_something(set.role.is_none() && set.disabled.is_none() && set.provider.is_none() && !set.untie)?;
    let path = ["accounts", &set.name];
    let present = server.ask(Request::get(&path)).await?.body;
    let role = set.role.map_or_else(|| present["role"].clone(), Role::word);
    let disabled = set.disabled.map_or_else(|| present["disabled"].clone(), Value::from);
    let version = set.version.or(present["version"].as_u64());
    let oidc = match tie(set.provider.as_deref(), set.subject.as_deref()) {
        Some(tie) => tie,
        None if set.untie => Value::Null,
        None => present["oidc"].clone(),
    };
    let request = Request::put(&path, json!({"name": set.name, "role": role, "disabled": disabled, "oidc": oidc})).version(version);
    let reply = server.ask(request).await;
    let hint = || format!("nothing was changed; look at it by `cmg account show {}`, and try again", set.name);
    let reply = reply.map_err(|failure| failure.hint(412, hint))?;
    Ok(Told::note(format!("Changed account {}", set.name)).value(reply.body))
}

fn tie(provider: Option<&str>, subject: Option<&str>) -> Option<Value> {
    provider.zip(subject).map(|(provider, subject)| json!({"provider": provider, "subject": subject}))
}

async fn set_password(password: &Password, server: &Server, surroundings: &mut Surroundings) -> Result<Told, Failure> {
    let own = own_account(server).await? == password.name;
    let old = match (&password.old_password_file, own) {
        (Some(file), _) => Some(secret_line("--old-password-file", file)?),
        (None, true) => Some(surroundings.password("Present password", None)?),
        (None, false) => None,
    };
    let words = format!("password of {}", password.name);
    let new = surroundings.new_password("--password-file", &words, password.password_file.as_deref())?;
    let body = written(&[("old", old.map(Value::from)), ("new", Some(new.into()))]);
    server.ask(Request::post(&["accounts", &password.name, "password"], body)).await?;
    let told = Told::note(format!("Set the password of {}", password.name));
    Ok(if own { told.and_note("Its sessions have ended: sign in again by `cmg login`") } else { told })
}

pub(crate) async fn api_token(verb: ApiTokenVerb, server: &Server) -> Result<Told, Failure> {
    match verb {
        ApiTokenVerb::List(whose) => {
            let account = whose.account(server).await?;
            Ok(Told::list(server.ask(Request::get(&["accounts", &account, "api-tokens"])).await?.body, TOKENS))
        }
        ApiTokenVerb::New(new) => {
            if let Some(out) = &new.out {
                demand_free(out)?;
            }
            let account = new.whose.account(server).await?;
            let role = new.role.map(Role::word);
            let body = written(&[("name", Some(new.name.clone().into())), ("days", Some(new.days.into())), ("role", role)]);
            let made = server.ask(Request::post(&["accounts", &account, "api-tokens"], body)).await?.body;
            let ends = time(&made["expires_at"]).unwrap_or_default();
            let note =
                format!("Made API token {} of {account}, which ends {ends}; it is shown this once", made["id"].as_str().unwrap_or(""));
            secret(made, new.out.as_deref(), note)
        }
        ApiTokenVerb::Revoke { id, whose } => {
            let account = whose.account(server).await?;
            server.ask(Request::delete(&["accounts", &account, "api-tokens", &id])).await?;
            Ok(Told::note(format!("Revoked API token {id} of {account}")))
        }
    }
}

impl Whose {
    async fn account(&self, server: &Server) -> Result<String, Failure> {
        match &self.account {
            Some(account) => Ok(account.clone()),
            None => own_account(server).await,
        }
    }
}

async fn own_account(server: &Server) -> Result<String, Failure> {
    let whoami = server.ask(Request::get(&["whoami"])).await?.body;
    Ok(whoami["account"].as_str().unwrap_or("").to_owned())
}
