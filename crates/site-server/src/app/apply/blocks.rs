//! Blocks of a whole configuration: certificates, tokens and clients that shall be refused.

use std::collections::BTreeSet;

use cmg_store::{Block, BlockKind};

use super::{Action, Difference};
use crate::app::blocking::{Judged, KIND, add, remove};
use crate::app::change::{ChangeRefused, Draft};
use crate::app::clients::REMOVED;

/// Blocks what is not blocked yet. What is, keeps the note that it has.
pub(crate) async fn block(draft: &mut Draft<'_>, judged: Vec<Judged>) -> Result<Vec<Difference>, ChangeRefused> {
    let added = add(draft, judged).await?;
    let told = added.into_iter().map(|added| {
        let action = if added.existed { Action::Unchanged } else { Action::Created };
        Difference { kind: KIND, name: Judged::from(added.block).name(), action, fields: Vec::new() }
    });
    Ok(told.collect())
}

/// Lifts the blocks that are not among `kept`, but for those of clients that were removed: nothing else refuses what these can show.
pub(crate) async fn prune(draft: &mut Draft<'_>, kept: &BTreeSet<String>) -> Result<Vec<Difference>, ChangeRefused> {
    let mut differences = Vec::new();
    for block in draft.change.live_blocks().await? {
        let (id, stays) = (block.id.clone(), is_of_removed(&block));
        let name = Judged::from(block).name();
        if stays || kept.contains(&name) {
            continue;
        }
        remove(draft, &id).await?;
        differences.push(Difference { kind: KIND, name, action: Action::Removed, fields: Vec::new() });
    }
    Ok(differences)
}

fn is_of_removed(block: &Block) -> bool {
    block.kind == BlockKind::Client && block.note == REMOVED
}
