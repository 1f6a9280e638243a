//! The corpus of the fuzz target `target`, as an ordinary test.

#[path = "../../../fuzz/checks/target.rs"]
mod check;
#[path = "../../../fuzz/checks/corpus.rs"]
mod corpus;

#[test]
fn the_corpus_of_the_fuzz_target_target_replays() {
    corpus::replay("target", check::check);
}
