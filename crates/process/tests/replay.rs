//! The corpus of the fuzz target `config`, as an ordinary test.

#[path = "../../../fuzz/checks/config.rs"]
mod check;
#[path = "../../../fuzz/checks/corpus.rs"]
mod corpus;

#[test]
fn the_corpus_of_the_fuzz_target_config_replays() {
    corpus::replay("config", check::check);
}
