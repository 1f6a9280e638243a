//! What all kinds of resource have: list, show, new, set, remove, and the keys that can be written.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::fields::{Fields, without_nothing};
use crate::kinds::Kind;
use crate::server::{Reply, Request, Server};
use crate::told::Told;

/// What is done with a resource.
#[derive(Debug, Subcommand)]
pub enum Verb {
    #[command(flatten)]
    Look(Look),
    /// Add one
    New(Written),
    /// Change one: what is named is replaced, what is not stays
    Set(Changed),
}

/// What needs no fields.
#[derive(Debug, Subcommand)]
pub enum Look {
    /// List them
    List(List),
    /// Show one, as a file that `--file` and `apply` take
    Show {
        /// Its name
        name: String,
    },
    /// Remove one
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        guard: Guard,
    },
    /// List the keys that new and set take
    Keys,
}

/// Which of a list.
#[derive(Debug, Default, Args)]
pub struct List {
    /// Only names that contain this
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// How many at most; else all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
}

/// A new resource.
#[derive(Debug, Args)]
pub struct Written {
    /// Its name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) fields: Fields,
    /// Judge everything and store nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A changed resource.
#[derive(Debug, Args)]
pub struct Changed {
    /// Its name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) fields: Fields,
    #[command(flatten)]
    pub(crate) guard: Guard,
}

/// When a change counts.
#[derive(Debug, Default, Args)]
pub struct Guard {
    /// Only if it still has this version
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<u64>,
    /// Judge everything and store nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A resource as it is, and its version.
pub(crate) struct Present {
    pub(crate) fields: Map<String, Value>,
    pub(crate) version: u64,
}

pub(crate) async fn verb(kind: Kind, verb: Verb, server: &Server) -> Result<Told, Failure> {
    match verb {
        Verb::Look(verb) => look(kind, verb, server).await,
        Verb::New(written) => {
            let mut fields = Map::new();
            written.fields.onto(&(kind.schema)(), &mut fields)?;
            add(kind, &written, fields, server).await
        }
        Verb::Set(changed) => {
            demand_something(changed.fields.is_empty())?;
            change(kind, &changed.name, &changed.guard, server, |fields| changed.fields.onto(&(kind.schema)(), fields)).await
        }
    }
}

pub(crate) async fn look(kind: Kind, look: Look, server: &Server) -> Result<Told, Failure> {
    match look {
        Look::List(List { search, limit }) => {
            Ok(Told::list(server.list(&[kind.plural], &[("search", search)], "after", limit).await?, kind.columns))
        }
        Look::Show { name } => Ok(Told::thing(server.ask(Request::get(&[kind.plural, &name])).await?.body)),
        Look::Remove { name, guard } => remove(kind, &name, &guard, server).await,
        Look::Keys => Ok(keys(kind)),
    }
}

/// Adds a resource of these fields.
pub(crate) async fn add(kind: Kind, written: &Written, mut fields: Map<String, Value>, server: &Server) -> Result<Told, Failure> {
    let name = named(&mut fields, &written.name)?;
    fields.remove("version");
    let path = [kind.plural];
    let request = Request::post(&path, Value::Object(fields)).query("dry_run", written.dry_run.then_some(true));
    let reply = server.ask(request).await;
    let reply = reply.map_err(|failure| failure.hint(409, || format!("change the one that there is by `cmg {} set {name}`", kind.name)))?;
    Ok(done("Added", kind, &name, written.dry_run, reply))
}

/// Reads a resource, changes it, and puts it in the place of what was read and of nothing else.
pub(crate) async fn change(
    kind: Kind,
    name: &str,
    guard: &Guard,
    server: &Server,
    change: impl FnOnce(&mut Map<String, Value>) -> Result<(), Failure>,
) -> Result<Told, Failure> {
    let Present { mut fields, version } = present(kind, name, server).await?;
    change(&mut fields)?;
    named(&mut fields, name)?;
    let path = [kind.plural, name];
    let request = Request::put(&path, Value::Object(fields)).version(Some(guard.version.unwrap_or(version)));
    let reply = server.ask(request.query("dry_run", guard.dry_run.then_some(true))).await.map_err(|failure| stale(failure, kind, name))?;
    let is_changed = reply.body["version"].as_u64() != Some(version);
    Ok(done(if is_changed { "Changed" } else { "Nothing to change in" }, kind, name, guard.dry_run, reply))
}

/// A resource as it is, without what is only shown beside it.
pub(crate) async fn present(kind: Kind, name: &str, server: &Server) -> Result<Present, Failure> {
    let body = server.ask(Request::get(&[kind.plural, name])).await?.body;
    let version = body["version"].as_u64().unwrap_or_default();
    let Value::Object(mut fields) = body else { return Err(Failure::Failed(format!("the site server shows no {} {name}", kind.name))) };
    fields.remove("version");
    fields.retain(|_, value| !value.is_null());
    fields.values_mut().for_each(without_nothing);
    if kind.name == crate::kinds::CERTIFICATE.name {
        // What is sent of a certificate differs from what is shown.
        let schema = (kind.schema)();
        fields.retain(|key, _| schema.knows(key));
    }
    Ok(Present { fields, version })
}

pub(crate) fn demand_something(is_nothing: bool) -> Result<(), Failure> {
    if is_nothing { Err(Failure::Usage("nothing to change: write KEY=VALUE or name a file".to_owned())) } else { Ok(()) }
}

async fn remove(kind: Kind, name: &str, guard: &Guard, server: &Server) -> Result<Told, Failure> {
    let path = [kind.plural, name];
    let request = Request::delete(&path).version(guard.version).query("dry_run", guard.dry_run.then_some(true));
    let reply = server.ask(request).await.map_err(|failure| stale(failure, kind, name))?;
    Ok(done("Removed", kind, name, guard.dry_run, reply))
}

/// The name on the command line is the name; a file may say the same.
fn named(fields: &mut Map<String, Value>, name: &str) -> Result<String, Failure> {
    match fields.insert("name".to_owned(), json!(name)) {
        Some(other) if other != name => {
            Err(Failure::Usage(format!("the name is {name} here and {other} in the keys; a name does not change")))
        }
        _ => Ok(name.to_owned()),
    }
}

fn stale(failure: Failure, kind: Kind, name: &str) -> Failure {
    failure.hint(412, || format!("nothing was changed; look at it by `cmg {} show {name}`, and try again", kind.name))
}

fn done(what: &str, kind: Kind, name: &str, dry_run: bool, reply: Reply) -> Told {
    let note = match (dry_run, reply.generation) {
        (true, _) => format!("Would do: {} {} {name}", what.to_lowercase(), kind.name),
        (false, Some(generation)) => format!("{what} {} {name}, generation {generation}", kind.name),
        (false, None) => format!("{what} {} {name}", kind.name),
    };
    Told::note(note).value(reply.body)
}

fn keys(kind: Kind) -> Told {
    let keys = (kind.schema)().keys();
    let value = keys.iter().map(|key| json!({"key": key.path, "type": key.kind, "needed": key.needed, "what": key.what})).collect();
    let text =
        keys.into_iter().map(|key| format!("{} ({}{})\n    {}\n", key.path, key.kind, if key.needed { ", needed" } else { "" }, key.what));
    Told::words(Value::Array(value), text.collect())
}
