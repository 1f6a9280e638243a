//! Who loses the right to a request loses the request too, however long it has been under way.

use std::time::Duration;

use cmg_lab::token::AUDIENCE;
use cmg_lab::{Issued, config};
use serde_json::{Value, json};
use toml::Table;

use crate::http2::get;
use crate::http2::peer::{Peer, read};
use crate::support::{Caller, Frame, Site, WebSocket, Wire, field, until};

/// Server-sent events that do not end while a test lasts.
const FOREVER: &str = "/events?count=100000&every=50";

#[test]
fn a_websocket_ends_when_its_certificate_is_revoked_and_no_other_does() {
    let site = Site::start(|_| {});
    let lost = client(&site, "lost");
    let target = site.mutual() + "/ws?lost";
    let mut lost_one = WebSocket::open(&site.with_certificate(&lost), &target);
    let mut other = WebSocket::open(&site.device(), &(site.mutual() + "/ws"));

    site.lab().revoke(&[&lost.serial]).unwrap();
    site.reload();

    assert!(lost_one.wire.is_closed());
    assert_cut(&site, &target, "certificate_revoked");
    other.send(&Frame::Text("still here".to_owned()));
    assert_eq!(other.receive(), Frame::Text("still here".to_owned()));
}

#[test]
fn a_download_ends_when_its_token_is_blocked() {
    let site = Site::start(|_| {});
    let mut wire = endless(&site.with_token(&token(&site, "stolen", 3600)), &(site.server() + FOREVER));

    for config in [&site.lab().gateways[0].config, &site.lab().connection_points[0].config] {
        config::edit(config, |file| block(file, "token = \"stolen\"")).unwrap();
    }
    site.reload();

    until_it_ends(&mut wire);
    assert_cut(&site, &(site.server() + FOREVER), "token_blocked");
}

#[test]
fn a_download_ends_when_its_token_does() {
    let site = Site::start(|_| {});
    // Clocks may be a minute apart, so that a token counts for a minute more.
    let short = token(&site, "short", -57);
    let mut wire = endless(&site.with_token(&short), &(site.server() + FOREVER));

    until_it_ends(&mut wire);

    assert_cut(&site, &(site.server() + FOREVER), "token_expired");
}

#[test]
fn a_parked_request_is_refused_when_its_certificate_is_blocked() {
    let site = Site::start(|_| {});
    let lost = client(&site, "lost");
    let mut wire = site.with_certificate(&lost).open();
    wire.send("GET", &(site.mutual() + "/held"), &[], b"");
    until("it is there", || (site.origin.requests() == 1).then_some(()));

    for config in [&site.lab().gateways[0].config, &site.lab().connection_points[0].config] {
        config::edit(config, |file| block(file, &format!("thumbprint = {:?}", lost.thumbprint()))).unwrap();
    }
    site.reload();

    site.assert_refused(&wire.read(), 403, "CMGService_Client_Certificate_Refused", "certificate_blocked");
}

#[test]
fn a_stream_of_http2_ends_when_its_certificate_is_revoked() {
    let site = Site::start(|setup| {
        let names = setup.lab.servers.server(&["modern.lab"]).unwrap();
        names.write(&setup.lab.site_dir(), "modern").unwrap();
        setup.gateway("[[certificate]]\nchain = \"modern.pem\"\nkey = \"modern.key\"\n");
        setup.endpoint("modern", "host = \"modern.lab\"\nh2 = true");
    });
    let lost = client(&site, "lost");
    let target = format!("/modern{FOREVER}");
    let peer = Peer::connect(&site, site.with_certificate(&lost), "modern.lab");
    let (answer, _) = peer.open(get(&target), true).unwrap();
    until("it is there", || (site.origin.requests() == 1).then_some(()));

    site.lab().revoke(&[&lost.serial]).unwrap();
    site.reload();

    assert!(read(answer).is_err(), "it is broken off");
    assert_cut(&site, &target, "certificate_revoked");
}

#[test]
fn a_websocket_ends_when_its_endpoint_is_withdrawn_although_another_one_would_take_it() {
    let site = Site::start(|setup| {
        setup.endpoint("rest", "prefix = \"/\"\nface = \"open\"\nopen_acknowledged = true");
        setup.endpoint("withdrawn", "");
    });
    let mut socket = WebSocket::open(&site.device(), "/withdrawn/ws");

    config::edit(&site.lab().gateways[0].config, |file| withdraw(file, "withdrawn")).unwrap();
    site.reload();

    assert!(socket.wire.is_closed());
    assert_cut(&site, "/withdrawn/ws", "not_published");
}

fn client(site: &Site, name: &str) -> Issued {
    site.lab().clients.client(name).unwrap()
}

/// A site token that ends in so many seconds.
fn token(site: &Site, id: &str, seconds: i64) -> String {
    let signer = &site.lab().tokens;
    let mut claims = signer.claims("SiteToken", id, AUDIENCE, Duration::ZERO);
    let now = claims["exp"].as_i64().unwrap();
    for claim in ["nbf", "iat"] {
        claims.insert(claim.to_owned(), json!(now - 3600));
    }
    claims.insert("exp".to_owned(), json!(now + seconds));
    signer.sign(&claims, &Value::Object(Default::default())).unwrap()
}

/// An answer that has begun.
fn endless(caller: &Caller, target: &str) -> Wire {
    let mut wire = caller.open();
    wire.send_head("GET", target, &[]);
    assert_eq!(wire.read_head().unwrap().status, 200);
    wire
}

fn until_it_ends(wire: &mut Wire) {
    until("it is cut", || (!wire.read_chunk().is_ok_and(|chunk| !chunk.is_empty())).then_some(()));
}

fn block(file: &mut Table, text: &str) {
    let block: Table = text.parse().unwrap();
    let blocks = file.entry("block").or_insert(toml::Value::Array(vec![]));
    blocks.as_array_mut().unwrap().push(block.into());
}

fn withdraw(file: &mut Table, id: &str) {
    let endpoints = file["endpoint"].as_array_mut().unwrap();
    endpoints.retain(|endpoint| endpoint["id"].as_str() != Some(id));
}

/// Asserts that the log and the metrics tell why a request broke off.
#[track_caller]
fn assert_cut(site: &Site, target: &str, label: &str) {
    let line = site.log_line("the request", |line| field(line, "event") == "request" && field(line, "target") == target);
    assert_eq!((field(&line, "refused"), line["cut"].as_bool()), (label, Some(true)), "{line}");
    assert!(site.metric(&format!("cmg_gateway_refusals_total{{reason=\"{label}\"}}")) >= 1.0);
}
