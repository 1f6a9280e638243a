//! Files: PEM, PFX, modes, and words for what is wrong with them.
use std::fs;
use std::path::{Path, PathBuf};

use cmg_core::ids::{GatewayId, Role};
use cmg_core::problem::Problem;
use cmg_credentials::load::{
    Disk, PairFiles, read_certificates, read_lists, read_public_key, read_role_identity, read_server_identity, read_server_identity_pfx,
};
use p12_keystore::{Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use rcgen::KeyPair;
use tempfile::TempDir;

use crate::lab::{Authority, Issued};

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;

        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn pair(&self, issued: &Issued, above: &[&Authority], key: &KeyPair) -> (PathBuf, PathBuf) {
        let ders = std::iter::once(&issued.der).chain(above.iter().map(|authority| &authority.der));
        let pems: String = ders.map(|der| pem("CERTIFICATE", der)).collect();
        (self.write("chain.pem", pems, 0o644), self.write("key.pem", key.serialize_pem(), 0o600))
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;

    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

fn files<'a>(chain: &'a Path, private_key: &'a Path) -> PairFiles<'a> {
    PairFiles { chain_key: "certificate[0].chain", chain, private_key_key: "certificate[0].key", private_key }
}

#[test]
fn a_server_certificate_is_read_with_its_names_and_chain() {
    let (folder, root) = (Folder::new(), Authority::root("root"));
    let issuing = root.authority("issuing");
    let server = issuing.server(&["Cmg.Example", "*.apps.example"]);
    let (chain, key) = folder.pair(&server, &[&issuing], &server.key);

    let identity = read_server_identity(&Disk, files(&chain, &key)).unwrap();

    assert_eq!(identity.names, ["cmg.example", "*.apps.example"]);
    assert_eq!(identity.key.cert.len(), 2);
}

#[test]
fn rsa_and_both_curves_are_read() {
    for algorithm in [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let folder = Folder::new();
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["cmg.example".into()]).unwrap().self_signed(&key).unwrap();
        let chain = folder.write("chain.pem", certificate.pem(), 0o644);
        let key = folder.write("key.pem", key.serialize_pem(), 0o600);

        assert!(read_server_identity(&Disk, files(&chain, &key)).is_ok(), "{algorithm:?}");
    }
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_way_out() {
    let (folder, root) = (Folder::new(), Authority::root("root"));
    let server = root.server(&["cmg.example"]);
    let (chain, _) = folder.pair(&server, &[], &server.key);
    for mode in [0o640, 0o604, 0o644] {
        let key = folder.write("open.pem", server.key.serialize_pem(), mode);

        let problem = read_server_identity(&Disk, files(&chain, &key)).unwrap_err();

        assert_eq!(problem.key, "certificate[0].key");
        assert!(problem.what.contains(&format!("{mode:04o}")) && problem.what.contains("0600"), "{problem}");
        assert!(problem.instead.contains("chmod 600"), "{problem}");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (folder, root) = (Folder::new(), Authority::root("root"));
    let (server, other) = (root.server(&["cmg.example"]), root.server(&["other.example"]));
    let (chain, key) = folder.pair(&server, &[], &other.key);

    let problem = read_server_identity(&Disk, files(&chain, &key)).unwrap_err();

    assert!(problem.what.contains("does not belong"), "{problem}");
}

#[test]
fn an_encrypted_key_is_told_apart() {
    let (folder, root) = (Folder::new(), Authority::root("root"));
    let server = root.server(&["cmg.example"]);
    let (chain, _) = folder.pair(&server, &[], &server.key);
    let key = folder.write("locked.pem", pem("ENCRYPTED PRIVATE KEY", b"\x30\x00"), 0o600);

    let problem = read_server_identity(&Disk, files(&chain, &key)).unwrap_err();

    assert!(problem.what.contains("encrypted"), "{problem}");
}

fn pfx(issued: &Issued, above: &[&Authority], password: &str, algorithm: EncryptionAlgorithm) -> Vec<u8> {
    let key = PrivateKey::from_der(issued.key.serialized_der()).unwrap();
    let ders = std::iter::once(&issued.der).chain(above.iter().map(|authority| &authority.der));
    let certificates: Vec<_> = ders.map(|der| Certificate::from_der(der).unwrap()).collect();
    let mut store = KeyStore::new();
    store.add_entry("server", KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new("id", key, certificates)));
    store.writer(password).encryption_algorithm(algorithm).write().unwrap()
}

#[test]
fn a_pfx_file_is_read_with_its_password() {
    let (folder, root) = (Folder::new(), Authority::root("root"));
    let issuing = root.authority("issuing");
    let server = issuing.server(&["cmg.example"]);
    let password = folder.write("password", "s3cret\nfor the gateway\n", 0o600);
    for algorithm in [EncryptionAlgorithm::PbeWithHmacSha256AndAes256, EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc] {
        let file = folder.write("server.pfx", pfx(&server, &[&issuing, &root], "s3cret", algorithm), 0o600);

        let identity = read_server_identity_pfx(&Disk, "certificate[0].pfx", &file, "certificate[0].password_file", &password).unwrap();

        assert_eq!(identity.names, ["cmg.example"]);
        assert_eq!(identity.key.cert[0], server.der);
    }
}

#[test]
fn a_pfx_file_with_a_wrong_password_or_an_open_one_is_refused() {
    let (folder, root) = (Folder::new(), Authority::root("root"));
    let server = root.server(&["cmg.example"]);
    let bytes = pfx(&server, &[&root], "s3cret", EncryptionAlgorithm::PbeWithHmacSha256AndAes256);
    let file = folder.write("server.pfx", bytes, 0o600);
    let read = |password: &Path| read_server_identity_pfx(&Disk, "pfx", &file, "password_file", password).unwrap_err();

    let wrong: Problem = read(&folder.write("wrong", "other", 0o600));
    assert_eq!(wrong.key, "pfx");
    let open: Problem = read(&folder.write("open", "s3cret", 0o644));
    assert_eq!(open.key, "password_file");
}

#[test]
fn a_role_certificate_says_its_role() {
    let (folder, root) = (Folder::new(), Authority::root("infrastructure"));
    let gateway = root.role("spiffe://lab/gateway/gateway-1");
    let (chain, key) = folder.pair(&gateway, &[], &gateway.key);

    assert_eq!(read_role_identity(&Disk, files(&chain, &key)).unwrap().role, Role::Gateway(GatewayId::new("gateway-1")));
}

#[test]
fn a_certificate_without_a_role_is_refused_as_one() {
    let (folder, root) = (Folder::new(), Authority::root("infrastructure"));
    let server = root.server(&["cmg.example"]);
    let (chain, key) = folder.pair(&server, &[], &server.key);

    assert!(read_role_identity(&Disk, files(&chain, &key)).unwrap_err().what.contains("no role"));
}

#[test]
fn certificates_and_lists_are_read_from_pem_and_der() {
    let (folder, root) = (Folder::new(), Authority::root("root"));
    let list = root.list(&[1]);
    let two = folder.write("two.pem", pem("CERTIFICATE", &root.der).repeat(2), 0o644);
    let one = folder.write("one.der", &root.der, 0o644);
    let list_pem = folder.write("list.pem", pem("X509 CRL", &list), 0o644);
    let list_der = folder.write("list.crl", &list, 0o644);

    assert_eq!(read_certificates(&Disk, "k", &two).unwrap(), [root.der.to_vec(), root.der.to_vec()]);
    assert_eq!(read_certificates(&Disk, "k", &one).unwrap(), [root.der.to_vec()]);
    assert_eq!(read_lists(&Disk, "k", &list_pem).unwrap(), std::slice::from_ref(&list));
    assert_eq!(read_lists(&Disk, "k", &list_der).unwrap(), [list]);
}

#[test]
fn a_public_key_is_read_from_a_key_or_a_certificate() {
    let (folder, root) = (Folder::new(), Authority::root("root"));
    let key = folder.write("key.pub", root.key.public_key_pem(), 0o644);
    let certificate = folder.write("certificate.pem", pem("CERTIFICATE", &root.der), 0o644);

    assert_eq!(read_public_key(&Disk, "k", &key).unwrap(), read_public_key(&Disk, "k", &certificate).unwrap());
}

#[test]
fn files_that_do_not_fit_are_named() {
    let folder = Folder::new();
    let empty = folder.write("empty.pem", "", 0o644);
    let rubbish = folder.write("rubbish.pem", pem("CERTIFICATE", b"rubbish"), 0o644);
    let missing = folder.0.path().join("missing.pem");

    for problem in [
        read_certificates(&Disk, "k", &empty).unwrap_err(),
        read_certificates(&Disk, "k", &rubbish).unwrap_err(),
        read_certificates(&Disk, "k", &missing).unwrap_err(),
        read_lists(&Disk, "k", &empty).unwrap_err(),
        read_public_key(&Disk, "k", &empty).unwrap_err(),
    ] {
        assert!(problem.key == "k" && problem.what.contains(".pem"), "{problem}");
    }
}

#[test]
fn a_key_never_prints() {
    let (folder, root) = (Folder::new(), Authority::root("root"));
    let server = root.server(&["cmg.example"]);
    let (chain, key) = folder.pair(&server, &[], &server.key);
    let printed = format!("{:?}", read_server_identity(&Disk, files(&chain, &key)).unwrap());

    let secret = format!("{:?}", &server.key.serialized_der()[40..60]);
    assert!(!printed.contains(secret.trim_matches(['[', ']'])));
}
