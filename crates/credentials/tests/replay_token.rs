//! The corpus of the fuzz target `token`, as an ordinary test.

#[path = "../../../fuzz/checks/token.rs"]
mod check;
#[path = "../../../fuzz/checks/corpus.rs"]
mod corpus;

#[test]
fn the_corpus_of_the_fuzz_target_token_replays() {
    corpus::replay("token", check::check);
}
