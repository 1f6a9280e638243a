//! Bearer tokens: nothing made up passes, whatever it says about itself.

use cmg_core::identity::TokenKind;
use cmg_core::time::WallTime;
use cmg_core::trust::{Algorithm, TokenKey};
use cmg_credentials::TokenVerifier;
use std::sync::OnceLock;

/// P-256, made for this; its private key exists no more.
const PUBLIC_KEY: &[u8] = include_bytes!("token-key.der");

pub(crate) fn check(input: &[u8]) {
    static VERIFIER: OnceLock<TokenVerifier> = OnceLock::new();
    let verifier = VERIFIER.get_or_init(|| {
        let key = TokenKey {
            id: "key-1".to_owned(),
            issuer: "urn:issuer".to_owned(),
            algorithms: vec![Algorithm::Es256],
            public_key: PUBLIC_KEY.to_vec(),
            kind: TokenKind::Site,
            leeway: 60,
        };
        TokenVerifier::new(&[key]).map_err(|problems| problems.len()).expect("a good key")
    });
    assert!(verifier.verify(input, WallTime(1_800_000_000)).is_err());
    // What is behind the signature is read only after it; let the fuzzer at the claims as well.
    let Some((header, rest)) = std::str::from_utf8(input).ok().and_then(|text| text.split_once('.')) else { return };
    assert!(verifier.verify(format!("{header}.{rest}.AAAA").as_bytes(), WallTime(1_800_000_000)).is_err());
}
