//! Ports of endpoints' own, IPv6, and what a balancer says about the client.

use std::net::{Ipv6Addr, SocketAddr};

use crate::support::{Caller, Site, field, until};

#[test]
fn an_endpoint_with_a_port_of_its_own_needs_no_server_name_and_no_prefix() {
    let site = Site::start(|_| {});
    let own_port = site.lab().gateways[0].root_ports[0];
    let nameless = site.device().port(own_port).tls(|tls| tls.enable_sni = false).host_field("whatever:1234");

    assert_eq!(nameless.get("/echo?own").report()["target"], "/echo?own");
    assert_eq!(site.with_token(&site.lab().token).port(own_port).get("/echo").status, 200);
    site.assert_refused(&site.stranger().port(own_port).get("/echo"), 403, "CMGService_Client_Certificate_Required", "certificate_missing");
}

#[test]
fn a_forged_host_at_an_own_port_reaches_neither_the_server_nor_what_it_answers() {
    let site = Site::start(|_| {});
    let own_port = site.lab().gateways[0].root_ports[0];
    let back = format!("/redirect?to={}/next", site.origin.url());

    for forged in ["secret.corp", "localhost.evil", "127.0.0.1", &format!("secret.corp:{own_port}")] {
        let caller = site.device().port(own_port).host_field(forged);

        let told = caller.get("/echo");
        assert_eq!(told.echoed("Host"), [site.device().port(own_port).get("/echo").echoed("Host")[0].clone()], "{forged}");
        assert!(!told.report()["headers"].to_string().contains(forged), "{}", told.text());
        let location = caller.get(&back).field("Location").unwrap().to_owned();
        assert!(location.starts_with("https://localhost"), "{location}");
    }
}

#[test]
fn an_own_port_reaches_nothing_else() {
    let site = Site::start(|setup| setup.endpoint("shared", ""));
    let own_port = site.lab().gateways[0].root_ports[0];

    // What is a prefix at the public port is a path of the server's here.
    assert_eq!(site.device().port(own_port).get("/shared/x").status, 200);
    assert!(site.origin.seen().iter().any(|seen| seen.target == b"/shared/x"));
    site.assert_refused(&site.device().get("/echo"), 404, "CMGService_Not_Published", "not_published");
}

#[test]
fn ipv6_is_spoken() {
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("skipped: there is no IPv6 here");
        return;
    }
    let site = Site::start(|setup| {
        let port = setup.lab.gateways[0].port;
        setup.gateway(&format!("listen = [\"127.0.0.1:{port}\", \"[::1]:{port}\"]"));
        setup.delivered("forwarded", "forwarded = \"forwarded\"");
    });
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, site.lab().gateways[0].port));

    let reply = site.device().address(address).get("/forwarded/echo");

    assert_eq!(reply.echoed("Forwarded"), ["for=\"[::1]\";host=\"localhost\";proto=https"]);
}

/// A PROXY protocol header of version 2 for an IPv4 client.
fn proxy_header(client: [u8; 4]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".as_slice(), &client, &[10, 0, 0, 1], &4000_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat()
}

#[test]
fn a_trusted_balancer_says_who_the_client_is() {
    let site = Site::of(1, 1, |setup| {
        // The connection point does not come through the balancer, so it comes from another address of the loopback.
        let port = setup.lab.gateways[0].port;
        setup.gateway(&format!("listen = [\"127.0.0.1:{port}\", \"[::1]:{port}\"]\nproxy_protocol_from = [\"127.0.0.0/8\"]"));
        setup.point(&format!("[tunnel]\ngateways = [\"[::1]:{port}\"]"));
        setup.delivered("forwarded", "forwarded = \"x-forwarded\"");
    });
    let reply = site.device().before_tls(&proxy_header([203, 0, 113, 9])).get("/forwarded/echo");

    assert_eq!(reply.echoed("X-Forwarded-For"), ["203.0.113.9"]);
    assert_eq!(site.logged(&reply)["client"], "203.0.113.9");

    assert!(site.device().try_open().is_err(), "whoever comes from there without a header is refused");
    until("counted", || (site.metric("cmg_gateway_connections_refused_total{reason=\"proxy_header\"}") >= 1.0).then_some(()));
}

#[test]
fn client_addresses_are_left_out_of_every_log_where_that_is_wished() {
    let site = Site::of(1, 1, |setup| {
        let port = setup.lab.gateways[0].port;
        setup.gateway(&format!("listen = [\"127.0.0.1:{port}\", \"[::1]:{port}\"]\nproxy_protocol_from = [\"127.0.0.0/8\"]"));
        setup.point(&format!("[tunnel]\ngateways = [\"[::1]:{port}\"]"));
        setup.both("[log]\nlevel = \"debug\"");
        setup.gateway("[log]\nclient_address = false");
    });
    let from = |caller: Caller| caller.before_tls(&proxy_header([203, 0, 113, 9]));

    let reply = from(site.device()).get(&(site.mutual() + "/echo"));
    assert_eq!(site.logged(&reply)["status"], 200);
    let refused = from(site.stranger()).get(&(site.mutual() + "/echo"));
    assert_eq!(site.logged(&refused)["status"], 403);
    assert!(from(site.device().tls(|tls| tls.alpn_protocols = vec![b"nonsense".to_vec()])).try_open().is_err());
    site.log_line("the handshake that failed", |line| line.to_string().contains("Connection refused"));
    let id = reply.field("X-Request-Id").unwrap();
    site.point_log_line("the delivery", |line| field(line, "id") == id && field(line, "event") == "delivered");

    for program in [site.gateway(), site.point()] {
        assert!(!std::fs::read_to_string(&program.plan.log).unwrap().contains("203.0.113"), "{}", program.plan.log.display());
    }
}

#[test]
fn a_client_cannot_say_who_it_is() {
    let site = Site::start(|_| {});

    assert!(site.device().before_tls(&proxy_header([203, 0, 113, 9])).try_open().is_err());
}
