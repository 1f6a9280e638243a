//! A site with one root, as its members see it: it certifies, seals and signs.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use cmg_api::EnrolmentCode;
use cmg_api::bytes::{Base64, Sha256};
use cmg_api::control::{EnrolRequest, Enrolled, Freshness, GenerationId, MANIFEST_CONTEXT, Manifest, Signed};
use cmg_core::time::WallTime;
use cmg_credentials::members::signed_bytes;
use cmg_enrolled::{Applicant, DataFolder, Identity, Snapshots};
use cmg_lab::{Authority, Issued, Profile, Role};
use tempfile::TempDir;

pub(crate) const CODE: &str = "00112233445566778899aabbccddeeff";

pub(crate) struct Site {
    pub(crate) root: Authority,
    pub(crate) signer: Issued,
}

pub(crate) fn now() -> WallTime {
    WallTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().try_into().unwrap())
}

impl Site {
    pub(crate) fn new() -> Self {
        let root = Authority::root("Infrastructure").unwrap();
        let signer = root.issue(&Profile::snapshot_signer("1")).unwrap();
        Self { root, signer }
    }

    pub(crate) fn roots(&self) -> Vec<Vec<u8>> {
        vec![self.root.certificate_der().to_vec()]
    }

    pub(crate) fn code(&self) -> EnrolmentCode {
        EnrolmentCode {
            kind: "gateway".into(),
            name: "gw-1".into(),
            root: sha256(self.root.certificate_der()),
            code: CODE.into(),
            ends: u64::MAX,
            site_servers: vec![],
        }
    }

    /// A certificate for the key in a request.
    pub(crate) fn certify(&self, csr: &Base64, role: Role, name: &str) -> Enrolled {
        let leaf = self.root.certify(&Profile::role(role, name), &csr.0).unwrap();
        Enrolled { chain: vec![Base64(leaf)], authorities: self.roots().into_iter().map(Base64).collect() }
    }

    pub(crate) fn answer(&self, request: &EnrolRequest) -> Enrolled {
        self.certify(&request.csr, Role::Gateway, &request.name)
    }

    pub(crate) fn sign(&self, context: &str, payload: String) -> Signed {
        sign_with(&self.signer, context, payload)
    }

    /// A gateway that is enrolled.
    pub(crate) fn gateway(&self) -> Gateway {
        let dir = TempDir::new().unwrap();
        let folder = DataFolder::open(&dir.path().join("data")).unwrap();
        let applicant = Applicant::new(&self.code()).unwrap();
        let answer = self.answer(&applicant.request(b"exporter").unwrap());
        let identity = applicant.accept(&answer, &folder, now()).unwrap();
        let snapshots = Snapshots::open(&folder).unwrap();
        Gateway { _dir: dir, folder, identity, snapshots }
    }

    /// Signs what a snapshot at `number` with these parts and secrets would be.
    pub(crate) fn manifest(&self, number: u64, document: &str, parts: &[&[u8]], sealed: &[(&str, &[u8])]) -> Signed {
        let manifest = Manifest {
            member: "gateway/gw-1".into(),
            generation: GenerationId { epoch: 0, number },
            document: sha256(document.as_bytes()),
            parts: std::iter::once(document.as_bytes())
                .chain(parts.iter().copied())
                .chain(sealed.iter().map(|(_, bytes)| *bytes))
                .map(|bytes| (sha256(bytes), bytes.len() as u64))
                .collect(),
            sealed: sealed.iter().map(|(name, bytes)| ((*name).to_owned(), sha256(bytes))).collect::<BTreeMap<_, _>>(),
            authorities: Vec::new(),
        };
        self.sign(MANIFEST_CONTEXT, serde_json::to_string(&manifest).unwrap())
    }
}

pub(crate) fn sign_with(signer: &Issued, context: &str, payload: String) -> Signed {
    let signature = signer.sign(&signed_bytes(context, payload.as_bytes())).unwrap();
    Signed { payload, chain: vec![Base64(signer.der.clone())], signature: Base64(signature) }
}

pub(crate) fn statement(newest: u64, at: u64) -> String {
    serde_json::to_string(&Freshness { newest: GenerationId { epoch: 0, number: newest }, at }).unwrap()
}

pub(crate) struct Gateway {
    _dir: TempDir,
    pub(crate) folder: DataFolder,
    pub(crate) identity: Identity,
    pub(crate) snapshots: Snapshots,
}
