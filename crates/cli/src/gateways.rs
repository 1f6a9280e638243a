//! Gateways, connection points and management points: start, stop, enrolment, and how their members do.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::kinds::{CONNECTION_POINT, GATEWAY, Kind, MANAGEMENT_POINT};
use crate::resources::{self, Changed, Guard, Look, Verb, Written};
use crate::server::{Request, Server};
use crate::session::new_secret;
use crate::status;
use crate::table::time;
use crate::told::Told;

/// What is done with gateways.
#[derive(Debug, Subcommand)]
pub enum GatewayVerb {
    #[command(flatten)]
    Look(Look),
    /// Add one
    New(Written),
    /// Change one: what is named is replaced, what is not stays
    Set(Changed),
    /// Let clients in
    Start {
        /// Its name
        name: String,
    },
    /// Refuse every client, and keep the instances
    Stop {
        /// Its name
        name: String,
    },
    /// Make the one-time code by which an instance is enrolled
    Enrol {
        /// The gateway
        gateway: String,
        /// The instance
        instance: String,
        /// Where the code is written: a new file, mode 0600
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Tell which generation its instances run
    Status {
        /// Its name
        name: String,
    },
}

/// What is done with connection points and management points.
#[derive(Debug, Subcommand)]
pub enum PointVerb {
    #[command(flatten)]
    Common(Verb),
    /// Make the one-time code by which it is enrolled
    Enrol {
        /// Its name
        name: String,
        /// Where the code is written: a new file, mode 0600
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

pub(crate) async fn gateway(verb: GatewayVerb, server: &Server) -> Result<Told, Failure> {
    match verb {
        GatewayVerb::Look(look) => resources::look(GATEWAY, look, server).await,
        GatewayVerb::New(written) => resources::verb(GATEWAY, Verb::New(written), server).await,
        GatewayVerb::Set(changed) => resources::verb(GATEWAY, Verb::Set(changed), server).await,
        GatewayVerb::Start { name } => run(&name, true, server).await,
        GatewayVerb::Stop { name } => run(&name, false, server).await,
        GatewayVerb::Enrol { gateway, instance, out } => {
            let path = [GATEWAY.plural, &gateway, "instances", &instance, "enrolment-code"];
            enrol(&path, &format!("gateway instance {instance}"), &out, server).await
        }
        GatewayVerb::Status { name } => status::of_gateway(&name, server).await,
    }
}

pub(crate) async fn connection_point(verb: PointVerb, server: &Server) -> Result<Told, Failure> {
    point(CONNECTION_POINT, "connection point", verb, server).await
}

pub(crate) async fn management_point(verb: PointVerb, server: &Server) -> Result<Told, Failure> {
    point(MANAGEMENT_POINT, "management point", verb, server).await
}

async fn point(kind: Kind, words: &str, verb: PointVerb, server: &Server) -> Result<Told, Failure> {
    match verb {
        PointVerb::Common(verb) => resources::verb(kind, verb, server).await,
        PointVerb::Enrol { name, out } => enrol(&[kind.plural, &name, "enrolment-code"], &format!("{words} {name}"), &out, server).await,
    }
}

async fn run(name: &str, running: bool, server: &Server) -> Result<Told, Failure> {
    resources::change(GATEWAY, name, &Guard::default(), server, |fields| {
        fields.insert("running".to_owned(), json!(running));
        Ok(())
    })
    .await
}

async fn enrol(path: &[&str], whose: &str, out: &Path, server: &Server) -> Result<Told, Failure> {
    demand_free(out)?;
    let reply = server.ask(Request::act(path)).await?;
    let file = reply.body["file"].as_str().unwrap_or("");
    write_secret(out, file)?;
    let ends = time(&reply.body["ends"]).unwrap_or_default();
    let shown = json!({"file": out, "ends": reply.body["ends"]});
    let note = format!("The code of {whose} is in {}; it counts once, until {ends}", out.display());
    Ok(Told::note(note).value(shown))
}

/// Nothing that exists is written over, and no secret is asked for that could not be written.
pub(crate) fn demand_free(out: &Path) -> Result<(), Failure> {
    if out.exists() {
        return Err(Failure::file("--out", format!("{} exists", out.display()), "name a new file, or remove that one"));
    }
    Ok(())
}

/// Writes a secret that is shown once.
pub(crate) fn write_secret(out: &Path, text: &str) -> Result<(), Failure> {
    new_secret(out, text).map_err(|error| Failure::failed(format_args!("{} cannot be written", out.display()), &error))
}

/// The names of the instances of a gateway, as it is shown.
pub(crate) fn instances(gateway: &Value) -> Vec<String> {
    let instances = gateway["instances"].as_array().map_or(&[][..], Vec::as_slice);
    instances.iter().filter_map(|instance| instance["name"].as_str().map(|name| format!("gateway/{name}"))).collect()
}
