//! Bulk registration tokens: made and shown once, listed by their ids, blocked everywhere.

use cmg_authority::tokens::{DEFAULT_BULK_MINUTES, MOST_BULK_MINUTES};
use cmg_authority::{IssuedToken, SigningAlgorithm};
use cmg_core::boundary::Network;
use cmg_core::problem::Problem;
use cmg_store::{BlockKind, BulkToken};
use serde::Deserialize;
use utoipa::ToSchema;

use super::blocking;
use super::change::{ChangeRefused, Draft};
use super::text::note_problem;
use crate::site::Site;

/// The kind, as it is audited.
pub const KIND: &str = "bulk-token";

/// A bulk registration token to be made.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewBulkToken {
    /// How many minutes it counts, 1 to 10080. Default 4320: 3 days.
    pub lifetime: Option<i64>,
    /// How many registrations it is good for. Default without limit.
    pub max_uses: Option<i64>,
    /// From which network it is good, such as `203.0.113.0/24`. Default from any.
    pub network: Option<String>,
    /// What for, in your words. Default empty.
    pub note: String,
}

impl NewBulkToken {
    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(lifetime) = self.lifetime.filter(|lifetime| !(1..=i64::from(MOST_BULK_MINUTES)).contains(lifetime)) {
            let instead = format!("write 1 to {MOST_BULK_MINUTES} minutes, which are 7 days");
            problems.push(Problem::new("lifetime", format!("{lifetime} does not fit"), instead));
        }
        if let Some(uses) = self.max_uses.filter(|uses| *uses < 1) {
            problems.push(Problem::new("max_uses", format!("{uses} does not fit"), "write 1 or more, or leave it out for no limit"));
        }
        if let Some(network) = self.network.as_deref().filter(|network| network.parse::<Network>().is_err()) {
            problems.push(Problem::new(
                "network",
                format!("\"{network}\" is no network"),
                "write ADDRESS/BITS such as 203.0.113.0/24, or one address",
            ));
        }
        problems.extend(note_problem(&self.note));
        problems
    }

    fn minutes(&self) -> u32 {
        self.lifetime.and_then(|lifetime| u32::try_from(lifetime).ok()).unwrap_or(DEFAULT_BULK_MINUTES)
    }
}

/// Makes a token. Nobody can show it again: only its id is kept.
pub async fn add(site: &Site, draft: &mut Draft<'_>, new: &NewBulkToken) -> Result<(IssuedToken, BulkToken), ChangeRefused> {
    let problems = new.problems();
    if !problems.is_empty() {
        return Err(ChangeRefused::Problems(problems));
    }
    let keys = site.keys();
    let signer = keys.tokens.iter().find(|signer| signer.algorithm() == SigningAlgorithm::Rs256);
    let signer = signer.ok_or_else(|| ChangeRefused::Failed("the site has no RS256 key for tokens".into()))?;
    let issued = signer.bulk_registration(new.minutes(), site.now()).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    let token = BulkToken {
        id: issued.id.clone(),
        created_at: draft.now,
        expires_at: issued.expires.0 as i64,
        max_uses: new.max_uses.and_then(|uses| u64::try_from(uses).ok()),
        uses: 0,
        network: new.network.clone(),
        note: new.note.clone(),
        blocked_at: None,
        created_by: draft.actor().account.clone(),
    };
    draft.change.add_bulk_token(&token).await?;
    let after = serde_json::json!({
        "id": token.id,
        "expires_at": token.expires_at,
        "max_uses": token.max_uses,
        "network": token.network,
        "note": token.note,
    });
    draft.record("new", KIND, &token.id, None, Some(after.to_string())).await?;
    Ok((issued, token))
}

/// Blocks a token: everywhere, from the next generation on.
pub async fn block(draft: &mut Draft<'_>, id: &str) -> Result<BulkToken, ChangeRefused> {
    present(draft, id).await?;
    blocking::block(draft, BlockKind::Token, id, "bulk registration token").await?;
    present(draft, id).await
}

/// Lifts the block of a token.
pub async fn unblock(draft: &mut Draft<'_>, id: &str) -> Result<BulkToken, ChangeRefused> {
    present(draft, id).await?;
    blocking::unblock(draft, BlockKind::Token, id).await?;
    present(draft, id).await
}

async fn present(draft: &mut Draft<'_>, id: &str) -> Result<BulkToken, ChangeRefused> {
    let token = draft.change.bulk_token(id).await?;
    token.ok_or_else(|| ChangeRefused::NotFound { kind: KIND, name: id.to_owned() })
}

/// Whether a token counts, in one word.
pub fn state(token: &BulkToken, now: i64) -> &'static str {
    if token.blocked_at.is_some() {
        "blocked"
    } else if token.expires_at <= now {
        "expired"
    } else if token.max_uses.is_some_and(|most| token.uses >= most) {
        "used-up"
    } else {
        "active"
    }
}
