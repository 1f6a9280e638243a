//! What this connection point has for its gateways: their manifests, and what the site has said about the newest.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cmg_api::bytes::Sha256;
use cmg_api::control::{Freshness, GatewayNews, GenerationId, Manifest, Signed};

/// The latest there is. Replaced as a whole, so that whoever looks sees one state of things.
#[derive(Clone, Default)]
pub(crate) struct Board {
    freshness: Option<Said>,
    gateways: BTreeMap<String, Arc<Posted>>,
}

/// A statement of freshness whose signature was checked.
#[derive(Clone)]
struct Said {
    signed: Signed,
    what: Freshness,
}

/// A gateway's manifest whose signature was checked.
pub(crate) struct Posted {
    signed: Signed,
    generation: GenerationId,
    /// Its parts with their sizes in bytes.
    parts: BTreeMap<Sha256, u64>,
}

impl Posted {
    /// A manifest, as it was signed and as it reads.
    pub(crate) fn new(signed: Signed, manifest: &Manifest) -> Self {
        Self { signed, generation: manifest.generation, parts: manifest.parts.clone() }
    }
}

impl Board {
    /// Takes in what the site says about the newest, unless it is older than what is known.
    pub(crate) fn heard(&mut self, signed: Signed, what: Freshness) {
        if self.freshness.as_ref().is_none_or(|known| (known.what.newest.epoch, known.what.at) < (what.newest.epoch, what.at)) {
            self.freshness = Some(Said { signed, what });
        }
    }

    /// Takes in the manifest of the gateway instance called `name`, unless it is no newer than what is known; true: it is.
    pub(crate) fn post(&mut self, name: &str, posted: Posted) -> bool {
        let is_newer = self.generation(name).is_none_or(|known| known < posted.generation);
        if is_newer {
            self.gateways.insert(name.to_owned(), Arc::new(posted));
        }
        is_newer
    }

    /// Forgets the gateway instances that are not called so.
    pub(crate) fn keep(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.gateways.retain(|name, _| is_kept(name));
    }

    /// Whether there is anything for the gateway instance.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.gateways.contains_key(name)
    }

    /// The generation of what there is for the gateway instance.
    pub(crate) fn generation(&self, name: &str) -> Option<GenerationId> {
        self.gateways.get(name).map(|posted| posted.generation)
    }

    /// When the site has last said what is newest.
    pub(crate) fn said_at(&self) -> Option<u64> {
        self.freshness.as_ref().map(|said| said.what.at)
    }

    /// Every part that some gateway may ask for.
    pub(crate) fn parts(&self) -> BTreeSet<Sha256> {
        self.gateways.values().flat_map(|posted| posted.parts.keys().copied()).collect()
    }

    /// The size of a part in bytes, if it belongs to the gateway instance.
    pub(crate) fn size_of_part(&self, name: &str, part: Sha256) -> Option<u64> {
        self.gateways.get(name)?.parts.get(&part).copied()
    }

    /// What is new for the gateway instance that has `after`.
    pub(crate) fn news(&self, name: &str, after: GenerationId) -> GatewayNews {
        let manifest = self.gateways.get(name).filter(|posted| posted.generation > after).map(|posted| posted.signed.clone());
        GatewayNews { freshness: self.freshness.as_ref().map(|said| said.signed.clone()), manifest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(number: u64) -> Posted {
        let document = Sha256([number as u8; 32]);
        let generation = GenerationId { epoch: 1, number };
        let manifest = Manifest {
            member: "gateway/gw-1".to_owned(),
            generation,
            document,
            parts: BTreeMap::from([(document, 1)]),
            sealed: BTreeMap::new(),
            authorities: Vec::new(),
        };
        Posted::new(signed(&number.to_string()), &manifest)
    }

    fn signed(payload: &str) -> Signed {
        Signed { payload: payload.to_owned(), chain: vec![], signature: Default::default() }
    }

    fn after(number: u64) -> GenerationId {
        GenerationId { epoch: 1, number }
    }

    #[test]
    fn a_gateway_learns_what_is_newer_and_its_own_only() {
        let mut board = Board::default();
        assert!(board.post("gw-1", manifest(4)));

        assert_eq!(board.news("gw-1", after(3)).manifest, Some(signed("4")));
        assert_eq!(board.news("gw-1", after(4)).manifest, None);
        assert_eq!(board.news("gw-2", after(0)).manifest, None);
    }

    #[test]
    fn an_older_manifest_is_passed_over_and_a_later_epoch_wins() {
        let mut board = Board::default();
        board.post("gw-1", manifest(4));

        assert!(!board.post("gw-1", manifest(4)) && !board.post("gw-1", manifest(3)));
        assert!(board.post("gw-1", Posted { generation: GenerationId { epoch: 2, number: 1 }, ..manifest(1) }));
    }

    #[test]
    fn parts_belong_to_the_manifest_in_force() {
        let mut board = Board::default();
        board.post("gw-1", manifest(4));
        let part = Sha256([4; 32]);

        assert_eq!((board.size_of_part("gw-1", part), board.size_of_part("gw-2", part)), (Some(1), None));
        board.post("gw-1", manifest(5));
        assert_eq!(board.size_of_part("gw-1", part), None);
    }

    #[test]
    fn an_older_statement_is_passed_over() {
        let mut board = Board::default();
        let said = |at| Freshness { newest: after(1), at };
        board.heard(signed("new"), said(20));
        board.heard(signed("old"), said(10));

        assert_eq!((board.said_at(), board.news("gw-1", after(0)).freshness), (Some(20), Some(signed("new"))));
    }
}
