//! Targets, methods, header fields and status lines.

use super::SITE;
use crate::support::Caller;

#[test]
fn what_follows_the_prefix_arrives_byte_for_byte() {
    let targets = ["/.sms_aut?MPLIST", "/a$b/{c-d}/e", "/x%20y%C3%A9%7B?q=%2F..%2F&z", "//two//slashes/", "/a;b=c,d'!*()~", "?only=query"];
    for target in targets {
        let reply = SITE.device().request("GET", &(SITE.mutual() + target), &[], b"");

        assert_eq!(reply.status, 200, "{target}");
        let arrived = SITE.origin.seen().iter().any(|seen| seen.target == expected(target).as_bytes());
        assert!(arrived, "{target} arrives as it is");
    }
}

/// A target that is not a path begins with a slash at the server.
fn expected(target: &str) -> String {
    if target.starts_with('/') { target.to_owned() } else { format!("/{target}") }
}

#[test]
fn the_configmgr_form_is_matched_whatever_the_case() {
    let target = SITE.mutual().to_lowercase().replace("/app", "/APP") + "/echo?Case=Kept";

    let report = SITE.device().get(&target).report();

    assert_eq!(report["target"], "/echo?Case=Kept");
}

#[test]
fn the_absolute_form_is_understood() {
    let wire_target = format!("https://localhost{}/echo?x", SITE.mutual());

    let report = SITE.device().get(&wire_target).report();

    assert_eq!(report["target"], "/echo?x");
}

#[test]
fn methods_of_vendors_pass_as_they_are() {
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "CCM_POST", "BITS_POST"] {
        let report = SITE.device().request(method, &(SITE.mutual() + "/echo"), &[], b"x").report();

        assert_eq!((report["method"].as_str(), report["length"].as_u64()), (Some(method), Some(1)));
    }
}

#[test]
fn a_status_of_the_servers_own_passes_with_its_words() {
    let reply = SITE.device().get(&(SITE.mutual() + "/status/990/Odd%20but%20true"));

    assert_eq!((reply.status, reply.reason.as_str()), (990, "Odd but true"));
}

#[test]
fn an_empty_reason_phrase_stays_empty() {
    let reply = SITE.device().get(&(SITE.mutual() + "/status/200/"));

    assert_eq!((reply.status, reply.reason.as_str()), (200, ""));
}

#[test]
fn header_fields_about_content_are_left_alone() {
    let fields = [
        ("User-Agent", "ccmsetup/5.0 (weird; agent)"),
        ("Range", "bytes=5-"),
        ("If-Range", "\"tag\""),
        ("If-None-Match", "W/\"a\", \"b\""),
        ("If-Modified-Since", "Tue, 24 Nov 2026 06:00:00 GMT"),
        ("Accept-Encoding", "gzip;q=0.1"),
        ("Cookie", "a=1; b=2"),
        ("X-Custom_Name", "kept"),
        ("CCMClientID", "GUID:9C1A3B1E-0000-4000-8000-000000000001"),
        ("CCMClientIDSignature", "0a+/=="),
        ("CCMClientTimestamp", "2026-11-24T06:00:00Z"),
        ("CCMClientTimestampsSignature", "FF00FF"),
    ];

    let reply = SITE.device().request("GET", &(SITE.mutual() + "/echo"), &fields, b"");

    for (name, value) in fields {
        assert_eq!(reply.echoed(name), [value], "{name}");
    }
}

#[test]
fn fields_of_the_same_name_stay_apart_and_in_order() {
    let reply = SITE.device().request("GET", &(SITE.mutual() + "/echo"), &[("X-Many", "1"), ("x-many", "2"), ("X-MANY", "3")], b"");

    assert_eq!(reply.echoed("X-Many"), ["1", "2", "3"]);
}

#[test]
fn fields_about_the_connection_end_at_the_gateway() {
    let fields = [("Connection", "keep-alive, X-Private"), ("X-Private", "1"), ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "x")];

    let reply = SITE.device().request("GET", &(SITE.mutual() + "/echo"), &fields, b"");

    for name in ["X-Private", "Keep-Alive", "Proxy-Connection", "Connection"] {
        assert_eq!(reply.echoed(name), [""; 0], "{name}");
    }
}

#[test]
fn fields_of_the_answer_pass_and_those_about_its_connection_do_not() {
    let reply = SITE.device().get(&(SITE.mutual() + "/fields?ETag=%22x%22&Vary=Accept&Keep-Alive=timeout&Connection=X-Hop&X-Hop=1"));

    assert_eq!((reply.field("ETag"), reply.field("Vary")), (Some("\"x\""), Some("Accept")));
    assert_eq!((reply.field("Keep-Alive"), reply.field("X-Hop")), (None, None));
}

#[test]
fn a_range_is_answered_with_that_part() {
    let reply = SITE.device().request("GET", &(SITE.mutual() + "/bytes/1000"), &[("Range", "bytes=10-19")], b"");

    assert_eq!((reply.status, reply.field("Content-Range")), (206, Some("bytes 10-19/1000")));
    assert_eq!(reply.body, (10..20).collect::<Vec<u8>>());
}

#[test]
fn every_answer_names_its_request_to_client_server_and_log() {
    let caller: Caller = SITE.device();
    let reply = caller.get(&(SITE.mutual() + "/echo"));

    let id = reply.field("X-Request-Id").unwrap().to_owned();

    assert_eq!(reply.echoed("X-Request-Id"), std::slice::from_ref(&id));
    assert_eq!(SITE.logged(&reply)["status"], 200);
    SITE.point_log_line("the delivery", |line| line["id"] == id.as_str() && line["event"] == "delivered");
}

#[test]
fn the_log_says_who_asked_for_what_and_how_it_went() {
    let device = SITE.device().request("POST", &(SITE.mutual() + "/upload?logged"), &[], b"12345");

    let line = SITE.logged(&device);

    assert_eq!((line["method"].as_str(), line["endpoint"].as_str(), line["by"].as_str()), (Some("POST"), Some("app"), Some("certificate")));
    assert_eq!(line["who"], SITE.lab().client.thumbprint().to_uppercase());
    assert_eq!((line["in"].as_u64(), line["out"].as_u64()), (Some(5), Some(device.body.len() as u64)));
    assert!(line["target"].as_str().unwrap().ends_with("/upload?logged"));
}
