//! Replays what fuzzers have found and what people have thought of: every file of `fuzz/corpus/<name>`.

use std::path::Path;

/// Checks every input of the corpus `name`, and each of them cut short.
pub(crate) fn replay(name: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is there") {
        let input = std::fs::read(entry.expect("a file").path()).expect("a file that can be read");
        check(&input);
        check(&input[..input.len() / 2]);
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}
