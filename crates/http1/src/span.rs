//! A place in the caller's buffer: half the size of a slice, and free of its lifetime.

use core::ops::Range;

/// A range of bytes in the buffer that was parsed. It means nothing in any other buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Both ends lie inside a head or a trailer section, which is never longer than `u32::MAX` bytes.
    pub(crate) fn new(range: Range<usize>) -> Self {
        Self { start: range.start as u32, end: range.end as u32 }
    }

    /// The bytes of this span.
    ///
    /// # Panics
    ///
    /// If `buf` is shorter than the buffer that was parsed.
    #[inline]
    #[must_use]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        &buf[self.range()]
    }

    /// Length in bytes.
    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        self.range().len()
    }

    /// Whether there is no byte in it.
    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Offsets in bytes from the start of the buffer.
    #[inline]
    #[must_use]
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}
