//! The corpus of the fuzz target `proof`, as an ordinary test.

#[path = "../../../../fuzz/checks/proof.rs"]
mod check;
#[path = "../../../../fuzz/checks/corpus.rs"]
mod corpus;

#[test]
fn the_corpus_of_the_fuzz_target_proof_replays() {
    corpus::replay("proof", check::check);
}
