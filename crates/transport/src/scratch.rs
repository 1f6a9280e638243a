//! Per-thread working memory, so that no connection has to hold a buffer of its own between two polls.
use std::cell::RefCell;

/// Ciphertext read in one system call. Eight TLS records: large enough that bulk transfers make few calls, small enough to stay in
/// the second-level cache.
pub(crate) const CHUNK: usize = 128 * 1024;

/// Plaintext written in one system call: two bodies of 64 KiB with their heads.
pub(crate) const WRITE_CHUNK: usize = 160 * 1024;

/// Room for a partial record that is carried over, and for the overhead of encrypted records.
const SLACK: usize = 20 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; WRITE_CHUNK + SLACK]);
}

/// Runs `work` with this thread's scratch memory. Not re-entrant: `work` polls sockets and ciphers, nothing else.
pub(crate) fn with<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| work(scratch))
}
