//! Clients, and the certificates that the site has issued.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::failure::Failure;
use crate::fields::contents;
use crate::gateways::{demand_free, write_secret};
use crate::server::{Request, Server};
use crate::table::{Column, Form};
use crate::told::Told;

const CLIENTS: &[Column] = &[
    Column("ID", "id", Form::Plain),
    Column("NAME", "name", Form::Plain),
    Column("IDENTITY", "identity", Form::Plain),
    Column("STATE", "state", Form::Plain),
    Column("SINCE", "created_at", Form::Time),
    Column("SEEN", "last_seen_at", Form::Time),
];

const TOKENS: &[Column] = &[
    Column("ID", "id", Form::Plain),
    Column("ISSUED", "issued_at", Form::Time),
    Column("ENDS", "expires_at", Form::Time),
    Column("BLOCKED", "blocked", Form::Plain),
];

const ISSUED: &[Column] = &[
    Column("SERIAL", "serial", Form::Plain),
    Column("AUTHORITY", "authority", Form::Plain),
    Column("SUBJECT", "subject", Form::Plain),
    Column("PURPOSE", "purpose", Form::Plain),
    Column("ENDS", "not_after", Form::Time),
    Column("REVOKED", "revoked_at", Form::Time),
];

/// What is done with clients.
#[derive(Debug, Subcommand)]
pub enum ClientVerb {
    /// List them
    List(ClientList),
    /// Show one by its id
    Show {
        /// Its id
        id: String,
    },
    /// Register one by what it can show, before it comes by itself
    New(NewClient),
    /// List the tokens of one
    Tokens {
        /// Its id
        id: String,
    },
    /// Issue a certificate to one, by the site's own authority
    Certificate {
        /// Its id
        id: String,
        /// A request for it by the client's own key, ECDSA P-256: PKCS#10, PEM
        #[arg(long, value_name = "FILE")]
        csr: PathBuf,
        /// How many days it lasts; else 90
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=90))]
        days: Option<u32>,
        /// A new file for the certificate and its issuer, PEM
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Let one count that waits
    Approve {
        /// Its id
        id: String,
    },
    /// Refuse one everywhere, with its certificates and tokens
    Block {
        /// Its id
        id: String,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
    },
    /// Lift the block of one
    Unblock {
        /// Its id
        id: String,
    },
    /// Remove one; what it can show stays blocked
    Remove {
        /// Its id
        id: String,
    },
}

/// A client that an administrator registers.
#[derive(Debug, Args)]
pub struct NewClient {
    /// What it calls itself
    name: String,
    /// How it proves who it is
    #[arg(long, value_name = "KIND", value_parser = ["key", "certificate", "entra-device", "bulk-token"])]
    identity_kind: String,
    /// Who it is proven to be; else its name
    #[arg(long, value_name = "TEXT")]
    identity: Option<String>,
    /// SHA-256 thumbprint of its key (RFC 7638), base64 for URLs
    #[arg(long, value_name = "THUMBPRINT")]
    key_thumbprint: String,
    /// Let it count at once; else it waits for approval
    #[arg(long)]
    approved: bool,
}

/// Which clients.
#[derive(Debug, Args)]
pub struct ClientList {
    /// Only those whose name, identity or id contains this
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = ["pending", "approved", "blocked"])]
    state: Option<String>,
    /// How many at most; else all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// What is done with certificates that the site has issued.
#[derive(Debug, Subcommand)]
pub enum IssuedVerb {
    /// List them
    List {
        /// Only those of this authority
        #[arg(long, value_parser = ["infrastructure", "clients"])]
        authority: Option<String>,
        /// Only those whose subject contains this
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// How many at most; else all
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
    },
    /// Show one by its serial number
    Show {
        /// Its serial number
        serial: String,
    },
    /// Revoke one: a member enrols again, a client is refused
    Revoke {
        /// Its serial number
        serial: String,
    },
}

pub(crate) async fn client(verb: ClientVerb, server: &Server) -> Result<Told, Failure> {
    let all = "clients";
    match verb {
        ClientVerb::List(ClientList { search, state, limit }) => {
            Ok(Told::list(server.list(&[all], &[("search", search), ("state", state)], "after", limit).await?, CLIENTS))
        }
        ClientVerb::New(NewClient { name, identity_kind, identity, key_thumbprint, approved }) => {
            let body = json!({
                "name": name, "identity_kind": identity_kind, "identity": identity,
                "key_thumbprint": key_thumbprint, "approved": approved,
            });
            let made = server.ask(Request::post(&[all], body)).await?.body;
            let note = format!("Registered client {}", made["id"].as_str().unwrap_or_default());
            Ok(Told::note(note).value(made))
        }
        ClientVerb::Show { id } => Ok(Told::thing(server.ask(Request::get(&[all, &id])).await?.body)),
        ClientVerb::Tokens { id } => Ok(Told::list(server.ask(Request::get(&[all, &id, "tokens"])).await?.body, TOKENS)),
        ClientVerb::Certificate { id, csr, days, out } => {
            demand_free(&out)?;
            let body = json!({ "csr": contents("csr", &csr)?, "days": days });
            let made = server.ask(Request::post(&[all, &id, "certificates"], body)).await?.body;
            write_secret(&out, made["chain"].as_str().unwrap_or_default())?;
            let serial = made["serial"].as_str().unwrap_or_default();
            let note = format!("Issued certificate {serial} to client {id}; it is in {}", out.display());
            Ok(Told::note(note).value(made))
        }
        ClientVerb::Approve { id } => act("Approved", &id, Request::act(&[all, &id, "approve"]), server).await,
        ClientVerb::Block { id, note } => act("Blocked", &id, Request::post(&[all, &id, "block"], json!({"note": note})), server).await,
        ClientVerb::Unblock { id } => act("Lifted the block of", &id, Request::act(&[all, &id, "unblock"]), server).await,
        ClientVerb::Remove { id } => act("Removed", &id, Request::delete(&[all, &id]), server).await,
    }
}

async fn act(what: &str, id: &str, request: Request<'_>, server: &Server) -> Result<Told, Failure> {
    let reply = server.ask(request).await?;
    Ok(Told::note(format!("{what} client {id}")).value(reply.body))
}

pub(crate) async fn issued(verb: IssuedVerb, server: &Server) -> Result<Told, Failure> {
    let all = "issued-certificates";
    match verb {
        IssuedVerb::List { authority, search, limit } => {
            Ok(Told::list(server.list(&[all], &[("authority", authority), ("search", search)], "after", limit).await?, ISSUED))
        }
        IssuedVerb::Show { serial } => Ok(Told::thing(server.ask(Request::get(&[all, &serial])).await?.body)),
        IssuedVerb::Revoke { serial } => {
            let reply = server.ask(Request::act(&[all, &serial, "revoke"])).await?;
            Ok(Told::note(format!("Revoked certificate {serial}")).value(reply.body))
        }
    }
}
