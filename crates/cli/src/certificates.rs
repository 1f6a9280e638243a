//! Server certificates: from PEM files, out of a PFX, or from an ACME server.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::fields::contents;
use crate::kinds::CERTIFICATE;
use crate::resources::{self, Changed, Look, Written, demand_something};
use crate::server::{Request, Server};
use crate::told::Told;

/// What is done with server certificates.
#[derive(Debug, Subcommand)]
pub enum CertificateVerb {
    #[command(flatten)]
    Look(Look),
    /// Upload one, or name the ACME server that issues it
    New {
        #[command(flatten)]
        written: Written,
        #[command(flatten)]
        files: Pair,
    },
    /// Put another one in its place; no connection is dropped
    Set {
        #[command(flatten)]
        changed: Changed,
        #[command(flatten)]
        files: Pair,
    },
    /// Have its ACME server issue a new one at once
    Renew {
        /// Its name
        name: String,
    },
}

/// A certificate with its key.
#[derive(Debug, Args)]
pub struct Pair {
    /// The certificate and its issuers, PEM
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pfx", "password_file"])]
    chain: Option<PathBuf>,
    /// The private key, PEM, mode 0600
    #[arg(long, value_name = "FILE", requires = "chain")]
    key: Option<PathBuf>,
    /// Certificate, issuers and key as PKCS#12, mode 0600
    #[arg(long, value_name = "FILE", requires = "password_file")]
    pfx: Option<PathBuf>,
    /// A file with the password of the PFX in its first line, mode 0600
    #[arg(long, value_name = "FILE", requires = "pfx")]
    password_file: Option<PathBuf>,
}

impl Pair {
    fn is_empty(&self) -> bool {
        self.chain.is_none() && self.pfx.is_none()
    }

    fn onto(&self, fields: &mut Map<String, Value>) -> Result<(), Failure> {
        if !self.is_empty() {
            for key in ["chain", "key", "pfx", "password", "acme"] {
                fields.remove(key);
            }
        }
        let files = [("chain", &self.chain), ("key", &self.key), ("pfx", &self.pfx), ("password", &self.password_file)];
        for (key, path) in files {
            if let Some(path) = path {
                fields.insert(key.to_owned(), Value::String(contents(key, path)?));
            }
        }
        Ok(())
    }
}

pub(crate) async fn verb(verb: CertificateVerb, server: &Server) -> Result<Told, Failure> {
    match verb {
        CertificateVerb::Look(look) => resources::look(CERTIFICATE, look, server).await,
        CertificateVerb::New { written, files } => {
            let mut fields = Map::new();
            written.fields.onto(&(CERTIFICATE.schema)(), &mut fields)?;
            files.onto(&mut fields)?;
            resources::add(CERTIFICATE, &written, fields, server).await
        }
        CertificateVerb::Set { changed, files } => {
            demand_something(changed.fields.is_empty() && files.is_empty())?;
            resources::change(CERTIFICATE, &changed.name, &changed.guard, server, |fields| {
                changed.fields.onto(&(CERTIFICATE.schema)(), fields)?;
                files.onto(fields)
            })
            .await
        }
        CertificateVerb::Renew { name } => Ok(Told::thing(server.ask(Request::act(&[CERTIFICATE.plural, &name, "renew"])).await?.body)),
    }
}
