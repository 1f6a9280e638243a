//! What a revocation list means for one certificate, by named policies. Deny is the default of each.
use crate::refusal::Refusal;
use crate::time::WallTime;

/// What to do where a list does not give a clear answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lenience {
    /// Refuse.
    Deny,
    /// Let pass.
    Allow,
}

/// What a list that is past its `nextUpdate` is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenStale {
    /// Nothing: refuse.
    Deny,
    /// As much as before, for so long after its `nextUpdate`; then nothing.
    Grace {
        /// In seconds.
        seconds: u64,
    },
    /// As much as before, for ever.
    Allow,
}

/// The policies of one trust policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationPolicy {
    /// Whether lists are looked at, at all.
    pub check: bool,
    /// The list that covers the certificate is past its `nextUpdate`.
    pub stale: WhenStale,
    /// No list covers the certificate.
    pub unknown: Lenience,
}

impl Default for RevocationPolicy {
    fn default() -> Self {
        Self { check: true, stale: WhenStale::Deny, unknown: Lenience::Deny }
    }
}

/// What the lists say about one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListAnswer {
    /// No list of its issuer, for its distribution point, is at hand.
    NotCovered,
    /// Listed as revoked. Counts even when the list is stale: a revocation is not taken back by age.
    Revoked,
    /// Not listed, in a list valid until `next_update` (none: the list does not say).
    NotRevoked {
        /// When the next list is due.
        next_update: Option<WallTime>,
    },
}

/// Judges one certificate at `now`.
pub fn judge(policy: RevocationPolicy, answer: ListAnswer, now: WallTime) -> Result<(), Refusal> {
    if !policy.check {
        return Ok(());
    }
    match answer {
        ListAnswer::Revoked => Err(Refusal::CertificateRevoked),
        ListAnswer::NotCovered => policy.unknown.or(Refusal::CertificateRevocationUnknown),
        ListAnswer::NotRevoked { next_update } if policy.stale.believes(next_update, now) => Ok(()),
        ListAnswer::NotRevoked { .. } => Err(Refusal::CertificateListStale),
    }
}

impl WhenStale {
    /// Until when a list is believed whose next one is `due`. None: for ever.
    pub fn believed_until(self, due: WallTime) -> Option<WallTime> {
        match self {
            Self::Deny => Some(due),
            Self::Grace { seconds } => Some(WallTime(due.0.saturating_add(seconds))),
            Self::Allow => None,
        }
    }

    /// Of a list that does not say when it ends only [`WhenStale::Allow`] is sure.
    fn believes(self, next_update: Option<WallTime>, now: WallTime) -> bool {
        match next_update {
            Some(due) => self.believed_until(due).is_none_or(|last| now <= last),
            None => self == Self::Allow,
        }
    }
}

impl Lenience {
    fn or(self, refusal: Refusal) -> Result<(), Refusal> {
        match self {
            Self::Allow => Ok(()),
            Self::Deny => Err(refusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_000);
    const FRESH: ListAnswer = ListAnswer::NotRevoked { next_update: Some(WallTime(1_001)) };
    const STALE: ListAnswer = ListAnswer::NotRevoked { next_update: Some(WallTime(999)) };

    fn lenient() -> RevocationPolicy {
        RevocationPolicy { check: true, stale: WhenStale::Allow, unknown: Lenience::Allow }
    }

    #[test]
    fn a_fresh_list_without_the_certificate_lets_it_pass() {
        assert_eq!(judge(RevocationPolicy::default(), FRESH, NOW), Ok(()));
    }

    #[test]
    fn stale_and_unknown_are_refused_by_default() {
        assert_eq!(judge(RevocationPolicy::default(), STALE, NOW), Err(Refusal::CertificateListStale));
        assert_eq!(judge(RevocationPolicy::default(), ListAnswer::NotCovered, NOW), Err(Refusal::CertificateRevocationUnknown));
    }

    #[test]
    fn stale_and_unknown_pass_where_the_policy_says_so() {
        assert_eq!(judge(lenient(), STALE, NOW), Ok(()));
        assert_eq!(judge(lenient(), ListAnswer::NotCovered, NOW), Ok(()));
    }

    #[test]
    fn a_grace_ends() {
        let policy = RevocationPolicy { stale: WhenStale::Grace { seconds: 10 }, ..RevocationPolicy::default() };
        let at = |now| judge(policy, STALE, WallTime(now));

        assert_eq!([at(999), at(1_000), at(1_009)], [Ok(()); 3]);
        assert_eq!(at(1_010), Err(Refusal::CertificateListStale));
        assert_eq!(judge(policy, ListAnswer::Revoked, NOW), Err(Refusal::CertificateRevoked));
        assert_eq!(judge(policy, ListAnswer::NotRevoked { next_update: None }, NOW), Err(Refusal::CertificateListStale));
    }

    #[test]
    fn revoked_is_refused_by_every_policy_that_checks() {
        assert_eq!(judge(lenient(), ListAnswer::Revoked, NOW), Err(Refusal::CertificateRevoked));
        assert_eq!(judge(RevocationPolicy { check: false, ..lenient() }, ListAnswer::Revoked, NOW), Ok(()));
    }
}
