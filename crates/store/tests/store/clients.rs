//! Clients, their tokens, and bulk registration tokens.

use cmg_store::{BulkRefusal, BulkToken, Client, ClientState, ClientToken, Error};

use crate::engines::{Database, NOW, on_both};

on_both! {
    a_client_registers_again_under_its_id,
    client_tokens_are_blocked_and_end_with_their_client,
    a_bulk_token_says_why_it_is_refused,
    many_clients_are_touched_at_once,
}

async fn a_client_registers_again_under_its_id(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.add_client(&client("1")).await.unwrap();
    change.replace_client(&Client { key_thumbprint: "new".into(), state: ClientState::Blocked, ..client("1") }).await.unwrap();
    change.commit().await.unwrap();

    let found = database.store.clients_by_key("new").await.unwrap();
    assert_eq!(found, [Client { key_thumbprint: "new".into(), ..client("1") }], "its state is not its own to set");
    assert_eq!(database.store.clients_by_identity("id-1").await.unwrap(), found);
    let mut change = database.store.begin(NOW).await.unwrap();
    assert!(matches!(change.add_client(&client("1")).await, Err(Error::Conflict)));
}

async fn client_tokens_are_blocked_and_end_with_their_client(database: Database) {
    let token = |id: &str, expires_at| ClientToken {
        id: id.into(),
        client: "1".into(),
        kind: "site".into(),
        issued_at: expires_at - 5,
        expires_at,
        blocked_at: None,
    };
    let mut change = database.store.begin(NOW).await.unwrap();
    change.add_client(&client("1")).await.unwrap();
    for (id, end) in [("a", 10), ("b", 20), ("c", 30), ("d", 5)] {
        change.add_client_token(&token(id, end)).await.unwrap();
    }
    assert!(matches!(change.add_client_token(&ClientToken { client: "9".into(), ..token("z", 9) }).await, Err(Error::NotFound)));
    change.block_client_token("b").await.unwrap();
    assert_eq!(change.remove_client_tokens_before(10).await.unwrap(), 1);

    assert_eq!(change.client_tokens_expiring(10, 30).await.unwrap(), [token("a", 10)]);
    assert_eq!(change.client_token("b").await.unwrap().unwrap().blocked_at, Some(NOW));
    assert_eq!(change.client_tokens_of("1").await.unwrap()[0], token("c", 30));
    change.remove_client("1").await.unwrap();
    assert_eq!(change.client_tokens_of("1").await.unwrap(), []);
}

async fn a_bulk_token_says_why_it_is_refused(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.add_bulk_token(&bulk_token("twice", Some(2))).await.unwrap();
    change.add_bulk_token(&bulk_token("always", None)).await.unwrap();
    change.add_bulk_token(&BulkToken { expires_at: NOW, ..bulk_token("over", None) }).await.unwrap();

    assert_eq!(change.use_bulk_token("twice").await.unwrap(), Ok(1));
    assert_eq!(change.use_bulk_token("twice").await.unwrap(), Ok(2));
    assert_eq!(change.use_bulk_token("twice").await.unwrap(), Err(BulkRefusal::UsedUp));
    assert_eq!(change.use_bulk_token("over").await.unwrap(), Err(BulkRefusal::Expired));
    assert_eq!(change.use_bulk_token("none").await.unwrap(), Err(BulkRefusal::Unknown));
    change.block_bulk_token("always").await.unwrap();
    assert_eq!(change.use_bulk_token("always").await.unwrap(), Err(BulkRefusal::Blocked));
    change.unblock_bulk_token("always").await.unwrap();
    assert_eq!(change.use_bulk_token("always").await.unwrap(), Ok(1));
    assert_eq!(change.bulk_token_page(Some("always"), 1).await.unwrap()[0].id, "over");
}

async fn many_clients_are_touched_at_once(database: Database) {
    let ids: Vec<String> = (0..1500).map(|number| number.to_string()).collect();
    let mut change = database.store.begin(NOW).await.unwrap();
    for id in &ids[..1400] {
        change.add_client(&client(id)).await.unwrap();
    }

    let touched = change.touch_clients(&ids.iter().map(|id| &**id).collect::<Vec<_>>()).await.unwrap();

    assert_eq!(touched, 1400);
    assert_eq!(change.client("1399").await.unwrap().unwrap().last_seen_at, Some(NOW));
}

pub(crate) fn client(id: &str) -> Client {
    Client {
        id: id.into(),
        name: format!("pc {id}"),
        identity: format!("id-{id}"),
        key_thumbprint: format!("key-{id}"),
        state: ClientState::Approved,
        created_at: NOW,
        last_seen_at: None,
        body: "{}".into(),
    }
}

pub(crate) fn bulk_token(id: &str, max_uses: Option<u64>) -> BulkToken {
    BulkToken {
        id: id.into(),
        created_at: NOW,
        expires_at: NOW + 100,
        max_uses,
        uses: 0,
        network: None,
        note: "laptops".into(),
        blocked_at: None,
        created_by: "ann".into(),
    }
}
