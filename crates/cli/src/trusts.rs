//! Trusts: their authorities and revocation lists from files.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::fields::contents;
use crate::kinds::TRUST;
use crate::resources::{self, Changed, Look, Written, demand_something};
use crate::server::{Request, Server};
use crate::table::{Column, Form};
use crate::told::Told;

const LISTS: &[Column] = &[
    Column("SOURCE", "source", Form::Plain),
    Column("STATE", "state", Form::Plain),
    Column("MADE", "this_update", Form::Time),
    Column("NEXT", "next_update", Form::Time),
    Column("FETCHED", "fetched_at", Form::Time),
    Column("ERROR", "error", Form::Plain),
];

const AUTHORITIES: &[Column] = &[
    Column("KIND", "kind", Form::Plain),
    Column("THUMBPRINT", "thumbprint", Form::Plain),
    Column("SUBJECT", "subject", Form::Plain),
    Column("ISSUER", "issuer", Form::Plain),
    Column("ENDS", "not_after", Form::Time),
];

/// What is done with trusts.
#[derive(Debug, Subcommand)]
pub enum TrustVerb {
    #[command(flatten)]
    Look(Look),
    /// Add one
    New {
        #[command(flatten)]
        written: Written,
        #[command(flatten)]
        files: Authorities,
    },
    /// Change one: what is named is replaced, what is not stays
    Set {
        #[command(flatten)]
        changed: Changed,
        #[command(flatten)]
        files: Authorities,
    },
    /// Tell how fresh its fetched revocation lists are
    Status {
        /// Its name
        name: String,
    },
    /// List its certificates with their thumbprints
    Authorities {
        /// Its name
        name: String,
    },
    /// Add certificates to it; those that it has stay
    AddAuthority {
        /// Its name
        name: String,
        /// Certificates, PEM or DER
        file: PathBuf,
        /// They are issuing certificates that clients need not send, not roots
        #[arg(long)]
        intermediate: bool,
    },
    /// Take a certificate out of it
    RemoveAuthority {
        /// Its name
        name: String,
        /// SHA-1 or SHA-256 of the certificate, hexadecimal
        #[arg(long, value_name = "HEX")]
        thumbprint: String,
    },
    /// Fetch its revocation lists at once
    Sync {
        /// Its name
        name: String,
    },
}

/// What a trust believes.
#[derive(Debug, Args)]
pub struct Authorities {
    /// Root certificates, PEM or DER; several times for several files
    #[arg(long, value_name = "FILE")]
    authority: Vec<PathBuf>,
    /// Issuing certificates that clients need not send, PEM or DER
    #[arg(long, value_name = "FILE")]
    intermediate: Vec<PathBuf>,
    /// Revocation lists, PEM or DER
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// Where the site fetches revocation lists
    #[arg(long, value_name = "URL")]
    crl_url: Vec<String>,
}

impl Authorities {
    fn is_empty(&self) -> bool {
        self.authority.is_empty() && self.intermediate.is_empty() && self.crl.is_empty() && self.crl_url.is_empty()
    }

    fn onto(&self, fields: &mut Map<String, Value>) -> Result<(), Failure> {
        for (key, files) in [("authorities", &self.authority), ("intermediates", &self.intermediate), ("crls", &self.crl)] {
            if !files.is_empty() {
                let texts = files.iter().map(|path| contents(key, path).map(Value::String)).collect::<Result<_, _>>()?;
                fields.insert(key.to_owned(), Value::Array(texts));
            }
        }
        if !self.crl_url.is_empty() {
            fields.insert("crl_urls".to_owned(), self.crl_url.clone().into());
        }
        Ok(())
    }
}

/// What becomes of clients when a list is late: a default that must not be learnt on the day.
fn lists_note(trust: &Value) -> String {
    let set = format!("cmg trust set {} stale_crl.grace=7d", trust["name"].as_str().unwrap_or("NAME"));
    match (&trust["check_revocation"], &trust["stale_crl"]) {
        (Value::Bool(false), _) => "Revocation lists are not looked at (check_revocation is false)".to_owned(),
        (_, Value::String(word)) if word == "allow" => {
            "A revocation list that is out of date is believed for ever (stale_crl is allow)".to_owned()
        }
        (_, Value::Object(grace)) => {
            let grace = grace.get("grace").and_then(Value::as_str).unwrap_or_default();
            format!("A revocation list that is out of date is believed for {grace} (stale_crl), then whom it covers is refused")
        }
        _ => format!("Whom a revocation list covers is refused from the list's nextUpdate on (stale_crl is deny); a grace: `{set}`"),
    }
}

pub(crate) async fn verb(verb: TrustVerb, server: &Server) -> Result<Told, Failure> {
    match verb {
        TrustVerb::Look(look) => resources::look(TRUST, look, server).await,
        TrustVerb::New { written, files } => {
            let mut fields = Map::new();
            written.fields.onto(&(TRUST.schema)(), &mut fields)?;
            files.onto(&mut fields)?;
            let told = resources::add(TRUST, &written, fields, server).await?;
            let note = lists_note(told.said());
            Ok(told.and_note(note))
        }
        TrustVerb::Set { changed, files } => {
            demand_something(changed.fields.is_empty() && files.is_empty())?;
            resources::change(TRUST, &changed.name, &changed.guard, server, |fields| {
                changed.fields.onto(&(TRUST.schema)(), fields)?;
                files.onto(fields)
            })
            .await
        }
        TrustVerb::Authorities { name } => {
            Ok(Told::list(server.ask(Request::get(&[TRUST.plural, &name, "authorities"])).await?.body, AUTHORITIES))
        }
        TrustVerb::AddAuthority { name, file, intermediate } => {
            let new = json!({ "certificates": contents("authorities", &file)?, "intermediate": intermediate });
            Ok(Told::list(server.ask(Request::post(&[TRUST.plural, &name, "authorities"], new)).await?.body, AUTHORITIES))
        }
        TrustVerb::RemoveAuthority { name, thumbprint } => {
            server.ask(Request::delete(&[TRUST.plural, &name, "authorities", &thumbprint])).await?;
            Ok(Told::note(format!("Trust {name} believes {thumbprint} no more.")))
        }
        TrustVerb::Status { name } => Ok(Told::list(server.ask(Request::get(&[TRUST.plural, &name, "crls"])).await?.body, LISTS)),
        TrustVerb::Sync { name } => Ok(Told::list(server.ask(Request::act(&[TRUST.plural, &name, "sync-crls"])).await?.body, LISTS)),
    }
}
