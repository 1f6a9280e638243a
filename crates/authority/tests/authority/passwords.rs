//! Passwords, API tokens and sessions.
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use cmg_authority::passwords::{
    NewSecret, PasswordRefused, hash_password, new_api_token, new_session, same_secret, secret_digest, verify_password,
};

#[test]
fn a_password_verifies_against_its_own_hash_only() {
    let hash = hash_password("correct horse").unwrap();

    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert!(verify_password("correct horse", &hash));
    assert!(!verify_password("correct hors", &hash));
    assert!(!verify_password("correct horse", "no hash"));
    assert_ne!(hash_password("correct horse").unwrap(), hash);
}

#[test]
fn a_password_of_no_length_or_a_great_one_is_refused() {
    let long = "x".repeat(1025);

    assert_eq!(hash_password(""), Err(PasswordRefused::Length));
    assert_eq!(hash_password(&long), Err(PasswordRefused::Length));
    let hash = Argon2::default().hash_password_with_salt(long.as_bytes(), &[7; 16]).unwrap().to_string();
    assert!(!verify_password(&long, &hash));
}

#[test]
fn api_tokens_and_sessions_have_256_bits_and_their_digest() {
    let (token, session): (NewSecret, NewSecret) = (new_api_token().unwrap(), new_session().unwrap());

    assert_eq!((token.text.len(), session.text.len()), (4 + 43, 43));
    assert!(token.text.starts_with("cmg_"));
    assert_eq!(token.digest, secret_digest(&token.text));
    assert_ne!(*new_session().unwrap().text, *session.text);
    assert_eq!(format!("{token:?}"), "NewSecret");
}

#[test]
fn secrets_are_the_same_whole_only() {
    assert!(same_secret(b"abc", b"abc"));
    assert!(!same_secret(b"abc", b"abd") && !same_secret(b"abc", b"ab"));
}
