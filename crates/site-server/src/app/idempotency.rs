//! A creation that is sent twice is carried out once: the second gets the answer of the first, for 24 hours.
//!
//! An answer is stored in the transaction that it answers. It may hold a secret that is shown once, and the digest of a body that held a
//! password; so both are sealed like every secret of the site.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cmg_api::bytes::Base64;
use cmg_store::IdempotentAnswer;
use serde::{Deserialize, Serialize};

use super::change::{ChangeRefused, Draft};
use super::text::sha256;
use crate::site::Site;

/// How long an answer is kept, in seconds.
const KEPT: i64 = 24 * 60 * 60;

/// A request that is carried out once.
pub(crate) struct Once {
    account: String,
    key: String,
    request: [u8; 32],
}

/// Why the earlier answer is not given.
pub(crate) enum Earlier {
    /// There is none.
    None,
    /// The answer.
    Answer(String),
    /// The key belongs to another request.
    Other,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    request: Base64,
    answer: String,
}

impl Once {
    /// A request of `account` with this key: `request` is all that makes it what it is.
    pub(crate) fn new(account: &str, key: &str, request: &[&[u8]]) -> Self {
        let mut all = Vec::new();
        for part in request {
            all.extend_from_slice(&(part.len() as u64).to_be_bytes());
            all.extend_from_slice(part);
        }
        Self { account: account.to_owned(), key: key.to_owned(), request: sha256(&all) }
    }

    /// The answer that was given before.
    pub(crate) async fn earlier(&self, site: &Site, draft: &mut Draft<'_>) -> Result<Earlier, ChangeRefused> {
        draft.change.remove_idempotent_answers_before(draft.now - KEPT).await?;
        let Some(found) = draft.change.idempotent_answer(&self.account, &self.key).await? else { return Ok(Earlier::None) };
        let sealed = BASE64_STANDARD.decode(&found.body).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
        let opened = site.keys().vault.open(&self.place(), &sealed).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
        let kept: Sealed = serde_json::from_slice(opened.expose()).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
        if kept.request.0 != self.request {
            return Ok(Earlier::Other);
        }
        Ok(Earlier::Answer(kept.answer))
    }

    /// Keeps an answer.
    pub(crate) async fn keep(&self, site: &Site, draft: &mut Draft<'_>, status: u16, answer: String) -> Result<(), ChangeRefused> {
        let kept = Sealed { request: Base64(self.request.to_vec()), answer };
        let plain = serde_json::to_vec(&kept).expect("two texts");
        let sealed = site.keys().vault.seal(&self.place(), &plain).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
        let answer = IdempotentAnswer {
            account: self.account.clone(),
            key: self.key.clone(),
            request_hash: Vec::new(),
            status,
            body: BASE64_STANDARD.encode(sealed),
            at: draft.now,
        };
        Ok(draft.change.put_idempotent_answer(&answer).await?)
    }

    fn place(&self) -> String {
        format!("idempotency/{}/{}", self.account, self.key)
    }
}
