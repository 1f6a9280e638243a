//! Bodies of every size and framing.

use cmg_lab::origin::pattern;

use super::SITE;
use crate::support::{sha256, until};

/// Around a frame, a window and a lane of the tunnel, and well beyond each.
const SIZES: [usize; 8] = [1, 16_383, 16_384, 65_536, 131_072, 131_073, 200 * 1024, 5 * 1024 * 1024];

/// What ConfigMgr clients send their messages as.
const MULTIPART: &str = "multipart/mixed; boundary=\"aAbBcCdDv1234567890VxXyYzZ\"";

/// As much as an endpoint takes unless it is told otherwise.
const DEFAULT_LIMIT: usize = 32 << 20;

#[test]
fn as_much_as_an_endpoint_takes_by_default_passes_both_ways() {
    let body = pattern(3, DEFAULT_LIMIT);
    let mut wire = SITE.device().open();

    wire.send("POST", "/patient/upload", &[], &body);
    assert_eq!(wire.read().report()["sha256"], sha256(&body));
    wire.send("GET", &format!("/patient/bytes/{DEFAULT_LIMIT}"), &[], b"");
    assert_eq!(sha256(&wire.read().body), sha256(&pattern(0, DEFAULT_LIMIT)));

    let more = (DEFAULT_LIMIT + 1).to_string();
    wire.send_head("POST", "/patient/upload", &[("Content-Length", &more)]);
    SITE.assert_refused(&wire.read(), 413, "CMGService_Body_Too_Large", "body_too_large");
}

#[test]
fn bodies_of_every_size_come_down_whole() {
    let mut wire = SITE.device().open();
    for size in SIZES {
        wire.send("GET", &format!("{}/bytes/{size}", SITE.mutual()), &[], b"");

        let reply = wire.read();

        assert_eq!(reply.field("Content-Length"), Some(size.to_string().as_str()), "a length stays a length");
        assert_eq!(sha256(&reply.body), sha256(&pattern(0, size)), "{size}");
    }
}

#[test]
fn bodies_of_every_size_go_up_whole() {
    let mut wire = SITE.device().open();
    for (size, kind) in SIZES.into_iter().zip([MULTIPART, "application/octet-stream"].into_iter().cycle()) {
        let body = pattern(3, size);
        wire.send("POST", &(SITE.mutual() + "/echo"), &[("Content-Type", kind)], &body);

        let reply = wire.read();

        assert_eq!(reply.echoed("Content-Type"), [kind]);
        assert_eq!(reply.echoed("Content-Length"), [size.to_string()], "a length stays a length");
        assert_eq!(reply.report()["sha256"], sha256(&body), "{size}");
    }
}

#[test]
fn uploads_that_are_bulk_from_their_first_byte_never_stall() {
    // Their bodies travel on connections of their own, where they may overtake their heads.
    let body = pattern(0, 150_000);
    let mut wire = SITE.device().open();
    for round in 0..100 {
        wire.send("POST", &(SITE.mutual() + "/upload"), &[], &body);

        assert_eq!(wire.read().report()["length"], 150_000, "{round}");
    }
}

#[test]
fn chunks_come_down_as_chunks() {
    for size in SIZES {
        let reply = SITE.device().get(&format!("{}/chunked/{size}", SITE.mutual()));

        assert_eq!((reply.field("Transfer-Encoding"), reply.field("Content-Length")), (Some("chunked"), None));
        assert_eq!(sha256(&reply.body), sha256(&pattern(0, size)), "{size}");
    }
}

#[test]
fn chunks_go_up_as_chunks() {
    let body = pattern(0, 300_000);
    let mut wire = SITE.device().open();
    wire.send_head("POST", &(SITE.mutual() + "/echo"), &[("Transfer-Encoding", "chunked")]);
    for part in [&body[..1], &body[1..70_000], &body[70_000..]] {
        wire.write_chunk(part);
    }
    wire.write(b"0\r\n\r\n");

    let reply = wire.read();

    assert_eq!(reply.echoed("Transfer-Encoding"), ["chunked"]);
    assert_eq!(reply.report()["sha256"], sha256(&body));
}

#[test]
fn a_body_that_ends_with_the_servers_connection_is_whole() {
    let reply = SITE.device().get(&(SITE.mutual() + "/until-close/100000"));

    assert_eq!(reply.body, pattern(0, 100_000));
}

#[test]
fn both_bodies_can_be_large_in_one_exchange() {
    let body = pattern(9, 1024 * 1024);

    let reply = SITE.device().request("POST", &(SITE.mutual() + "/bytes/1048576"), &[], &body);

    assert_eq!(sha256(&reply.body), sha256(&pattern(0, 1024 * 1024)));
}

#[test]
fn trailers_go_up() {
    let mut wire = SITE.device().open();
    wire.send_head("POST", &(SITE.mutual() + "/echo"), &[("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")]);
    wire.write_chunk(b"body");
    wire.write(b"0\r\nX-Sum: 42\r\n\r\n");

    let report = wire.read().report();

    assert_eq!(report["trailers"], serde_json::json!([["X-Sum", "42"]]));
}

#[test]
fn trailers_come_down() {
    let reply = SITE.device().request("GET", &(SITE.mutual() + "/trailers"), &[("TE", "trailers")], b"");

    assert_eq!(reply.trailers, [("X-Checksum".to_owned(), "1234".to_owned())]);
}

#[test]
fn an_answer_to_head_has_the_length_and_no_body() {
    let mut wire = SITE.device().open();
    wire.send("HEAD", &(SITE.mutual() + "/bytes/70000"), &[], b"");
    let reply = wire.read();
    wire.send("GET", &(SITE.mutual() + "/bytes/3"), &[], b"");

    assert_eq!((reply.status, reply.field("Content-Length")), (200, Some("70000")));
    assert_eq!(wire.read().body, [0, 1, 2], "the connection is in step");
}

#[test]
fn answers_without_content_leave_the_connection_in_step() {
    let mut wire = SITE.device().open();
    for status in ["204/No%20Content", "304/Not%20Modified", "205/Reset%20Content"] {
        wire.send("GET", &format!("{}/status/{status}", SITE.mutual()), &[], b"");
        assert_eq!(wire.read().status.to_string(), status[..3]);
    }
    wire.send("GET", &(SITE.mutual() + "/bytes/3"), &[], b"");

    assert_eq!(wire.read().body, [0, 1, 2]);
}

#[test]
fn a_length_of_zero_arrives_as_a_length_of_zero() {
    let reply = SITE.device().request("POST", &(SITE.mutual() + "/echo"), &[("Content-Length", "0")], b"");

    assert_eq!(reply.echoed("Content-Length"), ["0"]);
}

#[test]
fn an_answer_cut_short_by_the_server_is_not_ended_by_the_gateway() {
    for length in ["10", "100000", "3000000"] {
        let mut wire = SITE.device().open();
        wire.send("GET", &format!("{}/truncated/{length}", SITE.mutual()), &[], b"");

        assert!(wire.try_read().is_err(), "{length}: a part is not taken for the whole");
        assert!(!wire.is_closed_properly(), "{length}: and TLS says so too");
    }
}

#[test]
fn a_cut_answer_is_marked_in_the_log() {
    let target = SITE.mutual() + "/truncated/77777";
    let mut wire = SITE.device().open();
    wire.send("GET", &target, &[], b"");
    let _ = wire.try_read();

    let line = SITE.log_line("the cut answer", |line| line["target"] == target.as_str());

    assert_eq!(line["cut"], true, "{line}");
}

#[test]
fn a_body_cut_short_by_the_client_is_not_ended_for_the_server() {
    let mut wire = SITE.device().open();
    wire.send_head("POST", &(SITE.mutual() + "/upload?short"), &[("Content-Length", "100000")]);
    wire.write(&[b'x'; 5000]);
    until("the upload has begun", || seen("/upload?short"));
    drop(wire);

    until("the server knows that the rest will not come", || {
        let seen = SITE.origin.seen();
        seen.iter().any(|seen| seen.target == b"/upload?short" && seen.progress == cmg_lab::origin::Progress::Broken).then_some(())
    });
}

fn seen(target: &str) -> Option<()> {
    SITE.origin.seen().iter().any(|seen| seen.target == target.as_bytes()).then_some(())
}

#[test]
fn an_answer_that_trickles_arrives_piece_by_piece() {
    let mut wire = SITE.device().open();
    // The second event comes an hour after the first, so whoever waited for the whole would wait in vain.
    wire.send("GET", &(SITE.mutual() + "/events?count=2&every=3600000"), &[], b"");

    assert_eq!(wire.read_head().unwrap().status, 200);
    assert_eq!(wire.read_chunk().unwrap(), b"data: 0\n\n");
}

#[test]
fn a_request_that_trickles_arrives_piece_by_piece() {
    let mut wire = SITE.device().open();
    wire.send_head("POST", &(SITE.mutual() + "/refuse-upload"), &[("Transfer-Encoding", "chunked")]);
    wire.write_chunk(b"the body never ends, yet the server answers");

    assert_eq!(wire.read().status, 403);
}
