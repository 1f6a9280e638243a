//! Requests that were let in and found nobody who could answer.

use std::io::Read;
use std::net::TcpListener;
use std::sync::LazyLock;

use cmg_lab::Signal;
use cmg_lab::ports::free_port;

use crate::support::{Site, until, wait};

static SITE: LazyLock<Site> = LazyLock::new(|| {
    // Takes connections and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::start(|setup| {
        setup.delivered("down", &format!("servers = [\"http://127.0.0.1:{}\"]", free_port().unwrap()));
        setup.endpoint("mute", "idle = \"300ms\"");
        setup.inside("mute", &format!("servers = [\"http://{}\"]", mute.local_addr().unwrap()));
        setup.delivered("hasty", &format!("servers = [\"http://{}\"]", hasty()));
        setup.endpoint("short", "idle = \"300ms\"");
        setup.endpoint("total", "idle = \"1m\"\ntotal = \"300ms\"");
        setup.delivered(
            "untrusted",
            &format!("servers = [\"https://localhost:{}\"]\nserver_authorities = [\"infrastructure-ca.pem\"]", setup.lab.gateways[0].port),
        );
        setup.delivered("stranger-inside", "");
        setup.inside("stranger-inside", "face = \"mutual\"");
    });
    std::mem::forget(mute);
    site.shared()
});

/// A server that reads a little and hangs up.
fn hasty() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(|stream| drop(stream.unwrap().read(&mut [0; 4096]))));
    address
}

#[test]
fn a_server_that_is_down() {
    SITE.assert_refused(&SITE.device().get("/down/"), 502, "CMGConnector_Server_Unreachable", "server_unreachable");
}

#[test]
fn a_server_that_is_not_believed() {
    SITE.assert_refused(&SITE.device().get("/untrusted/"), 502, "CMGConnector_Server_Unreachable", "server_untrusted");
}

#[test]
fn a_server_that_does_not_speak_http() {
    let reply = SITE.device().get(&(SITE.mutual() + "/garbage"));

    SITE.assert_refused(&reply, 502, "CMGConnector_Bad_Answer", "server_malformed");
}

#[test]
fn a_server_that_closes_without_an_answer() {
    let reply = SITE.device().get("/hasty/");

    SITE.assert_refused(&reply, 502, "CMGConnector_Bad_Answer", "server_closed");
}

#[test]
fn a_server_that_is_silent_for_too_long() {
    // Gateway and connection point have the same deadline; whichever notices first says so.
    for target in ["/mute/", "/short/slow/60000", "/total/slow/60000"] {
        let reply = SITE.device().get(target);

        assert_eq!(reply.status, 504, "{}", reply.reason);
        assert!(["CMGService_Timeout", "CMGConnector_Timeout"].contains(&reply.reason.as_str()), "{}", reply.reason);
    }
}

#[test]
fn an_upload_that_stalls() {
    let mut wire = SITE.device().open();
    wire.send_head("POST", "/short/upload", &[("Content-Length", "10")]);
    wire.write(b"half");

    let reply = wire.read();

    assert!([408, 504].contains(&reply.status), "{} {}", reply.status, reply.reason);
    assert!(wire.is_closed());
}

#[test]
fn what_the_connection_point_does_not_grant() {
    let caller = SITE.with_token(&SITE.lab().token);

    SITE.assert_refused(&caller.get("/stranger-inside/"), 502, "CMGConnector_Refused", "connector_refused");
}

#[test]
fn no_connection_point() {
    let site = Site::start(|_| {});
    wait(site.point().signal(Signal::Kill)).unwrap();
    until("the gateway knows", || (!wait(site.gateway().ask("/readyz")).unwrap().is_ok()).then_some(()));

    let reply = site.device().get(&(site.mutual() + "/echo"));

    site.assert_refused(&reply, 503, "CMGService_No_Connection_Point", "no_connection_point");
    assert!(reply.field("Retry-After").unwrap().parse::<u32>().unwrap() > 0);
}

#[test]
fn an_endpoint_that_no_connection_point_knows() {
    let site = Site::start(|setup| {
        setup.gateway(
            r#"
            [[endpoint]]
            id = "half"
            host = "localhost"
            prefix = "/half"
            face = "mutual"
            trust = "devices"
            "#,
        );
    });

    site.assert_refused(&site.device().get("/half/"), 503, "CMGService_No_Connection_Point", "no_connection_point");
}

#[test]
fn a_connection_point_that_is_lost_on_the_way() {
    let site = Site::start(|_| {});
    let mut wire = site.device().open();
    wire.send("POST", &(site.mutual() + "/held"), &[], b"once");
    until("it is there", || (site.origin.requests() == 1).then_some(()));

    wait(site.point().signal(Signal::Kill)).unwrap();

    site.assert_refused(&wire.read(), 502, "CMGService_Connection_Point_Lost", "connection_point_lost");
    assert_eq!(site.origin.requests(), 1, "and it is not repeated");
}

#[test]
fn public_words_never_name_anything_inside() {
    for target in ["/down/", "/untrusted/", "/mute/"] {
        let reply = SITE.device().get(target);

        let told = format!("{} {:?} {}", reply.reason, reply.fields, reply.text());
        for inside in ["127.0.0.1", "localhost", "connection-point", "down", "mute"] {
            assert!(!told.contains(inside), "{told}");
        }
    }
}
