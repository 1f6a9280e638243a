//! HTTP/2 between clients and the gateway: what it shares with HTTP/1.1, and what strangers may try with it.

mod floods;
mod frames;
pub(crate) mod peer;

use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use cmg_lab::origin::{Progress, pattern};
use cmg_lab::token::AUDIENCE;
use cmg_lab::{ProofKey, Signal};
use http::{HeaderMap, Request};

use crate::support::{Site, field, sha256, until, wait};
use peer::{Peer, patiently, read};

const MODERN: &str = "modern.lab";

/// A system for tests that leave it as it was.
fn shared() -> &'static Site {
    static SHARED: OnceLock<Site> = OnceLock::new();
    SHARED.get_or_init(|| site((1, 1)).shared())
}

/// A system that publishes its origin at `/modern` of a host name with HTTP/2, and of another name with other trust.
fn site(gateways_and_points: (usize, usize)) -> Site {
    let (gateways, points) = gateways_and_points;
    Site::of(gateways, points, |setup| {
        let names = setup.lab.servers.server(&[MODERN, "other.lab"]).unwrap();
        names.write(&setup.lab.site_dir(), "modern").unwrap();
        setup.gateway("[[certificate]]\nchain = \"modern.pem\"\nkey = \"modern.key\"\n");
        setup.both(
            "[trust.partners]\nauthorities = [\"clients-root.pem\"]\nintermediates = [\"clients-issuing.pem\"]\ncheck_revocation = false",
        );
        let modern = "host = \"modern.lab\"\nh2 = true\nidle = \"1h\"\n";
        setup.endpoint("modern", modern);
        setup.endpoint("small", &format!("{modern}body_limit = 1000\nmethods = [\"POST\", \"GET\"]"));
        setup.endpoint("bound", "host = \"modern.lab\"\nh2 = true\nface = \"server\"");
        setup.endpoint("hasty", "host = \"modern.lab\"\nh2 = true\nidle = \"300ms\"");
        setup.inside("hasty", "idle = \"1h\"");
        setup.endpoint("other", "host = \"other.lab\"\nh2 = true\ntrust = \"partners\"");
    })
}

fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("https://{MODERN}{target}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

pub(crate) fn get(target: &str) -> Request<()> {
    request("GET", target, &[])
}

/// What the origin's `/echo` or `/upload` reports.
fn report(answer: &peer::Answer) -> serde_json::Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

#[track_caller]
fn assert_refused(site: &Site, answer: &peer::Answer, status: u16, phrase: &str, label: &str) {
    let id = answer.field("x-request-id");
    assert_eq!((answer.status, answer.text()), (status, format!("{phrase}\nrequest {id}\n")));
    let line = site.log_line("the request", |line| field(line, "event") == "request" && field(line, "id") == id);
    assert_eq!((field(&line, "refused"), line["status"].as_u64()), (label, Some(status.into())), "{line}");
}

#[test]
fn curl_speaks_it_where_it_is_published() {
    let site = shared();
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: curl is not installed");
        return;
    }
    let (port, client) = (site.lab().gateways[0].port, site.lab().client_dir());
    let curl = |target: &str, options: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--http2", "--include", "--resolve", &format!("{MODERN}:{port}:127.0.0.1")]);
        command.arg("--cacert").arg(client.join("ca.pem")).arg("--cert").arg(client.join("client.pem"));
        command.arg("--key").arg(client.join("client.key")).args(options).arg(format!("https://{MODERN}:{port}{target}"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let body = pattern(0, 3_000_000);
    std::fs::write(client.join("body"), &body).unwrap();

    let upload = curl("/modern/upload", &["--data-binary", &format!("@{}", client.join("body").display())]);
    assert!(upload.starts_with("HTTP/2 200") && upload.contains(&sha256(&body)), "{upload}");
    let awaited = curl("/modern/upload", &["--header", "Expect: 100-continue", "--data-binary", "hello"]);
    assert!(awaited.starts_with("HTTP/2 100") && awaited.contains(&sha256(b"hello")), "{awaited}");
    let hints = curl("/modern/early-hints", &[]);
    assert!(hints.starts_with("HTTP/2 103") && hints.contains("HTTP/2 200"), "{hints}");
    let refused = curl("/small/upload", &["--data-binary", &"x".repeat(1001)]);
    assert!(refused.starts_with("HTTP/2 413"), "{refused}");
}

#[test]
fn a_bound_token_is_refused_with_a_nonce_and_counts_with_a_proof_once() {
    let site = shared();
    let key = ProofKey::new().unwrap();
    let cnf = serde_json::json!({ "jkt": key.thumbprint() });
    let token = site.lab().tokens.bound_token("device-1", AUDIENCE, Duration::from_secs(3600), cnf).unwrap();
    let peer = Peer::connect(site, site.stranger(), MODERN);
    let ask = |proof: Option<&str>| {
        let scheme = format!("DPoP {token}");
        let mut fields = vec![("authorization", scheme.as_str())];
        fields.extend(proof.map(|proof| ("dpop", proof)));
        peer.ask(request("GET", "/bound/echo", &fields))
    };

    let bare = ask(None);
    assert_refused(site, &bare, 401, "CMGService_Proof_Required", "proof_missing");
    assert!(bare.field("www-authenticate").starts_with("DPoP error=\"invalid_dpop_proof\""));
    let url = format!("https://{MODERN}/bound/echo");
    let proof = key.proof("GET", &url, &token, Some(bare.field("dpop-nonce"))).unwrap();

    report(&ask(Some(&proof)));
    assert_refused(site, &ask(Some(&proof)), 401, "CMGService_Invalid_Proof", "proof_replayed");
}

#[test]
fn configmgr_paths_never_get_it() {
    let site = shared();

    let stream = peer::tls(site.lab(), site.device(), "localhost", &[b"h2", b"http/1.1"]);
    assert_eq!(stream.protocol(), Some(&b"http/1.1"[..]));

    let peer = Peer::connect(site, site.device(), MODERN);
    let target = format!("https://localhost{}/echo/misdirected", site.mutual());
    let answer = peer.ask(Request::builder().uri(target).body(()).unwrap());
    assert_refused(site, &answer, 421, "CMGService_Misdirected_Request", "misdirected");
    assert!(site.origin.seen().iter().all(|seen| !seen.target.starts_with(b"/echo/misdirected")));
}

#[test]
fn a_host_with_other_trust_is_misdirected() {
    let site = shared();
    let peer = Peer::connect(site, site.device(), MODERN);

    let answer = peer.ask(Request::builder().uri("https://other.lab/other/echo").body(()).unwrap());

    assert_refused(site, &answer, 421, "CMGService_Misdirected_Request", "misdirected");
}

#[test]
fn heads_arrive_as_over_http_1() {
    let site = shared();
    let peer = Peer::connect(site, site.device(), MODERN);
    let fields = [("user-agent", "odd (agent)"), ("cookie", "a=1"), ("range", "bytes=0-1"), ("cookie", "b=2"), ("te", "trailers")];

    for target in ["/modern/echo?MPLIST", "/modern/echo/a%20b/c%7B$d", "/modern/echo/.sms_pol?{guid}.1_00", "/modern/echo//b?x=/../y"] {
        let report = report(&peer.ask(request("PROPFIND", target, &fields)));

        assert_eq!((&report["method"], &report["target"]), (&"PROPFIND".into(), &target["/modern".len()..].into()));
        let headers = report["headers"].to_string().to_ascii_lowercase();
        for wanted in
            [r#"["user-agent","odd (agent)"]"#, r#"["cookie","a=1; b=2"]"#, r#"["range","bytes=0-1"]"#, r#"["host","modern.lab"]"#]
        {
            assert!(headers.contains(wanted), "{wanted} in {headers}");
        }
    }
}

#[test]
fn targets_and_hosts_in_two_meanings_are_refused() {
    let site = shared();
    let peer = Peer::connect(site, site.device(), MODERN);

    for target in ["/modern/../small", "/modern/%2e%2e/x", "/modern/echo%2fb"] {
        assert_refused(site, &peer.ask(get(target)), 400, "CMGService_Bad_Target", "ambiguous_target");
    }
    let two_hosts = peer.ask(request("GET", "/modern/two-hosts", &[("host", "other.lab")]));
    assert_refused(site, &two_hosts, 400, "CMGService_Bad_Target", "ambiguous_target");
    assert!(site.origin.seen().iter().all(|seen| !seen.target.starts_with(b"/two-hosts") && !seen.target.ends_with(b"%2fb")));
}

#[test]
fn refusals_are_those_of_http_1() {
    let site = shared();
    let peer = Peer::connect(site, site.device(), MODERN);
    let stranger = Peer::connect(site, site.stranger(), MODERN);
    let token = format!("Bearer {}", site.lab().token);

    assert_refused(site, &peer.ask(get("/elsewhere")), 404, "CMGService_Not_Published", "not_published");
    let method = peer.ask(request("DELETE", "/small/x", &[]));
    assert_refused(site, &method, 405, "CMGService_Method_Not_Allowed", "method_not_allowed");
    assert_eq!(method.field("allow"), "POST, GET");
    let missing = stranger.ask(get("/modern/echo"));
    assert_refused(site, &missing, 403, "CMGService_Client_Certificate_Required", "certificate_missing");
    let bad = stranger.ask(request("GET", "/modern/echo", &[("authorization", "Bearer x.y.z")]));
    assert_eq!((bad.status, bad.field("www-authenticate")), (401, "Bearer"));
    assert_eq!(stranger.ask(request("GET", "/modern/echo", &[("authorization", &token)])).status, 200);
    let long = "x".repeat(40_000);
    let large = [("x-a", long.as_str()), ("x-b", long.as_str())];
    assert_eq!(peer.ask(request("GET", "/modern/echo", &large)).status, 431);
    let many: Vec<_> = (0..101).map(|_| ("x", "y")).collect();
    assert_refused(site, &peer.ask(request("GET", "/modern/echo", &many)), 431, "CMGService_Head_Too_Large", "head_too_large");
}

#[test]
fn a_body_beyond_the_limit_is_refused_and_its_neighbour_is_not() {
    let site = site((1, 1));
    let peer = Peer::connect(&site, site.device(), MODERN);
    let (held, _) = peer.open(get("/modern/held"), true).unwrap();

    let declared = peer.send(request("POST", "/small/upload", &[("content-length", "1001")]), &[0; 1001], None);
    assert_refused(&site, &declared, 413, "CMGService_Body_Too_Large", "body_too_large");
    let undeclared = peer.send(request("POST", "/small/upload", &[]), &[0; 300_000], None);
    assert_refused(&site, &undeclared, 413, "CMGService_Body_Too_Large", "body_too_large");
    assert_eq!(report(&peer.send(request("POST", "/small/upload", &[]), &[0; 1000], None))["length"], 1000);

    site.origin.release(1);
    assert_eq!(read(held).unwrap().status, 200);
}

#[test]
fn a_body_and_a_server_that_come_too_late_are_told_apart() {
    let site = shared();
    let peer = Peer::connect(site, site.device(), MODERN);

    let (answer, _unfinished) = peer.open(request("POST", "/hasty/upload", &[]), false).unwrap();
    assert_refused(site, &read(answer).unwrap(), 408, "CMGService_Request_Timeout", "body_timeout");
    let late = peer.ask(get("/hasty/slow/3600000"));
    assert_refused(site, &late, 504, "CMGService_Timeout", "deadline");
}

#[test]
fn bodies_of_every_size_arrive_whole() {
    let site = shared();
    let peer = Peer::connect(site, site.device(), MODERN);

    for size in [0, 1, 16_384, 65_536, 200_000, 5_000_000] {
        let body = pattern(0, size);
        for fields in [&[][..], &[("content-length", size.to_string().as_str())]] {
            let report = report(&peer.send(request("POST", "/modern/upload", fields), &body, None));
            assert_eq!(report["sha256"], sha256(&body));
        }
        for page in ["bytes", "chunked"] {
            let answer = peer.ask(get(&format!("/modern/{page}/{size}")));
            assert!(answer.body == body, "{page} {size}");
            assert_eq!(answer.fields.contains_key("content-length"), page == "bytes");
        }
    }
}

#[test]
fn trailers_pass_both_ways() {
    let site = shared();
    let peer = Peer::connect(site, site.device(), MODERN);
    let trailers = |name: &'static str| HeaderMap::from_iter([(http::HeaderName::from_static(name), "abc".parse().unwrap())]);

    let up = peer.send(request("POST", "/modern/echo", &[]), b"body", Some(trailers("x-checksum")));
    assert_eq!(report(&up)["trailers"].to_string().to_ascii_lowercase(), r#"[["x-checksum","abc"]]"#);
    let down = peer.ask(request("GET", "/modern/trailers", &[("te", "trailers")]));
    assert!(down.trailers.is_some_and(|trailers| !trailers.is_empty()));
    let forbidden = peer.send(request("POST", "/modern/echo", &[]), b"body", Some(trailers("authorization")));
    assert_refused(site, &forbidden, 400, "CMGService_Bad_Request", "body_malformed");
}

#[test]
fn answers_without_a_body_have_none_and_odd_statuses_pass() {
    let site = shared();
    let peer = Peer::connect(site, site.device(), MODERN);

    let head = peer.ask(request("HEAD", "/modern/bytes/1000", &[]));
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, "1000", 0));
    for status in [204, 304, 418, 990] {
        assert_eq!(peer.ask(get(&format!("/modern/status/{status}/Odd"))).status, status);
    }
}

#[test]
fn an_answer_that_breaks_off_is_reset() {
    let site = shared();
    let peer = Peer::connect(site, site.device(), MODERN);

    let (cut, _) = peer.open(get("/modern/truncated/100000"), true).unwrap();

    assert_eq!(read(cut).unwrap_err().reason(), Some(h2::Reason::INTERNAL_ERROR));
    site.log_line("the request", |line| line["cut"] == true && field(line, "target").contains("truncated"));
    assert_eq!(peer.ask(get("/modern/echo")).status, 200);
}

#[test]
fn a_client_that_resets_its_stream_cancels_the_request_inside() {
    let site = site((1, 1));
    let peer = Peer::connect(&site, site.device(), MODERN);
    let (held, stream) = peer.open(get("/modern/held"), true).unwrap();
    wait(site.origin.wait_until(|seen| seen.len() == 1));

    drop((held, stream));

    patiently(site.origin.wait_until(|seen| seen[0].progress == Progress::Broken));
    assert_eq!(peer.ask(get("/modern/echo")).status, 200);
}

#[test]
fn a_drain_loses_no_stream() {
    let mut site = site((1, 1));
    let peer = Peer::connect(&site, site.device(), MODERN);
    let (held, _) = peer.open(get("/modern/held"), true).unwrap();
    wait(site.origin.wait_until(|seen| seen.len() == 1));

    wait(site.gateway().signal(Signal::Terminate)).unwrap();
    until("the gateway says goodbye", || peer.open(get("/modern/echo"), true).err());
    site.origin.release(1);

    assert_eq!(read(held).unwrap().status, 200);
    assert!(peer.end().is_ok(), "an orderly goodbye");
    assert!(wait(site.system.gateways[0].wait()).unwrap().success());
}

#[test]
fn a_lost_connection_point_loses_no_harmless_request() {
    let site = site((1, 2));
    until("both connection points have their sessions", || (site.metric("cmg_gateway_tunnel_sessions") >= 4.0).then_some(()));
    let peer = Peer::connect(&site, site.device(), MODERN);
    let held: Vec<_> = (0..16).map(|_| peer.open(get("/modern/held"), true).unwrap()).collect();
    wait(site.origin.wait_until(|seen| seen.len() == 16));

    wait(site.point().signal(Signal::Kill)).unwrap();
    until("requests were sent again", || (site.metric("cmg_gateway_replays_total") > 0.0).then_some(()));
    site.origin.release(64);

    for (answer, _) in held {
        assert_eq!(read(answer).unwrap().status, 200);
    }
}
