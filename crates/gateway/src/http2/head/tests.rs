use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 10 };

fn parts(target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn fields(received: &Received) -> Vec<(&str, &str)> {
    let text = |span: cmg_http1::Span| std::str::from_utf8(span.of(&received.bytes)).unwrap();
    received.head.fields.iter().map(|field| (text(field.name), text(field.value))).collect()
}

#[test]
fn the_target_keeps_its_bytes() {
    for raw in ["/a%20b/c%7B$d?MPLIST", "/.sms_pol?{guid}.1_00", "/a//b?x=/../y"] {
        let received = receive(&parts(&format!("https://cmg.example{raw}"), &[]), true, &LIMITS).unwrap_or_else(|_| panic!("{raw}"));

        assert_eq!(received.head.target.of(&received.bytes), raw.as_bytes());
    }
}

#[test]
fn authority_and_host_must_agree() {
    let agreeing = parts("https://cmg.example:443/", &[("host", "CMG.example:443")]);
    let other = parts("https://cmg.example/", &[("host", "other.example")]);

    assert_eq!(receive(&agreeing, true, &LIMITS).map(|received| fields(&received).len()).ok(), Some(1));
    assert_eq!(receive(&other, true, &LIMITS).err(), Some((Refusal::AmbiguousTarget, None)));
}

#[test]
fn a_head_without_any_host_is_malformed() {
    assert_eq!(receive(&parts("/x", &[]), true, &LIMITS).err(), Some((Refusal::Malformed, Some(Fault::HostMissing))));
}

#[test]
fn user_names_in_the_authority_are_refused() {
    assert_eq!(receive(&parts("https://me@cmg.example/", &[]), true, &LIMITS).err().map(|refused| refused.0), Some(Refusal::Malformed));
}

#[test]
fn split_cookies_become_one() {
    let received = receive(&parts("https://cmg.example/", &[("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2")]), true, &LIMITS);

    let received = received.unwrap_or_else(|_| panic!("a request"));
    assert_eq!(fields(&received), [("host", "cmg.example"), ("accept", "*/*"), ("cookie", "a=1; b=2")]);
}

#[test]
fn a_body_is_of_known_length_only_where_the_head_says_it() {
    let framing = |fields: &[(&str, &str)], whole| {
        receive(&parts("https://cmg.example/", fields), whole, &LIMITS).ok().map(|received| received.head.framing)
    };

    assert_eq!(framing(&[], true), Some(Framing::None));
    assert_eq!(framing(&[], false), Some(Framing::Chunked));
    assert_eq!(framing(&[("content-length", "7")], false), Some(Framing::Length(7)));
}

#[test]
fn heads_beyond_the_limits_are_too_large() {
    let long = "x".repeat(5000);
    let many: Vec<_> = (0..11).map(|_| ("a", "b")).collect();

    for fields in [&[("a", long.as_str())][..], &many] {
        assert_eq!(
            receive(&parts("https://cmg.example/", fields), true, &LIMITS).err().map(|refused| refused.0),
            Some(Refusal::HeadTooLarge)
        );
    }
}

#[test]
fn trailers_that_would_change_a_decision_are_refused() {
    let trailers = |name: &'static str| {
        receive_trailers(&HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static("x"))]))
    };

    assert!(trailers("x-checksum").is_ok_and(|fields| !fields.is_empty()));
    assert_eq!(trailers("authorization"), Err(Fault::TrailerForbidden));
}
