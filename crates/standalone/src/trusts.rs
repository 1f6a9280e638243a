//! `[trust.NAME]` and `[[token_key]]`: files become certificates, lists and keys.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cmg_api::{Algorithm as AlgorithmName, TokenKeyFile, TokenKind as KindName, TrustFile, WhenStale as WhenStaleText, WhenUnsure};
use cmg_core::identity::TokenKind;
use cmg_core::ids::{TrustName, is_name};
use cmg_core::problem::Problem;
use cmg_core::revocation::{Lenience, RevocationPolicy, WhenStale};
use cmg_core::trust::{Algorithm, TokenKey, Trust};
use cmg_credentials::load::{Files, read_certificates, read_lists, read_public_key};

use crate::Reading;

pub(crate) fn trusts(files: &BTreeMap<String, TrustFile>, reading: &mut Reading) -> Vec<Trust> {
    files.iter().map(|(name, file)| trust(name, file, reading)).collect()
}

fn trust(name: &str, file: &TrustFile, reading: &mut Reading) -> Trust {
    let key = format!("trust.{name}");
    if !is_name(name) {
        reading.problem(&key, format!("\"{name}\" is no name"), "write 1 to 64 letters, digits, dots, hyphens or underscores");
    }
    Trust {
        name: TrustName::new(name),
        authorities: contents(&format!("{key}.authorities"), &file.authorities, read_certificates, reading),
        intermediates: contents(&format!("{key}.intermediates"), &file.intermediates, read_certificates, reading),
        lists: contents(&format!("{key}.crls"), &file.crls, read_lists, reading),
        revocation: RevocationPolicy {
            check: file.check_revocation,
            stale: when_stale(&format!("{key}.stale_crl"), file.stale_crl, reading),
            unknown: lenience(file.unknown_crl),
        },
    }
}

type Read = fn(&dyn Files, &str, &Path) -> Result<Vec<Vec<u8>>, Problem>;

/// What is in all the files that `key` lists.
fn contents(key: &str, files: &[PathBuf], read: Read, reading: &mut Reading) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (place, file) in files.iter().enumerate() {
        let file_key = format!("{key}[{place}]");
        for der in reading.keep(read(reading.files(), &file_key, &reading.path(file))).unwrap_or_default() {
            reading.comes_from(format!("{key}[{}]", all.len()), &file_key);
            all.push(der);
        }
    }
    all
}

pub(crate) fn token_keys(files: &[TokenKeyFile], reading: &mut Reading) -> Vec<TokenKey> {
    files.iter().enumerate().map(|(place, file)| token_key(&format!("token_key[{place}]"), file, reading)).collect()
}

fn token_key(key: &str, file: &TokenKeyFile, reading: &mut Reading) -> TokenKey {
    for (name, value) in [("id", &file.id), ("issuer", &file.issuer)] {
        if value.is_empty() {
            reading.problem(format!("{key}.{name}"), "it is empty", "write what the tokens say");
        }
    }
    let leeway = file.leeway.time();
    TokenKey {
        id: file.id.clone(),
        issuer: file.issuer.clone(),
        algorithms: file.algorithms.iter().copied().map(algorithm).collect(),
        public_key: reading.keep(read_public_key(reading.files(), &format!("{key}.key"), &reading.path(&file.key))).unwrap_or_default(),
        kind: token_kind(file.kind),
        // Whole seconds, upwards, so that a little more than is allowed stays more.
        leeway: leeway.as_secs() + u64::from(leeway.subsec_nanos() > 0),
    }
}

fn when_stale(key: &str, text: WhenStaleText, reading: &mut Reading) -> WhenStale {
    match text {
        WhenStaleText::Deny => WhenStale::Deny,
        WhenStaleText::Allow => WhenStale::Allow,
        WhenStaleText::Grace(grace) => {
            if grace.time().as_secs() == 0 || grace > WhenStaleText::LONGEST_GRACE {
                let longest = WhenStaleText::LONGEST_GRACE;
                reading.problem(key, format!("a grace of {grace} cannot be"), format!("write 1s to {longest}, or \"deny\""));
            }
            WhenStale::Grace { seconds: grace.time().as_secs() }
        }
    }
}

fn lenience(when: WhenUnsure) -> Lenience {
    match when {
        WhenUnsure::Deny => Lenience::Deny,
        WhenUnsure::Allow => Lenience::Allow,
    }
}

fn algorithm(name: AlgorithmName) -> Algorithm {
    match name {
        AlgorithmName::Rs256 => Algorithm::Rs256,
        AlgorithmName::Ps256 => Algorithm::Ps256,
        AlgorithmName::Es256 => Algorithm::Es256,
        AlgorithmName::Es384 => Algorithm::Es384,
        AlgorithmName::EdDsa => Algorithm::EdDsa,
    }
}

pub(crate) fn token_kind(name: KindName) -> TokenKind {
    match name {
        KindName::Site => TokenKind::Site,
        KindName::Ccm => TokenKind::Ccm,
        KindName::Bulk => TokenKind::Bulk,
        KindName::OidcDevice => TokenKind::OidcDevice,
        KindName::OidcUser => TokenKind::OidcUser,
    }
}
