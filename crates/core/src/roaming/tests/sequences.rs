//! Whatever happens in whatever order.
use std::collections::BTreeSet;
use std::string::{String, ToString};

use proptest::prelude::*;

use super::super::*;
use super::world::{Answers, WORKS, World, site, vpn};

#[derive(Clone, Debug)]
enum Step {
    Set(usize, Answers),
    Network,
    Pass(u64),
    Request,
    Policy(u8, u8),
    Always(bool),
    Locate,
    Sleep(u64),
    Stray(u64, bool),
}

const NAMES: [&str; 6] = ["mp0", "mp1", "mp2", "s0", "s1", "s2"];

fn any_answers() -> impl Strategy<Value = Answers> {
    let trouble = prop_oneof![
        Just(Trouble::Refused),
        Just(Trouble::Unresolved),
        Just(Trouble::Untrusted),
        Just(Trouble::Portal),
        Just(Trouble::Broken),
        (0..200_u64).prop_map(|rest| Trouble::Busy(Duration::from_secs(rest))),
    ];
    prop_oneof![
        (0..4_000_u64).prop_map(|wait| Answers::After(wait, Ok(()))),
        (0..4_000_u64, trouble).prop_map(|(wait, trouble)| Answers::After(wait, Err(trouble))),
        Just(Answers::Never),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..NAMES.len(), any_answers()).prop_map(|(name, answers)| Step::Set(name, answers)),
        2 => Just(Step::Network),
        4 => (0..20_000_u64).prop_map(Step::Pass),
        4 => Just(Step::Request),
        1 => (0..8_u8, 0..8_u8).prop_map(|(points, services)| Step::Policy(points, services)),
        1 => any::<bool>().prop_map(Step::Always),
        1 => Just(Step::Locate),
        1 => (0..200_000_000_u64).prop_map(Step::Sleep),
        1 => (0..50_u64, any::<bool>()).prop_map(|(probe, proven)| Step::Stray(probe, proven)),
    ]
}

/// The site that two sets of bits stand for.
fn some_site(points: u8, services: u8, diverted: bool) -> Site {
    let chosen = |bits: u8, names: &[&'static str]| -> Vec<&'static str> {
        names.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1).map(|(_, name)| *name).collect()
    };
    let boundaries = if diverted { vpn(&["s1"]) } else { Boundaries::default() };
    Site { boundaries, ..site(&chosen(points, &NAMES[..3]), &chosen(services, &NAMES[3..])) }
}

fn take(world: &mut World, step: Step, diverted: bool) {
    match step {
        Step::Set(name, answers) => {
            world.set(NAMES[name], answers);
        }
        Step::Network => world.new_network(),
        Step::Pass(millis) => world.pass(millis),
        Step::Request => world.request(),
        Step::Policy(points, services) => world.event(Event::PolicyChanged(some_site(points, services, diverted))),
        Step::Always(always) => world.event(Event::AlwaysInternet(always)),
        Step::Locate => world.event(Event::Locate),
        Step::Sleep(millis) => {
            world.now += millis;
            world.event(Event::Woken);
        }
        Step::Stray(probe, proven) => world.event(Event::Answered(ProbeId(probe), if proven { Ok(()) } else { Err(Trouble::Broken) })),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever happened before: when something works, the client ends up with something that works, and stays there.
    #[test]
    fn every_sequence_ends_in_a_usable_state_when_something_works(
        steps in prop::collection::vec(any_step(), 0..60),
        diverted in any::<bool>(),
        works in prop::collection::btree_set(0..NAMES.len(), 1..4),
        seed in any::<u64>(),
    ) {
        let mut world = World::of(some_site(7, 7, diverted), &[]).seeded(seed);
        for step in steps {
            take(&mut world, step, diverted);
        }

        for (place, name) in NAMES.into_iter().enumerate() {
            world.set(name, if works.contains(&place) { WORKS } else { Answers::Never });
        }
        world.event(Event::PolicyChanged(some_site(7, 7, diverted)));
        world.event(Event::AlwaysInternet(works.iter().any(|place| *place >= 3) && seed % 2 == 0));
        // The longest rest that was asked for, with its spread, and time to notice.
        for _ in 0..120 {
            world.pass(5_000);
            world.request();
        }

        let used = world.used.clone();
        let is_usable = |name: &str| works.iter().any(|place| NAMES[*place] == name);
        let name = match &used {
            Route::ManagementPoint(point) => point.to_string(),
            Route::Service(service) => service.to_string(),
            Route::Nothing => String::new(),
        };
        prop_assert!(is_usable(&name), "{used} of {works:?}: {:?}", world.roaming);
        world.done.clear();
        for _ in 0..100 {
            world.pass(5_000);
            world.request();
        }
        prop_assert!(world.done.iter().all(|(_, action)| !matches!(action, Action::Use(Route::Nothing))), "{:?}", world.done);
    }

    /// Probes have numbers of their own, and a search troubles nobody twice.
    #[test]
    fn no_two_probes_are_one(steps in prop::collection::vec(any_step(), 0..60), seed in any::<u64>()) {
        let mut world = World::of(some_site(7, 7, false), &[]).seeded(seed);
        for step in steps {
            take(&mut world, step, false);
        }

        let mut numbers = BTreeSet::new();
        for (_, action) in &world.done {
            if let Action::Probe(probe, _, within) = action {
                prop_assert!(numbers.insert(*probe));
                prop_assert_eq!(*within, search::PROBE_WITHIN);
            }
        }
    }
}
