//! Named figures, their median and range over rounds, and whether a goal is reached.

use std::fmt;

use serde::{Serialize, Serializer};

/// Named values of one measurement, in the order in which they are worth reading.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(Vec<(&'static str, f64)>);

impl Metrics {
    pub(crate) fn add(&mut self, name: &'static str, value: f64) {
        self.0.push((name, value));
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }

    pub(crate) fn find(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            write!(f, "{name} {}  ", short(*value))?;
        }
        Ok(())
    }
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// What is demanded of our gateway: of its ratio to nginx, or of a metric itself. Lower is better in all.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Goal {
    /// None: the ratio.
    pub(crate) metric: Option<&'static str>,
    must: f64,
    aim: f64,
}

impl Goal {
    pub(crate) const fn ratio(must: f64, aim: f64) -> Self {
        Self { metric: None, must, aim }
    }

    pub(crate) const fn value(metric: &'static str, must: f64, aim: f64) -> Self {
        Self { metric: Some(metric), must, aim }
    }

    /// In words for the table.
    pub(crate) fn verdict(self, reached: f64) -> String {
        let Self { must, aim, .. } = self;
        let word = if reached <= aim {
            "aim reached"
        } else if reached <= must {
            "must reached"
        } else {
            "MISSED"
        };
        format!("{word} (must {must}, aim {aim})")
    }
}

/// Median and range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// None where there are no values.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], values[middle]) } else { values[middle] };
        Some(Self { median, low, high })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}..{})", short(self.median), short(self.low), short(self.high))
    }
}

/// Three figures are more than these measurements are good for.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The value, in milliseconds, that `percent` of sorted microseconds do not exceed.
pub(crate) fn percentile(sorted: &[u32], percent: f64) -> f64 {
    let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    let value = sorted.get(rank.max(1) - 1).or(sorted.last());
    f64::from(*value.unwrap_or(&0)) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Some(Spread { median: 2.0, low: 1.0, high: 3.0 }));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).map(|spread| spread.median), Some(2.5));
    }

    #[test]
    fn nothing_has_no_spread() {
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn a_percentile_is_the_smallest_value_that_enough_do_not_exceed() {
        let sorted: Vec<u32> = (1..=1000).map(|n| n * 1000).collect();

        let found = [50.0, 99.0, 99.9, 100.0].map(|percent| percentile(&sorted, percent));

        assert_eq!(found, [500.0, 990.0, 999.0, 1000.0]);
    }

    #[test]
    fn a_percentile_of_one_value_is_that_value() {
        assert_eq!(percentile(&[7_000], 99.9), 7.0);
    }

    #[test]
    fn a_goal_tells_aim_must_and_missed_apart() {
        let goal = Goal::ratio(1.4, 0.95);

        let verdicts = [0.9, 1.2, 1.5].map(|reached| goal.verdict(reached));

        assert!(verdicts[0].starts_with("aim") && verdicts[1].starts_with("must") && verdicts[2].starts_with("MISSED"));
    }
}
