//! The corpus of the fuzz target `certificate`, as an ordinary test.

#[path = "../../../fuzz/checks/certificate.rs"]
mod check;
#[path = "../../../fuzz/checks/corpus.rs"]
mod corpus;

#[test]
fn the_corpus_of_the_fuzz_target_certificate_replays() {
    corpus::replay("certificate", check::check);
}
