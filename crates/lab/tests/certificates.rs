//! The certificates of a laboratory in front of the verifier that everybody uses.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use cmg_lab::{Authority, Issued, KeyType, Profile, RevocationList};
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, Error, RootCertStore};

#[test]
fn a_client_certificate_is_accepted() {
    let pki = Pki::new();

    assert_eq!(pki.judge(&pki.issuing.client("device").unwrap()), Ok(()));
}

#[test]
fn an_rsa_client_certificate_is_accepted() {
    let pki = Pki::new();
    let profile = Profile::client("device").key(KeyType::Rsa2048);

    assert_eq!(pki.judge(&pki.issuing.issue(&profile).unwrap()), Ok(()));
}

#[test]
fn an_expired_certificate_is_refused() {
    let pki = Pki::new();

    let verdict = pki.judge(&pki.issuing.issue(&Profile::client("device").expired()).unwrap());

    assert!(matches!(verdict, Err(CertificateError::ExpiredContext { .. })), "{verdict:?}");
}

#[test]
fn a_certificate_of_tomorrow_is_refused() {
    let pki = Pki::new();

    let verdict = pki.judge(&pki.issuing.issue(&Profile::client("device").not_yet_valid()).unwrap());

    assert!(matches!(verdict, Err(CertificateError::NotValidYetContext { .. })), "{verdict:?}");
}

#[test]
fn a_server_certificate_is_no_client_certificate() {
    let pki = Pki::new();

    let verdict = pki.judge(&pki.issuing.issue(&Profile::client("device").for_servers_only()).unwrap());

    assert!(matches!(verdict, Err(CertificateError::InvalidPurposeContext { .. })), "{verdict:?}");
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let pki = Pki::new();
    let foreign = Authority::root("Foreign").unwrap().client("device").unwrap();

    assert_eq!(pki.judge(&foreign), Err(CertificateError::UnknownIssuer));
}

#[test]
fn a_revoked_certificate_is_refused() {
    let mut pki = Pki::new();
    let client = pki.issuing.client("device").unwrap();
    pki.crl = pki.issuing.crl(&[&client.serial]).unwrap();

    assert_eq!(pki.judge(&client), Err(CertificateError::Revoked));
}

#[test]
fn a_stale_revocation_list_is_noticed() {
    let mut pki = Pki::new();
    pki.crl = pki.issuing.stale_crl(&[]).unwrap();

    let verdict = pki.judge(&pki.issuing.client("device").unwrap());

    assert!(matches!(verdict, Err(CertificateError::ExpiredRevocationListContext { .. })), "{verdict:?}");
}

#[test]
fn a_given_serial_number_is_kept() {
    let issued = Authority::root("Root").unwrap().issue(&Profile::client("device").serial(&[1, 2, 3])).unwrap();

    assert_eq!(issued.serial_hex(), "010203");
}

struct Pki {
    root: Authority,
    issuing: Authority,
    crl: RevocationList,
}

impl Pki {
    fn new() -> Self {
        let root = Authority::root("Root").unwrap();
        let issuing = root.issuing("Issuing").unwrap();
        let crl = issuing.crl(&[]).unwrap();
        Self { root, issuing, crl }
    }

    fn judge(&self, client: &Issued) -> Result<(), CertificateError> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.root.certificate_der())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .with_crls([CertificateRevocationListDer::from(self.crl.der.clone())])
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration()
            .build()
            .unwrap();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(client.chain_pem.as_bytes()).collect::<Result<_, _>>().unwrap();

        match verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::now()) {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }
}
