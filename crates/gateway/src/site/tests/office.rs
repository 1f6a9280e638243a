//! The site of these tests, as its members see it: it certifies, seals and signs. And a machine with a gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cmg_api::EnrolmentCode;
use cmg_api::bytes::{Base64, Sha256};
use cmg_api::control::{EnrolRequest, Enrolled, FRESHNESS_CONTEXT, Freshness, GenerationId, MANIFEST_CONTEXT, Manifest, Signed};
use cmg_credentials::RoleIdentity;
use cmg_credentials::load::{Disk, PairFiles, read_role_identity};
use cmg_credentials::members::signed_bytes;
use cmg_credentials::sealed::seal;
use cmg_enrolled::{Applicant, DataFolder, Identity};
use cmg_lab::{Authority, Issued, Profile, Role};
use tempfile::TempDir;

use crate::state::now;

const CODE: &str = "00112233445566778899aabbccddeeff";

pub(super) struct Office {
    pub(super) root: Authority,
    signer: Issued,
    server: Issued,
    folder: TempDir,
}

/// A snapshot with its parts.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub(super) signed: Signed,
    pub(super) parts: BTreeMap<Sha256, Vec<u8>>,
}

pub(super) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().try_into().unwrap())
}

impl Office {
    pub(super) fn new() -> Self {
        let root = Authority::root("Infrastructure").unwrap();
        let signer = root.issue(&Profile::snapshot_signer("1")).unwrap();
        let server = Authority::root("Public").unwrap().server(&["cmg.example"]).unwrap();
        Self { root, signer, server, folder: TempDir::new().unwrap() }
    }

    pub(super) fn roots(&self) -> Vec<Vec<u8>> {
        vec![self.root.certificate_der().to_vec()]
    }

    pub(super) fn code(&self) -> EnrolmentCode {
        EnrolmentCode {
            kind: "gateway".into(),
            name: "gw-1".into(),
            root: sha256(self.root.certificate_der()),
            code: CODE.into(),
            ends: now().0 + 3_600,
            site_servers: vec![],
        }
    }

    /// The answer to a request that was made with the code; none: it was not.
    pub(super) fn answer(&self, request: &EnrolRequest) -> Option<Enrolled> {
        let secret: Vec<u8> = (0..16).map(|place| u8::from_str_radix(&CODE[2 * place..2 * place + 2], 16).unwrap()).collect();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        aws_lc_rs::hmac::verify(&key, &request.proven(), &request.mac.0).ok()?;
        Some(self.certify(&request.csr, &Profile::role(Role::Gateway, "gw-1")))
    }

    pub(super) fn certify(&self, csr: &Base64, profile: &Profile) -> Enrolled {
        let leaf = self.root.certify(profile, &csr.0).unwrap();
        Enrolled { chain: vec![Base64(leaf)], authorities: self.roots().into_iter().map(Base64).collect() }
    }

    /// What a connection point of that name shows.
    pub(super) fn point(&self, name: &str) -> RoleIdentity {
        let files = self.root.issue(&Profile::role(Role::ConnectionPoint, name)).unwrap().write(self.folder.path(), name).unwrap();
        let pair = PairFiles { chain_key: "chain", chain: &files.chain, private_key_key: "key", private_key: &files.key };
        read_role_identity(&Disk, pair).unwrap()
    }

    fn sign(&self, context: &str, payload: String) -> Signed {
        let signature = self.signer.sign(&signed_bytes(context, payload.as_bytes())).unwrap();
        Signed { payload, chain: vec![Base64(self.signer.der.clone())], signature: Base64(signature) }
    }

    pub(super) fn freshness(&self, newest: u64) -> Signed {
        self.freshness_ahead(newest, 0)
    }

    /// A statement of so many seconds from now.
    pub(super) fn freshness_ahead(&self, newest: u64, ahead: u64) -> Signed {
        let said = Freshness { newest: GenerationId { epoch: 0, number: newest }, at: now().0 + ahead };
        self.sign(FRESHNESS_CONTEXT, serde_json::to_string(&said).unwrap())
    }

    /// Generation `number` for `machine`, with a server certificate and these lines besides.
    pub(super) fn snapshot(&self, machine: &Machine, number: u64, lines: &str) -> Snapshot {
        let chain = self.server.chain_pem.clone().into_bytes();
        let key = seal(&machine.sealing_key, "gateway/gw-1", "web", self.server.key_pem.as_bytes()).unwrap();
        let document = format!("{lines}\n[[certificate]]\nchain = \"{}\"\nkey = \"sealed/web\"\n", sha256(&chain));
        self.signed(number, &document, vec![chain], BTreeMap::from([("web".to_owned(), key)]))
    }

    /// A snapshot of these files.
    pub(super) fn signed(&self, number: u64, document: &str, files: Vec<Vec<u8>>, sealed: BTreeMap<String, Vec<u8>>) -> Snapshot {
        let names = sealed.iter().map(|(name, bytes)| (name.clone(), sha256(bytes))).collect();
        let all = std::iter::once(document.as_bytes().to_vec()).chain(files).chain(sealed.into_values());
        let parts: BTreeMap<_, _> = all.map(|bytes| (sha256(&bytes), bytes)).collect();
        let manifest = Manifest {
            member: "gateway/gw-1".into(),
            generation: GenerationId { epoch: 0, number },
            document: sha256(document.as_bytes()),
            parts: parts.iter().map(|(digest, bytes)| (*digest, bytes.len() as u64)).collect(),
            sealed: names,
            authorities: Vec::new(),
        };
        Snapshot { signed: self.sign(MANIFEST_CONTEXT, serde_json::to_string(&manifest).unwrap()), parts }
    }
}

/// A machine with the file of an enrolled gateway.
pub(super) struct Machine {
    dir: TempDir,
    pub(super) address: SocketAddr,
    pub(super) metrics_port: u16,
    pub(super) sealing_key: Vec<u8>,
}

impl Machine {
    /// A machine that nobody has enrolled, with the code in a file.
    pub(super) fn new(office: &Office) -> Self {
        let dir = TempDir::new().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], cmg_lab::ports::free_port().unwrap()));
        let metrics_port = cmg_lab::ports::free_port().unwrap();
        let machine = Self { dir, address, metrics_port, sealing_key: Vec::new() };
        let code = machine.dir.path().join("code.toml");
        std::fs::write(&code, toml::to_string(&office.code()).unwrap()).unwrap();
        std::fs::set_permissions(&code, std::fs::Permissions::from_mode(0o600)).unwrap();
        machine.write("");
        machine
    }

    /// A machine that is a member already.
    pub(super) fn enrolled(office: &Office) -> (Self, Identity) {
        Self::enrolled_as(office, &Profile::role(Role::Gateway, "gw-1"))
    }

    /// The same with another certificate.
    pub(super) fn enrolled_as(office: &Office, profile: &Profile) -> (Self, Identity) {
        let mut machine = Self::new(office);
        let applicant = Applicant::new(&office.code()).unwrap();
        let answer = office.certify(&applicant.request(b"").unwrap().csr, profile);
        let identity = applicant.accept(&answer, &machine.data(), now()).unwrap();
        machine.sealing_key = identity.sealing.public().to_vec();
        (machine, identity)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.dir.path().join("gateway.toml")
    }

    pub(super) fn data(&self) -> DataFolder {
        DataFolder::open(&self.dir.path().join("data")).unwrap()
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the file, with these lines at its end.
    pub(super) fn write(&self, lines: &str) {
        let own = format!("listen = [\"{}\"]\nmetrics_listen = \"127.0.0.1:{}\"\n", self.address, self.metrics_port);
        let text = format!("{own}[site]\ndata = \"data\"\nenrolment = \"code.toml\"\n{lines}");
        std::fs::write(self.file(), text).unwrap();
    }
}
