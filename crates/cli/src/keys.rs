//! The keys that sign for the site.

use clap::Subcommand;

use crate::failure::Failure;
use crate::server::{Request, Server};
use crate::table::{Column, Form};
use crate::told::Told;

const KEYS: &[Column] = &[
    Column("PURPOSE", "purpose", Form::Plain),
    Column("STATE", "state", Form::Plain),
    Column("UNTIL", "until", Form::Time),
    Column("THUMBPRINT", "thumbprint", Form::Plain),
];

/// What is done with signing keys.
#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// List them
    List,
    /// Make a successor now; one of tokens signs as soon as every member knows it
    Roll {
        /// What the key is for
        #[arg(value_parser = ["snapshots", "tokens-rs256", "tokens-es256"])]
        purpose: String,
    },
    /// Withdraw one: what it has signed counts no more, anywhere. Make a successor first
    Forget {
        /// Its thumbprint, as `list` shows it
        thumbprint: String,
    },
}

pub(crate) async fn keys(verb: KeyVerb, server: &Server) -> Result<Told, Failure> {
    match verb {
        KeyVerb::List => Ok(Told::list(server.ask(Request::get(&["keys"])).await?.body, KEYS)),
        KeyVerb::Roll { purpose } => {
            let reply = server.ask(Request::act(&["keys", &purpose, "roll"])).await?;
            Ok(Told::note(format!("Made a successor of key {purpose}")).value(reply.body))
        }
        KeyVerb::Forget { thumbprint } => {
            let reply = server.ask(Request::act(&["keys", &thumbprint, "forget"])).await?;
            Ok(Told::note(format!("Withdrew key {thumbprint}")).value(reply.body))
        }
    }
}
