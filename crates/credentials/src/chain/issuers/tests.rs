//! The whole way and the short one, compared over every kind of issuer, client and company that a certificate can come in: what
//! passes below a remembered issuer passes the whole way too, and nothing else does.
use cmg_core::revocation::{Lenience, RevocationPolicy, WhenStale};
use cmg_core::time::WallTime;
use cmg_core::trust::{Block, Trust};
use pki_types::CertificateDer;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints,
    SanType, SerialNumber, date_time_ymd,
};

use super::*;
use crate::blocks::Blocks;
use lab::{Authority, HALF_A_DAY, NOW, trust_of};

#[allow(dead_code, reason = "the tests of the crate need more of it")]
#[path = "../../../tests/credentials/lab.rs"]
mod lab;

type Chain = Vec<CertificateDer<'static>>;

const STRICT: RevocationPolicy = RevocationPolicy { check: true, stale: WhenStale::Deny, unknown: Lenience::Deny };
const LENIENT: RevocationPolicy = RevocationPolicy { check: true, stale: WhenStale::Allow, unknown: Lenience::Allow };
const UNCHECKED: RevocationPolicy = RevocationPolicy { check: false, stale: WhenStale::Deny, unknown: Lenience::Deny };

/// The serial number of a client that its issuer revoked.
const REVOKED_CLIENT: u64 = 0x2002;
/// The serial number of an authority that its issuer revoked.
const REVOKED_AUTHORITY: u64 = 0x77;
/// Before everything, now, and after some certificates and every list have run out.
const TIMES: [WallTime; 3] = [WallTime(1), NOW, WallTime(NOW.0 + HALF_A_DAY + 1)];

/// An authority with those between it and a root.
struct Line {
    below_root: Vec<Authority>,
}

impl Line {
    fn issuer(&self) -> &Authority {
        self.below_root.last().unwrap()
    }

    /// The issuer first, as clients send it.
    fn upwards(&self) -> Vec<&Authority> {
        self.below_root.iter().rev().collect()
    }
}

struct Site {
    roots: [Authority; 3],
    lines: Vec<Line>,
    lists: Vec<Vec<u8>>,
}

impl Site {
    fn new() -> Self {
        let roots = [
            Authority::root("root"),
            Authority::root("other root"),
            Authority::root_with("strict root", |params| params.name_constraints = only("corp.example")),
        ];
        let foreign = Authority::root("root");
        let [root, other_root, strict_root] = &roots;
        let mut lines: Vec<Line> = kinds_of_issuer(root).into_iter().map(|issuer| Line { below_root: vec![issuer] }).collect();
        lines.push(Line { below_root: vec![other_root.authority("plain")] });
        lines.push(Line { below_root: vec![foreign.authority("plain")] });
        lines.push(Line { below_root: vec![strict_root.authority("below strict root")] });
        for upper in kinds_of_issuer(root) {
            let lower = upper.authority(&format!("below {}", name_of(&upper)));
            lines.push(Line { below_root: vec![upper, lower] });
        }
        let mut lists: Vec<_> = roots.iter().map(|root| root.list(&[REVOKED_AUTHORITY])).collect();
        let authorities = lines.iter().flat_map(|line| &line.below_root);
        lists.extend(authorities.filter(|authority| name_of(authority) != "listless").map(|authority| authority.list(&[REVOKED_CLIENT])));
        Self { roots, lines, lists }
    }

    /// Policies that configure every line, every second, or none.
    fn trusts(&self) -> Vec<Trust> {
        [(1, STRICT), (2, LENIENT), (usize::MAX, STRICT), (1, UNCHECKED)].map(|(step, revocation)| self.trust(step, revocation)).into()
    }

    fn trust(&self, step: usize, revocation: RevocationPolicy) -> Trust {
        let roots: Vec<_> = self.roots.iter().collect();
        let can_be_configured = |authority: &&Authority| ClientTrust::new(&trust_of(&roots, &[*authority])).is_ok();
        // The first line is left out where any is, so that it has to be sent.
        let lines = self.lines.iter().skip(step - 1).step_by(step);
        let configured: Vec<_> = lines.flat_map(|line| &line.below_root).filter(can_be_configured).collect();
        Trust { lists: self.lists_beside(&configured), revocation, ..trust_of(&roots, &configured) }
    }

    /// All lists, without those that bear the name of a configured authority without its signature.
    fn lists_beside(&self, configured: &[&Authority]) -> Vec<Vec<u8>> {
        let roots: Vec<_> = self.roots.iter().collect();
        let is_usable = |list: &&Vec<u8>| ClientTrust::new(&Trust { lists: vec![(*list).clone()], ..trust_of(&roots, configured) }).is_ok();
        self.lists.iter().filter(is_usable).cloned().collect()
    }

    /// Every kind of client of every issuer, with every kind of company.
    fn chains(&self) -> Vec<Chain> {
        let mut chains = Vec::new();
        for line in &self.lines {
            let clients = kinds_of_client(line.issuer());
            for leaf in &clients {
                chains.extend([chain(leaf, &[]), chain(leaf, &line.upwards())]);
            }
            let whole = [line.upwards(), self.roots.iter().collect()].concat();
            for above in [&[line.issuer()][..], &whole, &self.lines[0].upwards()] {
                chains.push(chain(&clients[0], above));
            }
        }
        for root in &self.roots {
            chains.extend(kinds_of_client(root).iter().map(|leaf| chain(leaf, &[])));
        }
        chains
    }
}

fn name_of(authority: &Authority) -> String {
    facts::certificate_facts(&authority.der).unwrap().common_name.unwrap()
}

fn chain(leaf: &CertificateDer<'static>, above: &[&Authority]) -> Chain {
    std::iter::once(leaf.clone()).chain(above.iter().map(|authority| authority.der.clone())).collect()
}

fn only(domain: &str) -> Option<NameConstraints> {
    Some(NameConstraints { permitted_subtrees: vec![GeneralSubtree::DnsName(domain.into())], excluded_subtrees: vec![] })
}

fn kinds_of_issuer(root: &Authority) -> Vec<Authority> {
    let with = |name: &str, change: fn(&mut CertificateParams)| root.authority_with(name, change);
    vec![
        with("plain", |_| {}),
        // The same name, another key, the same issuer: a renewal.
        with("plain", |_| {}),
        with("expiring", |params| params.not_after = date_time_ymd(2026, 6, 16)),
        with("later", |params| params.not_before = date_time_ymd(2026, 6, 16)),
        with("revoked", |params| params.serial_number = Some(SerialNumber::from(REVOKED_AUTHORITY))),
        with("listless", |_| {}),
        with("constrained", |params| params.name_constraints = only("corp.example")),
        with("shortest", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))),
        with("short", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1))),
        with("no authority", |params| params.is_ca = IsCa::NoCa),
        with("for servers", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        with("for anything", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
        with("for clients", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
        with("no lists", |params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]),
        with("critical", |params| params.custom_extensions = vec![unknown_and_critical()]),
    ]
}

fn kinds_of_client(issuer: &Authority) -> Chain {
    let with = |change: fn(&mut CertificateParams)| issuer.client_with("pc1", change).der;
    let mut altered = with(|_| {}).to_vec();
    *altered.last_mut().unwrap() ^= 1;
    vec![
        with(|_| {}),
        with(|params| params.serial_number = Some(SerialNumber::from(REVOKED_CLIENT))),
        with(|params| params.not_after = date_time_ymd(2026, 6, 15)),
        with(|params| params.not_before = date_time_ymd(2026, 6, 16)),
        with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
        with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        with(|params| params.custom_extensions = vec![unknown_and_critical()]),
        with(|params| params.subject_alt_names = vec![SanType::DnsName("pc1.corp.example".try_into().unwrap())]),
        with(|params| params.subject_alt_names = vec![SanType::DnsName("pc1.other.example".try_into().unwrap())]),
        issuer.client_of_itself(),
        CertificateDer::from(altered),
    ]
}

fn unknown_and_critical() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    extension.set_criticality(true);
    extension
}

/// Compares both ways over all of `chains`; how many passed, and how many of them the short way.
fn compare(trust: &ClientTrust, chains: &[Chain]) -> (usize, usize) {
    let (mut passed, mut passed_short) = (0, 0);
    for (now, chain) in TIMES.iter().flat_map(|now| chains.iter().map(move |chain| (*now, chain))) {
        let Ok(leaf) = Leaf::read(&chain[0]) else {
            continue;
        };
        let long = trust.find_path(&leaf, chain, now);
        let short = trust.below_known_issuer(&leaf, &chain[1..], now);
        if let Some(short) = short {
            assert!(short.holds(now));
            assert_eq!(Ok(short), long, "{} of {}, {} above it, at {now:?}", leaf.facts.subject, leaf.facts.issuer, chain.len() - 1);
        }
        passed += usize::from(long.is_ok());
        passed_short += usize::from(short.is_some());
    }
    (passed, passed_short)
}

#[test]
fn the_short_way_accepts_nothing_that_the_whole_way_refuses() {
    let site = Site::new();
    let chains = site.chains();
    let blocked = site.lines.iter().skip(6).map(|line| Block::Sha1(facts::certificate_facts(&line.issuer().der).unwrap().thumbprint));
    let blocks = Arc::new(Blocks::new(&blocked.take(3).collect::<Vec<_>>()));

    for (trust, blocks) in site.trusts().iter().zip([Arc::default(), Arc::clone(&blocks), Arc::default(), blocks]) {
        let (passed, passed_short) = compare(&ClientTrust::with_blocks(trust, blocks).unwrap(), &chains);
        assert!(passed_short > passed / 2 && passed_short > 50, "{passed_short} of {passed}");
    }
}
