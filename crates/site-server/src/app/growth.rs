//! What is of no more use is forgotten once a day, so that no table grows for ever.
//!
//! What stays, by design: resources, accounts, clients and blocks, which somebody has made and can remove, and members.

use std::collections::BTreeSet;
use std::time::Duration;

use cmg_store::Change;
use tracing::info;

use super::change::{Actor, ChangeRefused, sealed_name};
use super::issuers;
use super::publish::secrets_needed;
use crate::site::Site;

/// How often, in seconds.
pub const OFTEN: i64 = 24 * 60 * 60;

/// How long certificates and tokens are shown after their end, in seconds: whoever asks why something stopped asks within this time.
const SHOWN: i64 = 90 * 24 * 60 * 60;

/// How many records went, by what they were.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Private keys that were sealed to a member for a certificate that is not there any more, or to a key that it has not any more.
    pub sealed: u64,
    /// Certificates that the site had issued.
    pub certificates: u64,
    /// Bulk registration tokens and API tokens.
    pub tokens: u64,
    /// Sessions, counts of failed sign-ins, answers to repeated requests.
    pub passing: u64,
    /// Audit records.
    pub audit: u64,
    /// Earlier issuing keys for clients, all of whose certificates have ended.
    pub issuers: u64,
    /// Messages of devices.
    pub messages: u64,
    /// Tasks of devices that did not come for them.
    pub tasks: u64,
}

/// How long what is forgotten only by its age is kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Audit records.
    pub audit: Duration,
    /// Messages of devices.
    pub messages: Duration,
}

/// Most messages of one device that are kept, however young they are: what one sends more pushes out its own only.
pub const MOST_MESSAGES: u64 = 500;

/// How long a task waits for its device, in seconds.
const TASK_WAITS: i64 = 24 * 60 * 60;

/// Forgets everything that is of no more use at `now`. That audit records were forgotten is an audit record.
pub async fn forget(site: &Site, keep: Keep, now: i64) -> Result<Forgotten, ChangeRefused> {
    let mut draft = site.draft(&Actor { account: "site".to_owned(), ..Actor::default() }).await?;
    let needed: BTreeSet<String> = secrets_needed(&draft.model, &draft.ground)
        .into_iter()
        .map(|(member, certificate)| {
            sealed_name(&member, &certificate, &draft.model.certificates[&certificate].key_id, &draft.ground.sealing_keys[&member])
        })
        .collect();
    let issuers: BTreeSet<String> = draft.model.token_issuers.keys().map(|name| format!("issuer/{name}/jwks")).collect();
    let change = &mut draft.change;
    let before = |keep: Duration| now - i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
    let audit_before = before(keep.audit);
    let forgotten = Forgotten {
        sealed: forget_secrets(change, &needed, &issuers).await?,
        certificates: change.remove_certificates_before(now - SHOWN).await?,
        tokens: change.remove_bulk_tokens_before(now - SHOWN).await? + change.remove_api_tokens_before(now - SHOWN).await?,
        passing: change.remove_expired_sessions().await?
            + change.remove_sign_in_failures_before(now - OFTEN).await?
            + change.remove_idempotent_answers_before(now - OFTEN).await?,
        audit: change.remove_audit_before(audit_before).await?,
        messages: change.remove_messages_before(before(keep.messages)).await? + change.remove_messages_beyond(MOST_MESSAGES).await?,
        tasks: change.remove_tasks_before(now - TASK_WAITS).await?,
        issuers: issuers::forget(&mut draft, now).await?,
    };
    if forgotten.audit > 0 {
        let after = serde_json::json!({ "records": forgotten.audit, "before": audit_before });
        draft.record("forget", "audit", "records", None, Some(after.to_string())).await?;
    }
    draft.commit().await?;
    if forgotten != Forgotten::default() {
        info!(?forgotten, "What is of no more use was forgotten");
    }
    Ok(forgotten)
}

async fn forget_secrets(change: &mut Change, sealed: &BTreeSet<String>, issuers: &BTreeSet<String>) -> Result<u64, cmg_store::Error> {
    let mut count = 0;
    for name in change.secret_names().await? {
        let is_sealed = name.starts_with("sealed/") && !sealed.contains(&name);
        let is_of_issuer = name.starts_with("issuer/") && name.ends_with("/jwks") && !issuers.contains(&name);
        if is_sealed || is_of_issuer {
            change.remove_secret(&name).await?;
            count += 1;
        }
    }
    Ok(count)
}
