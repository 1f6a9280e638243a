use std::string::ToString;
use std::vec;

use proptest::prelude::*;

use super::*;

fn group(name: &str, networks: &[&str], site_systems: &[&str]) -> Group {
    Group {
        name: name.to_string(),
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        site_systems: site_systems.iter().map(ToString::to_string).collect(),
        services: vec![],
        fallback: vec![],
        prefer_cloud: false,
    }
}

fn falling_back(mut group: Group, to: &[&str]) -> Group {
    group.fallback = to.iter().map(ToString::to_string).collect();
    group
}

fn address(text: &str) -> [IpAddr; 1] {
    [text.parse().unwrap()]
}

fn names<'n>(ranked: &[Ranked<'n>]) -> Vec<&'n str> {
    ranked.iter().map(|ranked| ranked.name).collect()
}

#[test]
fn an_address_is_in_its_network_and_in_no_other() {
    for (network, address, within) in [
        ("203.0.113.0/24", "203.0.113.200", true),
        ("203.0.113.77/24", "203.0.113.200", true),
        ("203.0.113.0/24", "203.0.114.1", false),
        ("203.0.113.7", "203.0.113.7", true),
        ("203.0.113.7", "203.0.113.8", false),
        ("0.0.0.0/0", "198.51.100.1", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("203.0.113.0/24", "::ffff:203.0.113.9", true),
        ("::ffff:203.0.113.0/120", "203.0.113.9", true),
        ("2001:db8::/32", "2001:db8:1::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("::/0", "192.0.2.1", false),
    ] {
        let found: Network = network.parse().unwrap();
        assert_eq!(found.contains(address.parse().unwrap()), within, "{network} {address}");
    }
}

#[test]
fn what_is_no_network_is_told_by_its_reason() {
    for (text, why) in [
        ("", NotANetwork::Address),
        ("10.0.0/8", NotANetwork::Address),
        ("10.0.0.0/33", NotANetwork::Bits),
        ("10.0.0.0/", NotANetwork::Bits),
        ("10.0.0.0/+8", NotANetwork::Bits),
        ("::/129", NotANetwork::Bits),
        ("::ffff:10.0.0.0/8", NotANetwork::Bits),
        ("10.0.0.0/8/8", NotANetwork::Bits),
    ] {
        assert_eq!(text.parse::<Network>(), Err(why), "{text}");
    }
}

#[test]
fn the_longest_prefix_fits_best() {
    let boundaries = Boundaries::new(vec![
        group("all", &["10.0.0.0/8"], &[]),
        group("floor", &["192.0.2.0/24", "10.1.2.0/24"], &[]),
        group("house", &["10.1.0.0/16"], &[]),
        group("elsewhere", &["10.2.0.0/16"], &[]),
    ]);

    let found: Vec<_> = boundaries.at(&address("10.1.2.3")).groups().map(ToString::to_string).collect();

    assert_eq!(found, ["floor", "house", "all"]);
}

#[test]
fn own_site_systems_come_first_then_fallback_then_those_of_no_group() {
    let boundaries = Boundaries::new(vec![
        falling_back(group("berlin", &["10.1.0.0/16"], &["dp-b2", "dp-b1"]), &["paris", "rome"]),
        falling_back(group("paris", &["10.2.0.0/16"], &["dp-p"]), &["oslo"]),
        group("rome", &["10.3.0.0/16"], &["dp-r", "dp-b1"]),
        group("oslo", &["10.4.0.0/16"], &["dp-o"]),
        group("lima", &["10.5.0.0/16"], &["dp-l"]),
    ]);
    let all = ["dp-l", "dp-free", "dp-o", "dp-r", "dp-p", "dp-b1", "dp-b2"];
    let standing = boundaries.at(&address("10.1.2.3"));

    assert_eq!(names(&standing.site_systems(&all)), ["dp-b2", "dp-b1", "dp-p", "dp-r", "dp-o", "dp-free"]);
    assert_eq!(names(&standing.management_points(&all)), ["dp-b2", "dp-b1", "dp-p", "dp-r", "dp-o", "dp-free", "dp-l"]);
}

#[test]
fn what_a_group_names_side_by_side_has_one_rank() {
    let boundaries = Boundaries::new(vec![group("berlin", &["10.1.0.0/16"], &["a", "b"])]);

    let ranks: Vec<_> = boundaries.at(&address("10.1.2.3")).management_points(&["c", "b", "a"]).iter().map(|ranked| ranked.rank).collect();

    assert_eq!(ranks, [0, 0, 1]);
}

#[test]
fn outside_all_groups_those_of_no_group_come_first_and_nobody_is_left_with_none() {
    let boundaries = Boundaries::new(vec![group("berlin", &["10.1.0.0/16"], &["dp-b"])]);

    assert_eq!(names(&boundaries.at(&address("192.0.2.1")).site_systems(&["dp-b", "free"])), ["free", "dp-b"]);
}

#[test]
fn a_group_that_names_nothing_uses_everything() {
    let boundaries = Boundaries::new(vec![group("berlin", &["10.1.0.0/16"], &[])]);
    let standing = boundaries.at(&address("10.1.0.1"));

    assert_eq!(names(&standing.site_systems(&["a", "b"])), ["a", "b"]);
    assert_eq!(standing.services(&["cmg1", "cmg2"]), ["cmg1", "cmg2"]);
}

#[test]
fn services_are_those_of_the_own_groups() {
    let mut berlin = group("berlin", &["10.1.0.0/16"], &[]);
    berlin.services = vec!["cmg2".to_string(), "gone".to_string()];
    let boundaries = Boundaries::new(vec![berlin]);

    assert_eq!(boundaries.at(&address("10.1.0.1")).services(&["cmg1", "cmg2"]), ["cmg2"]);
    assert_eq!(boundaries.at(&address("10.2.0.1")).services(&["cmg1", "cmg2"]), ["cmg1", "cmg2"]);
}

#[test]
fn the_best_fitting_group_says_whether_the_internet_is_preferred() {
    let mut vpn = group("vpn", &["10.9.0.0/16"], &[]);
    vpn.prefer_cloud = true;
    let boundaries = Boundaries::new(vec![group("all", &["10.0.0.0/8"], &[]), vpn]);

    assert!(boundaries.at(&address("10.9.0.1")).prefers_cloud());
    assert!(!boundaries.at(&address("10.1.0.1")).prefers_cloud());
    assert!(!boundaries.at(&[]).prefers_cloud());
}

fn any_boundaries() -> impl Strategy<Value = Boundaries> {
    let name = || (0..6_u8).prop_map(|name| std::format!("g{name}"));
    let system = || (0..8_u8).prop_map(|name| std::format!("s{name}"));
    let one = (name(), 0..=32_u32, prop::collection::vec(system(), 0..4), prop::collection::vec(name(), 0..6)).prop_map(
        |(name, bits, site_systems, fallback)| Group {
            name,
            networks: vec![std::format!("10.1.2.3/{bits}").parse().unwrap()],
            site_systems,
            services: vec![],
            fallback,
            prefer_cloud: false,
        },
    );
    prop::collection::vec(one, 0..8).prop_map(Boundaries::new)
}

proptest! {
    #[test]
    fn circles_end_and_each_system_is_named_at_most_once(boundaries in any_boundaries(), address in any::<u32>()) {
        let all = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];
        let standing = boundaries.at(&[IpAddr::V4(address.into())]);

        for found in [standing.site_systems(&all), standing.management_points(&all)] {
            let unique: BTreeSet<_> = names(&found).into_iter().collect();
            prop_assert_eq!(unique.len(), found.len());
            prop_assert!(found.windows(2).all(|pair| pair[0].rank <= pair[1].rank));
        }
        prop_assert_eq!(standing.management_points(&all).len(), all.len());
    }

    #[test]
    fn a_network_holds_exactly_what_begins_with_its_bits(base in any::<u32>(), bits in 0..=32_u32, other in any::<u32>()) {
        let network: Network = std::format!("{}/{bits}", core::net::Ipv4Addr::from(base)).parse().unwrap();
        let same = bits == 0 || base >> (32 - bits) == other >> (32 - bits);

        prop_assert_eq!(network.contains(IpAddr::V4(other.into())), same);
    }
}
