//! Policies of clients: what is not the site's own word is refused, each with its reason.

use cmg_api::bytes::Base64;
use cmg_api::control::{FRESHNESS_CONTEXT, GenerationId, Signed};
use cmg_api::policy::{ClientSettingsPolicy, LARGEST_POLICY, POLICY_CONTEXT, Policy};
use cmg_credentials::members::MemberRefused;
use cmg_enrolled::policy::{PolicyRefused, first_policy, policy};
use cmg_lab::Profile;

use super::site::{Site, now, sha256, sign_with};

fn a_policy(site: &Site, number: u64) -> Policy {
    Policy {
        site_name: "lab".to_owned(),
        site: "LAB".to_owned(),
        generation: GenerationId { epoch: 1, number },
        made_at: now().0,
        roots: site.roots().into_iter().map(Base64).collect(),
        management_points: Vec::new(),
        services: Vec::new(),
        servers: Vec::new(),
        boundary_groups: Vec::new(),
        client: ClientSettingsPolicy::default(),
        agents: [("osquery".to_owned(), serde_json::json!({ "interval": 60 }))].into(),
    }
}

fn text(signed: &Signed) -> Vec<u8> {
    serde_json::to_vec(signed).unwrap()
}

fn signed(site: &Site, number: u64) -> Vec<u8> {
    text(&site.sign(POLICY_CONTEXT, serde_json::to_string(&a_policy(site, number)).unwrap()))
}

fn read(site: &Site, text: &[u8]) -> Result<u64, PolicyRefused> {
    policy(text, GenerationId { epoch: 1, number: 6 }, &site.roots(), now()).map(|policy| policy.generation.number)
}

#[test]
fn what_the_site_signs_counts() {
    let site = Site::new();

    assert_eq!(read(&site, &signed(&site, 7)), Ok(7));
    assert_eq!(policy(&signed(&site, 7), GenerationId::default(), &site.roots(), now()).unwrap(), a_policy(&site, 7));
}

#[test]
fn an_older_policy_and_the_same_one_do_not_count() {
    let site = Site::new();

    for number in [5, 6] {
        let (offered, known) = (GenerationId { epoch: 1, number }, GenerationId { epoch: 1, number: 6 });
        assert_eq!(read(&site, &signed(&site, number)), Err(PolicyRefused::Older { offered, known }));
    }
}

#[test]
fn a_forged_policy_does_not_count() {
    let site = Site::new();
    let mut forged = site.sign(POLICY_CONTEXT, serde_json::to_string(&a_policy(&site, 7)).unwrap());
    forged.payload = forged.payload.replace("\"number\":7", "\"number\":8");
    let of_another_context = site.sign(FRESHNESS_CONTEXT, serde_json::to_string(&a_policy(&site, 7)).unwrap());
    let ended = site.root.issue(&Profile::snapshot_signer("1").expired()).unwrap();
    let ended = sign_with(&ended, POLICY_CONTEXT, serde_json::to_string(&a_policy(&site, 7)).unwrap());

    assert_eq!(read(&site, &text(&forged)), Err(PolicyRefused::Unsigned(MemberRefused::Signature)));
    assert_eq!(read(&site, &text(&of_another_context)), Err(PolicyRefused::Unsigned(MemberRefused::Signature)));
    assert_eq!(read(&site, &text(&ended)), Err(PolicyRefused::Unsigned(MemberRefused::NotInForce)));
}

#[test]
fn a_policy_of_another_hierarchy_does_not_count() {
    let (site, other) = (Site::new(), Site::new());

    assert_eq!(read(&site, &signed(&other, 7)), Err(PolicyRefused::Unsigned(MemberRefused::Foreign)));
}

#[test]
fn a_policy_that_is_cut_off_too_large_or_nothing_of_the_kind_does_not_count() {
    let site = Site::new();
    let whole = signed(&site, 7);

    for end in [0, 1, whole.len() / 2, whole.len() - 1] {
        assert_eq!(read(&site, &whole[..end]), Err(PolicyRefused::Truncated), "{end}");
    }
    assert_eq!(read(&site, &vec![b' '; LARGEST_POLICY + 1]), Err(PolicyRefused::TooLarge(LARGEST_POLICY + 1)));
    assert_eq!(read(&site, b"<html>welcome to the hotel</html>"), Err(PolicyRefused::Unreadable));
    assert_eq!(read(&site, &text(&site.sign(POLICY_CONTEXT, "{}".to_owned()))), Err(PolicyRefused::Unreadable));
}

#[test]
fn the_first_policy_is_believed_by_the_root_that_was_named_or_by_its_own() {
    let (site, other) = (Site::new(), Site::new());
    let pin = |site: &Site| sha256(&site.roots()[0]).0;
    let text = signed(&site, 7);
    let mut with_others_roots = a_policy(&site, 7);
    with_others_roots.roots = other.roots().into_iter().map(Base64).collect();
    let with_others_roots = site.sign(POLICY_CONTEXT, serde_json::to_string(&with_others_roots).unwrap());

    assert!(first_policy(&text, Some(&pin(&site)), now()).is_ok() && first_policy(&text, None, now()).is_ok());
    assert_eq!(first_policy(&text, Some(&pin(&other)), now()), Err(PolicyRefused::OtherRoot));
    let forged = serde_json::to_vec(&with_others_roots).unwrap();
    assert_eq!(first_policy(&forged, Some(&pin(&other)), now()), Err(PolicyRefused::Unsigned(MemberRefused::Foreign)));
    assert_eq!(first_policy(&forged, None, now()), Err(PolicyRefused::Unsigned(MemberRefused::Foreign)));
}
