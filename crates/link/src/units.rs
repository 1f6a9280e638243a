//! Quantities as people type them: `50ms`, `200mbit`, `0.1%`.

use std::time::Duration;

/// A time: `50ms`, `0.2s`, `300us`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        _ => return Err("write a time as 50ms, 300us or 0.2s".to_owned()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// A rate, in bits a second: `200mbit`, `1gbit`, `64kbit`.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let (number, unit) = split(text)?;
    match unit {
        "kbit" if number > 0.0 => Ok(number * 1e3),
        "mbit" if number > 0.0 => Ok(number * 1e6),
        "gbit" if number > 0.0 => Ok(number * 1e9),
        _ => Err("write a rate above nought as 64kbit, 200mbit or 1gbit".to_owned()),
    }
}

/// A share from 0 to 1: `0.1%`.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = split(text)?;
    let is_share = unit == "%" && (0.0..=100.0).contains(&number);
    if is_share { Ok(number / 100.0) } else { Err("write a share as 0.1%".to_owned()) }
}

/// A number and what stands behind it.
fn split(text: &str) -> Result<(f64, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..end].parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    Ok((number, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(time("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(time("0.2s"), Ok(Duration::from_millis(200)));
        assert!(time("50").is_err());
    }

    #[test]
    fn a_rate_is_in_bits_a_second() {
        assert_eq!(rate("200mbit"), Ok(200e6));
        assert!(rate("0mbit").is_err());
    }

    #[test]
    fn a_share_is_at_most_all() {
        assert_eq!(share("50%"), Ok(0.5));
        assert!(share("101%").is_err());
    }
}
