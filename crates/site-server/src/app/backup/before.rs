//! What could not come in any more before a restore, by the database of before: it would count again.

use std::collections::BTreeSet;
use std::path::Path;

use cmg_store::{AccountFields, Block, BlockKind, Change, ClientState, Error, IssuedCertificate, NewBlock, Place, Store};

use super::Keep;
use crate::app::enrol::answer_name;
use crate::app::issued_certificates::{CLIENTS, MEMBERS};

/// What the database of before says; empty where there is none.
#[derive(Default)]
pub(super) struct Before {
    blocks: Vec<Block>,
    revoked: Vec<IssuedCertificate>,
    /// The accounts that could sign in. None: it is not known.
    accounts: Option<BTreeSet<String>>,
}

impl Before {
    pub(super) async fn read(path: &Path) -> Result<Self, Error> {
        let store = Store::open_as_it_is(Place::Sqlite(path.to_owned())).await?;
        let enabled = store.accounts().await?.into_iter().filter(|account| !account.fields.disabled).map(|account| account.name);
        let mut revoked = store.revoked_certificates(MEMBERS).await?;
        revoked.extend(store.revoked_certificates(CLIENTS).await?);
        let before = Self { blocks: store.live_blocks().await?, revoked, accounts: Some(enabled.collect()) };
        store.close().await;
        Ok(before)
    }

    /// The blocks that the backup does not have, which are added again where they are to be kept.
    pub(super) async fn newer_blocks(&self, change: &mut Change, keep: Keep) -> Result<Vec<Block>, Error> {
        let mut newer = Vec::new();
        for block in &self.blocks {
            if change.block(&block.id).await?.is_none() {
                newer.push(block.clone());
            }
        }
        if keep.blocks {
            let blocks: Vec<_> = newer.iter().cloned().map(again).collect();
            change.add_blocks(&blocks).await?;
            for block in &newer {
                note(change, block).await?;
            }
        }
        Ok(newer)
    }

    /// The revoked certificates that count by the backup and have not ended at `now`, which are revoked again where that is to be kept.
    pub(super) async fn revived_certificates(&self, change: &mut Change, keep: Keep, now: i64) -> Result<Vec<IssuedCertificate>, Error> {
        let mut revived = Vec::new();
        for certificate in self.revoked.iter().filter(|certificate| certificate.not_after > now) {
            let known = change.certificate(&certificate.serial).await?;
            if known.as_ref().is_some_and(|known| known.revoked_at.is_some()) {
                continue;
            }
            if keep.blocks {
                match known {
                    Some(_) => change.revoke_certificate(&certificate.serial).await?,
                    // It was issued after the backup, and a member that knows its roots would believe it.
                    None => change.add_certificate(certificate).await?,
                }
                end_member(change, certificate).await?;
            }
            revived.push(certificate.clone());
        }
        Ok(revived)
    }

    /// The accounts of the backup that could not sign in before, which are disabled again where that is to be kept.
    pub(super) async fn revived_accounts(&self, change: &mut Change, keep: Keep) -> Result<Vec<String>, Error> {
        let Some(enabled) = &self.accounts else { return Ok(Vec::new()) };
        let mut revived = Vec::new();
        for account in change.accounts().await? {
            if account.fields.disabled || enabled.contains(&account.name) {
                continue;
            }
            if keep.blocks {
                change.replace_account(&account.name, &AccountFields { disabled: true, ..account.fields }, account.version).await?;
            }
            revived.push(account.name);
        }
        Ok(revived)
    }
}

/// What is blocked says so in its own row too, where it has one.
async fn note(change: &mut Change, block: &Block) -> Result<(), Error> {
    match block.kind {
        BlockKind::Client if change.client(&block.value).await?.is_some() => {
            change.set_client_state(&block.value, ClientState::Blocked).await
        }
        BlockKind::Token if change.bulk_token(&block.value).await?.is_some() => change.block_bulk_token(&block.value).await,
        BlockKind::Client | BlockKind::Token | BlockKind::Thumbprint | BlockKind::Serial | BlockKind::Identity => Ok(()),
    }
}

/// The member whose certificate it is, by the backup, is one no more until it enrols again.
async fn end_member(change: &mut Change, certificate: &IssuedCertificate) -> Result<(), Error> {
    let Some((kind, name)) = certificate.subject.split_once('/').filter(|_| certificate.authority == MEMBERS) else { return Ok(()) };
    let member = change.member(kind, name).await?;
    if member.is_some_and(|member| member.serial.as_deref() == Some(&certificate.serial)) {
        change.remove_member(kind, name).await?;
        change.remove_secret(&answer_name(kind, name)).await?;
    }
    Ok(())
}

fn again(block: Block) -> NewBlock {
    let Block { id, kind, value, issuer, note, created_by, .. } = block;
    NewBlock { id, kind, value, issuer, note, created_by }
}
