//! Timestamps for logs: RFC 3339 in UTC with milliseconds, `2026-11-24T05:41:48.123Z`.
//!
//! The text of a second is kept per thread, because thousands of lines are written in the same one. There is no
//! date library: years, months and days are the only arithmetic needed.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use cmg_core::time::WallTime;

/// `2026-11-24T05:41:48`
type Second = [u8; 19];

thread_local! {
    static LATEST: Cell<(u64, Second)> = const { Cell::new((0, *b"1970-01-01T00:00:00")) };
}

/// Appends `at` as text. Times before 1970 are written as its beginning.
pub(crate) fn push_timestamp(at: SystemTime, out: &mut Vec<u8>) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    out.extend_from_slice(&second(since.as_secs()));
    let [hundreds, tens, ones] = digits(u64::from(since.subsec_millis()));
    out.extend_from_slice(&[b'.', hundreds, tens, ones, b'Z']);
}

/// `at`, wall clock, as `2026-11-24T05:41:48Z`.
pub fn text(WallTime(at): WallTime) -> String {
    String::from_utf8_lossy(&format_second(at)).into_owned() + "Z"
}

fn second(seconds: u64) -> Second {
    LATEST.with(|latest| {
        let (known, text) = latest.get();
        if known == seconds {
            return text;
        }
        let text = format_second(seconds);
        latest.set((seconds, text));
        text
    })
}

fn format_second(seconds: u64) -> Second {
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    let mut text = *b"0000-00-00T00:00:00";
    text[0..4].copy_from_slice(&digits::<4>(year));
    for (at, number) in [(5, month), (8, day), (11, of_day / 3_600), (14, of_day / 60 % 60), (17, of_day % 60)] {
        text[at..at + 2].copy_from_slice(&digits::<2>(number));
    }
    text
}

/// The year, month and day that is `days` after 1970-01-01, in the Gregorian calendar.
///
/// Counted in years that begin in March, so that the leap day is the last day of a year, and in eras of 400 years,
/// which all have the same number of days.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153; // March is 0
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + next_year, month, day)
}

/// The last `N` decimal digits of `number`.
fn digits<const N: usize>(mut number: u64) -> [u8; N] {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn timestamp(milliseconds: u64) -> String {
        let mut out = Vec::new();
        push_timestamp(UNIX_EPOCH + Duration::from_millis(milliseconds), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn well_known_moments_are_right() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_210_096_007, "2024-02-29T12:34:56.007Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(timestamp(milliseconds), text);
            assert_eq!(super::text(WallTime(milliseconds / 1000)), text[..19].to_owned() + "Z");
        }
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut before = civil(0);
        for day in 1..200_000 {
            let (year, month, of_month) = civil(day);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if leap { 29 } else { 28 };
            let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

            let expected = match before {
                (y, 12, 31) => (y + 1, 1, 1),
                (y, m, d) if m < month => {
                    assert!(d >= 28);
                    (y, m + 1, 1)
                }
                (y, m, d) => (y, m, d + 1),
            };
            assert_eq!((year, month, of_month), expected);
            assert!(of_month <= lengths[usize::try_from(month).unwrap() - 1]);
            before = (year, month, of_month);
        }
    }

    #[test]
    fn the_kept_second_is_not_used_for_another() {
        assert_eq!(timestamp(1_000), "1970-01-01T00:00:01.000Z");
        assert_eq!(timestamp(2_001), "1970-01-01T00:00:02.001Z");
        assert_eq!(timestamp(1_002), "1970-01-01T00:00:01.002Z");
    }

    #[test]
    fn a_clock_before_1970_is_no_fault() {
        let mut out = Vec::new();
        push_timestamp(UNIX_EPOCH - Duration::from_secs(5), &mut out);

        assert_eq!(out, b"1970-01-01T00:00:00.000Z");
    }
}
