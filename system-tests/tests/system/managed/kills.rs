//! The site server dies at any moment; what it has acknowledged stays, and what it has not is there whole or not at all.

use std::time::Duration;

use cmg_lab::{Api, Program, Signal};
use serde_json::{Value, json};

use crate::support::{ManagedSite, PATIENCE, binary, until, wait};

/// How long the site server lives each time while changes come without a pause, in milliseconds.
const LIVES: [u64; 10] = [1, 3, 5, 8, 13, 21, 34, 55, 89, 144];

#[test]
fn whenever_the_site_server_dies_what_it_acknowledged_stays() {
    let mut managed = ManagedSite::of(1, 1);
    let mut acknowledged = Vec::new();
    let mut newest = generation(&managed);

    for (round, life) in LIVES.into_iter().enumerate() {
        let origin = managed.site.origin.url();
        let (api, server) = (&managed.api, managed.site.system.site.as_mut().unwrap());
        let (some, in_doubt) = std::thread::scope(|scope| {
            let changes = scope.spawn(|| add_until_it_dies(api, round, &origin));
            std::thread::sleep(Duration::from_millis(life));
            kill(server);
            changes.join().unwrap()
        });
        restart(server);
        acknowledged.extend(some);

        let now = generation(&managed);
        assert!(now >= newest, "generations never go back: {now:?} after {newest:?}");
        newest = now;
        let there = endpoints(&managed.api);
        let lost: Vec<_> = acknowledged.iter().filter(|name| !there.contains(*name)).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
        if there.contains(&in_doubt) {
            acknowledged.push(in_doubt);
        }
        for name in &acknowledged {
            let records = managed.api.ask("GET", &format!("/audit?kind=endpoint&name={name}"), None).unwrap();
            assert_eq!(records["total"], 1, "a change and its record are one: {name}");
        }
    }

    assert!(!acknowledged.is_empty(), "changes were made between the deaths");
    managed.everywhere();
    let device = &managed.devices()[0];
    for name in &acknowledged {
        assert_eq!(device.get(&format!("/{name}/echo")).status, 200, "{name}");
    }
}

/// Adds endpoints until one is not answered: those that were acknowledged, and the one that was not.
fn add_until_it_dies(api: &Api, round: usize, origin: &str) -> (Vec<String>, String) {
    let mut acknowledged = Vec::new();
    loop {
        let name = format!("round-{round}-{}", acknowledged.len());
        let endpoint = json!({
            "name": name,
            "prefix": format!("/{name}"),
            "face": "mutual",
            "trust": "devices",
            "servers": [origin],
        });
        match api.add("endpoints", &endpoint) {
            Ok(_) => acknowledged.push(name),
            Err(_) => return (acknowledged, name),
        }
    }
}

fn generation(managed: &ManagedSite) -> (u64, u64) {
    let status = managed.status();
    let text = status["generation"].as_str().unwrap();
    let (epoch, number) = text.split_once('.').unwrap();
    (epoch.parse().unwrap(), number.parse().unwrap())
}

fn endpoints(api: &Api) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let after = names.last().map(|last| format!("&after={last}")).unwrap_or_default();
        let page = api.ask("GET", &format!("/endpoints?limit=500{after}"), None).unwrap();
        let items = page["items"].as_array().unwrap();
        names.extend(items.iter().filter_map(|item| item["name"].as_str().map(str::to_owned)));
        if page["next"] == Value::Null {
            return names;
        }
    }
}

fn kill(program: &mut Program) {
    wait(program.signal(Signal::Kill)).unwrap();
    wait(program.wait()).unwrap();
}

fn restart(program: &mut Program) {
    let plan = program.plan.clone();
    *program = wait(async { Program::start(binary(), plan) }).unwrap();
    until("it works again", || wait(program.wait_for("/readyz", PATIENCE)).ok());
}
