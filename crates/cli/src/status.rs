//! How the site does: which generation runs where, what was changed, what will need somebody.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use cmg_api::text::Duration;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::gateways::instances;
use crate::kinds::GATEWAY;
use crate::server::{Request, Server};
use crate::table::{Column, Form, Table, plain};
use crate::told::Told;

const MEMBERS: &[Column] = &[
    Column("MEMBER", "member", Form::Plain),
    Column("STATE", "state", Form::Plain),
    Column("RUNS", "applied", Form::Plain),
    Column("LAGS SINCE", "lags_since", Form::Time),
    Column("WHY", "why", Form::Plain),
    Column("FINDINGS", "findings", Form::Plain),
];

const RECORDS: &[Column] = &[
    Column("ID", "id", Form::Plain),
    Column("AT", "at", Form::Time),
    Column("ACCOUNT", "account", Form::Plain),
    Column("FROM", "address", Form::Plain),
    Column("ACTION", "action", Form::Plain),
    Column("KIND", "kind", Form::Plain),
    Column("NAME", "name", Form::Plain),
];

const WARNINGS: &[Column] = &[
    Column("SINCE", "since", Form::Time),
    Column("KIND", "kind", Form::Plain),
    Column("SUBJECT", "subject", Form::Plain),
    Column("WHAT", "what", Form::Plain),
];

/// What is done with audit records.
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// List them, newest first
    List(AuditList),
}

/// Which audit records.
#[derive(Debug, Args)]
pub struct AuditList {
    /// Only what this account did
    #[arg(long)]
    account: Option<String>,
    /// Only what was done to this kind, such as endpoint
    #[arg(long)]
    kind: Option<String>,
    /// Only what was done to the thing of this name
    #[arg(long)]
    name: Option<String>,
    /// Only what was done since then: seconds since 1970, or a time ago such as 24h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

/// What is done with warnings.
#[derive(Debug, Subcommand)]
pub enum WarningVerb {
    /// List them
    List,
}

pub(crate) async fn status(server: &Server) -> Result<Told, Failure> {
    let body = server.ask(Request::get(&["status"])).await?.body;
    let members = body["members"].as_array().cloned().unwrap_or_default();
    let heading = body["summary"].as_str().map(|summary| first_upper(&plain(summary))).unwrap_or_default();
    Ok(Told::table(body, Table::of(MEMBERS, &members)).below(heading))
}

/// The members of one gateway.
pub(crate) async fn of_gateway(name: &str, server: &Server) -> Result<Told, Failure> {
    let gateway = server.ask(Request::get(&[GATEWAY.plural, name])).await?.body;
    let body = server.ask(Request::get(&["status"])).await?.body;
    let own = instances(&gateway);
    let is_own = |member: &&Value| member["member"].as_str().is_some_and(|member| own.iter().any(|name| name == member));
    let members: Vec<Value> = body["members"].as_array().map_or(&[][..], Vec::as_slice).iter().filter(is_own).cloned().collect();
    let lagging = members.iter().filter(|member| member["lags"] == true).count();
    let generation = body["generation"].as_str().unwrap_or("");
    let heading = match (lagging, gateway["running"] == false) {
        (_, true) => format!("Gateway {name} is stopped"),
        (0, _) => format!("Generation {generation} at every instance of {name}"),
        _ => format!("{lagging} of {} instances of {name} do not run generation {generation}", members.len()),
    };
    let table = Table::of(MEMBERS, &members);
    Ok(Told::table(json!({"generation": generation, "running": gateway["running"], "members": members}), table).below(heading))
}

pub(crate) async fn audit(verb: AuditVerb, server: &Server) -> Result<Told, Failure> {
    let AuditVerb::List(AuditList { account, kind, name, since, limit }) = verb;
    let since = since.map(|text| moment(&text)).transpose()?;
    let query = [("account", account), ("kind", kind), ("name", name), ("since", since)];
    Ok(Told::list(server.list(&["audit"], &query, "before", Some(limit)).await?, RECORDS))
}

pub(crate) async fn warning(verb: WarningVerb, server: &Server) -> Result<Told, Failure> {
    let WarningVerb::List = verb;
    let body = server.ask(Request::get(&["warnings"])).await?.body;
    Ok(Told::list(body, WARNINGS))
}

/// A moment in seconds since 1970, out of that number or a time ago.
fn moment(text: &str) -> Result<String, Failure> {
    if text.parse::<u64>().is_ok() {
        return Ok(text.to_owned());
    }
    let wrong = || Failure::Usage(format!("--since: `{text}` is no time: write seconds since 1970, or a time ago such as 24h"));
    let ago = match text.strip_suffix('d') {
        Some(days) => days.parse().ok().and_then(|days: u64| days.checked_mul(86_400)).ok_or_else(wrong)?,
        None => Duration::parse(text).map_err(|_| wrong())?.time().as_secs(),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(now.saturating_sub(ago).to_string())
}

fn first_upper(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_number_or_a_time_ago() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let ago = |text| now - moment(text).unwrap_or_default().parse::<u64>().unwrap();

        assert_eq!(moment("1700000000").unwrap_or_default(), "1700000000");
        assert!((86_399..=86_401).contains(&ago("1d")) && (7_199..=7_201).contains(&ago("2h")));
        assert!(moment("yesterday").is_err() && moment("-1d").is_err());
    }
}
