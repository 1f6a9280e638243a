//! SIGHUP: a changed file is applied whole or not at all.

use cmg_lab::Authority;
use cmg_lab::config::edit;
use toml::Value;

use crate::support::{Site, field, line_of, lines, reload, until};

#[test]
fn a_changed_file_is_applied() {
    let site = Site::start(|setup| setup.endpoint("small", "body_limit = 10"));
    assert_eq!(site.device().request("POST", "/small/upload", &[], &[b'x'; 11]).status, 413);
    for config in [&site.lab().gateways[0].config, &site.lab().connection_points[0].config] {
        edit(config, |file| {
            let endpoints = file["endpoint"].as_array_mut().unwrap();
            let small = endpoints.iter_mut().find(|endpoint| endpoint["id"].as_str() == Some("small")).unwrap();
            small["body_limit"] = Value::Integer(20);
        })
        .unwrap();
    }

    site.reload();

    assert_eq!(site.device().request("POST", "/small/upload", &[], &[b'x'; 11]).status, 200);
    site.log_line("it says so", |line| line.to_string().contains("Configuration applied"));
}

#[test]
fn a_wrong_file_changes_nothing_and_every_problem_is_named() {
    let site = Site::start(|_| {});
    for program in [site.gateway(), site.point()] {
        edit(&program.plan.config, |file| {
            file.insert("nonsense".to_owned(), Value::Integer(1));
            file.insert("drain".to_owned(), Value::from("soon"));
        })
        .unwrap();

        assert!(!reload(program), "{} keeps what it has", program.plan.name);

        for key in ["nonsense", "drain"] {
            line_of(program, key, |line| line.to_string().contains(key) && field(line, "level") == "ERROR");
        }
    }
    assert_eq!(site.device().get(&(site.mutual() + "/echo")).status, 200);
}

#[test]
fn the_level_of_the_log_follows_the_file() {
    let site = Site::start(|_| {});
    let debug = |line: &serde_json::Value| field(line, "level") == "DEBUG";
    assert!(!lines(&site.gateway().plan.log).iter().any(debug));
    let set = |level: &str| edit(&site.gateway().plan.config, |file| file["log"]["level"] = Value::from(level)).unwrap();

    set("debug");
    site.reload();
    // Whoever speaks no TLS is a matter for debugging.
    drop(std::net::TcpStream::connect(("127.0.0.1", site.lab().gateways[0].port)).unwrap());
    site.log_line("a line of the new level", debug);

    set("error");
    site.reload();
    site.reload();
    let applied = lines(&site.gateway().plan.log).iter().filter(|line| line.to_string().contains("Configuration applied")).count();
    assert_eq!(applied, 1, "what is worth an information only is not written any more");
}

#[test]
fn what_waits_for_a_restart_is_named() {
    let site = Site::start(|_| {});
    for program in [site.gateway(), site.point()] {
        edit(&program.plan.config, |file| {
            file["drain"] = Value::from("11s");
            file["metrics_listen"] = Value::from("127.0.0.1:1");
        })
        .unwrap();

        assert!(reload(program));

        let line = line_of(program, "the warning", |line| field(line, "message") == "Changed keys wait for a restart");
        assert_eq!((field(&line, "level"), field(&line, "keys")), ("WARN", "metrics_listen, drain"));
    }
}

#[test]
fn a_change_that_is_in_force_waits_for_nothing() {
    let site = Site::start(|_| {});
    edit(&site.gateway().plan.config, |file| file["log"]["level"] = Value::from("debug")).unwrap();

    site.reload();

    site.log_line("it says so", |line| line.to_string().contains("Configuration applied"));
    for program in [site.gateway(), site.point()] {
        assert!(!lines(&program.plan.log).iter().any(|line| field(line, "message").contains("restart")));
    }
}

#[test]
fn a_wrong_file_can_be_put_right() {
    let site = Site::start(|_| {});
    let config = &site.gateway().plan.config;
    let right = std::fs::read(config).unwrap();
    std::fs::write(config, b"name = ").unwrap();
    assert!(!reload(site.gateway()));

    std::fs::write(config, right).unwrap();

    assert!(reload(site.gateway()));
}

#[test]
fn an_endpoint_comes_and_goes_with_its_port() {
    let site = Site::start(|_| {});
    let (lab, port) = (site.lab(), cmg_lab::ports::free_port().unwrap());
    for program in [site.gateway(), site.point()] {
        edit(&program.plan.config, |file| {
            let endpoints = file["endpoint"].as_array_mut().unwrap();
            let mut another = endpoints.iter().find(|endpoint| endpoint["id"].as_str() == Some("app-root")).unwrap().clone();
            another["id"] = Value::from("another");
            another["port"] = Value::Integer(port.into());
            endpoints.push(another);
        })
        .unwrap();
    }

    site.reload();
    until("the new port is served", || (site.device().port(port).get("/echo").status == 200).then_some(()));

    for config in [&lab.gateways[0].config, &lab.connection_points[0].config] {
        edit(config, |file| drop(file["endpoint"].as_array_mut().unwrap().pop())).unwrap();
    }
    site.reload();
    until("the port is closed again", || std::net::TcpStream::connect(("127.0.0.1", port)).err());
}

#[test]
fn a_connection_point_whose_authority_counts_no_more_is_gone() {
    let site = Site::start(|_| {});
    let file = site.lab().site_dir().join("infrastructure-ca.pem");
    let old = std::fs::read_to_string(&file).unwrap();
    let new = Authority::root("the next infrastructure authority").unwrap().certificate_pem();
    let sessions = || site.metric("cmg_gateway_tunnel_sessions");

    std::fs::write(&file, format!("{old}{new}")).unwrap();
    reload(site.gateway());
    assert_eq!(site.device().get("/echo").status, 404, "the gateway still serves");
    assert!(sessions() > 0.0, "one more authority ends nothing");

    std::fs::write(&file, &new).unwrap();
    reload(site.gateway());
    until("nobody is connected", || (sessions() == 0.0).then_some(()));
    assert_eq!(site.device().get(&(site.mutual() + "/echo")).status, 503);

    std::fs::write(&file, &old).unwrap();
    reload(site.gateway());
    until("it is back", || (sessions() > 0.0).then_some(()));
}

#[test]
fn a_request_in_flight_outlives_a_reload_of_all() {
    let site = Site::start(|_| {});
    let mut wire = site.device().open();
    wire.send("GET", &(site.mutual() + "/held"), &[], b"");
    until("it is there", || (site.origin.requests() == 1).then_some(()));

    site.reload();

    site.origin.release(1);
    assert_eq!(wire.read().text(), "released\n");
}
