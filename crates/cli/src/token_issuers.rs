//! Token issuers: what all kinds have, and the keys that the site fetches from them.

use clap::Subcommand;

use crate::failure::Failure;
use crate::kinds::TOKEN_ISSUER;
use crate::resources::{self, Verb};
use crate::server::{Request, Server};
use crate::told::Told;

/// What is done with token issuers.
#[derive(Debug, Subcommand)]
pub enum TokenIssuerVerb {
    #[command(flatten)]
    Common(Verb),
    /// Tell which keys were fetched, and when
    Status {
        /// Its name
        name: String,
    },
    /// Fetch its keys at once
    Sync {
        /// Its name
        name: String,
    },
}

pub(crate) async fn verb(verb: TokenIssuerVerb, server: &Server) -> Result<Told, Failure> {
    match verb {
        TokenIssuerVerb::Common(verb) => resources::verb(TOKEN_ISSUER, verb, server).await,
        TokenIssuerVerb::Status { name } => Ok(Told::thing(server.ask(Request::get(&[TOKEN_ISSUER.plural, &name, "keys"])).await?.body)),
        TokenIssuerVerb::Sync { name } => Ok(Told::thing(server.ask(Request::act(&[TOKEN_ISSUER.plural, &name, "sync"])).await?.body)),
    }
}
