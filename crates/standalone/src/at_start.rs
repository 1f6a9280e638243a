//! Keys that a program takes over at its start only: what they said then, so that a change that waits for a restart can be told.
use std::fmt::Debug;

/// What such keys say.
pub struct AtStart(Vec<(&'static str, String)>);

impl AtStart {
    /// Notes what each key says.
    pub fn new(keys: &[(&'static str, &dyn Debug)]) -> Self {
        Self(keys.iter().map(|(key, value)| (*key, format!("{value:?}"))).collect())
    }

    /// The keys that say something else in `later`, which has the same keys in the same order.
    pub fn changed_in(&self, later: &Self) -> Vec<&'static str> {
        self.0.iter().zip(&later.0).filter(|(one, other)| one != other).map(|(one, _)| one.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_keys_are_named() {
        let keys = |drain: u32| AtStart::new(&[("name", &"gateway-1"), ("drain", &drain), ("listen", &[443])]);

        assert_eq!(keys(30).changed_in(&keys(30)), [""; 0]);
        assert_eq!(keys(30).changed_in(&keys(31)), ["drain"]);
    }
}
