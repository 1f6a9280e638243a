//! A document is judged as its member will judge it, by the same code, so that what is published can be put in force.
//!
//! Blocks are judged where they are added, and private keys where they are uploaded; so both are left out here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cmg_api::bytes::Sha256;
use cmg_api::{
    BlockFile, ConnectionPointDocument, ConnectionPointFile, DialFile, GatewayDocument, GatewayFile, LogFile, ManagementPointDocument,
    ServiceFile, TunnelEndFile, WhenWithheld,
};
use cmg_core::problem::Problem;
use cmg_core::snapshot::Parts;
use cmg_core::trust::Block;
use cmg_credentials::load::Files;
use cmg_standalone::{Reading, acme, connection_point_parts, gateway_parts};

use super::Desk;
use crate::app::publish::origins::Origins;
use crate::app::text::sha256;

/// What was judged and found right, so that it is not judged again while it stays the same.
#[derive(Default)]
pub struct Judged(Mutex<BTreeSet<Sha256>>);

/// More than members have documents; what is forgotten is judged again.
const REMEMBERED: usize = 1_000;

impl Judged {
    fn is_right(&self, digest: &Sha256) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    fn remember(&self, digest: Sha256) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(digest);
    }
}

/// The parts of a publication in the making, as files.
pub(super) struct PartFiles(pub(super) BTreeMap<Sha256, Arc<[u8]>>);

impl Files for PartFiles {
    fn read(&self, key: &str, path: &Path) -> Result<Vec<u8>, Problem> {
        let part = Sha256::of_path(path).and_then(|digest| self.0.get(&digest));
        part.map(|bytes| bytes.to_vec()).ok_or_else(|| Problem::new(key, "it is not there", "upload it again"))
    }

    fn read_secret(&self, key: &str, _: &Path) -> Result<Vec<u8>, Problem> {
        Err(Problem::new(key, "a secret is not read here", "upload it again"))
    }
}

impl Desk {
    pub(super) fn judge_gateway(&mut self, document: &GatewayDocument, origins: &Origins, judged: &Judged) {
        let file = gateway_file(document);
        let text = toml::to_string(&file).expect("a file is tables of texts, numbers and lists");
        self.judge(&text, origins, judged, |reading| gateway_parts(&file, reading));
        // Beside the file: they come and go, and are few.
        let mut reading = Reading::of_files(no_files());
        acme::answers(&document.acme_challenge, &mut reading);
        self.note(reading, origins);
    }

    pub(super) fn judge_connection_point(&mut self, document: &ConnectionPointDocument, origins: &Origins, judged: &Judged) {
        let file = connection_point_file(document);
        let text = toml::to_string(&file).expect("a file is tables of texts, numbers and lists");
        self.judge(&text, origins, judged, |reading| connection_point_parts(&file, reading));
    }

    pub(super) fn judge_management_point(&mut self, document: &ManagementPointDocument, origins: &Origins, judged: &Judged) {
        let credentials = GatewayDocument { trust: document.trust.clone(), token_key: document.token_key.clone(), ..nothing() };
        self.judge_gateway(&credentials, origins, judged);
    }

    fn judge(&mut self, text: &str, origins: &Origins, judged: &Judged, parts: impl FnOnce(&mut Reading) -> Parts) {
        let digest = Sha256(sha256(text.as_bytes()));
        if judged.is_right(&digest) {
            return;
        }
        let mut reading = Reading::of_files(Arc::new(PartFiles(self.publication.parts.clone())));
        let parts = parts(&mut reading);
        reading.judge(&parts);
        if self.note(reading, origins) {
            judged.remember(digest);
        }
    }

    /// Notes what is wrong; says whether nothing is.
    fn note(&mut self, reading: Reading, origins: &Origins) -> bool {
        let Err(problems) = reading.finish(Some(())) else { return true };
        for problem in problems.into_iter().map(|problem| origins.told(problem)) {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        false
    }
}

/// Where nothing is named, nothing is read.
pub(crate) fn no_files() -> Arc<dyn Files> {
    Arc::new(PartFiles(BTreeMap::new()))
}

/// Blocks, judged as members judge them; problems are noted in `reading` under `block[PLACE]`. A place without a table is skipped.
pub(crate) fn blocks_of(tables: Vec<Option<BlockFile>>, reading: &mut Reading) -> Vec<Block> {
    // Whatever stands in for a missing table must be right, and is left out again.
    let stand_in = || BlockFile { token: Some("none".to_owned()), ..BlockFile::default() };
    let is_there: Vec<bool> = tables.iter().map(Option::is_some).collect();
    let block = tables.into_iter().map(|table| table.unwrap_or_else(stand_in)).collect();
    let file = GatewayFile { block, ..gateway_file(&nothing()) };
    let parts = gateway_parts(&file, reading);
    if parts.blocks.len() != is_there.len() {
        return Vec::new();
    }
    parts.blocks.into_iter().zip(is_there).filter_map(|(block, is_there)| is_there.then_some(block)).collect()
}

/// A document that publishes nothing.
pub(super) fn nothing() -> GatewayDocument {
    GatewayDocument {
        when_withheld: WhenWithheld::default(),
        revoked_members: Vec::new(),
        service: ServiceFile::default(),
        certificate: Vec::new(),
        awaited_certificates: Vec::new(),
        acme_challenge: Vec::new(),
        limits: cmg_api::LimitsFile::default(),
        trust: BTreeMap::new(),
        block_lists: Vec::new(),
        token_key: Vec::new(),
        entra_tenant: Vec::new(),
        endpoint: Vec::new(),
    }
}

pub(super) fn gateway_file(document: &GatewayDocument) -> GatewayFile {
    GatewayFile {
        name: "any".to_owned(),
        listen: Vec::new(),
        metrics_listen: String::new(),
        metrics_public: false,
        proxy_protocol_from: Vec::new(),
        drain: document.limits.head_time,
        log: LogFile::default(),
        service: ServiceFile::default(),
        tunnel: TunnelEndFile { certificate: "".into(), key: "".into(), authority: "".into(), revoked_members: Vec::new() },
        certificate: Vec::new(),
        limits: document.limits.clone(),
        trust: document.trust.clone(),
        block: Vec::new(),
        block_lists: Vec::new(),
        token_key: document.token_key.clone(),
        entra_tenant: document.entra_tenant.clone(),
        endpoint: document.endpoint.clone(),
    }
}

fn connection_point_file(document: &ConnectionPointDocument) -> ConnectionPointFile {
    ConnectionPointFile {
        name: "any".to_owned(),
        metrics_listen: String::new(),
        metrics_public: false,
        drain: cmg_api::text::Duration::seconds(0),
        log: LogFile::default(),
        tunnel: DialFile {
            certificate: "".into(),
            key: "".into(),
            authority: "".into(),
            revoked_members: Vec::new(),
            gateways: Vec::new(),
            connections: document.connections,
            lanes: document.lanes,
            proxy: None,
            proxy_user: None,
            proxy_password_file: None,
        },
        trust: document.trust.clone(),
        block: Vec::new(),
        block_lists: Vec::new(),
        token_key: document.token_key.clone(),
        endpoint: document.endpoint.clone(),
    }
}
