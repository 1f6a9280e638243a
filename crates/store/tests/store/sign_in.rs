//! Accounts, API tokens, sessions, failures and repeated requests.

use cmg_store::{AccountFields, Error, Hidden, IdempotentAnswer, SignInFailures};

use crate::engines::{Database, NOW, on_both};

on_both! {
    a_sign_in_under_way_is_taken_once_and_ends,
    accounts_have_versions_and_one_subject_each,
    tokens_and_sessions_end_with_their_account,
    an_api_token_is_found_by_its_hash_and_revoked,
    sessions_end_by_time_and_by_account,
    failures_are_counted_until_cleared,
    a_key_is_answered_once,
}

async fn accounts_have_versions_and_one_subject_each(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.add_account("ann", &fields(Some("issuer|1"))).await.unwrap();
    change.add_account("bob", &fields(None)).await.unwrap();
    change.add_account("cid", &fields(None)).await.unwrap();
    assert!(matches!(change.replace_account("bob", &fields(None), 2).await, Err(Error::Stale { present: 1 })));
    assert_eq!(change.replace_account("bob", &AccountFields { disabled: true, ..fields(None) }, 1).await.unwrap(), 2);
    change.note_sign_in("ann").await.unwrap();
    change.commit().await.unwrap();

    let ann = database.store.account_by_subject("issuer|1").await.unwrap().unwrap();
    assert_eq!((&*ann.name, ann.version, ann.last_sign_in), ("ann", 1, Some(NOW)));
    assert!(!format!("{ann:?}").contains("argon"), "a hash never prints");
    assert!(database.store.account("bob").await.unwrap().unwrap().fields.disabled);
    assert_eq!(database.store.count_accounts().await.unwrap(), 3);
    assert_eq!(database.store.accounts().await.unwrap().len(), 3);
    let mut change = database.store.begin(NOW).await.unwrap();
    assert!(matches!(change.add_account("dan", &fields(Some("issuer|1"))).await, Err(Error::Conflict)));
}

async fn tokens_and_sessions_end_with_their_account(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.add_account("ann", &fields(None)).await.unwrap();
    change.add_session(b"s", "ann", NOW + 1).await.unwrap();
    change.add_api_token("t", "ann", "ci", b"h", NOW + 1).await.unwrap();
    assert!(matches!(change.add_session(b"x", "bob", NOW + 1).await, Err(Error::NotFound)));

    change.remove_account("ann", Some(1)).await.unwrap();

    assert_eq!(change.session_by_hash(b"s").await.unwrap(), None);
    assert_eq!(change.api_token_by_hash(b"h").await.unwrap(), None);
}

async fn an_api_token_is_found_by_its_hash_and_revoked(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.add_account("ann", &fields(None)).await.unwrap();
    change.add_api_token("t", "ann", "ci", b"\0\xff", NOW + 9).await.unwrap();
    change.touch_api_token("t").await.unwrap();
    change.revoke_api_token("ann", "t").await.unwrap();
    assert!(matches!(change.revoke_api_token("bob", "t").await, Err(Error::NotFound)));
    change.commit().await.unwrap();

    let token = database.store.api_token_by_hash(b"\0\xff").await.unwrap().unwrap();
    assert_eq!((&*token.account, token.last_used_at, token.revoked_at), ("ann", Some(NOW), Some(NOW)));
    assert_eq!(database.store.api_tokens_of("ann").await.unwrap(), [token]);
}

async fn sessions_end_by_time_and_by_account(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.add_account("ann", &fields(None)).await.unwrap();
    for (secret, end) in [(b"1", NOW), (b"2", NOW + 1), (b"3", NOW + 1), (b"4", NOW + 1)] {
        change.add_session(secret, "ann", end).await.unwrap();
    }

    assert_eq!(change.remove_expired_sessions().await.unwrap(), 1);
    assert!(change.end_session(b"2").await.unwrap());
    assert!(!change.end_session(b"2").await.unwrap());
    change.touch_session(b"3", NOW + 50).await.unwrap();
    assert_eq!(change.session_by_hash(b"3").await.unwrap().unwrap().expires_at, NOW + 50);
    assert_eq!(change.end_sessions_of("ann").await.unwrap(), 2);
}

async fn failures_are_counted_until_cleared(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    assert_eq!(change.note_sign_in_failure("ann").await.unwrap(), 1);
    assert_eq!(change.note_sign_in_failure("ann").await.unwrap(), 2);
    assert_eq!(change.sign_in_failures("ann").await.unwrap(), Some(SignInFailures { failures: 2, last_at: NOW }));

    change.clear_sign_in_failures("ann").await.unwrap();

    assert_eq!(change.sign_in_failures("ann").await.unwrap(), None);
    change.note_sign_in_failure("bob").await.unwrap();
    assert_eq!(change.remove_sign_in_failures_before(NOW + 1).await.unwrap(), 1);
}

async fn a_key_is_answered_once(database: Database) {
    let answer =
        IdempotentAnswer { account: "ann".into(), key: "k".into(), request_hash: vec![1], status: 201, body: "{}".into(), at: NOW };
    let mut change = database.store.begin(NOW).await.unwrap();
    change.put_idempotent_answer(&answer).await.unwrap();
    change.commit().await.unwrap();

    assert_eq!(database.store.idempotent_answer("ann", "k").await.unwrap(), Some(answer.clone()));
    assert_eq!(database.store.idempotent_answer("bob", "k").await.unwrap(), None);
    let mut change = database.store.begin(NOW).await.unwrap();
    assert!(matches!(change.put_idempotent_answer(&answer).await, Err(Error::Conflict)));
    drop(change);
    let mut change = database.store.begin(NOW).await.unwrap();
    assert_eq!(change.remove_idempotent_answers_before(NOW + 1).await.unwrap(), 1);
}

async fn a_sign_in_under_way_is_taken_once_and_ends(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.add_sign_in(b"one", b"sealed", NOW + 60).await.unwrap();
    change.add_sign_in(b"old", b"sealed", NOW).await.unwrap();
    assert_eq!(change.count_sign_ins().await.unwrap(), 2);

    assert_eq!(change.take_sign_in(b"old").await.unwrap(), None, "it has ended");
    assert_eq!(change.take_sign_in(b"one").await.unwrap().as_deref(), Some(&b"sealed"[..]));
    assert_eq!(change.take_sign_in(b"one").await.unwrap(), None);
    assert_eq!(change.remove_ended_sign_ins().await.unwrap(), 1);
    assert_eq!(change.count_sign_ins().await.unwrap(), 0);
}

pub(crate) fn fields(oidc_subject: Option<&str>) -> AccountFields {
    AccountFields {
        role: "full".into(),
        password_hash: Some(Hidden("argon2".into())),
        oidc_subject: oidc_subject.map(Into::into),
        disabled: false,
    }
}
