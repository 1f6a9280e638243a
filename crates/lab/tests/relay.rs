//! The relay in front of origins that play gateways: they answer `/livez` like anything else, with 200.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::TcpListener;

use cmg_lab::ports::free_port;
use cmg_lab::{Front, Instance, Origin, Relay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn instances_take_turns() {
    let (one, two) = (start().await, start().await);
    let (_relay, port) = relay(&[port_of(&one), port_of(&two)]).await;

    for _ in 0..4 {
        ask(port).await;
    }

    assert_eq!((asked(&one), asked(&two)), (2, 2));
}

#[tokio::test]
async fn a_dead_instance_is_passed_over() {
    let (alive, dead) = (start().await, free_port().unwrap());
    let (_relay, port) = relay(&[dead, port_of(&alive)]).await;

    for _ in 0..4 {
        ask(port).await;
    }

    assert_eq!(asked(&alive), 4);
}

#[tokio::test]
async fn a_frozen_instance_is_passed_over() {
    let frozen = TcpListener::bind("127.0.0.1:0").unwrap();
    let alive = start().await;
    let (_relay, port) = relay(&[frozen.local_addr().unwrap().port(), port_of(&alive)]).await;

    for _ in 0..4 {
        ask(port).await;
    }

    assert_eq!(asked(&alive), 4);
}

#[tokio::test]
async fn an_instance_that_comes_back_is_used_at_once_when_no_other_is_left() {
    let port_of_instance = free_port().unwrap();
    let (_relay, port) = relay(&[port_of_instance]).await;
    assert_eq!(try_ask(port).await, "");

    let instance = Origin::start(([127, 0, 0, 1], port_of_instance).into()).await.unwrap();
    ask(port).await;

    assert_eq!(asked(&instance), 1);
}

async fn start() -> Origin {
    Origin::start(([127, 0, 0, 1], 0).into()).await.unwrap()
}

/// A relay in front of these ports, each its own health port.
async fn relay(ports: &[u16]) -> (Relay, u16) {
    let port = free_port().unwrap();
    let targets = ports.iter().map(|port| (Instance::new(*port), *port)).collect();
    (Relay::start(vec![Front { port, targets }]).await.unwrap(), port)
}

fn port_of(origin: &Origin) -> u16 {
    origin.address().port()
}

fn asked(origin: &Origin) -> usize {
    origin.seen().iter().filter(|seen| seen.target == b"/question").count()
}

async fn ask(port: u16) {
    assert!(try_ask(port).await.starts_with("HTTP/1.1 200 OK\r\n"));
}

async fn try_ask(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"GET /question HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    // A relay without a living instance closes, which may arrive as a reset.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}
