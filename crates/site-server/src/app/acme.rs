//! Server certificates from ACME servers (RFC 8555): ordered, put in force and renewed by the site, on one site server at a time.
//!
//! An order proves each name by a challenge. The challenge goes to gateways as part of a generation, and the ACME server is told to look
//! only when every instance says that it has that generation in force, so that it does not matter which of them is asked. A try that was
//! cut off is begun anew: nothing of an order is kept but what is in force at gateways, which the next look takes back.
//!
//! `written` judges what an administrator wrote, `kept` is what the database holds, `due` says when to try, `tries` begins what is due,
//! `attempt` is one try and `outcome` what comes of it, `order` speaks with the ACME server over `wire`, `members` waits for gateways,
//! `hook` has DNS changed.

mod attempt;
mod due;
mod hook;
mod kept;
mod members;
mod order;
mod outcome;
mod tries;
mod wire;
mod written;

use cmg_api::resource::{Certificate, Resource};

use super::change::{Actor, ChangeRefused};
use crate::site::Site;
pub use kept::{AcmeStatus, Challenge};
pub(crate) use kept::{account_place, challenges_place, external_key_place, status, status_place, stored_challenges};
pub(crate) use tries::run;
pub(crate) use written::{external_key, problems, unknown_hook};

/// How often a renewal is asked for at most, in seconds.
pub const SELDOM: i64 = 60;

/// Why no certificate came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The ACME server refuses, or cannot be asked.
    #[error("the ACME server gave no certificate")]
    Server(#[from] instant_acme::Error),
    /// In words.
    #[error("{0}")]
    Said(String),
    /// The change was refused.
    #[error(transparent)]
    Change(#[from] ChangeRefused),
}

impl From<cmg_store::Error> for Failed {
    fn from(error: cmg_store::Error) -> Self {
        Self::Change(error.into())
    }
}

/// Why no renewal begins.
#[derive(Debug, thiserror::Error)]
pub enum RenewRefused {
    /// There is no such certificate.
    #[error("there is no certificate \"{0}\"")]
    NotFound(String),
    /// It is uploaded.
    #[error("certificate \"{0}\" is uploaded: upload its successor under the same name")]
    Uploaded(String),
    /// It was asked for a moment ago.
    #[error("a renewal was asked for less than a minute ago: ask again in {0} s")]
    TooSoon(i64),
    /// The change was refused.
    #[error(transparent)]
    Change(#[from] ChangeRefused),
}

/// Asks for a new certificate now. Whoever does the site's jobs sees to it within seconds.
pub async fn renew(site: &Site, actor: &Actor, name: &str) -> Result<AcmeStatus, RenewRefused> {
    let mut draft = site.draft(actor).await?;
    let certificate = draft.model.certificates.get(name).cloned().ok_or_else(|| RenewRefused::NotFound(name.to_owned()))?;
    if certificate.acme.is_none() {
        return Err(RenewRefused::Uploaded(name.to_owned()));
    }
    let before = status(&mut draft.change, name).await.map_err(ChangeRefused::from)?;
    if let Some(asked_at) = before.asked_at.filter(|asked_at| draft.now < asked_at + SELDOM) {
        return Err(RenewRefused::TooSoon(asked_at + SELDOM - draft.now));
    }
    let after = AcmeStatus { asked_at: Some(draft.now), is_asked: true, next_at: Some(draft.now), ..before };
    kept::put_status(&mut draft.change, name, &after).await.map_err(ChangeRefused::from)?;
    draft.record("renew", Certificate::KIND, name, None, None).await?;
    draft.commit().await?;
    Ok(after)
}

/// Who changes what the site changes by itself.
fn the_site() -> Actor {
    Actor { account: "site".to_owned(), ..Actor::default() }
}
