//! The credentials that a gateway has told one session of a connection point, by number.
use std::collections::HashMap;
use std::sync::Arc;

use crate::driver::Ended;
use crate::exchange::Claim;
use crate::outbox::ClaimedCredential;

/// Credentials that a gateway may have told one session: more than a gateway has clients.
const COUNT: usize = 65_536;

/// Bytes of them in all: a full count of ordinary chains.
const BYTES: usize = 256 * 1024 * 1024;

/// What a gateway claims about its clients, not yet verified.
#[derive(Default)]
pub(crate) struct Claims {
    by_number: HashMap<u32, (Arc<Claim>, usize)>,
    bytes: usize,
}

impl Claims {
    /// Takes a credential in under a number that is free. One that is taken would give a request to another client's name.
    pub(crate) fn take(&mut self, number: u32, payload: &[u8]) -> Result<(), Ended> {
        let credential = ClaimedCredential::decode(payload).ok_or(Ended::Misbehaved("malformed credential"))?;
        if self.by_number.len() >= COUNT || self.bytes + payload.len() > BYTES {
            return Err(Ended::Misbehaved("too many credentials"));
        }
        let claim = Arc::new(Claim { credential, memo: std::sync::Mutex::default() });
        if self.by_number.insert(number, (claim, payload.len())).is_some() {
            return Err(Ended::Misbehaved("a credential takes the number of another"));
        }
        self.bytes += payload.len();
        Ok(())
    }

    /// Lets a number go.
    pub(crate) fn forget(&mut self, number: u32) {
        if let Some((_, bytes)) = self.by_number.remove(&number) {
            self.bytes -= bytes;
        }
    }

    /// The credential with this number.
    pub(crate) fn find(&self, number: u32) -> Result<Arc<Claim>, Ended> {
        let (claim, _) = self.by_number.get(&number).ok_or(Ended::Misbehaved("a credential that was not told"))?;
        Ok(Arc::clone(claim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &[u8] = b"\x02token";

    #[test]
    fn a_number_is_free_again_once_it_was_forgotten() {
        let mut claims = Claims::default();

        assert!(claims.take(1, TOKEN).is_ok());
        assert!(matches!(claims.take(1, TOKEN), Err(Ended::Misbehaved(_))));
        claims.forget(1);
        assert!(claims.find(1).is_err());
        assert!(claims.take(1, TOKEN).is_ok());
    }

    #[test]
    fn credentials_are_bounded_by_their_bytes() {
        let mut claims = Claims::default();
        let token = [&[2][..], &[b'x'; 200 * 1024]].concat();

        let taken = (0..).take_while(|number| claims.take(*number, &token).is_ok()).count();

        assert_eq!(taken, BYTES / token.len());
    }
}
