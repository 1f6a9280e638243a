//! What waits to be written to a session's connection: small frames side by side, large bodies where they lie.
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Bodies from this size on are not copied.
pub(crate) const LARGE: usize = 8 * 1024;

/// Parts handed to the socket in one call.
const PARTS: usize = 8;

/// Bytes to be written, in order.
#[derive(Default)]
pub(crate) struct WriteQueue {
    parts: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// Bytes of the tail that are written.
    written: usize,
    length: usize,
}

/// A frame, or several, that somebody wants written.
pub(crate) struct Frames {
    pub(crate) start: Vec<u8>,
    /// The payload of the last frame where it is large.
    pub(crate) body: Bytes,
}

impl From<Vec<u8>> for Frames {
    fn from(start: Vec<u8>) -> Self {
        Self { start, body: Bytes::new() }
    }
}

impl WriteQueue {
    pub(crate) fn push(&mut self, frames: Frames) {
        self.length += frames.start.len() + frames.body.len();
        self.tail.extend_from_slice(&frames.start);
        if frames.body.len() < LARGE {
            self.tail.extend_from_slice(&frames.body);
            return;
        }
        let mut tail = Bytes::from(std::mem::take(&mut self.tail));
        tail.advance(std::mem::take(&mut self.written));
        self.parts.push_back(tail);
        self.parts.push_back(frames.body);
    }

    /// Appends small frames.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.tail.len();
        write(&mut self.tail);
        self.length += self.tail.len() - before;
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Gives `write` the next parts, and takes off as many bytes as it says it took.
    pub(crate) fn write<E>(&mut self, write: impl FnOnce(&[IoSlice<'_>]) -> Result<usize, E>) -> Result<(), E> {
        let mut slices = [IoSlice::new(&[]); PARTS];
        let mut count = 0;
        for part in self.parts.iter().take(PARTS - 1) {
            slices[count] = IoSlice::new(part);
            count += 1;
        }
        if count == self.parts.len() {
            slices[count] = IoSlice::new(&self.tail[self.written..]);
            count += 1;
        }
        let taken = write(&slices[..count])?;
        self.take_off(taken);
        Ok(())
    }

    fn take_off(&mut self, mut taken: usize) {
        self.length -= taken;
        while let Some(part) = self.parts.front_mut() {
            let now = taken.min(part.len());
            part.advance(now);
            taken -= now;
            if !part.is_empty() {
                return;
            }
            self.parts.pop_front();
        }
        self.written += taken;
        if self.written == self.tail.len() {
            self.tail.clear();
            self.tail.shrink_to(4 * LARGE);
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes everything, `step` bytes at a time.
    fn drain(queue: &mut WriteQueue, step: usize) -> Vec<u8> {
        let mut out = vec![];
        while !queue.is_empty() {
            let written = queue.write(|slices| {
                let before = out.len();
                out.extend(slices.iter().flat_map(|slice| slice.iter().copied()).take(step));
                Ok::<_, ()>(out.len() - before)
            });
            assert!(written.is_ok());
        }
        out
    }

    #[test]
    fn order_is_kept_whatever_the_socket_takes() {
        for step in [1, 7, 1_000, 100_000] {
            let mut queue = WriteQueue::default();
            let mut expected = vec![];
            for round in 0..20_u8 {
                let body = vec![round; if round % 3 == 0 { LARGE } else { 10 }];
                expected.extend_from_slice(&[round, 255]);
                expected.extend_from_slice(&body);
                queue.push(Frames { start: vec![round, 255], body: body.into() });
                queue.append(|tail| tail.push(round));
                expected.push(round);
            }
            assert_eq!(queue.len(), expected.len());

            assert!(drain(&mut queue, step) == expected);
        }
    }

    #[test]
    fn what_is_added_in_between_comes_behind() {
        let mut queue = WriteQueue::default();
        queue.append(|tail| tail.extend_from_slice(b"abc"));
        assert!(queue.write(|_| Ok::<_, ()>(1)).is_ok());
        queue.push(Frames { start: b"d".to_vec(), body: vec![b'e'; LARGE].into() });

        let rest = drain(&mut queue, 100);

        assert_eq!(&rest[..4], b"bcde");
    }
}
