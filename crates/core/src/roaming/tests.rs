mod sequences;
mod world;

use self::world::*;
use super::*;

#[test]
fn the_intranet_is_where_a_management_point_has_proven_itself() {
    let mut world = World::new(&["mp1"], &["cmg1"], &[("mp1", WORKS), ("cmg1", WORKS)]);

    assert_eq!(world.time_to(&intranet("mp1")), 20);
}

#[test]
fn somebody_elses_answer_in_its_place_is_not_the_intranet() {
    let mut world = World::new(&["mp1"], &["cmg1"], &[("mp1", Answers::After(5, Err(Trouble::Untrusted))), ("cmg1", WORKS)]);

    assert_eq!(world.time_to(&internet("cmg1")), 20);
}

#[test]
fn on_the_internet_management_points_that_do_not_answer_cost_a_second() {
    let mut world = World::new(&["mp1", "mp2"], &["cmg1"], &[("cmg1", WORKS)]);

    assert_eq!(world.time_to(&internet("cmg1")), 1_000);
}

#[test]
fn a_management_point_that_answers_late_takes_over() {
    let mut world = World::new(&["mp1"], &["cmg1"], &[("mp1", Answers::After(2_500, Ok(()))), ("cmg1", WORKS)]);

    assert_eq!(world.time_to(&internet("cmg1")), 1_000);
    assert_eq!(world.time_to(&intranet("mp1")), 1_500);
}

#[test]
fn from_a_change_of_network_to_a_service_it_takes_well_under_two_seconds() {
    let mut world = World::new(&["mp1"], &["cmg1", "cmg2"], &[("mp1", WORKS)]);
    world.time_to(&intranet("mp1"));

    world.set("mp1", Answers::Never).set("cmg1", WORKS).set("cmg2", WORKS).new_network();
    world.pass(1_500);

    assert!(matches!(world.roaming.place(), Place::Internet(_)), "{}", world.roaming.place());
}

#[test]
fn and_back_again_to_the_intranet() {
    let mut world = World::new(&["mp1"], &["cmg1"], &[("cmg1", WORKS)]);
    world.time_to(&internet("cmg1"));

    world.set("mp1", WORKS).new_network();

    assert_eq!(world.time_to(&intranet("mp1")), 270);
}

#[test]
fn a_quick_service_is_not_chosen_more_often_than_a_slow_one() {
    let slow = Answers::After(250, Ok(()));
    let mut quick_ones = 0;
    for seed in 0..1_000 {
        let mut world = World::new(&[], &["quick", "slow"], &[("quick", WORKS), ("slow", slow)]).seeded(seed * 7_919 + 1);
        world.pass(1_000);
        quick_ones += usize::from(*world.roaming.place() == internet("quick"));
    }

    assert!((450..550).contains(&quick_ones), "{quick_ones}");
}

#[test]
fn a_dead_service_is_passed_over_without_waiting() {
    for seed in 0..20 {
        let mut world = World::new(&[], &["a", "b", "c"], &[("a", REFUSES), ("b", REFUSES), ("c", WORKS)]).seeded(seed);
        assert!(world.time_to(&internet("c")) <= 30);
    }
}

#[test]
fn a_service_that_says_nothing_costs_a_second() {
    for seed in 0..20 {
        let mut world = World::new(&[], &["a", "b"], &[("b", WORKS)]).seeded(seed);
        assert!(world.time_to(&internet("b")) <= 1_000);
    }
}

#[test]
fn a_service_is_kept_through_a_change_of_network_while_it_works() {
    let names = ["a", "b", "c", "d"];
    let mut world = World::new(&[], &names, &names.map(|name| (name, WORKS)));
    world.pass(100);
    let first = world.roaming.place().clone();

    for _ in 0..50 {
        world.new_network();
        world.pass(40_000);
        assert_eq!(*world.roaming.place(), first);
    }
}

#[test]
fn a_refused_connection_is_enough_and_the_others_are_tried_within_a_third_of_the_spread() {
    let mut world = World::new(&[], &["a", "b"], &[("a", WORKS), ("b", REFUSES)]);
    world.time_to(&internet("a"));

    world.set("a", REFUSES).set("b", WORKS).request();

    assert_eq!(*world.roaming.place(), Place::Unknown);
    assert!(world.time_to(&internet("b")) <= 10_100);
}

#[test]
fn an_error_is_not_enough_and_five_are() {
    let mut world = World::new(&[], &["a", "b"], &[("a", WORKS), ("b", REFUSES)]);
    world.time_to(&internet("a"));
    world.set("a", Answers::Never).set("b", WORKS);

    for _ in 0..4 {
        world.request();
        assert_eq!(*world.roaming.place(), internet("a"));
    }
    world.request();

    assert_eq!(*world.roaming.place(), Place::Unknown);
    world.time_to(&internet("b"));
}

#[test]
fn the_clients_of_a_dead_service_do_not_arrive_together() {
    let mut arrivals = BTreeMap::<u64, usize>::new();
    for seed in 0..1_000 {
        let mut world = World::new(&[], &["a", "b"], &[("a", WORKS), ("b", REFUSES)]).seeded(seed * 7_919 + 1);
        world.time_to(&internet("a"));
        world.set("a", REFUSES).set("b", WORKS).request();
        let took = world.time_to(&internet("b"));
        *arrivals.entry(took / 1_000).or_default() += 1;
    }

    assert!(arrivals.values().all(|count| *count < 200), "{arrivals:?}");
    assert!(arrivals.keys().all(|second| *second <= 10), "{arrivals:?}");
}

#[test]
fn after_a_full_outage_all_come_back_within_the_spread_and_not_together() {
    let mut arrivals = BTreeMap::<u64, usize>::new();
    for seed in 0..1_000 {
        let mut world = World::new(&[], &["a"], &[("a", WORKS), ("portal", REFUSES)]).seeded(seed * 7_919 + 1);
        world.time_to(&internet("a"));
        world.set("a", REFUSES).request();
        world.pass(300_000);
        world.set("a", WORKS);
        let took = world.time_to(&internet("a"));
        *arrivals.entry(took / 1_000).or_default() += 1;
    }

    assert!(arrivals.keys().all(|second| *second <= 30), "{arrivals:?}");
    assert!(arrivals.values().all(|count| *count < 120), "{arrivals:?}");
}

#[test]
fn an_error_of_a_management_point_is_looked_into_while_it_stays_in_use() {
    let mut world = World::new(&["mp1"], &["cmg1"], &[("mp1", WORKS), ("cmg1", WORKS)]);
    world.time_to(&intranet("mp1"));

    world.set("mp1", Answers::Never).request();

    assert_eq!(*world.roaming.place(), intranet("mp1"));
    assert_eq!(world.time_to(&internet("cmg1")), 1_000);
}

#[test]
fn a_captive_portal_is_told_apart_and_left_when_it_opens() {
    let untrusted = Answers::After(5, Err(Trouble::Untrusted));
    let mut world = World::new(&["mp1"], &["cmg1"], &[("mp1", untrusted), ("cmg1", untrusted)]);
    world.set("portal", Answers::After(5, Err(Trouble::Portal)));
    world.time_to(&Place::Portal);

    world.set("cmg1", WORKS).set("portal", Answers::Never);

    assert!(world.time_to(&internet("cmg1")) <= 30_100);
}

#[test]
fn no_network_at_all_is_offline() {
    let mut world = World::new(&["mp1"], &["cmg1"], &[("mp1", REFUSES), ("cmg1", REFUSES), ("portal", REFUSES)]);

    assert!(world.time_to(&Place::Offline) < 10);
}

#[test]
fn whoever_has_found_nobody_does_not_try_again_in_the_same_moment() {
    let mut lowest = Roaming::new(site(&[], &["a"]), Vec::new(), false, Tick(0));
    for action in lowest.handle(Event::Woken, Tick(0), &mut || 0) {
        if let Action::Probe(probe, ..) = action {
            lowest.handle(Event::Answered(probe, Err(Trouble::Refused)), Tick(1), &mut || 0);
        }
    }

    lowest.handle(Event::Answered(ProbeId(1), Err(Trouble::Refused)), Tick(2), &mut || 0);

    assert_eq!((lowest.place(), lowest.wake_at()), (&Place::Offline, Tick(252)));
}

#[test]
fn a_vpn_that_prefers_the_internet_is_diverted_to_its_services() {
    let site = Site { boundaries: vpn(&["cmg2"]), ..site(&["mp1"], &["cmg1", "cmg2"]) };
    let mut world = World::of(site, &[("mp1", WORKS), ("cmg1", WORKS), ("cmg2", WORKS)]);

    world.pass(2_000);
    assert_eq!(*world.roaming.place(), Place::Diverted(ServiceId::new("cmg2")));

    world.set("cmg2", REFUSES).request();
    world.pass(15_000);
    assert_eq!(*world.roaming.place(), intranet("mp1"));
}

#[test]
fn always_internet_asks_no_management_point() {
    let mut world = World::new(&["mp1"], &["cmg1"], &[("mp1", WORKS), ("cmg1", WORKS)]);
    world.time_to(&intranet("mp1"));
    world.done.clear();

    world.event(Event::AlwaysInternet(true));
    world.pass(2_000);

    assert_eq!(*world.roaming.place(), internet("cmg1"));
    assert_eq!(world.probes(), ["service cmg1"]);
}

#[test]
fn a_network_that_becomes_quiet_is_looked_at_once() {
    let mut world = World::new(&["mp1"], &[], &[("mp1", WORKS)]);
    world.time_to(&intranet("mp1"));
    world.done.clear();

    for _ in 0..5 {
        world.new_network();
        world.pass(100);
    }
    world.pass(2_000);

    assert_eq!(world.probes().len(), 1);
}

#[test]
fn a_network_that_never_becomes_quiet_is_looked_at_all_the_same() {
    let mut world = World::new(&["mp1"], &["cmg1"], &[("cmg1", WORKS)]);
    world.time_to(&internet("cmg1"));
    world.set("cmg1", REFUSES).set("mp1", Answers::After(900, Ok(())));

    for _ in 0..50 {
        world.new_network();
        world.pass(100);
    }

    assert_eq!(*world.roaming.place(), intranet("mp1"));
}

#[test]
fn once_a_day_with_jitter_it_is_looked_at_anyway() {
    let mut world = World::new(&["mp1"], &["cmg1"], &[("cmg1", WORKS)]);
    world.pass(5_000);

    let next = world.roaming.wake_at().0;

    assert!((86_400_000 * 9 / 10..=86_400_000 * 11 / 10 + 5_000).contains(&next), "{next}");
    world.set("mp1", WORKS).pass(86_400_000 * 11 / 10 + 5_000);
    assert_eq!(*world.roaming.place(), intranet("mp1"));
}

#[test]
fn a_policy_that_does_not_name_what_is_in_use_moves_the_client() {
    let mut world = World::new(&[], &["a"], &[("a", WORKS), ("b", WORKS)]);
    world.time_to(&internet("a"));

    world.event(Event::PolicyChanged(site(&[], &["b"])));

    assert!(world.time_to(&internet("b")) <= 10_100);
}

#[test]
fn a_policy_with_a_new_management_point_is_acted_upon_within_the_spread() {
    let mut world = World::new(&[], &["a"], &[("a", WORKS), ("mp1", WORKS)]);
    world.time_to(&internet("a"));

    world.event(Event::PolicyChanged(site(&["mp1"], &["a"])));

    assert!(world.time_to(&intranet("mp1")) <= 30_100);
}

#[test]
fn the_same_policy_changes_nothing() {
    let mut world = World::new(&[], &["a"], &[("a", WORKS)]);
    world.time_to(&internet("a"));
    let next = world.roaming.wake_at();

    world.event(Event::PolicyChanged(site(&[], &["a"])));

    assert_eq!(world.roaming.wake_at(), next);
}

#[test]
fn who_knows_nobody_waits_for_a_policy_and_wakes_for_nothing_else() {
    let mut world = World::new(&[], &[], &[("a", WORKS)]);
    world.event(Event::Woken);
    assert!(world.roaming.wake_at() > Tick(3_600_000));

    world.event(Event::PolicyChanged(site(&[], &["a"])));

    assert_eq!(world.time_to(&internet("a")), 20);
}

#[test]
fn whoever_slept_for_a_year_looks_where_it_is() {
    let mut world = World::new(&["mp1"], &["cmg1"], &[("mp1", WORKS)]);
    world.time_to(&intranet("mp1"));

    world.set("mp1", Answers::Never).set("cmg1", WORKS);
    world.now += 366 * 86_400_000;
    world.event(Event::Woken);

    assert_eq!(world.time_to(&internet("cmg1")), 1_000);
    assert_eq!(world.roaming.explain().cause, Cause::NetworkChanged);
}

#[test]
fn time_does_not_go_back() {
    let mut world = World::new(&[], &["a"], &[("a", WORKS)]);
    world.now = 1_000_000;
    world.time_to(&internet("a"));

    let actions = world.roaming.handle(Event::Woken, Tick(5), &mut || 0);

    assert_eq!(actions, []);
}

#[test]
fn a_busy_service_is_waited_for_if_it_asks_for_a_short_rest() {
    let mut world = World::new(&[], &["a", "b"], &[("a", WORKS), ("b", REFUSES)]);
    world.time_to(&internet("a"));

    world.event(Event::Failed(Target::Service(ServiceId::new("a")), Trouble::Busy(Duration::from_secs(10))));

    assert_eq!(*world.roaming.place(), internet("a"));
    assert!(world.roaming.rests_until().unwrap() >= Tick(world.now + 10_000));
}

#[test]
fn a_probe_that_nobody_waits_for_any_more_changes_nothing() {
    let mut world = World::new(&["mp1"], &["cmg1"], &[("cmg1", WORKS)]);
    world.pass(5_000);

    world.event(Event::Answered(ProbeId(0), Ok(())));
    world.new_network();
    world.pass(260);
    world.event(Event::Answered(ProbeId(0), Ok(())));

    assert_eq!(*world.roaming.place(), internet("cmg1"));
}

#[test]
fn it_is_explained_who_was_tried_with_what_outcome_and_who_is_avoided() {
    let mut world = World::new(&["mp1"], &["a", "b"], &[("mp1", REFUSES), ("a", REFUSES), ("b", WORKS)]).seeded(4);
    world.time_to(&internet("b"));

    let told = world.roaming.explain();

    assert_eq!((told.place, told.cause, told.is_searching), (internet("b"), Cause::Started, false));
    let point = told.attempts.iter().find(|attempt| matches!(attempt.target, Target::ManagementPoint(_))).unwrap();
    assert_eq!((point.began, point.ended), (Some(Tick(0)), Some((Tick(1), Err(Trouble::Refused)))));
    assert_eq!(told.servers.len(), 3);
    assert!(told.servers.iter().any(|server| server.weight.is_none() && server.avoided_until.is_some()));
    assert_eq!(told.next.1, Cause::Daily);
}
