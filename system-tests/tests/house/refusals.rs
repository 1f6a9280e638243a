//! Every reason to refuse a request is seen by a client in some test: by its label, which is what the log and the metrics say.

use cmg_core::refusal::Refusal;

use super::tree;

#[test]
fn every_refusal_has_a_test_that_names_it() {
    let tests = tree::rust_files("system-tests/tests/system").concat();
    let unseen: Vec<_> =
        Refusal::ALL.iter().map(|refusal| refusal.row().label).filter(|label| !tests.contains(&format!("\"{label}\""))).collect();

    assert!(unseen.is_empty(), "no test of the whole system names these: {unseen:?}");
}
