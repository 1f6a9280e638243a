//! The opening of every tunnel connection: the gateway says who it is, the connection point says what the connection is for.
//!
//! The gateway speaks first, because behind one name there may be many instances: the connection point then knows which one it has
//! reached, and uses the connection for whatever it still needs there.

/// The protocol's version. A peer that cannot speak it is told so and left.
pub(crate) const VERSION: u16 = 1;

/// What a gateway says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) oldest: u16,
    pub(crate) newest: u16,
    pub(crate) instance: String,
    pub(crate) instances: Vec<String>,
}

/// What a connection point answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) purpose: Purpose,
    pub(crate) session: u64,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Purpose {
    /// A session.
    Session = 1,
    /// A lane on which the gateway sends.
    Up,
    /// A lane on which the connection point sends.
    Down,
}

impl Greeting {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = [self.oldest.to_be_bytes(), self.newest.to_be_bytes()].concat();
        push_name(&mut out, &self.instance);
        out.extend_from_slice(&encode_list(self.instances.iter().map(String::as_str)));
        out
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let (oldest, rest) = payload.split_first_chunk()?;
        let (newest, rest) = rest.split_first_chunk()?;
        let (instance, rest) = take_name(rest)?;
        Some(Self { oldest: u16::from_be_bytes(*oldest), newest: u16::from_be_bytes(*newest), instance, instances: decode_list(rest)? })
    }
}

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.version.to_be_bytes().to_vec();
        out.push(self.purpose as u8);
        out.extend_from_slice(&self.session.to_be_bytes());
        out
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let (version, rest) = payload.split_first_chunk()?;
        let (purpose, rest) = rest.split_first()?;
        let purpose = [Purpose::Session, Purpose::Up, Purpose::Down].into_iter().find(|known| *known as u8 == *purpose)?;
        Some(Self { version: u16::from_be_bytes(*version), purpose, session: u64::from_be_bytes(rest.try_into().ok()?) })
    }
}

/// Writes names, counted.
pub(crate) fn encode_list<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> Vec<u8> {
    let mut out = (names.len() as u16).to_be_bytes().to_vec();
    for name in names {
        push_name(&mut out, name);
    }
    out
}

/// Reads names; none: malformed.
pub(crate) fn decode_list(payload: &[u8]) -> Option<Vec<String>> {
    let (count, mut rest) = payload.split_first_chunk()?;
    let mut names = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (name, after) = take_name(rest)?;
        names.push(name);
        rest = after;
    }
    rest.is_empty().then_some(names)
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    let bytes = &name.as_bytes()[..name.len().min(255)];
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

fn take_name(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let name = std::str::from_utf8(name).ok().filter(|name| cmg_core::ids::is_name(name))?;
    Some((name.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_read_back() {
        let greeting = Greeting { oldest: 1, newest: 3, instance: "gw-1".into(), instances: vec!["gw-1".into(), "gw-2".into()] };
        let hello = Hello { version: 1, purpose: Purpose::Down, session: 9 };

        assert_eq!(Greeting::decode(&greeting.encode()), Some(greeting));
        assert_eq!(Hello::decode(&hello.encode()), Some(hello));
    }

    #[test]
    fn what_is_cut_or_longer_is_refused() {
        let hello = Hello { version: 1, purpose: Purpose::Up, session: 9 }.encode();

        assert!(Hello::decode(&hello[..10]).is_none());
        assert!(Hello::decode(&[&hello[..], b"x"].concat()).is_none());
        assert!(decode_list(&[0, 2, 1, b'a']).is_none());
        assert!(decode_list(&[0, 1, 1, b'\n']).is_none());
    }
}
