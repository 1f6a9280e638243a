//! Several byte strings as one secret: a label that says what and in which version, then each string with its length before it.
//!
//! No text format, since encoding a key as text leaves copies of it in memory.
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Most strings of one secret.
const MOST: usize = 16;

/// Joins `fields` under `label`.
pub(crate) fn pack(label: &str, fields: &[&[u8]]) -> Secret {
    let all = || std::iter::once(label.as_bytes()).chain(fields.iter().copied());
    let size = all().map(|field| 4 + field.len()).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    for field in all() {
        bytes.extend_from_slice(&(field.len() as u32).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    Secret::from(bytes)
}

/// The strings that [`pack`] joined under `label`; none: these are not such bytes.
pub(crate) fn unpack<'a>(label: &str, mut bytes: &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() && fields.len() <= MOST {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        fields.push(field);
        bytes = rest;
    }
    if !bytes.is_empty() || fields.first() != Some(&label.as_bytes()) {
        return None;
    }
    fields.remove(0);
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_unpacks_under_its_own_label_only() {
        let secret = pack("a/1", &[b"x", b"", b"yz"]);

        assert_eq!(unpack("a/1", secret.expose()), Some(vec![b"x".as_slice(), b"", b"yz"]));
        assert_eq!(unpack("b/1", secret.expose()), None);
    }

    #[test]
    fn what_is_cut_does_not_unpack() {
        let secret = pack("a/1", &[b"xyz"]);

        for end in 8..secret.expose().len() {
            assert_eq!(unpack("a/1", &secret.expose()[..end]), None, "{end}");
        }
    }
}
