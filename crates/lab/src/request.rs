//! A request for a certificate, as a client makes it for a key of its own.

use pki_types::CertificateDer;
use pki_types::pem::PemObject;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

use crate::error::LabError;
use crate::issued::Issued;

/// A key, ECDSA on P-256, for which a certificate is asked.
pub struct Request {
    key: KeyPair,
    /// PKCS#10, PEM.
    pub csr: String,
}

impl Request {
    /// Makes a key and a request that says nothing but that.
    pub fn new() -> Result<Self, LabError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let csr = CertificateParams::default().serialize_request(&key)?.pem()?;
        Ok(Self { key, csr })
    }

    /// The key with the certificate that was issued for it: `chain_pem` begins with it, `serial` is hexadecimal.
    pub fn issued(self, chain_pem: &str, serial: &str) -> Result<Issued, LabError> {
        let no_certificate = |_| LabError::Key("the chain holds no certificate");
        let der = CertificateDer::from_pem_slice(chain_pem.as_bytes()).map_err(no_certificate)?.to_vec();
        let digits =
            serial.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()));
        let serial = digits.collect::<Option<_>>().ok_or(LabError::Key("the serial number is not hexadecimal"))?;
        let end = "-----END CERTIFICATE-----";
        let first = chain_pem.find(end).map_or(chain_pem, |place| &chain_pem[..place + end.len()]);
        Ok(Issued {
            certificate_pem: format!("{first}\n"),
            chain_pem: chain_pem.to_owned(),
            key_pem: self.key.serialize_pem(),
            der,
            serial,
        })
    }
}
