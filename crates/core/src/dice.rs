//! What a uniform random number of 64 bits becomes. Who throws the dice is outside.
use core::time::Duration;

/// Throws the dice: each call gives a uniform random number.
pub type Dice<'a> = &'a mut dyn FnMut() -> u64;

/// A uniform number below `bound`; zero where the bound is zero.
pub fn below(draw: u64, bound: u64) -> u64 {
    ((u128::from(draw) * u128::from(bound)) >> 64) as u64
}

/// A uniform time from zero to `most`, to the millisecond.
pub fn within(draw: u64, most: Duration) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(below(draw, most.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stays_below_its_bound() {
        assert_eq!((below(u64::MAX, 4), below(0, 4), below(1 << 63, 4), below(7, 0)), (3, 0, 2, 0));
    }

    #[test]
    fn a_time_reaches_both_its_ends() {
        let most = Duration::from_millis(9);

        assert_eq!((within(0, most), within(u64::MAX, most)), (Duration::ZERO, most));
    }
}
