//! What this connection point keeps on disk for its gateways, so that it can serve them after a restart while the
//! site is away.
use std::collections::BTreeMap;

use cmg_api::control::{GenerationId, Signed};
use cmg_core::time::WallTime;
use cmg_enrolled::{DataError, DataFolder, Parts, manifest};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::board::{Board, Posted};

/// The manifests of gateways.
const MANIFESTS: &str = "manifests.json";

/// A gateway's manifest, verified again as of the time when it was accepted: the signer's certificate may run out meanwhile.
#[derive(Clone, Serialize, Deserialize)]
struct Accepted {
    at: u64,
    manifest: Signed,
}

/// The gateways' manifests and parts.
pub(crate) struct GatewayStore {
    folder: DataFolder,
    parts: Parts,
    accepted: BTreeMap<String, Accepted>,
}

impl GatewayStore {
    /// Opens the store within the folder of the connection point.
    pub(crate) fn open(data: &DataFolder) -> Result<Self, DataError> {
        let folder = DataFolder::open(&data.path().join("gateways"))?;
        let accepted = folder.read(MANIFESTS)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Ok(Self { parts: Parts::open(&folder)?, folder, accepted })
    }

    /// The parts of all gateways.
    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Posts what was kept, if the site under `roots` (DER) has signed it and all of it is here.
    pub(crate) fn post(&mut self, board: &mut Board, roots: &[Vec<u8>]) {
        self.accepted.retain(|name, accepted| {
            let found = manifest(&accepted.manifest, &format!("gateway/{name}"), GenerationId::default(), roots, WallTime(accepted.at));
            let whole = found.as_ref().is_ok_and(|manifest| manifest.parts.keys().all(|part| self.parts.has(part)));
            match found {
                Ok(manifest) if whole => board.post(name, Posted::new(accepted.manifest.clone(), &manifest)),
                Ok(_) | Err(_) => {
                    warn!(gateway = name, "The configuration that was kept for a gateway is damaged; it is fetched again");
                    false
                }
            }
        });
    }

    /// Accepts a manifest whose parts are all here.
    pub(crate) fn accept(&mut self, name: &str, signed: Signed, now: WallTime) {
        self.accepted.insert(name.to_owned(), Accepted { at: now.0, manifest: signed });
    }

    /// Writes what was accepted of the gateways that are in `board`, and removes parts that none of them has.
    pub(crate) fn keep(&mut self, board: &Board) -> Result<(), DataError> {
        self.accepted.retain(|name, _| board.knows(name));
        self.folder.write(MANIFESTS, &json(&self.accepted))?;
        self.parts.keep_only(&board.parts())
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("files have text keys only")
}
