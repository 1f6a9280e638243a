//! Which live connection point carries a request. The dice are an argument.
//!
//! Two candidates are drawn and the one with less to do wins: within a few percent of "least busy of all", without every gateway
//! running to the same one at the same moment.

/// What is known about one live connection to a connection point that serves the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Exchanges under way on it.
    pub busy: u32,
    /// Exchanges it takes at most.
    pub capacity: u32,
}

/// Picks one of `count` candidates, or none when all are full. `candidate(i)` tells about the i-th; `draw` is a uniform random number.
pub fn pick(count: usize, candidate: impl Fn(usize) -> Candidate, draw: u64) -> Option<usize> {
    let free = |place: usize| candidate(place).busy < candidate(place).capacity;
    match count {
        0 => None,
        1 => free(0).then_some(0),
        _ => {
            let first = (draw % count as u64) as usize;
            let step = 1 + (draw >> 32) as usize % (count - 1);
            let second = (first + step) % count;
            let (less, more) = if candidate(second).busy < candidate(first).busy { (second, first) } else { (first, second) };
            [less, more].into_iter().find(|place| free(*place)).or_else(|| (0..count).find(|place| free(*place)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(loads: &[u32]) -> impl Fn(usize) -> Candidate + '_ {
        |place| Candidate { busy: loads[place], capacity: 10 }
    }

    #[test]
    fn nobody_is_picked_from_none() {
        assert_eq!(pick(0, busy(&[]), 7), None);
    }

    #[test]
    fn the_less_busy_of_two_wins_whatever_the_draw() {
        for draw in 0..100 {
            assert_eq!(pick(2, busy(&[3, 1]), draw), Some(1));
        }
    }

    #[test]
    fn a_full_one_is_never_picked() {
        for draw in [0, 1, 2, u64::MAX, 1 << 32, 5 << 33] {
            assert_eq!(pick(3, busy(&[10, 10, 9]), draw), Some(2));
            assert_eq!(pick(3, busy(&[10, 10, 10]), draw), None);
        }
    }

    #[test]
    fn equal_candidates_share_evenly() {
        let mut shares = [0; 4];
        for draw in 0..4_000_u64 {
            let place = pick(4, busy(&[0; 4]), draw.wrapping_mul(0x9e37_79b9_7f4a_7c15)).expect("free candidates");
            shares[place] += 1;
        }

        assert!(shares.iter().all(|share| (800..1_200).contains(share)), "{shares:?}");
    }
}
