//! Who may come in, and who may not: bulk registration tokens, blocks.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use cmg_api::text::Duration;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::gateways::{demand_free, write_secret};
use crate::resources::List;
use crate::server::{Request, Server};
use crate::table::{Column, Form, time};
use crate::told::Told;

const TOKENS: &[Column] = &[
    Column("ID", "id", Form::Plain),
    Column("STATE", "state", Form::Plain),
    Column("ENDS", "expires_at", Form::Time),
    Column("USES", "uses", Form::Plain),
    Column("OF", "max_uses", Form::Plain),
    Column("NETWORK", "network", Form::Plain),
    Column("NOTE", "note", Form::Plain),
];

const BLOCKS: &[Column] = &[
    Column("ID", "id", Form::Plain),
    Column("KIND", "kind", Form::Plain),
    Column("VALUE", "value", Form::Plain),
    Column("ISSUER", "issuer", Form::Plain),
    Column("AT", "created_at", Form::Time),
    Column("BY", "created_by", Form::Plain),
    Column("NOTE", "note", Form::Plain),
];

/// What is done with bulk registration tokens.
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// List them
    List {
        /// How many at most; else all
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
    },
    /// Show one by its id
    Show {
        /// Its id
        id: String,
    },
    /// Make one; it is shown this once
    New(NewToken),
    /// Refuse one everywhere
    Block {
        /// Its id
        id: String,
    },
    /// Lift the block of one
    Unblock {
        /// Its id
        id: String,
    },
}

/// A new bulk registration token.
#[derive(Debug, Args)]
pub struct NewToken {
    /// How long it counts, such as 12h or 3d, at most 7d; else 3d
    #[arg(long, value_name = "TIME", value_parser = Duration::parse)]
    lifetime: Option<Duration>,
    /// How many registrations it is good for; else any number
    #[arg(long, value_name = "N")]
    max_uses: Option<u64>,
    /// From which network it is good; else from any
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// What for
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Where it is written: a new file, mode 0600; else to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What is done with blocks.
#[derive(Debug, Subcommand)]
pub enum BlockVerb {
    /// List them
    List(List),
    /// Show one by its id
    Show {
        /// Its id
        id: String,
    },
    /// Refuse a certificate, a token or a client everywhere, or an identity where clients register
    #[command(alias = "new")]
    Add(NewBlock),
    /// Lift a block
    Remove {
        /// Its id
        id: String,
        /// Judge everything and store nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// What is blocked.
#[derive(Debug, Args)]
pub struct NewBlock {
    #[command(flatten)]
    what: Blocked,
    /// The issuer of the serial number; else any
    #[arg(long, value_name = "NAME", conflicts_with_all = ["thumbprint", "token", "client", "identity"])]
    issuer: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Judge everything and store nothing
    #[arg(long)]
    dry_run: bool,
}

/// One of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Blocked {
    /// A certificate by its SHA-1 or SHA-256
    #[arg(long, value_name = "HEX")]
    thumbprint: Option<String>,
    /// A certificate by its serial number
    #[arg(long, value_name = "HEX")]
    serial: Option<String>,
    /// A token by its id
    #[arg(long, value_name = "ID")]
    token: Option<String>,
    /// A client by its id, with its certificates and tokens
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Whoever would register as this: KIND/NAME, as `cmg device show` has it
    #[arg(long, value_name = "KIND/NAME")]
    identity: Option<String>,
}

pub(crate) async fn token(verb: TokenVerb, server: &Server) -> Result<Told, Failure> {
    let all = "bulk-tokens";
    match verb {
        TokenVerb::List { limit } => Ok(Told::list(server.list(&[all], &[], "after", limit).await?, TOKENS)),
        TokenVerb::Show { id } => Ok(Told::thing(server.ask(Request::get(&[all, &id])).await?.body)),
        TokenVerb::New(new) => new_token(&new, server).await,
        TokenVerb::Block { id } => {
            let reply = server.ask(Request::act(&[all, &id, "block"])).await?;
            Ok(Told::note(format!("Blocked token {id}")).value(reply.body))
        }
        TokenVerb::Unblock { id } => {
            let reply = server.ask(Request::act(&[all, &id, "unblock"])).await?;
            Ok(Told::note(format!("Lifted the block of token {id}")).value(reply.body))
        }
    }
}

async fn new_token(new: &NewToken, server: &Server) -> Result<Told, Failure> {
    if let Some(out) = &new.out {
        demand_free(out)?;
    }
    let minutes = new.lifetime.map(|lifetime| lifetime.time().as_secs().div_ceil(60));
    let body = written(&[
        ("lifetime", minutes.map(Value::from)),
        ("max_uses", new.max_uses.map(Value::from)),
        ("network", new.network.clone().map(Value::from)),
        ("note", new.note.clone().map(Value::from)),
    ]);
    let made = server.ask(Request::post(&["bulk-tokens"], body)).await?.body;
    let note = format!(
        "Made token {}, which ends {}; it is shown this once",
        made["id"].as_str().unwrap_or(""),
        time(&made["expires_at"]).unwrap_or_default()
    );
    secret(made, new.out.as_deref(), note)
}

/// A secret that is shown once: into a file, or to standard output.
pub(crate) fn secret(mut made: Value, out: Option<&std::path::Path>, note: String) -> Result<Told, Failure> {
    let token = made["token"].as_str().unwrap_or("").to_owned();
    let Some(out) = out else { return Ok(Told::words(made, token).and_note(note)) };
    write_secret(out, &token)?;
    // What went into the file does not go into the log of a script too.
    if let Some(fields) = made.as_object_mut() {
        fields.remove("token");
        fields.insert("file".to_owned(), json!(out));
    }
    Ok(Told::note(note).value(made))
}

pub(crate) async fn block(verb: BlockVerb, server: &Server) -> Result<Told, Failure> {
    let (all, path) = ("blocks", ["blocks"]);
    match verb {
        BlockVerb::List(List { search, limit }) => {
            Ok(Told::list(server.list(&[all], &[("search", search)], "after", limit).await?, BLOCKS))
        }
        BlockVerb::Show { id } => Ok(Told::thing(server.ask(Request::get(&[all, &id])).await?.body)),
        BlockVerb::Add(new) => {
            let Blocked { thumbprint, serial, token, client, identity } = new.what;
            let named = [("thumbprint", thumbprint), ("serial", serial), ("token", token), ("client", client), ("identity", identity)];
            let own = [("issuer", new.issuer), ("note", new.note)];
            let fields: Vec<_> = named.into_iter().chain(own).map(|(key, value)| (key, value.map(Value::from))).collect();
            let request = Request::post(&path, written(&fields)).query("dry_run", new.dry_run.then_some(true));
            let block = server.ask(request).await?.body;
            let id = block["id"].as_str().unwrap_or("");
            let what = if new.dry_run { "Would block".to_owned() } else { format!("Block {id}:") };
            let note = format!("{what} {} {}", block["kind"].as_str().unwrap_or(""), block["value"].as_str().unwrap_or(""));
            Ok(Told::note(note).value(block))
        }
        BlockVerb::Remove { id, dry_run } => {
            let reply = server.ask(Request::delete(&[all, &id]).query("dry_run", dry_run.then_some(true))).await?;
            Ok(Told::note(format!("{} block {id}", if dry_run { "Would lift" } else { "Lifted" })).value(reply.body))
        }
    }
}

/// The fields that are written.
pub(crate) fn written(fields: &[(&str, Option<Value>)]) -> Value {
    let written = fields.iter().filter_map(|(key, value)| Some(((*key).to_owned(), value.clone()?)));
    Value::Object(written.collect::<Map<_, _>>())
}
