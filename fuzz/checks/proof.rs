//! Proofs of possession: whatever counts is about now, for the request at hand, and small enough to be remembered.

use cmg_core::time::WallTime;
use cmg_credentials::dpop::{Request, verify};

/// When the proof of RFC 9449 was made, which is in the corpus.
const NOW: WallTime = WallTime(1_562_262_616);
const REQUEST: Request<'_> = Request { method: "POST", url: "https://server.example.com/token", access_token: None, nonces: &[] };

pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(facts) = verify(text, REQUEST, NOW, 60) {
        assert!(facts.iat.0.abs_diff(NOW.0) <= 60);
        assert!(facts.jkt.len() == 43 && (1..=128).contains(&facts.jti.len()));
        for other in [Request { method: "GET", ..REQUEST }, Request { url: "https://server.example.com/", ..REQUEST }] {
            assert!(verify(text, other, NOW, 60).is_err());
        }
        assert!(verify(text, Request { access_token: Some("token"), ..REQUEST }, NOW, 60).is_err());
    }
    // What is behind the signature is read before it; let the fuzzer at the key as well.
    let Some((header, _)) = text.split_once('.') else { return };
    let claims = "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ";
    assert!(verify(&format!("{header}.{claims}.AAAA"), REQUEST, NOW, 60).is_err());
}
