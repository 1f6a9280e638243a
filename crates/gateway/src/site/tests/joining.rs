//! Enrolment over real TLS: whom a new gateway speaks with, and what is taken from it.

use std::sync::Arc;

use cmg_api::bytes::Base64;
use cmg_api::control::{ENROL_PROTOCOL, EnrolRequest, Enrolled};
use cmg_credentials::RoleIdentity;
use cmg_credentials::tls::enrolling_gateway;
use cmg_enrolled::Identity;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::office::{Machine, Office};
use super::point::{Offer, Point};
use super::soon;
use crate::config::enrolled::Local;
use crate::run::RunError;
use crate::site::enrolment::{Desk, enrol, handshake};

/// A new gateway that listens, and is asked by the test.
struct Door {
    machine: Machine,
    enrolled: JoinHandle<Result<Identity, RunError>>,
}

impl Door {
    async fn open(office: &Office) -> Self {
        let machine = Machine::new(office);
        let (local, folder) = (Local::read(&machine.file()).unwrap(), machine.data());
        let enrolled = tokio::spawn(async move { enrol(&local, &folder, &mut JoinSet::new()).await });
        listens(&machine).await;
        Self { machine, enrolled }
    }

    async fn request(&self, tls: ClientConfig) -> std::io::Result<(EnrolRequest, TlsStream<TcpStream>)> {
        request_of(&self.machine, tls).await
    }
}

/// The request that a connection point gets, and the connection. The exporter in it is what this end sees.
async fn request_of(machine: &Machine, tls: ClientConfig) -> std::io::Result<(EnrolRequest, TlsStream<TcpStream>)> {
    let tcp = TcpStream::connect(machine.address).await?;
    let mut stream = soon(TlsConnector::from(Arc::new(tls)).connect("gateway.example".try_into().unwrap(), tcp)).await?;
    let exporter = stream.get_ref().1.export_keying_material([0; 32], b"EXPORTER-cmg-enrol", None).unwrap();
    let length = soon(stream.read_u32()).await?;
    let mut message = vec![0; length as usize];
    soon(stream.read_exact(&mut message)).await?;
    let request: EnrolRequest = serde_json::from_slice(&message).unwrap();
    Ok((EnrolRequest { exporter: Base64(exporter.to_vec()), ..request }, stream))
}

/// Waits until something listens there.
async fn listens(machine: &Machine) {
    soon(async {
        while TcpStream::connect(machine.address).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn send(stream: &mut TlsStream<TcpStream>, answer: &Enrolled) {
    let message = serde_json::to_vec(answer).unwrap();
    stream.write_all(&(message.len() as u32).to_be_bytes()).await.unwrap();
    stream.write_all(&message).await.unwrap();
    stream.flush().await.unwrap();
}

fn shown(role: &RoleIdentity, roots: &[Vec<u8>]) -> ClientConfig {
    enrolling_gateway(role, roots, ENROL_PROTOCOL)
}

#[tokio::test]
async fn a_connection_point_of_the_pinned_root_makes_the_gateway_a_member() {
    let office = Office::new();
    let door = Door::open(&office).await;
    let (request, mut stream) = door.request(shown(&office.point("cp-1"), &office.roots())).await.unwrap();
    assert_eq!((request.kind.as_str(), request.name.as_str()), ("gateway", "gw-1"));

    send(&mut stream, &office.answer(&request).expect("made with the code, on this connection")).await;

    let identity = soon(door.enrolled).await.unwrap().unwrap();
    assert_eq!(identity.member(), "gateway/gw-1");
    assert!(Identity::load(&door.machine.data()).unwrap().is_some());
    assert!(TcpStream::connect(door.machine.address).await.is_err(), "nothing listens until the gateway serves");
}

#[tokio::test]
async fn another_root_and_a_root_that_is_not_shown_get_an_alert() {
    let (office, other) = (Office::new(), Office::new());
    let door = Door::open(&office).await;

    for tls in
        [shown(&other.point("cp-1"), &other.roots()), shown(&other.point("cp-1"), &office.roots()), shown(&office.point("cp-1"), &[])]
    {
        let refused = door.request(tls).await.map(drop).unwrap_err();
        assert!(refused.to_string().contains("alert"), "{refused}");
    }
}

#[tokio::test]
async fn another_gateway_and_a_client_get_an_alert() {
    let office = Office::new();
    let door = Door::open(&office).await;
    let files = office.root.issue(&cmg_lab::Profile::role(cmg_lab::Role::Gateway, "gw-2")).unwrap();
    let files = files.write(door.machine.path(), "other").unwrap();
    let pair = cmg_credentials::load::PairFiles { chain_key: "c", chain: &files.chain, private_key_key: "k", private_key: &files.key };
    let gateway = cmg_credentials::load::read_role_identity(&cmg_credentials::load::Disk, pair).unwrap();
    let mut client = shown(&office.point("cp-1"), &office.roots());
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut nobody = shown(&office.point("cp-1"), &office.roots());
    nobody.client_auth_cert_resolver = ClientConfig::builder_with_provider(Arc::clone(cmg_credentials::tls::provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
        .client_auth_cert_resolver;

    for tls in [shown(&gateway, &office.roots()), client, nobody] {
        let refused = door.request(tls).await.map(drop).unwrap_err();
        assert!(refused.to_string().contains("alert"), "{refused}");
    }
}

#[tokio::test]
async fn an_address_that_says_nothing_has_four_handshakes_and_no_more() {
    let office = Office::new();
    let local = Local::read(&Machine::new(&office).file()).unwrap();
    let desk = Arc::new(Desk::new(&local, cmg_enrolled::Applicant::new(&office.code()).unwrap(), tokio::sync::mpsc::channel(1).0).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut silent = Vec::new();
    let mut shaking = JoinSet::new();
    // By the first 64 bits; the last one is of another network.
    for from in ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::5", "2001:db8:0:1::1"] {
        silent.push(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        let (tcp, desk) = (listener.accept().await.unwrap().0, Arc::clone(&desk));
        shaking.spawn(async move { handshake(tcp, (from.parse::<std::net::IpAddr>().unwrap(), 1).into(), &desk).await.map(drop) });
    }

    let refused = soon(shaking.join_next()).await.unwrap().unwrap().unwrap_err();

    assert!(refused.to_string().contains("too many"), "{refused}");
    assert_eq!(shaking.len(), 5);
    assert!(shaking.try_join_next().is_none(), "all others are waited for");
}

#[tokio::test]
async fn a_request_of_another_connection_or_with_another_key_is_not_proven() {
    let office = Office::new();
    let door = Door::open(&office).await;
    let tls = || shown(&office.point("cp-1"), &office.roots());
    let (one, _held) = door.request(tls()).await.unwrap();
    let (other, _held_too) = door.request(tls()).await.unwrap();

    assert!(office.answer(&one).is_some());
    assert!(office.answer(&EnrolRequest { exporter: other.exporter.clone(), ..one.clone() }).is_none());
    assert!(office.answer(&EnrolRequest { csr: Base64(vec![0; 8]), ..one.clone() }).is_none());
    assert!(office.answer(&EnrolRequest { sealing_key: Base64(vec![4; 65]), ..one }).is_none());
}

#[tokio::test]
async fn a_gateway_with_another_code_is_not_enrolled_by_the_site() {
    let office = Office::new();
    let machine = Machine::new(&office);
    let mut code = office.code();
    code.code = "ff".repeat(16);
    let request = cmg_enrolled::Applicant::new(&code).unwrap().request(b"exporter").unwrap();

    assert!(office.answer(&request).is_none());
    drop(machine);
}

#[tokio::test]
async fn an_answer_of_no_use_leaves_the_gateway_waiting_for_a_good_one() {
    let (office, other) = (Office::new(), Office::new());
    let door = Door::open(&office).await;
    let tls = || shown(&office.point("cp-1"), &office.roots());
    let (request, mut stream) = door.request(tls()).await.unwrap();
    send(&mut stream, &other.certify(&request.csr, &cmg_lab::Profile::role(cmg_lab::Role::Gateway, "gw-1"))).await;
    let (_, mut rubbish) = door.request(tls()).await.unwrap();
    rubbish.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    drop(door.request(tls()).await.unwrap());

    let (request, mut stream) = door.request(tls()).await.unwrap();
    send(&mut stream, &office.answer(&request).unwrap()).await;

    assert!(soon(door.enrolled).await.unwrap().is_ok());
}

/// What `/readyz` says.
async fn readiness(machine: &Machine) -> String {
    let asked = cmg_lab::probe(machine.metrics_port, "/readyz", std::time::Duration::from_secs(60)).await;
    asked.map(|probe| probe.body.trim().to_owned()).unwrap_or_default()
}

async fn says(machine: &Machine, words: &str) {
    soon(async {
        while readiness(machine).await != words {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_code_to_the_first_configuration_no_start_is_needed() {
    let office = Arc::new(Office::new());
    let mut machine = Machine::new(&office);
    let file = machine.file();
    let gateway = tokio::spawn(async move { crate::run(&file).await });
    says(&machine, "not enrolled yet").await;
    listens(&machine).await;
    let tls = shown(&office.point("cp-1"), &office.roots());
    let (request, mut stream) = request_of(&machine, tls).await.unwrap();
    machine.sealing_key = request.sealing_key.0.clone();
    send(&mut stream, &office.answer(&request).unwrap()).await;
    says(&machine, "no configuration has come from the site yet").await;

    let point = Point::start(&office, "cp-1", machine.address);
    let lines = "[[endpoint]]\nid = 'app'\nhost = 'cmg.example'\nprefix = '/'\nface = 'open'\nopen_acknowledged = true";
    point.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 1, lines)));
    says(&machine, "no connection point is connected").await;
    point.serves.send_replace(vec!["app".to_owned()]);

    says(&machine, "ready").await;
    gateway.abort();
}
