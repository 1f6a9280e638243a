//! The device's clock, and how far it is from the site's: a clock that is wrong is told, and proofs are dated by the site's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use cmg_core::time::WallTime;
use http::HeaderMap;
use http::header::DATE;

/// A difference that is worth telling, in seconds: a proof counts for 60.
pub(crate) const WORTH_TELLING: i64 = 45;

/// By how many seconds the clock of whom the client speaks to is ahead of the device's own.
#[derive(Debug, Default)]
pub(crate) struct Drift(AtomicI64);

/// The device's own time.
pub(crate) fn now() -> WallTime {
    WallTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

impl Drift {
    /// Learns from the `Date` of an answer that came over TLS from somebody who is believed.
    pub(crate) fn learn(&self, headers: &HeaderMap) {
        if let Some(theirs) = headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(read) {
            self.0.store(theirs.cast_signed() - now().0.cast_signed(), Ordering::Relaxed);
        }
    }

    /// Seconds that the device's clock is behind; negative: ahead.
    pub(crate) fn seconds(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Now, by their clock.
    pub(crate) fn theirs(&self) -> WallTime {
        let drift = self.seconds();
        // Within what is worth no word the own clock is as good, and does not jump.
        if drift.abs() < WORTH_TELLING { now() } else { WallTime(now().0.saturating_add_signed(drift)) }
    }
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT` into seconds since 1970; the two older forms of RFC 9110 nobody writes.
pub(crate) fn read(date: &str) -> Option<u64> {
    let mut words = date.strip_suffix(" GMT")?.split(' ').skip(1);
    let day: u64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|month| *month == name)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok()?;
    let mut time = words.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    if !(1970..10_000).contains(&year) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years that begin in March, so that the leap day is the last one.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    (days - 719_468).checked_mul(86_400).map(|seconds| seconds + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        for (text, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("yesterday", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 0001 08:49:37 GMT", None),
        ] {
            assert_eq!(read(text), seconds, "{text}");
        }
    }

    #[test]
    fn a_small_difference_is_no_difference() {
        let drift = Drift(AtomicI64::new(10));
        assert_eq!(drift.theirs(), now());

        let drift = Drift(AtomicI64::new(-31_536_000));
        assert!(drift.theirs().0 + 31_535_990 < now().0);
    }
}
