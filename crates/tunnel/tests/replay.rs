//! The corpus of the fuzz target `frames`, as an ordinary test.

#[path = "../../../fuzz/checks/frames.rs"]
mod check;
#[path = "../../../fuzz/checks/corpus.rs"]
mod corpus;

#[test]
fn the_corpus_of_the_fuzz_target_frames_replays() {
    corpus::replay("frames", check::check);
}
