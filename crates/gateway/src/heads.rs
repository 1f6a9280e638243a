//! What clients that have not proven who they are may make the gateway hold: the heads of their requests while they arrive.
//!
//! A head may be as long as `head_bytes`, since tickets and tokens are long, and slow. All strangers together get no more than a
//! small head each; most need a part of it only, and the others may have what those leave.
use std::sync::atomic::{AtomicIsize, Ordering};

/// Bytes of a head that every stranger may send, and bytes per connection that all of them together may send beyond.
const SHARE: usize = 4 * 1024;

/// Bytes that strangers may still send beyond their shares; less than none where there were more connections when they began.
pub(crate) struct Heads(AtomicIsize);

/// What one head in progress holds of it, given back when this is dropped.
pub(crate) struct Held<'h> {
    heads: &'h Heads,
    bytes: usize,
}

impl Heads {
    /// For that many connections.
    pub(crate) fn new(connections: usize) -> Self {
        Self(AtomicIsize::new(room(connections)))
    }

    /// For `now` connections, where it was for `before`.
    pub(crate) fn resize(&self, before: usize, now: usize) {
        self.0.fetch_add(room(now) - room(before), Ordering::Relaxed);
    }

    /// A head that has just begun.
    pub(crate) fn begin(&self) -> Held<'_> {
        Held { heads: self, bytes: 0 }
    }
}

impl Held<'_> {
    /// The head has grown to `length` bytes; false: there is no room for it.
    #[must_use]
    pub(crate) fn grow(&mut self, length: usize) -> bool {
        let more = length.saturating_sub(SHARE).saturating_sub(self.bytes);
        let wanted = isize::try_from(more).unwrap_or(isize::MAX);
        let enough = |left: isize| left.checked_sub(wanted).filter(|rest| *rest >= 0);
        let taken = more == 0 || self.heads.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enough).is_ok();
        if taken {
            self.bytes += more;
        }
        taken
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // What was taken fitted, so it fits back.
        self.heads.0.fetch_add(self.bytes as isize, Ordering::Relaxed);
    }
}

fn room(connections: usize) -> isize {
    isize::try_from(connections.saturating_mul(SHARE)).unwrap_or(isize::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_heads_always_have_room_and_large_ones_while_there_is_some() {
        let heads = Heads::new(2);
        let (mut one, mut other) = (heads.begin(), heads.begin());

        assert!(one.grow(SHARE) && one.grow(2 * SHARE) && one.grow(3 * SHARE));
        assert!(other.grow(SHARE) && !other.grow(SHARE + 1));
        assert!(!one.grow(4 * SHARE), "it holds what it has");
        drop(one);
        assert!(other.grow(3 * SHARE));
    }

    #[test]
    fn what_was_held_is_given_back_once() {
        let heads = Heads::new(3);
        let mut held = heads.begin();
        assert!(held.grow(2 * SHARE) && held.grow(3 * SHARE) && !held.grow(9 * SHARE));

        drop(held);

        assert_eq!(heads.0.into_inner(), room(3));
    }
}
