//! Requests that were let in and found nobody who could answer.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::LazyLock;

use cmg_lab::Signal;
use cmg_lab::ports::free_port;

use crate::support::{Site, field, lines, until, wait};

static SITE: LazyLock<Site> = LazyLock::new(|| {
    // Takes connections and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::start(|setup| {
        setup.delivered("down", &format!("servers = [\"http://127.0.0.1:{}\"]", free_port().unwrap()));
        setup.endpoint("mute", "idle = \"300ms\"");
        setup.inside("mute", &format!("servers = [\"http://{}\"]\nidle = \"1h\"", mute.local_addr().unwrap()));
        setup.endpoint("mute-inside", "idle = \"1h\"");
        setup.inside("mute-inside", &format!("servers = [\"http://{}\"]\nidle = \"300ms\"", mute.local_addr().unwrap()));
        setup.endpoint("total-inside", "idle = \"1h\"");
        setup.inside("total-inside", "total = \"300ms\"");
        setup.endpoint("short-inside", "idle = \"1h\"");
        setup.inside("short-inside", "idle = \"300ms\"");
        setup.delivered("moved", "prefix = \"/elsewhere\"");
        setup.delivered("hasty", &format!("servers = [\"http://{}\"]", hasty()));
        setup.delivered("hasty-tls", &format!("servers = [\"https://{}\"]\nserver_authorities = [\"infrastructure-ca.pem\"]", hasty()));
        setup.delivered("wordy", &format!("servers = [\"http://{}\"]", wordy()));
        setup.endpoint("short", "idle = \"300ms\"");
        setup.inside("short", "idle = \"1h\"");
        setup.endpoint("total", "idle = \"1h\"\ntotal = \"300ms\"");
        setup.inside("total", "total = \"1h\"");
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

/// A server whose answer is as long as a head may be, and redirects.
fn wordy() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (start, end) = ("HTTP/1.1 302 Found\r\nLocation: /", "\r\nContent-Length: 0\r\n\r\n");
    let answer = format!("{start}{}{end}", "x".repeat(64 * 1024 - start.len() - end.len()));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn a_server_that_is_down() {
    SITE.assert_refused(&SITE.device().get("/down/"), 502, "CMGConnector_Server_Unreachable", "server_unreachable");
}

#[test]
fn a_server_that_stays_down_is_told_once() {
    (0..3).for_each(|_| assert_eq!(SITE.device().get("/down/").status, 502));

    let told: Vec<_> = lines(&SITE.point().plan.log)
        .into_iter()
        .filter(|line| field(line, "message") == "Server not reached")
        .map(|line| field(&line, "server").to_owned())
        .collect();

    assert!(!told.is_empty());
    assert!(told.iter().all(|one| told.iter().filter(|other| *other == one).count() == 1), "{told:?}");
}

#[test]
fn the_log_tells_why_a_server_is_down() {
    assert_eq!(SITE.device().get("/down/").status, 502);

    let lines = lines(&SITE.point().plan.log);
    let told = lines.iter().find(|line| field(line, "error").starts_with("cannot connect to ")).unwrap();
    assert!(field(told, "error").contains(": Connection refused"), "{told}");
}

#[test]
fn a_server_that_closes_in_the_handshake() {
    SITE.assert_refused(&SITE.device().get("/hasty-tls/"), 502, "CMGConnector_Server_Unreachable", "server_unreachable");
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
fn a_server_whose_redirect_is_too_long_once_it_names_the_gateway() {
    let reply = SITE.device().get("/wordy/");

    SITE.assert_refused(&reply, 502, "CMGConnector_Bad_Answer", "server_malformed");
}

#[test]
fn a_server_that_closes_without_an_answer() {
    let reply = SITE.device().get("/hasty/");

    SITE.assert_refused(&reply, 502, "CMGConnector_Bad_Answer", "server_closed");
}

#[test]
fn a_server_that_is_silent_for_too_long() {
    for target in ["/mute-inside/", "/total-inside/slow/3600000"] {
        SITE.assert_refused(&SITE.device().get(target), 504, "CMGConnector_Timeout", "server_timeout");
    }
}

#[test]
fn a_server_for_which_the_gateway_waits_too_long() {
    for target in ["/mute/", "/total/slow/3600000"] {
        SITE.assert_refused(&SITE.device().get(target), 504, "CMGService_Timeout", "deadline");
    }
}

#[test]
fn an_upload_that_stalls() {
    // Whichever side notices it.
    for target in ["/short/upload", "/short-inside/upload"] {
        for fields in [("Content-Length", "10"), ("Transfer-Encoding", "chunked")] {
            for begun in [&b""[..], b"4\r\nhalf\r\n"] {
                let mut wire = SITE.device().open();
                wire.send_head("POST", target, &[fields]);
                wire.write(begun);

                SITE.assert_refused(&wire.read(), 408, "CMGService_Request_Timeout", "body_timeout");
                assert!(wire.is_closed(), "the rest of the body is on it");
            }
        }
    }
}

#[test]
fn an_upload_that_was_invited_and_stalls_is_answered_too() {
    let mut wire = SITE.device().open();
    wire.send_head("POST", "/short/upload", &[("Content-Length", "10"), ("Expect", "100-continue")]);
    assert_eq!(wire.read_head().unwrap().status, 100);

    SITE.assert_refused(&wire.read(), 408, "CMGService_Request_Timeout", "body_timeout");
}

#[test]
fn an_upload_that_nobody_invites_is_not_the_clients_fault() {
    for (target, phrase, label) in
        [("/mute/", "CMGService_Timeout", "deadline"), ("/mute-inside/", "CMGConnector_Timeout", "server_timeout")]
    {
        let mut wire = SITE.device().open();
        wire.send_head("POST", target, &[("Content-Length", "10"), ("Expect", "100-continue")]);

        SITE.assert_refused(&wire.read(), 504, phrase, label);
    }
}

#[test]
fn what_the_connection_point_publishes_elsewhere() {
    SITE.assert_refused(&SITE.device().get("/moved/"), 502, "CMGConnector_Not_Published", "connector_not_published");
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
    for target in ["/down/", "/untrusted/", "/mute/", "/mute-inside/", "/moved/"] {
        let reply = SITE.device().get(target);

        let told = format!("{} {:?} {}", reply.reason, reply.fields, reply.text());
        for inside in ["127.0.0.1", "localhost", "connection-point", "down", "mute"] {
            assert!(!told.contains(inside), "{told}");
        }
    }
}
