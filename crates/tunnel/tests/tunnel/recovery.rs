//! Sessions come back by themselves, and what is over leaves nothing behind.

use std::net::SocketAddr;

use cmg_tunnel::BodyLength;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::support::{Gate, Point, RawGate, Site, Wire, kind, pattern, purpose, soon, until};

#[tokio::test]
async fn a_gateway_that_starts_again_is_found_again() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let address = gate.address;
    let point = Point::start(&site, address);
    gate.has(1).await;

    gate.hub.stop();
    drop(gate);
    until(|| point.connector.live().is_empty()).await;
    let gate = Gate::instance(&site, "gateway-1", &["gateway-1"], address).await;

    gate.has(1).await;
    assert!(gate.exchange("/bytes/500000", b"").await.body == pattern(500_000));
}

#[tokio::test]
async fn every_instance_behind_one_name_is_covered() {
    let site = Site::new();
    let all = ["gateway-1", "gateway-2", "gateway-3"];
    let mut gates = vec![];
    for name in all {
        gates.push(Gate::instance(&site, name, &all, "127.0.0.1:0".parse().unwrap()).await);
    }
    let (relay, _task) = relay(gates.iter().map(|gate| gate.address).collect()).await;

    let point = Point::with(&site, "point-1", relay, 2, 1);

    for gate in &gates {
        gate.has(2).await;
    }
    until(|| point.connector.lacking().is_empty()).await;
    for gate in &gates {
        assert!(gate.exchange("/echo", &pattern(300_000)).await.body == pattern(300_000));
    }
}

#[tokio::test]
async fn an_instance_that_joins_later_is_covered_once_it_is_announced() {
    let site = Site::new();
    let first = Gate::instance(&site, "gateway-1", &["gateway-1", "gateway-2"], "127.0.0.1:0".parse().unwrap()).await;
    let second = Gate::instance(&site, "gateway-2", &["gateway-1", "gateway-2"], "127.0.0.1:0".parse().unwrap()).await;
    // The relay reaches the second one only now and then.
    let (relay, _task) = relay(vec![first.address, first.address, first.address, second.address]).await;

    let _point = Point::with(&site, "point-1", relay, 1, 0);

    first.has(1).await;
    second.has(1).await;
}

/// A relay that deals connections out in turn.
async fn relay(targets: Vec<SocketAddr>) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        for target in targets.iter().cycle() {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let target = *target;
            connections.spawn(async move {
                let mut to = TcpStream::connect(target).await.unwrap();
                let _ = copy_bidirectional(&mut tcp, &mut to).await;
            });
        }
    });
    (address, tasks)
}

/// Sessions that come and go, as many as the issue asks to leave nothing behind, in thousands.
const RECONNECTS: u64 = 2_000;

#[tokio::test]
async fn two_thousand_sessions_later_a_gateway_has_the_tasks_it_had() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let tls = site.point("point-1");
    drop(Wire::session(gate.address, tls.clone(), 1).await);
    gate.has(0).await;
    let before = Handle::current().metrics().num_alive_tasks();

    for id in 0..RECONNECTS {
        let session = Wire::session(gate.address, tls.clone(), id).await;
        if id % 10 == 0 {
            let up = Wire::dial(gate.address, tls.clone()).await.hello(purpose::UP, id).await;
            let down = Wire::dial(gate.address, tls.clone()).await.hello(purpose::DOWN, id).await;
            drop((session, up, down));
        }
    }

    gate.has(0).await;
    until(|| Handle::current().metrics().num_alive_tasks() <= before).await;
    assert_eq!(gate.hub.lanes(), (0, 0));
}

#[tokio::test]
async fn five_hundred_sessions_later_a_connection_point_has_the_tasks_it_had() {
    let site = Site::new();
    let gate = RawGate::start(&site, "gateway-1").await;
    let point = Point::with(&site, "point-1", gate.address, 1, 1);
    let mut connections = vec![];
    // A session, a lane each way: at rest.
    for _ in 0..3 {
        connections.push(soon(gate.greet()).await.1);
    }
    until(|| point.connector.live().values().sum::<usize>() == 1).await;
    let before = Handle::current().metrics().num_alive_tasks();

    for _ in 0..500 {
        connections.clear();
        while connections.len() < 3 {
            let (purpose, wire) = soon(gate.greet()).await;
            // A lane of the session that has just ended may still have been on its way.
            if connections.is_empty() && purpose != purpose::SESSION {
                continue;
            }
            connections.push(wire);
        }
    }

    until(|| Handle::current().metrics().num_alive_tasks() <= before).await;
}

#[tokio::test]
async fn one_to_avoid_carries_only_what_no_other_can() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut other = soon(Wire::session(gate.address, site.point("point-2"), 2)).await;
    gate.has(1).await;
    let mut avoided = soon(Wire::session(gate.address, site.point("point-1"), 1)).await;
    gate.has(2).await;
    until(|| (0..64).all(|_| gate.open("/", BodyLength::None, b"", true).is_ok())).await;
    let name = |name: &str| std::iter::once(cmg_core::ids::ConnectionPointId::new(name)).collect();

    assert!(gate.hub.avoid(name("point-1")));
    assert!(!gate.hub.avoid(name("point-1")));

    let marked: Vec<_> = (0..16).map(|_| gate.open("/marked", BodyLength::None, b"", true).unwrap()).collect();
    for _ in &marked {
        while !holds(&soon(other.expect(kind::REQUEST)).await.payload, b"/marked") {}
    }
    drop((marked, other));
    gate.has(1).await;
    let _only = gate.open("/alone", BodyLength::None, b"", true).unwrap();
    loop {
        let request = soon(avoided.expect(kind::REQUEST)).await;
        assert!(!holds(&request.payload, b"/marked"));
        if holds(&request.payload, b"/alone") {
            break;
        }
    }
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}
