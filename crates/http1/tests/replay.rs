//! The corpus of the fuzz target `head`, as an ordinary test.

#[path = "../../../fuzz/checks/head.rs"]
mod check;
#[path = "../../../fuzz/checks/corpus.rs"]
mod corpus;

#[test]
fn the_corpus_of_the_fuzz_target_head_replays() {
    corpus::replay("head", check::check);
}
