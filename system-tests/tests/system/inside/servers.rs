//! Several servers, sick servers, and servers that speak TLS.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use cmg_lab::ports::free_port;
use cmg_lab::{Origin, Profile};

use crate::support::{Site, TlsServer, until, wait};

fn origins(count: usize) -> Vec<Origin> {
    (0..count).map(|_| wait(Origin::start(([127, 0, 0, 1], 0).into())).unwrap()).collect()
}

fn servers(origins: &[Origin]) -> String {
    format!("servers = {:?}", origins.iter().map(Origin::url).collect::<Vec<_>>())
}

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port().unwrap()).into()
}

/// An origin at an address that another one may be about to leave.
fn start_at(address: SocketAddr) -> Origin {
    until("the address is free", || wait(Origin::start(address)).ok())
}

#[test]
fn servers_take_turns() {
    let both = origins(2);
    let site = Site::start(|setup| setup.delivered("turns", &servers(&both)));
    for _ in 0..6 {
        assert_eq!(site.device().get("/turns/echo").status, 200);
    }

    assert_eq!([both[0].requests(), both[1].requests()], [3, 3]);
}

#[test]
fn management_points_that_differ_in_their_number_only_are_told_apart() {
    let both = origins(2);
    let numbers = ["72057594037937981", "72057594037937982"];
    let site = Site::start(|setup| {
        for (number, origin) in numbers.iter().zip(&both) {
            let id = format!("mp-{number}");
            setup.endpoint(&id, &format!("role_id = \"{number}\"\nname = \"CCM_System\""));
            setup.inside(&id, &format!("servers = [\"{}\"]", origin.url()));
        }
    });

    for (place, number) in numbers.iter().enumerate() {
        let reply = site.device().request("CCM_POST", &format!("/CCM_Proxy_MutualAuth/{number}/CCM_System/request"), &[], b"x");

        assert_eq!(reply.status, 200);
        assert_eq!(both[place].seen().pop().unwrap().target, b"/request");
        assert_eq!([both[0].requests(), both[1].requests()], [1, u64::from(place > 0)]);
    }
}

#[test]
fn a_server_that_is_down_is_passed_over() {
    let up = &origins(1)[0];
    let down = nobody();
    let site = Site::start(|setup| setup.delivered("failover", &format!("servers = [\"http://{down}\", \"{}\"]", up.url())));

    for _ in 0..10 {
        assert_eq!(site.device().request("POST", "/failover/upload", &[], b"not lost").status, 200);
    }
}

#[test]
fn a_client_stays_with_one_server_where_the_endpoint_asks_for_it() {
    let three = origins(3);
    let site = Site::start(|setup| setup.delivered("sticky", &(servers(&three) + "\nstickiness = \"client\"")));
    let served = || three.iter().map(Origin::requests).collect::<Vec<_>>();
    for _ in 0..6 {
        assert_eq!(site.device().get("/sticky/echo").status, 200);
    }
    let first = served();
    assert_eq!(first.iter().filter(|count| **count > 0).count(), 1, "{first:?}");

    // Sixteen clients on three servers: that all meet at one is as likely as 1 in 14 million.
    let all: BTreeSet<_> = (0..16)
        .map(|number| {
            let before = served();
            let certificate = site.lab().clients.client(&format!("device-{number}")).unwrap();
            assert_eq!(site.with_certificate(&certificate).get("/sticky/echo").status, 200);
            served().iter().zip(before).position(|(after, before)| *after > before).unwrap()
        })
        .collect();
    assert!(all.len() > 1, "not all clients go to one server");
}

#[test]
fn a_probe_takes_an_endpoint_away_and_gives_it_back() {
    let port = nobody();
    let origin = start_at(port);
    let site = Site::start(|setup| {
        setup.delivered(
            "probed",
            &format!("servers = [\"http://{port}\"]\nhealth = {{ path = \"/status/299/Fine\", interval = \"50ms\", expect = [299] }}"),
        );
    });
    until("the endpoint is there", || (site.device().get("/probed/echo").status == 200).then_some(()));
    assert!(origin.seen().iter().any(|seen| seen.target == b"/status/299/Fine"), "it was probed");

    drop(origin);
    let reply = until("the endpoint is gone", || Some(site.device().get("/probed/echo")).filter(|reply| reply.status == 503));
    site.assert_refused(&reply, 503, "CMGService_No_Connection_Point", "no_connection_point");
    assert_eq!(site.device().get(&(site.mutual() + "/echo")).status, 200, "others are not concerned");

    let _origin = start_at(port);
    until("the endpoint is back", || (site.device().get("/probed/echo").status == 200).then_some(()));
}

#[test]
fn a_sick_server_is_left_out_while_another_is_well() {
    let well = &origins(1)[0];
    let sick = nobody();
    let site = Site::start(|setup| {
        let health = "health = { path = \"/\", interval = \"50ms\" }";
        setup.delivered("half", &format!("servers = [\"{}\", \"http://{sick}\"]\n{health}", well.url()));
    });
    site.point_log_line("the sick server was found", |line| line.to_string().contains("Server is not healthy"));

    for _ in 0..4 {
        assert_eq!(site.device().request("POST", "/half/upload", &[], b"x").status, 200);
    }
}

#[test]
fn an_https_server_is_believed_for_its_own_authority_and_shown_a_certificate() {
    let site = Site::start(|setup| {
        let lab = &setup.lab;
        let corp = cmg_lab::Authority::root("Corp Root").unwrap();
        let server = TlsServer::start(&corp.server(&["localhost"]).unwrap(), &corp.certificate_pem());
        setup.write("corp.pem", corp.certificate_pem());
        corp.issue(&Profile::client("the-connection-point")).unwrap().write(&lab.site_dir(), "to-server").unwrap();
        let place = format!("servers = [\"https://localhost:{}/base\"]", server.port);
        let certificate = "server_certificate = \"to-server.pem\"\nserver_key = \"to-server.key\"";
        setup.delivered("https", &format!("{place}\nserver_authorities = [\"corp.pem\"]\n{certificate}"));
        setup.delivered("bare", &format!("{place}\nserver_authorities = [\"corp.pem\"]"));
        setup.delivered(
            "misnamed",
            &format!("servers = [\"https://127.0.0.1:{}\"]\nserver_authorities = [\"corp.pem\"]\n{certificate}", server.port),
        );
    });

    assert_eq!(site.device().get("/https/x?y").text(), "GET /base/x?y from the-connection-point\n");
    assert_eq!(site.device().request("POST", "/https/x", &[], &vec![b'x'; 200_000]).text(), "POST /base/x from the-connection-point\n");
    assert_eq!(site.device().get("/bare/x").status, 502, "without a certificate the server declines");
    let reply = site.device().get("/misnamed/x");
    site.assert_refused(&reply, 502, "CMGConnector_Server_Unreachable", "server_untrusted");
}

#[test]
fn a_server_that_restarts_costs_no_repeatable_request() {
    let address = nobody();
    let origin = start_at(address);
    let site = Site::start(|setup| setup.delivered("restarted", &format!("servers = [\"http://{address}\"]")));
    assert_eq!(site.device().get("/restarted/echo").status, 200);

    drop(origin);
    let _again = start_at(address);

    assert_eq!(site.device().get("/restarted/echo").status, 200, "the connection kept from before is replaced");
}
