//! Revocation lists: which certificates they cover, and what they say about one.
//!
//! webpki parses and refuses what it does not support (delta and indirect lists, lists by reason, unknown critical extensions).
//! What is kept is made for looking up: serial numbers in order, without the rest of each entry.
//!
//! A list counts for a certificate when the issuer's name is the same, the list's signature is by the very key that issued the
//! certificate, that issuer may sign lists, and the list's scope takes the certificate in: every distribution point of the
//! certificate is compared with every name of the list's, because looking at the first ones only lets revoked certificates pass
//! (RUSTSEC-2026-0049). Where several lists count, one that revokes is enough.
use std::sync::{Arc, Mutex, PoisonError};

use cmg_core::revocation::ListAnswer;
use cmg_core::time::WallTime;
use pki_types::SubjectPublicKeyInfoDer;
use webpki::{BorrowedCertRevocationList, Cert, CertRevocationList, Error};
use x509_parser::asn1_rs::Any;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::facts;
use crate::signed::{Signed, element};

/// Keys of issuers that a list remembers: a list has one signer, or a few across a renewal.
const REMEMBERED_KEYS: usize = 16;
/// 2.5.29.31, as coded.
const DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 31];

/// A certificate whose state is asked for, seen through both parsers.
pub(crate) struct Subject<'a> {
    pub(crate) certificate: &'a Cert<'a>,
    pub(crate) parsed: &'a X509Certificate<'a>,
    /// Whether it stands above the leaf.
    pub(crate) is_authority: bool,
}

/// Who issued a certificate, and perhaps lists.
pub(crate) struct Signer<'a> {
    /// As coded inside its sequence.
    pub(crate) name: &'a [u8],
    pub(crate) key: SubjectPublicKeyInfoDer<'a>,
    /// Whether its key usage allows signing lists.
    pub(crate) signs_lists: bool,
}

/// What all `lists` of its issuer together say about `subject`.
pub(crate) fn answer(lists: &[Arc<List>], subject: &Subject<'_>) -> ListAnswer {
    let mut newest = None;
    for list in lists.iter().filter(|list| list.scope.takes_in(subject)) {
        if list.revokes(subject.certificate.serial()) {
            return ListAnswer::Revoked;
        }
        newest = newest.max(Some(list.next_update));
    }
    match newest {
        None => ListAnswer::NotCovered,
        next_update => ListAnswer::NotRevoked { next_update },
    }
}

/// Which of `lists` (DER) are out of date at `now`, by number, and since when. One beside a newer one that covers the same is not among
/// them, and neither is what cannot be read.
pub fn overdue(lists: &[Vec<u8>], now: WallTime) -> Vec<(usize, WallTime)> {
    let lists: Vec<_> = lists.iter().map(|der| List::parse(der).ok()).collect();
    let in_force = |old: &List| lists.iter().flatten().any(|list| list.next_update >= now && list.replaces(old));
    let numbered = lists.iter().enumerate().filter_map(|(number, list)| Some((number, list.as_ref()?)));
    let overdue = numbered.filter(|(_, list)| list.next_update < now && !in_force(list));
    overdue.map(|(number, list)| (number, list.next_update)).collect()
}

/// One revocation list.
pub(crate) struct List {
    der: Vec<u8>,
    issuer: Vec<u8>,
    scope: Scope,
    next_update: WallTime,
    /// Serial numbers as coded in certificates, in order.
    revoked: Vec<Box<[u8]>>,
    /// Keys that were tried on the signature, and whether it was theirs.
    tried: Mutex<Vec<(Vec<u8>, bool)>>,
}

impl List {
    /// Parses a list; the error says what to tell the administrator.
    pub(crate) fn parse(der: &[u8]) -> Result<Self, &'static str> {
        let borrowed = BorrowedCertRevocationList::from_der(der).map_err(unusable)?;
        let mut revoked = Vec::new();
        for entry in &borrowed {
            revoked.push(entry.map_err(unusable)?.serial_number.into());
        }
        revoked.sort_unstable();
        let next_update = Signed::parse(der).and_then(|signed| next_update(&signed)).ok_or(UNREADABLE)?;
        let list = CertRevocationList::Borrowed(borrowed);
        Ok(Self {
            der: der.to_vec(),
            issuer: list.issuer().to_vec(),
            scope: Scope::of(list.issuing_distribution_point()).ok_or(UNREADABLE)?,
            next_update,
            revoked,
            tried: Mutex::default(),
        })
    }

    /// The issuer's name, as coded inside its sequence.
    pub(crate) fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// Whether `key` signed the list. The answer is remembered, as lists are large and their signers few.
    pub(crate) fn is_signed_by(&self, key: &SubjectPublicKeyInfoDer<'_>) -> bool {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, good)) = tried.iter().find(|(known, _)| known == key.as_ref()) {
            return *good;
        }
        let good = Signed::parse(&self.der).is_some_and(|signed| signed.is_signed_by(key));
        if tried.len() < REMEMBERED_KEYS {
            tried.push((key.to_vec(), good));
        }
        good
    }

    /// Whether `signer` signed the list, and may.
    pub(crate) fn is_of(&self, signer: &Signer<'_>) -> bool {
        self.issuer == signer.name && signer.signs_lists && self.is_signed_by(&signer.key)
    }

    /// Whether both are for the same certificates.
    fn replaces(&self, old: &Self) -> bool {
        self.issuer == old.issuer && self.scope == old.scope
    }

    fn revokes(&self, serial: &[u8]) -> bool {
        self.revoked.binary_search_by(|revoked| (**revoked).cmp(serial)).is_ok()
    }
}

/// What a list's issuing distribution point says about its scope.
#[derive(Default, PartialEq)]
struct Scope {
    users_only: bool,
    authorities_only: bool,
    /// Names of the distribution point; none: everything of the issuer.
    uris: Vec<Vec<u8>>,
}

impl Scope {
    /// Reads the extension, whose form webpki has checked.
    fn of(extension: Option<&[u8]>) -> Option<Self> {
        const DISTRIBUTION_POINT: u32 = 0;
        const USERS_ONLY: u32 = 1;
        const AUTHORITIES_ONLY: u32 = 2;

        let mut scope = Self::default();
        let Some(extension) = extension else {
            return Some(scope);
        };
        for part in elements(element(extension)?.1.data)? {
            match part.tag().0 {
                DISTRIBUTION_POINT => scope.uris = uris(part.data)?,
                USERS_ONLY => scope.users_only = part.data != [0],
                AUTHORITIES_ONLY => scope.authorities_only = part.data != [0],
                _ => {}
            }
        }
        Some(scope)
    }

    fn takes_in(&self, subject: &Subject<'_>) -> bool {
        if self.users_only && subject.is_authority || self.authorities_only && !subject.is_authority {
            return false;
        }
        if self.uris.is_empty() {
            return true;
        }
        let mut has_points = false;
        for extension in subject.parsed.extensions().iter().filter(|extension| extension.oid.as_bytes() == DISTRIBUTION_POINTS) {
            has_points = true;
            let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() else {
                continue;
            };
            let whole = points.iter().filter(|point| point.crl_issuer.is_none() && point.reasons.is_none());
            if whole.filter_map(|point| point.distribution_point.as_ref()).any(|point| self.names_one_of(point)) {
                return true;
            }
        }
        !has_points
    }

    fn names_one_of(&self, point: &DistributionPointName<'_>) -> bool {
        let DistributionPointName::FullName(names) = point else {
            return false;
        };
        names.iter().any(|name| matches!(name, GeneralName::URI(uri) if self.uris.iter().any(|known| known == uri.as_bytes())))
    }
}

/// `nextUpdate`: after version, algorithm, issuer and `thisUpdate`.
fn next_update(list: &Signed<'_>) -> Option<WallTime> {
    let (_, content) = element(list.content)?;
    let mut rest = content.data;
    for _ in 0..4 {
        rest = element(rest)?.0;
    }
    let (_, next_update) = ASN1Time::from_der(rest).ok()?;
    Some(facts::wall_time(next_update.timestamp()))
}

/// URIs of `[0] { [0] GeneralNames }`'s inside.
fn uris(distribution_point: &[u8]) -> Option<Vec<Vec<u8>>> {
    const URI: u32 = 6;

    let (_, names) = element(distribution_point)?;
    let names = elements(names.data)?;
    Some(names.iter().filter(|name| name.tag().0 == URI).map(|name| name.data.to_vec()).collect())
}

fn elements(mut der: &[u8]) -> Option<Vec<Any<'_>>> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (rest, next) = element(der)?;
        found.push(next);
        der = rest;
    }
    Some(found)
}

const UNREADABLE: &str = "it is no X.509 revocation list";

fn unusable(error: Error) -> &'static str {
    match error {
        Error::UnsupportedDeltaCrl => "it is a delta list; only complete lists can be used",
        Error::UnsupportedIndirectCrl => "it is an indirect list; only lists signed by the certificates' own issuer can be used",
        Error::UnsupportedRevocationReasonsPartitioning => "it covers some revocation reasons only",
        Error::UnsupportedCrlIssuingDistributionPoint => "its issuing distribution point has no full name",
        Error::UnsupportedCrlVersion => "it is not a version 2 list",
        Error::UnsupportedCriticalExtension => "it has a critical extension that is not known here",
        _ => UNREADABLE,
    }
}
