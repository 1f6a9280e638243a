//! Devices, and the certificates that the site has issued.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::failure::Failure;
use crate::fields::contents;
use crate::gateways::{demand_free, write_secret};
use crate::server::{Request, Server};
use crate::table::{Column, Form};
use crate::told::Told;

const DEVICES: &[Column] = &[
    Column("ID", "id", Form::Plain),
    Column("NAME", "name", Form::Plain),
    Column("IDENTITY", "identity", Form::Plain),
    Column("STATE", "state", Form::Plain),
    Column("ONLINE THROUGH", "online.through", Form::Plain),
    Column("SEEN", "last_seen_at", Form::Time),
    Column("VERSION", "heartbeat.client_version", Form::Plain),
    Column("OS", "heartbeat.os", Form::Plain),
];

const MESSAGES: &[Column] = &[
    Column("NUMBER", "number", Form::Plain),
    Column("KIND", "kind", Form::Plain),
    Column("RECEIVED", "received_at", Form::Time),
    Column("THROUGH", "through", Form::Plain),
    Column("ID", "id", Form::Plain),
    Column("TEXT", "body.text", Form::Plain),
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

/// What is done with devices.
#[derive(Debug, Subcommand)]
pub enum DeviceVerb {
    /// List them
    List(DeviceList),
    /// Show one by its id
    Show {
        /// Its id
        id: String,
    },
    /// Register one by what it can show, before it comes by itself
    New(NewDevice),
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
        /// Block what it came by too: the bulk registration token, or the user, device or certificate name
        #[arg(long)]
        origin: bool,
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
    /// Show the latest inventory of one
    Inventory {
        /// Its id
        id: String,
    },
    /// List what one has sent, the latest first
    Messages {
        /// Its id
        id: String,
        /// How many at most; else all
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
    },
    /// Ask one to send a heartbeat
    Ping {
        /// Its id
        id: String,
    },
    /// Ask one to get its policy now
    Policy {
        /// Its id
        id: String,
    },
    /// Ask one to send its inventory now
    InventoryNow {
        /// Its id
        id: String,
    },
    /// Ask one to evaluate anew where it is
    Locate {
        /// Its id
        id: String,
    },
}

/// A device that an administrator registers.
#[derive(Debug, Args)]
pub struct NewDevice {
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

/// Which devices.
#[derive(Debug, Args)]
pub struct DeviceList {
    /// Only those whose name, identity or id contains this
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = ["pending", "approved", "blocked"])]
    state: Option<String>,
    /// Only those that prove themselves so
    #[arg(long, value_name = "KIND", value_parser = ["certificate", "bulk-token", "entra-device", "oidc-user", "key"])]
    identity: Option<String>,
    /// Only those that are online
    #[arg(long, conflicts_with = "offline")]
    online: bool,
    /// Only those that are not online
    #[arg(long)]
    offline: bool,
    /// Only those that are online through this: intranet, cmg, ibcm, cmg/NAME or ibcm/NAME
    #[arg(long, value_name = "WAY")]
    through: Option<String>,
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

pub(crate) async fn device(verb: DeviceVerb, server: &Server) -> Result<Told, Failure> {
    let all = "devices";
    match verb {
        DeviceVerb::List(list) => {
            let online = (list.online || list.offline).then(|| list.online.to_string());
            let query = [
                ("search", list.search),
                ("state", list.state),
                ("identity", list.identity),
                ("online", online),
                ("through", list.through),
            ];
            Ok(Told::list(server.list(&[all], &query, "after", list.limit).await?, DEVICES))
        }
        DeviceVerb::New(NewDevice { name, identity_kind, identity, key_thumbprint, approved }) => {
            let body = json!({
                "name": name, "identity_kind": identity_kind, "identity": identity,
                "key_thumbprint": key_thumbprint, "approved": approved,
            });
            let made = server.ask(Request::post(&[all], body)).await?.body;
            let note = format!("Registered device {}", made["id"].as_str().unwrap_or_default());
            Ok(Told::note(note).value(made))
        }
        DeviceVerb::Show { id } => Ok(Told::thing(server.ask(Request::get(&[all, &id])).await?.body)),
        DeviceVerb::Tokens { id } => Ok(Told::list(server.ask(Request::get(&[all, &id, "tokens"])).await?.body, TOKENS)),
        DeviceVerb::Certificate { id, csr, days, out } => {
            demand_free(&out)?;
            let body = json!({ "csr": contents("csr", &csr)?, "days": days });
            let made = server.ask(Request::post(&[all, &id, "certificates"], body)).await?.body;
            write_secret(&out, made["chain"].as_str().unwrap_or_default())?;
            let serial = made["serial"].as_str().unwrap_or_default();
            let note = format!("Issued certificate {serial} to device {id}; it is in {}", out.display());
            Ok(Told::note(note).value(made))
        }
        DeviceVerb::Approve { id } => act("Approved", &id, Request::act(&[all, &id, "approve"]), server).await,
        DeviceVerb::Block { id, note, origin } => {
            act("Blocked", &id, Request::post(&[all, &id, "block"], json!({"note": note, "origin": origin})), server).await
        }
        DeviceVerb::Unblock { id } => act("Lifted the block of", &id, Request::act(&[all, &id, "unblock"]), server).await,
        DeviceVerb::Remove { id } => act("Removed", &id, Request::delete(&[all, &id]), server).await,
        DeviceVerb::Inventory { id } => Ok(Told::thing(server.ask(Request::get(&[all, &id, "inventory"])).await?.body)),
        DeviceVerb::Messages { id, limit } => Ok(Told::list(server.list(&[all, &id, "messages"], &[], "before", limit).await?, MESSAGES)),
        DeviceVerb::Ping { id } => asked(&id, "ping", server).await,
        DeviceVerb::Policy { id } => asked(&id, "policy", server).await,
        DeviceVerb::InventoryNow { id } => asked(&id, "inventory-now", server).await,
        DeviceVerb::Locate { id } => asked(&id, "locate", server).await,
    }
}

/// Asks a device to do something, and says whether it hears of it at once.
async fn asked(id: &str, what: &str, server: &Server) -> Result<Told, Failure> {
    let reply = server.ask(Request::act(&["devices", id, what])).await?.body;
    let when = match reply["through"].as_str() {
        Some(through) => format!("it is online through {through}"),
        None => "it is not online: it is told when it comes, within a day".to_owned(),
    };
    Ok(Told::note(format!("Asked device {id}, and {when}")).value(reply))
}

async fn act(what: &str, id: &str, request: Request<'_>, server: &Server) -> Result<Told, Failure> {
    let reply = server.ask(request).await?;
    Ok(Told::note(format!("{what} device {id}")).value(reply.body))
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
