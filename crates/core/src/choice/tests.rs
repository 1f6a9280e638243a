use proptest::prelude::*;

use super::*;

/// Dice with a seed: SplitMix64.
fn seeded(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn service(name: &str) -> ServiceId {
    ServiceId::new(name)
}

fn among(weights: &[(&str, u32)]) -> Choice {
    Choice::new(Rules::default(), weights.iter().map(|(name, weight)| (service(name), *weight)))
}

fn seconds(count: u64) -> Tick {
    Tick(count * 1_000)
}

fn share(picks: &[ServiceId], name: &str) -> usize {
    picks.iter().filter(|pick| pick.as_str() == name).count()
}

const FOUR: [(&str, u32); 4] = [("cmg1", 1), ("cmg2", 1), ("ibcm1", 1), ("ibcm2", 1)];

#[test]
fn ten_thousand_clients_share_four_services_evenly_before_and_after_one_dies() {
    const CLIENTS: usize = 10_000;
    // Three standard deviations of a share of a quarter: 3 * sqrt(10,000 * 1/4 * 3/4).
    const THREE_SIGMA: usize = 129;
    for seed in 0..5 {
        let mut dice = seeded(seed);
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| (among(&FOUR), service("none"))).collect();
        for (choice, used) in &mut clients {
            *used = choice.pick(None, Tick(0), &mut dice).unwrap();
        }
        let first: Vec<_> = clients.iter().map(|(_, used)| used.clone()).collect();
        for (name, _) in FOUR {
            assert!(share(&first, name).abs_diff(CLIENTS / 4) <= THREE_SIGMA, "seed {seed}: {name} has {}", share(&first, name));
        }

        for (choice, used) in clients.iter_mut().filter(|(_, used)| used.as_str() == "cmg1") {
            assert_eq!(choice.failed(used, Trouble::Refused, seconds(1), dice()), Verdict::Left);
            *used = choice.pick(None, seconds(2), &mut dice).unwrap();
        }

        let after: Vec<_> = clients.iter().map(|(_, used)| used.clone()).collect();
        assert_eq!(share(&after, "cmg1"), 0);
        for (name, _) in &FOUR[1..] {
            assert!(share(&after, name) <= CLIENTS / 3 * 11 / 10, "seed {seed}: {name} has {}", share(&after, name));
        }
    }
}

#[test]
fn weights_say_how_often() {
    let choice = among(&[("big", 3), ("small", 1)]);
    let mut dice = seeded(1);

    let picks: Vec<_> = (0..10_000).map(|_| choice.pick(None, Tick(0), &mut dice).unwrap()).collect();

    assert!(share(&picks, "big").abs_diff(7_500) <= 129, "{}", share(&picks, "big"));
}

#[test]
fn weight_zero_is_used_only_when_nothing_else_is_left() {
    let mut choice = among(&[("spare", 0), ("usual", 1)]);
    let mut dice = seeded(1);
    assert!((0..100).all(|_| choice.pick(None, Tick(0), &mut dice) == Some(service("usual"))));

    choice.failed(&service("usual"), Trouble::Refused, Tick(0), 0);

    assert_eq!(choice.pick(None, Tick(1), &mut dice), Some(service("spare")));
}

#[test]
fn the_current_one_is_kept_while_it_works() {
    let choice = among(&FOUR);
    let mut dice = seeded(1);

    assert!((0..100).all(|_| choice.pick(Some(&service("ibcm2")), Tick(0), &mut dice) == Some(service("ibcm2"))));
}

#[test]
fn five_errors_in_ten_minutes_are_enough_and_four_are_not() {
    let mut choice = among(&FOUR);
    let mut fail = |at| choice.failed(&service("cmg1"), Trouble::Broken, seconds(at), 0);

    assert_eq!([0, 1, 2, 3].map(&mut fail), [Verdict::Kept; 4]);
    // The first has run out by then, so it is the fourth again.
    assert_eq!(fail(600), Verdict::Kept);
    assert_eq!(fail(600), Verdict::Left);
}

#[test]
fn a_success_wipes_errors_away() {
    let mut choice = among(&FOUR);
    for at in 0..4 {
        choice.failed(&service("cmg1"), Trouble::Broken, seconds(at), 0);
    }

    choice.succeeded(&service("cmg1"));

    assert_eq!(choice.failed(&service("cmg1"), Trouble::Broken, seconds(5), 0), Verdict::Kept);
}

#[test]
fn what_asking_again_cannot_mend_is_left_at_once() {
    for trouble in [Trouble::Unresolved, Trouble::Refused, Trouble::Untrusted, Trouble::Portal] {
        assert_eq!(among(&FOUR).failed(&service("cmg1"), trouble, Tick(0), 0), Verdict::Left, "{trouble}");
    }
}

#[test]
fn a_service_that_was_left_is_avoided_for_its_time() {
    let mut choice = among(&[("a", 1), ("b", 1)]);
    let mut dice = seeded(3);
    choice.failed(&service("a"), Trouble::Refused, Tick(0), 0);

    assert!((0..100).all(|_| choice.pick(None, seconds(899), &mut dice) == Some(service("b"))));
    assert!((0..100).any(|_| choice.pick(None, seconds(900), &mut dice) == Some(service("a"))));
}

#[test]
fn when_all_are_avoided_all_are_tried() {
    let mut choice = among(&FOUR);
    for (name, _) in FOUR {
        choice.failed(&service(name), Trouble::Refused, Tick(0), 0);
    }

    let order = choice.order(None, |_| true, Tick(1), &mut seeded(1));

    assert_eq!(order.iter().map(Vec::len).collect::<Vec<_>>(), [4]);
}

#[test]
fn a_short_rest_is_waited_for_and_a_long_one_is_not() {
    let mut choice = among(&[("a", 1), ("b", 1)]);

    assert_eq!(choice.failed(&service("a"), Trouble::Busy(Duration::from_secs(5)), Tick(0), 0), Verdict::Rests(seconds(5)));
    assert_eq!(choice.failed(&service("b"), Trouble::Busy(Duration::from_secs(120)), Tick(0), 0), Verdict::Left);
}

#[test]
fn those_sent_away_together_do_not_return_together() {
    let rest = |draw| among(&FOUR).failed(&service("cmg1"), Trouble::Busy(Duration::from_secs(30)), Tick(0), draw);

    assert_eq!([0, 1 << 63, u64::MAX].map(rest), [30, 45, 60].map(|at| Verdict::Rests(seconds(at))));
}

#[test]
fn nobody_is_sent_away_for_longer_than_an_hour_and_the_spread() {
    let mut choice = among(&[("a", 1)]);
    choice.failed(&service("a"), Trouble::Busy(Duration::MAX), Tick(0), u64::MAX);

    assert_eq!(choice.all_rest_until(Tick(0)), Some(seconds(3_630)));
    assert_eq!(choice.pick(None, seconds(3_629), &mut seeded(1)), None);
    assert_eq!(choice.pick(None, seconds(3_630), &mut seeded(1)), Some(service("a")));
}

#[test]
fn another_network_wipes_experience_away_and_not_what_the_server_said() {
    let mut choice = among(&[("a", 1), ("b", 1)]);
    choice.failed(&service("a"), Trouble::Refused, Tick(0), 0);
    choice.failed(&service("b"), Trouble::Busy(Duration::from_secs(60)), Tick(0), 0);

    choice.forget();

    assert_eq!(choice.order(None, |_| true, Tick(1), &mut seeded(1)), [[service("a")]]);
}

#[test]
fn a_new_policy_keeps_what_is_known_of_those_that_remain() {
    let mut choice = among(&[("a", 1), ("b", 1)]);
    choice.failed(&service("a"), Trouble::Refused, Tick(0), 0);

    choice.replace(Rules::default(), [(service("a"), 1), (service("c"), 1)]);

    assert_eq!(choice.order(None, |_| true, Tick(1), &mut seeded(1)), [[service("c")], [service("a")]]);
}

proptest! {
    #[test]
    fn every_order_names_each_service_that_does_not_rest_once_and_the_current_one_first_in_its_tier(
        weights in prop::collection::vec(0..4_u32, 1..8),
        failures in prop::collection::vec((0..8_usize, 0..4_u8, 0..2_000_u64), 0..30),
        current in 0..8_usize,
        seed in any::<u64>(),
    ) {
        let name = |place: usize| service(&std::format!("s{place}"));
        let mut choice = Choice::new(Rules::default(), weights.iter().enumerate().map(|(place, weight)| (name(place), *weight)));
        let mut dice = seeded(seed);
        let mut now = Tick(0);
        for (place, trouble, wait) in failures {
            now = now.after(Duration::from_secs(wait));
            let trouble = [Trouble::Refused, Trouble::Broken, Trouble::Busy(Duration::from_secs(wait)), Trouble::Untrusted][usize::from(trouble)];
            choice.failed(&name(place), trouble, now, dice());
        }

        let order = choice.order(Some(&name(current)), |_| true, now, &mut dice);

        let mut named: Vec<_> = order.iter().flatten().cloned().collect();
        named.sort();
        let resting = |service: &ServiceId| choice.services.get(service).is_some_and(|(_, record)| record.rests_until(now).is_some());
        let expected: Vec<_> = choice.services.keys().filter(|service| !resting(service)).cloned().collect();
        prop_assert_eq!(named, expected);
        for tier in &order {
            prop_assert!(!tier.contains(&name(current)) || tier[0] == name(current));
        }
        prop_assert!(!order.is_empty() || choice.all_rest_until(now).is_some());
    }

    #[test]
    fn what_is_remembered_of_errors_is_bounded(most in 0..10_u32, failures in 0..200_u64) {
        let rules = Rules { leave_after_errors: most, ..Rules::default() };
        let mut record = Record::default();
        for at in 0..failures {
            record.failed(Trouble::Broken, &rules, Tick(at), 0);
            prop_assert!(record.errors.len() <= most.max(1) as usize);
        }
    }
}

#[test]
fn an_order_without_services_is_empty() {
    assert!(among(&[]).order(None, |_| true, Tick(0), &mut seeded(1)).is_empty());
}
