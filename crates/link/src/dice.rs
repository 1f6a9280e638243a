//! Random numbers that are the same for the same seed, so that a measurement can be made again (xorshift64*).

/// A source of random numbers.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // Nought would stay nought.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number from 0 to 1, 1 excluded.
    pub(crate) fn draw(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_thousand_is_about_one_in_a_thousand() {
        let mut dice = Dice::new(1);
        let hits = (0..1_000_000).filter(|_| dice.draw() < 0.001).count();

        assert!((800..1200).contains(&hits), "{hits}");
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        assert_eq!(Dice::new(7).draw(), Dice::new(7).draw());
    }
}
