//! One record of a segment: length, checksum, message.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use aws_lc_rs::digest::{SHA256, digest};
use cmg_api::device::PassedOnMessage;

/// What stands before a message: its length (4 bytes, little-endian), and the first 8 bytes of its SHA-256.
pub(super) const HEAD: usize = 12;

/// The longest message in a record, in bytes: one of a mebibyte, and what stands beside it.
pub(super) const LONGEST: usize = 2 << 20;

/// Appends a record to `bytes`, and gives the length of the message; none: it is too long.
pub(super) fn write(message: &PassedOnMessage, bytes: &mut Vec<u8>) -> Option<u32> {
    let text = serde_json::to_vec(message).ok().filter(|text| text.len() <= LONGEST)?;
    let length = u32::try_from(text.len()).ok()?;
    bytes.extend(length.to_le_bytes());
    bytes.extend(checksum(&text));
    bytes.extend(text);
    Some(length)
}

/// The message of the record that begins at `at`.
pub(super) fn read(file: &File, at: u64, length: u32) -> io::Result<PassedOnMessage> {
    let mut bytes = vec![0; HEAD + length as usize];
    file.read_exact_at(&mut bytes, at)?;
    let (message, _) = first(&bytes).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(message)
}

/// The first record of `bytes`, and its length as a whole; none: it is torn.
pub(super) fn first(bytes: &[u8]) -> Option<(PassedOnMessage, usize)> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let text = bytes.get(HEAD..HEAD.checked_add(length)?)?;
    if length > LONGEST || bytes.get(4..HEAD)? != checksum(text) {
        return None;
    }
    Some((serde_json::from_slice(text).ok()?, HEAD + length))
}

fn checksum(text: &[u8]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&digest(&SHA256, text).as_ref()[..8]);
    first
}
