//! Values that people write as text in a configuration file: durations (`"30s"`) and sizes (`"64KiB"`).
//!
//! A number without a unit is refused for durations, because half of the readers would take it for milliseconds.
//! Complaints read `what is wrong; what to write`, which the reader of files splits at the semicolon.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::{Serialize, Serializer};

/// A span of time: a whole number and `ms`, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(std::time::Duration);

/// A number of bytes: a whole number, or a text of a whole number and `KiB`, `MiB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

/// Milliseconds in each unit of time, greatest first.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Bytes in each unit of size, greatest first.
const SIZES: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Duration {
    /// `n` milliseconds.
    pub const fn milliseconds(n: u64) -> Self {
        Self(std::time::Duration::from_millis(n))
    }

    /// `n` seconds.
    pub const fn seconds(n: u64) -> Self {
        Self(std::time::Duration::from_secs(n))
    }

    /// `n` minutes.
    pub const fn minutes(n: u64) -> Self {
        Self::seconds(n * 60)
    }

    /// `n` days of 24 hours.
    pub const fn days(n: u64) -> Self {
        Self::minutes(n * 24 * 60)
    }

    /// The same as the standard library's type.
    pub const fn time(self) -> std::time::Duration {
        self.0
    }

    /// Reads `500ms`, `30s`, `15m`, `2h`, `3d`; says what is wrong and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        quantity(text, &TIMES)
            .map(Self::milliseconds)
            .ok_or_else(|| format!("`{text}` is no duration; write a whole number and ms, s, m, h or d, such as \"30s\""))
    }
}

impl Size {
    /// `n` bytes.
    pub const fn bytes(n: u64) -> Self {
        Self(n)
    }

    /// `n` times 1,024 bytes.
    pub const fn kibibytes(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` times 1,048,576 bytes.
    pub const fn mebibytes(n: u64) -> Self {
        Self(n << 20)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Reads `64KiB`, `16MiB`, `1GiB`; says what is wrong and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        quantity(text, &SIZES).map(Self).ok_or_else(|| {
            format!("`{text}` is no size; write bytes as a number, or a whole number and KiB, MiB or GiB, such as \"64KiB\"")
        })
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        match greatest(milliseconds, &TIMES) {
            Some((count, unit)) => write!(out, "{count}{unit}"),
            None => out.write_str("0s"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match greatest(self.0, &SIZES) {
            Some((count, unit)) => write!(out, "{count}{unit}"),
            None => write!(out, "{}", self.0),
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match greatest(self.0, &SIZES) {
            Some(_) => to.collect_str(self),
            None => to.serialize_u64(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(DurationVisitor)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SizeVisitor)
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a whole number and ms, s, m, h or d in quotes, such as \"30s\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        Duration::parse(text).map_err(E::custom)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a whole number of bytes, or a text such as \"64KiB\"")
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
        u64::try_from(bytes).map(Size).map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
        Size::parse(text).map_err(E::custom)
    }
}

/// Digits followed by one of the units, nothing before, between or behind.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let (_, worth) = units.iter().find(|(name, _)| *name == unit)?;
    count.parse::<u64>().ok()?.checked_mul(*worth)
}

/// `amount` in the greatest unit that divides it; none for 0 and for what no unit divides.
fn greatest<'a>(amount: u64, units: &[(&'a str, u64)]) -> Option<(u64, &'a str)> {
    if amount == 0 {
        return None;
    }
    units.iter().find(|(_, worth)| amount.is_multiple_of(*worth)).map(|(unit, worth)| (amount / worth, *unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, milliseconds) in [("500ms", 500), ("30s", 30_000), ("15m", 900_000), ("2h", 7_200_000), ("3d", 259_200_000), ("0s", 0)] {
            assert_eq!(Duration::parse(text), Ok(Duration::milliseconds(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "30", "s", "-1s", "1.5s", "1 s", " 1s", "1s ", "1D", "1w", "1S", "+1s", "99999999999999999999s"] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_too_long_for_milliseconds_is_refused() {
        assert!(Duration::parse("18446744073709551615h").is_err());
    }

    #[test]
    fn a_size_is_a_number_and_a_binary_unit() {
        for (text, bytes) in [("64KiB", 65_536), ("16MiB", 16_777_216), ("1GiB", 1_073_741_824)] {
            assert_eq!(Size::parse(text), Ok(Size::bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "64", "64KB", "64kib", "64 KiB", "-1KiB", "1.5MiB", "99999999999999999999GiB"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn both_are_written_in_the_greatest_unit_that_divides_them() {
        assert_eq!(Duration::seconds(90).to_string(), "90s");
        assert_eq!(Duration::minutes(120).to_string(), "2h");
        assert_eq!((Duration::days(7).to_string(), Duration::minutes(25 * 60).to_string()), ("7d".to_owned(), "25h".to_owned()));
        assert_eq!(Duration::milliseconds(0).to_string(), "0s");
        assert_eq!(Size::kibibytes(64).to_string(), "64KiB");
        assert_eq!(Size::bytes(1_500).to_string(), "1500");
    }
}
