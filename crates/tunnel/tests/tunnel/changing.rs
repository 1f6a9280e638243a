//! A connector whose way changes while it runs, and one that is not wanted any more.

use std::sync::Arc;
use std::time::Duration;

use cmg_core::ids::ConnectionPointId;
use cmg_credentials::tls::role_of;
use cmg_tunnel::BodyLength;
use cmg_tunnel::connector::{Route, Settings};

use crate::support::{Gate, Point, RawGate, Site, purpose, soon, until};

const LONG: Duration = Duration::from_secs(60);

fn route(gate: &Gate) -> Route {
    Route { host: gate.address.ip().to_string(), port: gate.address.port(), proxy: None }
}

fn settings(site: &Site, sessions: usize) -> Settings {
    Settings {
        me: ConnectionPointId::new("point-1"),
        tls: site.point("point-1"),
        role_of,
        intercepted_by: cmg_credentials::tls::describe_untrusted,
        sessions,
        lanes: 0,
    }
}

#[tokio::test]
async fn more_sessions_are_dialled_and_those_too_many_end() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let point = Point::start(&site, gate.address);
    gate.has(1).await;

    point.connector.change(route(&gate), settings(&site, 3));
    gate.has(3).await;
    point.connector.change(route(&gate), settings(&site, 1));

    gate.has(1).await;
    assert_eq!(gate.exchange("/echo", b"still").await.body, b"still");
}

#[tokio::test]
async fn another_certificate_is_for_new_sessions_and_those_that_stand_stay() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let point = Point::start(&site, gate.address);
    gate.has(1).await;
    let held = gate.open("/hold", BodyLength::None, &[], true).unwrap();

    // The gateway believes another site's certificates, so only the new one is shown to be of no use.
    let strangers = Settings { tls: Site::new().point("point-1"), ..settings(&site, 2) };
    point.connector.change(route(&gate), strangers);
    point.connector.change(route(&gate), settings(&site, 2));

    gate.has(2).await;
    drop(held);
    assert_eq!(gate.exchange("/echo", b"still").await.body, b"still");
}

#[tokio::test]
async fn a_connector_that_retires_finishes_what_is_under_way() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let point = Point::start(&site, gate.address);
    gate.has(1).await;
    let held = gate.open("/hold", BodyLength::None, &[], true).unwrap();
    until(|| point.connector.busy() == 1).await;

    let connector = Arc::clone(&point.connector);
    let retiring = tokio::spawn(async move { connector.retire(LONG).await });
    until(|| gate.open("/echo", BodyLength::None, &[], true).is_err()).await;
    assert!(!retiring.is_finished());
    drop(held);

    soon(retiring).await.unwrap();
    gate.has(0).await;
}

#[tokio::test]
async fn a_connector_that_retires_does_not_wait_for_ever() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let point = Point::start(&site, gate.address);
    gate.has(1).await;
    let _held = gate.open("/hold", BodyLength::None, &[], true).unwrap();

    soon(point.connector.retire(Duration::ZERO)).await;

    gate.has(0).await;
}

#[tokio::test]
async fn a_session_that_was_about_to_begin_does_not_outlive_its_connector() {
    let site = Site::new();
    let gate = RawGate::start(&site, "gateway-1").await;
    let point = Point::start(&site, gate.address);
    let mut wire = soon(gate.accept()).await;

    soon(point.connector.retire(Duration::ZERO)).await;

    assert_eq!(soon(RawGate::greet_on(&mut wire)).await, purpose::SESSION);
    assert!(soon(wire.receive()).await.is_none(), "it ends with nothing served");
}
