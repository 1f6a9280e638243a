//! Small texts: digests, hexadecimal, notes of administrators, times for people.

use aws_lc_rs::digest::{SHA256, digest};
use cmg_core::problem::Problem;
use cmg_core::time::WallTime;

/// The longest note, in characters.
const LONGEST_NOTE: usize = 500;

/// The longest text that stands in one line of a list, in characters.
const LONGEST_LINE: usize = 1_000;

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is wrong with a text that will stand in one line.
pub(crate) fn line_problem(key: &str, text: &str) -> Option<Problem> {
    if text.trim().is_empty() {
        return Some(Problem::new(key, "it is empty", "write it, or leave the key out"));
    }
    if text.chars().count() > LONGEST_LINE {
        return Some(Problem::new(key, "it is too long", format!("write at most {LONGEST_LINE} characters")));
    }
    let is_plain = text.trim() == text && !text.chars().any(char::is_control);
    (!is_plain).then(|| {
        Problem::new(key, "it begins or ends with blanks, or holds a line break", "write it in one line, without blanks around it")
    })
}

/// What is wrong with a note.
pub(crate) fn note_problem(note: &str) -> Option<Problem> {
    let is_long = note.chars().count() > LONGEST_NOTE;
    let what = if is_long { "it is too long" } else { "it holds a line break or another invisible character" };
    (is_long || note.chars().any(char::is_control))
        .then(|| Problem::new("note", what, format!("write one line of at most {LONGEST_NOTE} characters")))
}

/// A time of the database, for people.
pub(crate) fn time(seconds: i64) -> String {
    cmg_process::clock::text(WallTime(u64::try_from(seconds).unwrap_or_default()))
}
