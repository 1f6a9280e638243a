//! Several site servers on one PostgreSQL, as programs of their own behind a load balancer.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cmg_lab::ports::free_port;
use cmg_lab::{Api, Front, Instance, Lab, LabOptions, Plan, Program, Relay, Role, Signal};
use serde_json::json;

use crate::postgres::Server;
use crate::support::{ManagedSite, PATIENCE, binary, wait};

/// A second site server beside the laboratory's own, and a balancer in front of both.
struct Pair {
    second: Plan,
    api: u16,
    _balancer: Relay,
}

#[test]
fn one_of_two_site_servers_dies_and_changes_go_on() {
    let Some(database) = Server::own() else { return };
    database.run("createdb", &["site"]);
    let mut pair = None;
    let options = LabOptions { gateways: 2, connection_points: 2, managed: true, ..LabOptions::default() };
    let mut managed = ManagedSite::with(options, |lab| pair = Some(Pair::beside(lab, &database.url("site"))));
    let pair = pair.unwrap();
    let mut second = pair.start(managed.site.lab());
    let token = managed.api.token.take();
    managed.api = Api { port: pair.api, token };

    managed.publish("both-live");
    managed.everywhere();

    let first = managed.server();
    wait(first.signal(Signal::Kill)).unwrap();
    wait(first.wait()).unwrap();
    managed.publish("the-second-alone");
    managed.everywhere();

    let plan = managed.server().plan.clone();
    *managed.server() = started(plan);
    wait(second.signal(Signal::Kill)).unwrap();
    wait(second.wait()).unwrap();
    managed.publish("the-first-again");
    managed.everywhere();

    for device in managed.devices() {
        for name in ["both-live", "the-second-alone", "the-first-again"] {
            assert_eq!(device.get(&format!("/{name}/echo")).status, 200, "{name}");
        }
    }
    managed.api.add("blocks", &json!({ "thumbprint": "00".repeat(32) })).unwrap();
    managed.everywhere();
}

impl Pair {
    /// Puts the laboratory's site server on `database` and behind a balancer, and writes the file of a second one.
    fn beside(lab: &Lab, database: &str) -> Self {
        let folder = lab.site_dir();
        secret(&folder.join("database"), database);
        let first = lab.site.as_ref().unwrap();
        let [api, control, own_api, own_control, own_metrics] = [(); 5].map(|()| free_port().unwrap());
        let text = fs::read_to_string(&first.config).unwrap();
        let text = text.replace(
            &format!("control_urls = [\"https://127.0.0.1:{}\"]", first.control_port),
            &format!("control_urls = [\"https://127.0.0.1:{control}\"]\ndatabase_file = \"database\""),
        );
        assert!(text.contains("database_file"), "{text}");
        fs::write(&first.config, &text).unwrap();
        let of_second = [
            (format!("127.0.0.1:{}", first.port), format!("127.0.0.1:{own_api}")),
            (format!("127.0.0.1:{}", first.control_port), format!("127.0.0.1:{own_control}")),
            (format!("127.0.0.1:{}", first.metrics_port), format!("127.0.0.1:{own_metrics}")),
            (first.name.clone(), "site-2".to_owned()),
        ];
        let text = of_second.iter().fold(text, |text, (from, to)| text.replace(from, to));
        let config = folder.join("site-2.toml");
        fs::write(&config, text).unwrap();
        let targets = |first_port: u16, second_port: u16| {
            vec![(Instance::new(first.metrics_port), first_port), (Instance::new(own_metrics), second_port)]
        };
        let fronts = vec![
            Front { port: api, targets: targets(first.port, own_api) },
            Front { port: control, targets: targets(first.control_port, own_control) },
        ];
        let second = Plan { name: "site-2".to_owned(), role: Role::SiteServer, config, metrics_port: own_metrics, log: lab.log("site-2") };
        Self { second, api, _balancer: wait(Relay::start(fronts)).unwrap() }
    }

    /// Starts the second one, which needs the vault's key of the first.
    fn start(&self, lab: &Lab) -> Program {
        let folder = lab.site_dir();
        let data = folder.join("site-2-data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        let key = fs::read_to_string(folder.join("site-1-data").join("vault.key")).unwrap();
        secret(&data.join("vault.key"), &key);
        started(self.second.clone())
    }
}

fn started(plan: Plan) -> Program {
    let mut program = wait(async { Program::start(binary(), plan) }).unwrap();
    wait(program.wait_for("/readyz", PATIENCE)).unwrap();
    program
}

fn secret(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
