//! The machine as plain calls: what it is told, and what it then wants.

use std::vec::Vec;

use super::*;

/// Wall clock at tick zero.
const START: u64 = 1_000_000;

fn at(seconds: u64) -> Now {
    Now { wall: WallTime(START + seconds), tick: Tick(seconds * 1_000) }
}

fn g(number: u64) -> Generation {
    Generation { epoch: 0, number }
}

/// News of a site that has made generation `newest`, said at second `said`.
fn fresh(newest: u64, said: u64) -> News {
    News { freshness: Some((g(newest), WallTime(START + said))), offered: None }
}

fn manifest(number: u64, said: u64) -> News {
    News { offered: Some(g(number)), ..fresh(number, said) }
}

type Two = Subscription<&'static str>;

/// One who has generation 1, asks `a` and `b`, and has heard that there is nothing newer.
fn two() -> Two {
    let mut subscription = Subscription::new(g(1), at(0));
    for source in ["a", "b"] {
        subscription.came(source, Tick(0));
    }
    all(&mut subscription, 0);
    for source in ["a", "b"] {
        subscription.answered(&source, fresh(1, 0), at(0));
    }
    all(&mut subscription, 1);
    subscription
}

fn all(subscription: &mut Two, second: u64) -> Vec<Command<&'static str>> {
    let commands = std::iter::from_fn(|| subscription.poll(at(second))).collect();
    assert!(subscription.timeout(at(second)) > at(second).tick, "whoever sleeps until then would never sleep");
    commands
}

fn ask(source: &'static str, after: u64) -> Command<&'static str> {
    Command::Ask { source, after: g(after) }
}

fn fetch(source: &'static str, number: u64) -> Command<&'static str> {
    Command::Fetch { source, generation: g(number) }
}

#[test]
fn every_source_is_asked_at_once_and_holds_one_question() {
    let mut subscription = Subscription::new(g(1), at(0));
    subscription.came("a", Tick(0));
    subscription.came("b", Tick(0));

    assert_eq!(all(&mut subscription, 0), [ask("a", 1), ask("b", 1)]);
    assert_eq!(all(&mut subscription, 20), []);
}

#[test]
fn what_is_new_is_fetched_from_whoever_offers_it_and_asked_beyond() {
    let mut subscription = two();

    assert!(subscription.answered(&"b", manifest(2, 2), at(2)));

    assert_eq!(all(&mut subscription, 2), [fetch("b", 2), ask("b", 2)]);
    assert!(subscription.fetched(g(2), true, Tick(2_500)));
    assert_eq!(all(&mut subscription, 3), []);
}

#[test]
fn what_is_known_or_older_is_not_fetched() {
    let mut subscription = two();
    subscription.answered(&"b", manifest(3, 2), at(2));
    all(&mut subscription, 2);

    assert!(!subscription.answered(&"a", manifest(3, 2), at(2)));
    assert!(!subscription.answered(&"b", manifest(2, 2), at(2)));

    assert!(all(&mut subscription, 4).iter().all(|command| matches!(command, Command::Ask { after, .. } if *after == g(3))));
}

#[test]
fn a_higher_epoch_wins_over_any_number() {
    let mut subscription = two();

    let restored = Generation { epoch: 1, number: 1 };

    assert!(subscription.answered(&"a", News { freshness: None, offered: Some(restored) }, at(2)));
    assert_eq!(subscription.newest(), restored);
}

#[test]
fn what_one_does_not_have_is_fetched_from_another() {
    let mut subscription = two();
    subscription.answered(&"b", manifest(2, 2), at(2));
    all(&mut subscription, 2);

    assert!(!subscription.fetched(g(2), false, Tick(2_000)));

    assert_eq!(all(&mut subscription, 2), []);
    assert_eq!(subscription.timeout(at(2)), Tick(2_250));
    assert_eq!(all(&mut subscription, 3), [fetch("a", 2)]);
    subscription.fetched(g(2), false, Tick(3_000));
    assert_eq!(all(&mut subscription, 4), [fetch("b", 2)]);
}

#[test]
fn a_newer_generation_takes_the_place_of_one_that_is_being_fetched() {
    let mut subscription = two();
    subscription.answered(&"b", manifest(2, 2), at(2));
    all(&mut subscription, 2);
    subscription.answered(&"a", manifest(3, 3), at(3));
    assert_eq!(all(&mut subscription, 3), [ask("a", 3)]);

    assert!(!subscription.fetched(g(2), true, Tick(4_000)));

    assert_eq!(all(&mut subscription, 4), [fetch("a", 3)]);
}

#[test]
fn one_that_withholds_is_outvoted_and_noticed() {
    let mut subscription = two();
    subscription.answered(&"b", manifest(2, 2), at(2));
    assert_eq!(all(&mut subscription, 2), [fetch("b", 2), ask("b", 2)]);
    subscription.fetched(g(2), true, Tick(2_000));

    assert_eq!(subscription.timeout(at(3)), Tick(7_000));
    assert_eq!(all(&mut subscription, 6), []);
    assert_eq!(all(&mut subscription, 7), [Command::Withholds { source: "a", newest: g(2) }]);
    assert_eq!(subscription.withholding().collect::<Vec<_>>(), [&"a"]);
    assert_eq!(all(&mut subscription, 8), []);
}

#[test]
fn one_that_withholds_for_long_is_told_apart() {
    let mut subscription = two();
    subscription.answered(&"b", manifest(2, 2), at(2));
    all(&mut subscription, 2);
    let long = |subscription: &Two, second| subscription.long_withholding(at(second).tick).copied().collect::<Vec<_>>();
    subscription.failed(&"a", Tick(2_000));
    all(&mut subscription, 10);

    assert_eq!((subscription.withholding().count(), long(&subscription, 31)), (1, Vec::new()));
    assert!(subscription.timeout(at(31)) <= at(32).tick);
    assert_eq!(long(&subscription, 32), ["a"]);

    subscription.answered(&"a", manifest(2, 33), at(33));
    all(&mut subscription, 33);
    assert!(long(&subscription, 100).is_empty());
}

#[test]
fn one_that_tells_of_a_generation_and_does_not_show_it_withholds_it() {
    let mut subscription = Subscription::new(g(1), at(0));
    subscription.came("a", Tick(0));
    all(&mut subscription, 0);

    subscription.answered(&"a", fresh(2, 1), at(1));

    assert_eq!(all(&mut subscription, 5), [ask("a", 1)]);
    assert_eq!(all(&mut subscription, 6), [Command::Withholds { source: "a", newest: g(2) }]);
}

#[test]
fn one_that_shows_again_what_there_is_follows() {
    let mut subscription = two();
    subscription.answered(&"b", manifest(2, 2), at(2));
    all(&mut subscription, 7);

    subscription.answered(&"a", manifest(2, 8), at(8));

    assert_eq!(all(&mut subscription, 8)[0], Command::Follows { source: "a" });
    assert_eq!(subscription.withholding().count(), 0);
}

#[test]
fn one_that_has_just_come_has_its_time() {
    let mut subscription = two();
    subscription.answered(&"b", manifest(2, 2), at(2));
    subscription.answered(&"a", manifest(2, 2), at(2));
    all(&mut subscription, 2);
    subscription.came("c", Tick(20_000));

    assert!(!all(&mut subscription, 24).iter().any(|command| matches!(command, Command::Withholds { .. })));
    assert!(!all(&mut subscription, 60).iter().any(|command| matches!(command, Command::Withholds { .. })));
}

#[test]
fn without_a_young_statement_of_anybody_nothing_is_fresh() {
    let mut subscription = two();
    subscription.answered(&"a", fresh(1, 10), at(12));
    all(&mut subscription, 12);

    assert_eq!(subscription.timeout(at(12)), Tick(40_000));
    assert_eq!(all(&mut subscription, 39), []);
    assert_eq!(all(&mut subscription, 40), [Command::Stale]);
    assert_eq!(subscription.age(at(50).wall), Duration::from_secs(40));
    assert_eq!(all(&mut subscription, 50), []);
}

#[test]
fn an_old_statement_that_is_said_again_makes_nothing_fresh() {
    let mut subscription = two();
    assert_eq!(all(&mut subscription, 30), [Command::Stale]);

    subscription.answered(&"a", fresh(1, 0), at(31));
    assert!(!all(&mut subscription, 31).contains(&Command::Fresh));

    subscription.answered(&"b", fresh(1, 30), at(32));
    assert!(all(&mut subscription, 32).contains(&Command::Fresh));
}

#[test]
fn a_statement_out_of_the_future_is_no_fresher_than_one_of_this_moment() {
    let mut subscription = two();

    subscription.answered(&"a", fresh(1, 5_000), at(2));

    assert!(all(&mut subscription, 32).contains(&Command::Stale));
}

#[test]
fn one_that_does_not_hold_its_question_is_not_asked_at_once() {
    let mut subscription = Subscription::new(g(1), at(0));
    subscription.came("a", Tick(0));
    all(&mut subscription, 0);

    subscription.answered(&"a", fresh(1, 0), at(0));

    assert_eq!(all(&mut subscription, 0), []);
    assert_eq!(subscription.timeout(at(0)), Tick(250));
    assert_eq!(all(&mut subscription, 1), [ask("a", 1)]);
}

#[test]
fn one_that_fails_is_asked_again_later_and_later() {
    let mut subscription = Subscription::new(g(1), at(0));
    subscription.came("a", Tick(0));
    let mut asked = Vec::new();
    for tick in (0..32_000).step_by(250) {
        let now = Now { tick: Tick(tick), ..at(0) };
        if std::iter::from_fn(|| subscription.poll(now)).any(|command| command == ask("a", 1)) {
            subscription.failed(&"a", now.tick);
            asked.push(tick);
        }
    }

    let waits: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
}

#[test]
fn what_nobody_is_there_to_give_is_fetched_from_the_next_who_comes() {
    let mut subscription = two();
    subscription.gone(&"a");
    subscription.answered(&"b", manifest(2, 2), at(2));
    subscription.gone(&"b");

    assert_eq!(all(&mut subscription, 3), []);
    subscription.came("c", Tick(4_000));

    assert_eq!(all(&mut subscription, 4), [fetch("c", 2), ask("c", 2)]);
}

#[test]
fn one_that_is_gone_is_neither_asked_nor_blamed() {
    let mut subscription = two();
    subscription.answered(&"b", manifest(2, 2), at(2));
    subscription.gone(&"a");

    assert_eq!(all(&mut subscription, 20), [fetch("b", 2), ask("b", 2)]);
    subscription.answered(&"a", manifest(3, 20), at(20));
    assert_eq!(subscription.sources().count(), 1);
}
