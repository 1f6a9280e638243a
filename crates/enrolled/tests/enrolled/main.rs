//! A member and its site: enrolment, renewal, and everything that must not be taken for the site's word.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../../../../fuzz/checks/control.rs"]
mod check;
#[path = "../../../../fuzz/checks/corpus.rs"]
mod corpus;
mod joining;
mod site;
mod snapshots;

#[test]
fn the_corpus_of_the_fuzz_target_control_replays() {
    corpus::replay("control", check::check);
}
