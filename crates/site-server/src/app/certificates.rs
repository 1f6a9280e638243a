//! Server certificates: what is uploaded becomes a chain in the right order, and a key in the vault.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cmg_api::resource::{Acme, Certificate, CertificateUpload};
use cmg_authority::Secret;
use cmg_core::problem::Problem;
use cmg_credentials::facts::{certificate_facts, is_issued_by};
use cmg_credentials::load::{Files, PairFiles, read_certificates, read_pfx, read_public_key, read_server_identity};
use serde::Serialize;

use super::acme::{self, AcmeStatus};
use super::change::private_key_name;
use super::model::Model;
use super::resources::{Accepted, Written};
use super::text::{hex, sha256};
use crate::site::Site;

/// A certificate that was read.
pub struct ReadCertificate {
    name: String,
    description: String,
    pair: Option<Pair>,
    acme: Option<Acme>,
    /// The key of an external account at the ACME server.
    external_key: Option<Secret>,
}

/// A chain with the key that belongs to it.
struct Pair {
    /// PEM, the certificate first.
    chain: String,
    key_id: String,
    /// PEM; none: the chain came without.
    private_key: Option<Secret>,
}

/// What is shown beside a certificate, out of its first certificate.
#[derive(Default, Serialize, utoipa::ToSchema)]
pub struct CertificateFactsShown {
    /// The names that it is for.
    names: Vec<String>,
    /// When it begins to count, in seconds since 1970.
    not_before: u64,
    /// When it ends, in seconds since 1970.
    not_after: u64,
    /// SHA-256 of the certificate, in hexadecimal.
    fingerprint: String,
    /// Who issued it.
    issuer: String,
    /// How it stands with its ACME server, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    acme_status: Option<AcmeStatus>,
}

impl Written for Certificate {
    type Body = CertificateUpload;
    type Read = ReadCertificate;
    type Beside = CertificateFactsShown;

    fn read(body: CertificateUpload) -> Result<ReadCertificate, Vec<Problem>> {
        let CertificateUpload { name, description, chain, key, pfx, password, mut acme } = body;
        if let Some(acme) = &acme {
            let beside = [(KEY, key.is_some()), (PFX, pfx.is_some()), (PASSWORD, password.is_some())];
            let mut problems: Vec<Problem> =
                beside.into_iter().filter(|(_, is_there)| *is_there).map(|(part, _)| beside_acme(part)).collect();
            problems.extend(acme::problems(acme));
            if !problems.is_empty() {
                return Err(problems);
            }
        }
        let external = acme.as_mut().and_then(|acme| acme.external_account.as_mut()).and_then(|external| external.hmac_key.take());
        let external_key = external.and_then(|key| acme::external_key(&key.0)).map(Secret::new);
        // One that has not come yet is shown so.
        let chain = chain.filter(|chain| acme.is_none() || !chain.is_empty());
        let mut upload = Upload::default();
        let mut put = |part: &'static str, bytes: Option<Vec<u8>>| _ = bytes.map(|bytes| upload.0.insert(part, bytes));
        put(CHAIN, chain.map(String::into_bytes));
        put(KEY, key.map(String::into_bytes));
        put(PFX, pfx.map(|pfx| pfx.0));
        put(PASSWORD, password.map(String::into_bytes));
        let pair = upload.pair().map_err(|problem| vec![problem])?;
        Ok(ReadCertificate { name, description, pair, acme, external_key })
    }

    fn named(read: &ReadCertificate) -> &str {
        &read.name
    }

    fn accept(read: ReadCertificate, present: Option<&Self>, _model: &Model) -> Result<Accepted<Self>, Vec<Problem>> {
        let ReadCertificate { name, description, pair, acme, external_key } = read;
        if acme.is_some() {
            return of_server(name, description, pair, acme, external_key, present);
        }
        let missing = |key, what, instead| Err(vec![Problem::new(key, what, instead)]);
        let (chain, key_id, secret) = match (pair, present) {
            (Some(Pair { chain, key_id, private_key: Some(key) }), _) => (chain, key_id, Some(key)),
            (Some(Pair { chain, key_id, private_key: None }), Some(present)) if present.key_id == key_id => (chain, key_id, None),
            (Some(_), _) => return missing(KEY, "is missing, and the site has no key for this certificate", "send the private key, PEM"),
            (None, Some(present)) if !present.chain.is_empty() => (present.chain.clone(), present.key_id.clone(), None),
            (None, _) => return missing(CHAIN, "is missing", "send chain and key as PEM, or pfx and password"),
        };
        Ok(Accepted { resource: Self { name, description, chain, key_id, acme: None }, secret, more: None })
    }

    fn beside(&self) -> CertificateFactsShown {
        let first = certificates(&Upload(BTreeMap::from([(CHAIN, self.chain.clone().into_bytes())]))).ok();
        let facts = first.and_then(|chain| certificate_facts(chain.first()?).ok());
        let Some(facts) = facts else { return CertificateFactsShown::default() };
        let name = |text: String| text.strip_prefix("DNS:").or(text.strip_prefix("IP:")).unwrap_or(&text).to_owned();
        CertificateFactsShown {
            names: facts.alternative_names.into_iter().map(name).collect(),
            not_before: facts.not_before.0,
            not_after: facts.not_after.0,
            fingerprint: hex(&facts.thumbprint_sha256),
            issuer: facts.issuer,
            acme_status: None,
        }
    }

    fn secret_of(name: &str) -> Option<String> {
        Some(private_key_name(name))
    }

    fn kept_for(name: &str) -> Vec<String> {
        vec![acme::status_place(name), acme::challenges_place(name), acme::account_place(name), acme::external_key_place(name)]
    }

    fn shown_from(&self) -> Option<(&'static str, String)> {
        self.acme.as_ref().map(|_| ("acme_status", acme::status_place(&self.name)))
    }

    fn lacking(&self, site: &Site) -> Vec<Problem> {
        self.acme.as_ref().and_then(|acme| acme::unknown_hook(acme, site)).into_iter().collect()
    }
}

fn beside_acme(part: &str) -> Problem {
    Problem::new(part, "stands beside acme", "upload a certificate, or have an ACME server issue it, not both")
}

/// A certificate that an ACME server issues. What is in force stays so until one has come.
fn of_server(
    name: String,
    description: String,
    pair: Option<Pair>,
    acme: Option<Acme>,
    external_key: Option<Secret>,
    present: Option<&Certificate>,
) -> Result<Accepted<Certificate>, Vec<Problem>> {
    // What was read can be sent back as it is.
    if pair.is_some_and(|pair| present.is_none_or(|present| present.chain != pair.chain)) {
        return Err(vec![beside_acme(CHAIN)]);
    }
    let wanted = acme.as_ref().and_then(|acme| acme.external_account.as_ref());
    let known = present.and_then(|present| present.acme.as_ref()).and_then(|acme| acme.external_account.as_ref());
    if wanted.is_some() && external_key.is_none() && wanted != known {
        let key = "acme.external_account.hmac_key";
        return Err(vec![Problem::new(key, "is missing", "write the HMAC key that belongs to the key id")]);
    }
    let (chain, key_id) = present.map(|present| (present.chain.clone(), present.key_id.clone())).unwrap_or_default();
    let more = external_key.map(|key| (acme::external_key_place(&name), key));
    Ok(Accepted { resource: Certificate { name, description, chain, key_id, acme }, secret: None, more })
}

/// The chain in order with the id of its key, if `key` (PEM) is the key of `chain` (PEM).
pub(super) fn pair_of(chain: String, key: String) -> Result<(String, String, Secret), Problem> {
    let upload = Upload(BTreeMap::from([(CHAIN, chain.into_bytes()), (KEY, key.into_bytes())]));
    let missing = || Problem::new(CHAIN, "is missing", instead(CHAIN));
    let Pair { chain, key_id, private_key } = upload.pair()?.ok_or_else(missing)?;
    Ok((chain, key_id, private_key.ok_or_else(missing)?))
}

/// The most certificates of a chain.
const LONGEST_CHAIN: usize = 10;

/// The parts of an upload, by the keys of the body that they stand under.
const CHAIN: &str = "chain";
const KEY: &str = "key";
const PFX: &str = "pfx";
const PASSWORD: &str = "password";

#[derive(Default)]
struct Upload(BTreeMap<&'static str, Vec<u8>>);

impl Files for Upload {
    fn read(&self, key: &str, path: &Path) -> Result<Vec<u8>, Problem> {
        let part = path.to_str().and_then(|part| self.0.get(part));
        part.cloned().ok_or_else(|| Problem::new(key, "is missing", instead(key)))
    }

    fn read_secret(&self, key: &str, path: &Path) -> Result<Vec<u8>, Problem> {
        self.read(key, path)
    }
}

impl Upload {
    fn has(&self, part: &str) -> bool {
        self.0.contains_key(part)
    }

    /// The chain and the key of the upload; none: it has neither.
    fn pair(mut self) -> Result<Option<Pair>, Problem> {
        if self.has(PFX) {
            if let Some(other) = [CHAIN, KEY].into_iter().find(|part| self.has(part)) {
                return Err(Problem::new(other, "stands beside pfx", "send chain and key, or pfx and password, not both"));
            }
            let (chain, private_key) = read_pfx(&self, PFX, Path::new(PFX), PASSWORD, Path::new(PASSWORD)).map_err(in_words_of_the_api)?;
            self.0.insert(CHAIN, pem("CERTIFICATE", chain.iter().map(|certificate| certificate.as_ref())).into_bytes());
            self.0.insert(KEY, pem("PRIVATE KEY", [private_key.secret_der()]).into_bytes());
        } else if self.has(PASSWORD) {
            return Err(Problem::new(PASSWORD, "stands alone", "send it with pfx only"));
        }
        if !self.has(CHAIN) {
            let alone = Problem::new(KEY, "stands alone", "send the certificate with its issuers as chain");
            return if self.has(KEY) { Err(alone) } else { Ok(None) };
        }
        let sorted = sorted(certificates(&self).map_err(in_words_of_the_api)?)?;
        let chain = pem("CERTIFICATE", sorted.iter().map(Vec::as_slice));
        self.0.insert(CHAIN, chain.clone().into_bytes());
        let key = read_public_key(&self, CHAIN, Path::new(CHAIN)).map_err(in_words_of_the_api)?;
        let key_id = hex(&sha256(&key));
        if !self.has(KEY) {
            return Ok(Some(Pair { chain, key_id, private_key: None }));
        }
        let files = PairFiles { chain_key: CHAIN, chain: Path::new(CHAIN), private_key_key: KEY, private_key: Path::new(KEY) };
        read_server_identity(&self, files).map_err(in_words_of_the_api)?;
        Ok(Some(Pair { chain, key_id, private_key: self.0.remove(KEY).map(Secret::new) }))
    }
}

fn certificates(upload: &Upload) -> Result<Vec<Vec<u8>>, Problem> {
    read_certificates(upload, CHAIN, Path::new(CHAIN))
}

/// What was read from files on a disk says so; what was sent has no files.
fn in_words_of_the_api(problem: Problem) -> Problem {
    Problem { instead: instead(&problem.key).to_owned(), ..problem }
}

fn instead(key: &str) -> &'static str {
    match key {
        KEY => {
            "send the private key that the certificate was issued for: PEM, not encrypted; RSA of 2048 bits or more, or ECDSA on P-256 or P-384"
        }
        PFX => "send a PKCS#12 file with certificate and key, in base64, and its password",
        PASSWORD => "send the password of pfx; an empty text where it has none",
        _ => "send the certificate with its issuers, PEM",
    }
}

/// The certificate first, then each one's issuer.
fn sorted(chain: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Problem> {
    let problem = |what: &str| Problem::new(CHAIN, what, "send one server certificate and its issuers, nothing else");
    let mut rest: Vec<Vec<u8>> = Vec::new();
    for der in chain {
        if !rest.contains(&der) {
            rest.push(der);
        }
    }
    if rest.len() > LONGEST_CHAIN {
        return Err(problem("holds more certificates than any chain has"));
    }
    let issued_another = |one: &Vec<u8>| rest.iter().any(|other| other != one && is_issued_by(other, one));
    let mut first = rest.iter().enumerate().filter(|(_, one)| !issued_another(one)).map(|(place, _)| place);
    let (Some(place), None) = (first.next(), first.next()) else {
        return Err(problem("holds more than one certificate that issued none of the others"));
    };
    let mut sorted = vec![rest.swap_remove(place)];
    while let Some(place) = rest.iter().position(|other| sorted.last().is_some_and(|last| is_issued_by(last, other))) {
        sorted.push(rest.swap_remove(place));
    }
    if rest.is_empty() { Ok(sorted) } else { Err(problem("holds certificates that do not belong to the chain of the first one")) }
}

fn pem<'a>(label: &str, ders: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut text = String::new();
    for der in ders {
        text.push_str(&format!("-----BEGIN {label}-----\n"));
        let encoded = BASE64_STANDARD.encode(der);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text.push_str(&format!("-----END {label}-----\n"));
    }
    text
}
