//! The way from the connection point to the gateways: directly, through a proxy, behind one name.

use cmg_lab::config::edit;
use cmg_lab::{Authority, Discovery, Lab, LabOptions, Program};
use toml::Value;

use crate::support::{ConnectProxy, Site, TlsServer, binary, line_of, metric_of, until, wait};

#[test]
fn tunnels_go_through_a_proxy_that_wants_a_log_in() {
    // "user:secret" as Basic says it.
    let proxy = ConnectProxy::start(Some("Basic dXNlcjpzZWNyZXQ="));
    let site = Site::start(|setup| {
        setup.write_secret("proxy.pass", "secret\n");
        setup.point(&format!(
            "[tunnel]\nproxy = \"http://127.0.0.1:{}\"\nproxy_user = \"user\"\nproxy_password_file = \"proxy.pass\"",
            proxy.port
        ));
    });

    assert_eq!(site.device().get(&(site.mutual() + "/bytes/300000")).body.len(), 300_000);
    assert!(proxy.tunnels() > 0);
    assert_eq!(proxy.refused(), 0, "it logs in at once");
}

#[test]
fn tunnels_go_through_a_proxy_without_a_log_in() {
    let proxy = ConnectProxy::start(None);
    let site = Site::start(|setup| setup.point(&format!("[tunnel]\nproxy = \"http://127.0.0.1:{}\"", proxy.port)));

    assert_eq!(site.device().get(&(site.mutual() + "/echo")).status, 200);
    assert!(proxy.tunnels() > 0);
}

#[test]
fn every_instance_behind_one_name_is_found() {
    let options = LabOptions { gateways: 3, connection_points: 1, discovery: Discovery::ServiceName, ..LabOptions::default() };

    // The system is up once each gateway has a connection point.
    let site = Site::with(options, |_| {});

    for gateway in &site.lab().gateways {
        let reply = site.device().port(gateway.port).get(&(site.mutual() + "/echo"));
        assert_eq!(reply.status, 200, "{}", gateway.name);
    }
}

#[test]
fn tls_that_is_intercepted_on_the_way_is_said_plainly() {
    let inspection = Authority::root("Corp Inspection").unwrap();
    let middlebox = TlsServer::start(&inspection.server(&["localhost"]).unwrap(), &inspection.certificate_pem());
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::new(dir.path(), LabOptions::default()).unwrap();
    let point = &lab.connection_points[0];
    edit(&point.config, |file| file["tunnel"]["gateways"] = Value::from(vec![format!("localhost:{}", middlebox.port)])).unwrap();

    let program = wait(async { Program::start(binary(), point.plan(&lab)) }).unwrap();

    let line = line_of(&program, "it says so", |line| line.to_string().contains("TLS is being intercepted")).to_string();
    assert!(line.contains("Corp Inspection"), "{line}");
}

#[test]
fn requests_reach_every_connection_point() {
    let site = Site::of(1, 2, |_| {});
    until("both are in use", || {
        assert_eq!(site.device().get(&(site.mutual() + "/bytes/1")).status, 200);
        let served = |index: usize| {
            metric_of(&site.system.connection_points[index], "cmg_connection_point_requests_total{outcome=\"answered\"}") > 0.0
        };
        (served(0) && served(1)).then_some(())
    });
}
