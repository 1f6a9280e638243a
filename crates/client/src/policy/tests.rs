//! Policies that count and policies that do not, signed by a real authority.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use cmg_api::bytes::Base64;
use cmg_api::policy::ClientSettingsPolicy;
use cmg_authority::{Roots, SnapshotSigner};
use serde_json::json;
use tempfile::TempDir;

use super::*;

const NOW: WallTime = WallTime(1_800_000_000);
const YEAR: u64 = 365 * 86_400;

/// A site's authority.
struct Site {
    root: Vec<u8>,
    digest: Sha256,
    signer: SnapshotSigner,
}

impl Site {
    fn new() -> Self {
        let roots = Roots::generate("P01", NOW).unwrap();
        let signer = roots.infrastructure_issuer(NOW).unwrap().snapshot_signer(1, NOW).unwrap();
        Self { root: roots.infrastructure_certificate().to_vec(), digest: Sha256(roots.infrastructure_digest()), signer }
    }

    fn policy(&self, number: u64) -> Policy {
        Policy {
            site_name: "site".to_owned(),
            site: "P01".to_owned(),
            generation: GenerationId { epoch: 1, number },
            made_at: NOW.0,
            roots: vec![Base64(self.root.clone())],
            management_points: Vec::new(),
            services: Vec::new(),
            servers: Vec::new(),
            boundary_groups: Vec::new(),
            client: ClientSettingsPolicy::default(),
            agents: BTreeMap::new(),
        }
    }

    fn signed(&self, policy: &Policy) -> Vec<u8> {
        let signed = self.signer.sign(POLICY_CONTEXT, serde_json::to_string(policy).unwrap()).unwrap();
        serde_json::to_vec(&signed).unwrap()
    }

    fn of(&self, number: u64) -> Vec<u8> {
        self.signed(&self.policy(number))
    }
}

static OURS: LazyLock<Site> = LazyLock::new(Site::new);
static THEIRS: LazyLock<Site> = LazyLock::new(Site::new);

fn keeper(dir: &TempDir, expected: Expected) -> Keeper {
    Keeper::open(Disk::open(&dir.path().join("data")).unwrap(), expected).unwrap()
}

/// A keeper that holds generation 5 of our site.
fn held() -> (TempDir, Keeper) {
    let dir = TempDir::new().unwrap();
    let mut keeper = keeper(&dir, Expected::default());
    keeper.take(&OURS.of(5), NOW).unwrap();
    (dir, keeper)
}

fn number(keeper: &Keeper) -> Option<u64> {
    keeper.held().map(|policy| policy.generation.number)
}

#[test]
fn a_newer_policy_replaces_the_one_before_and_is_there_after_a_restart() {
    let (dir, mut before) = held();

    assert!(before.take(&OURS.of(6), NOW).unwrap().is_some());
    assert!(before.take(&OURS.of(6), NOW).unwrap().is_none());

    assert_eq!((number(&before), number(&keeper(&dir, Expected::default()))), (Some(6), Some(6)));
}

#[test]
fn an_older_policy_is_refused() {
    let (_dir, mut keeper) = held();

    assert!(matches!(keeper.take(&OURS.of(4), NOW), Err(PolicyRefused::Older { .. })));
    assert_eq!(number(&keeper), Some(5));
}

#[test]
fn a_policy_of_another_hierarchy_is_refused_even_if_it_names_our_root() {
    let (_dir, mut keeper) = held();
    let forged = Policy { roots: vec![Base64(OURS.root.clone())], ..THEIRS.policy(6) };

    for answer in [THEIRS.of(6), THEIRS.signed(&forged)] {
        assert!(matches!(keeper.take(&answer, NOW), Err(PolicyRefused::Signature { refused: MemberRefused::Foreign })));
    }
    assert_eq!(number(&keeper), Some(5));
}

#[test]
fn a_forged_a_truncated_and_an_oversized_policy_are_refused() {
    let (_dir, mut keeper) = held();
    let mut forged: Signed = serde_json::from_slice(&OURS.of(6)).unwrap();
    forged.payload = forged.payload.replace("\"number\":6", "\"number\":7");
    let oversized = Signed { payload: " ".repeat(LARGEST_POLICY + 1), ..forged.clone() };
    let whole = OURS.of(6);

    let refused = keeper.take(&serde_json::to_vec(&forged).unwrap(), NOW);
    assert!(matches!(refused, Err(PolicyRefused::Signature { refused: MemberRefused::Signature })), "{refused:?}");
    assert!(matches!(keeper.take(&whole[..whole.len() / 2], NOW), Err(PolicyRefused::Malformed(_))));
    assert!(matches!(keeper.take(&serde_json::to_vec(&oversized).unwrap(), NOW), Err(PolicyRefused::TooLarge(_))));
}

#[test]
fn what_is_signed_as_something_else_is_no_policy() {
    let dir = TempDir::new().unwrap();
    let other = OURS.signer.sign("cmg-manifest/1", serde_json::to_string(&OURS.policy(1)).unwrap()).unwrap();

    let refused = keeper(&dir, Expected::default()).take(&serde_json::to_vec(&other).unwrap(), NOW);

    assert!(matches!(refused, Err(PolicyRefused::Signature { refused: MemberRefused::Signature })));
}

#[test]
fn the_first_policy_is_under_the_root_that_the_installation_named() {
    let dir = TempDir::new().unwrap();
    let mut keeper = keeper(&dir, Expected { site: None, root: Some(OURS.digest) });
    let both = Policy { roots: vec![Base64(OURS.root.clone()), Base64(THEIRS.root.clone())], ..THEIRS.policy(1) };

    for answer in [THEIRS.of(1), THEIRS.signed(&both)] {
        assert!(matches!(keeper.take(&answer, NOW), Err(PolicyRefused::Signature { refused: MemberRefused::Foreign })));
    }
    assert!(keeper.take(&OURS.of(1), NOW).unwrap().is_some());
}

#[test]
fn a_policy_of_another_site_is_refused() {
    let dir = TempDir::new().unwrap();

    let refused = keeper(&dir, Expected { site: Some("P02".to_owned()), root: None }).take(&OURS.of(1), NOW);

    assert!(matches!(refused, Err(PolicyRefused::OtherSite { .. })));
}

#[test]
fn a_clock_that_is_years_off_is_told() {
    let (_dir, mut keeper) = held();

    let refused = keeper.take(&OURS.of(6), WallTime(NOW.0 + 10 * YEAR)).unwrap_err();

    assert!(refused.to_string().ends_with("set this device's clock if it is wrong"), "{refused}");
}

#[test]
fn a_policy_that_lets_in_new_roots_hands_over_to_them() {
    let (_dir, mut keeper) = held();
    let both = Policy { roots: vec![Base64(OURS.root.clone()), Base64(THEIRS.root.clone())], ..OURS.policy(6) };

    keeper.take(&OURS.signed(&both), NOW).unwrap();

    assert!(keeper.take(&THEIRS.of(7), NOW).unwrap().is_some());
}

#[test]
fn settings_are_handed_out_to_agents_and_taken_back() {
    let (dir, mut keeper) = held();
    let agents = BTreeMap::from([("osquery".to_owned(), json!({ "interval": 60 })), ("../escape".to_owned(), json!({}))]);
    keeper.take(&OURS.signed(&Policy { agents, ..OURS.policy(6) }), NOW).unwrap();
    assert_eq!(keeper.hand_out(), [""; 0]);
    let file = dir.path().join("data/agents/osquery.json");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&std::fs::read(&file).unwrap()).unwrap(), json!({ "interval": 60 }));
    assert!(!dir.path().join("data/escape.json").exists());

    keeper.take(&OURS.of(7), NOW).unwrap();
    keeper.hand_out();

    assert!(!file.exists());
}
