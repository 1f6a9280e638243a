//! The site, its documents, blocks and audit records.

use cmg_store::{AuditFilter, BlockKind, DocumentPage, Error, Generation, NewAuditRecord, NewBlock, Place, Store};

use crate::engines::{Database, NOW, on_both};

on_both! {
    a_site_is_founded_once,
    generations_rise_and_a_restore_raises_the_epoch,
    a_document_is_added_once,
    a_document_is_replaced_by_whoever_has_its_version,
    a_document_is_removed_by_whoever_has_its_version,
    documents_are_paged_and_searched,
    a_view_sees_one_moment,
    a_dropped_change_has_never_been,
    blocks_are_followed_by_generation,
    the_same_is_blocked_once,
    many_blocks_are_added_at_once,
    audit_records_are_paged_newest_first,
    what_is_stored_is_there_after_opening_again,
}

async fn a_site_is_founded_once(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.found_site("ABC").await.unwrap();
    assert!(matches!(change.found_site("XYZ").await, Err(Error::Conflict)));
    change.commit().await.unwrap();

    let site = database.store.site().await.unwrap();
    assert_eq!((site.code.as_deref(), site.created_at), (Some("ABC"), Some(NOW)));
    database.store.ping().await.unwrap();
}

async fn generations_rise_and_a_restore_raises_the_epoch(database: Database) {
    assert_eq!(database.store.generation().await.unwrap(), Generation { epoch: 1, number: 0 });

    let mut change = database.store.begin(NOW).await.unwrap();
    assert_eq!(change.next_generation().await.unwrap(), Generation { epoch: 1, number: 1 });
    let now = NOW as u64;
    assert_eq!(change.raise_epoch().await.unwrap(), Generation { epoch: now, number: 2 });
    assert_eq!(change.raise_epoch().await.unwrap(), Generation { epoch: now + 1, number: 3 }, "also where the clock stands");
    change.commit().await.unwrap();

    assert_eq!(database.store.generation().await.unwrap(), Generation { epoch: now + 1, number: 3 });
}

async fn a_document_is_added_once(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.insert_document("endpoint", "ü", r#"{"a":1}"#).await.unwrap();
    change.commit().await.unwrap();
    let mut change = database.store.begin(NOW).await.unwrap();

    assert!(matches!(change.insert_document("endpoint", "ü", "{}").await, Err(Error::Conflict)));

    drop(change);
    let document = database.store.document("endpoint", "ü").await.unwrap().unwrap();
    assert_eq!((document.version, &*document.body, document.created_at), (1, r#"{"a":1}"#, NOW));
    assert_eq!(database.store.document("other", "ü").await.unwrap(), None);
}

async fn a_document_is_replaced_by_whoever_has_its_version(database: Database) {
    add(&database.store, "endpoint", &["a"]).await;
    let mut change = database.store.begin(NOW + 1).await.unwrap();

    assert!(matches!(change.replace_document("endpoint", "a", "2", 7).await, Err(Error::Stale { present: 1 })));
    assert!(matches!(change.replace_document("endpoint", "b", "2", 1).await, Err(Error::NotFound)));
    assert_eq!(change.replace_document("endpoint", "a", "2", 1).await.unwrap(), 2);

    change.commit().await.unwrap();
    let document = database.store.document("endpoint", "a").await.unwrap().unwrap();
    assert_eq!((document.version, &*document.body), (2, "2"));
    assert_eq!((document.created_at, document.changed_at), (NOW, NOW + 1));
}

async fn a_document_is_removed_by_whoever_has_its_version(database: Database) {
    add(&database.store, "endpoint", &["a", "b"]).await;
    let mut change = database.store.begin(NOW).await.unwrap();

    assert!(matches!(change.remove_document("endpoint", "a", Some(2)).await, Err(Error::Stale { present: 1 })));
    change.remove_document("endpoint", "a", Some(1)).await.unwrap();
    change.remove_document("endpoint", "b", None).await.unwrap();
    assert!(matches!(change.remove_document("endpoint", "a", None).await, Err(Error::NotFound)));

    assert_eq!(change.count_documents("endpoint").await.unwrap(), 0);
}

async fn documents_are_paged_and_searched(database: Database) {
    add(&database.store, "endpoint", &["Bravo", "alpha", "a_c", "alps"]).await;
    add(&database.store, "site", &["alpha"]).await;
    let page = async |after, search, limit| {
        let page = database.store.document_page("endpoint", DocumentPage { after, search, limit }).await.unwrap();
        page.into_iter().map(|document| document.name).collect::<Vec<_>>()
    };

    assert_eq!(page(None, None, 2).await, ["Bravo", "a_c"], "by bytes on every engine");
    assert_eq!(page(Some("a_c"), None, 2).await, ["alpha", "alps"]);
    assert_eq!(page(None, Some("BRA"), 9).await, ["Bravo"]);
    assert_eq!(page(None, Some("_"), 9).await, ["a_c"], "a search is not a pattern");
    assert_eq!(page(Some("alpha"), Some("al"), 9).await, ["alps"]);
    assert_eq!(database.store.documents("endpoint").await.unwrap().len(), 4);
    assert_eq!(database.store.all_documents().await.unwrap().len(), 5);
    assert_eq!(database.store.count_documents("endpoint").await.unwrap(), 4);
}

async fn a_view_sees_one_moment(database: Database) {
    add(&database.store, "endpoint", &["a"]).await;
    let mut view = database.store.view().await.unwrap();
    assert_eq!(view.count_documents("endpoint").await.unwrap(), 1);

    add(&database.store, "endpoint", &["b"]).await;

    assert_eq!(view.documents("endpoint").await.unwrap().len(), 1);
    assert_eq!(database.store.documents("endpoint").await.unwrap().len(), 2);
}

async fn a_dropped_change_has_never_been(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.next_generation().await.unwrap();
    change.insert_document("endpoint", "a", "{}").await.unwrap();
    assert!(change.document("endpoint", "a").await.unwrap().is_some(), "a change sees what it writes");

    drop(change);

    assert_eq!(database.store.document("endpoint", "a").await.unwrap(), None);
    let change = database.store.begin(NOW).await.unwrap();
    change.commit().await.unwrap();
    assert_eq!(database.store.generation().await.unwrap().number, 0);
}

async fn blocks_are_followed_by_generation(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.next_generation().await.unwrap();
    change.add_block(&block("1", "one")).await.unwrap();
    change.add_block(&NewBlock { issuer: Some("ca".into()), ..block("2", "one") }).await.unwrap();
    change.next_generation().await.unwrap();
    change.add_block(&block("3", "three")).await.unwrap();
    change.next_generation().await.unwrap();
    change.remove_block("1").await.unwrap();
    assert!(matches!(change.remove_block("1").await, Err(Error::NotFound)));
    change.commit().await.unwrap();
    let ids = |blocks: Vec<cmg_store::Block>| blocks.into_iter().map(|block| block.id).collect::<Vec<_>>();

    assert_eq!(ids(database.store.blocks_since(0).await.unwrap()), ["1", "2", "3"]);
    assert_eq!(ids(database.store.blocks_since(1).await.unwrap()), ["1", "3"]);
    assert_eq!(ids(database.store.blocks_since(3).await.unwrap()), [""; 0]);
    assert_eq!(ids(database.store.live_blocks().await.unwrap()), ["2", "3"]);
    assert_eq!(ids(database.store.block_page(Some("2"), Some("THR"), 5).await.unwrap()), ["3"]);
    assert_eq!(database.store.count_blocks().await.unwrap(), 2);
    let removed = database.store.block("1").await.unwrap().unwrap();
    assert_eq!((removed.generation_number, removed.removed_generation, removed.issuer), (1, Some(3), None));
}

async fn the_same_is_blocked_once(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.add_block(&block("1", "one")).await.unwrap();

    assert!(matches!(change.add_block(&block("2", "one")).await, Err(Error::Conflict)));

    change.remove_block("1").await.unwrap();
    change.add_block(&block("2", "one")).await.unwrap();
}

async fn many_blocks_are_added_at_once(database: Database) {
    let blocks: Vec<_> = (0..1234).map(|number| block(&format!("{number:04}"), &format!("value {number}"))).collect();
    let mut change = database.store.begin(NOW).await.unwrap();

    assert_eq!(change.add_blocks(&blocks[..1000]).await.unwrap(), 1000);
    assert_eq!(change.add_blocks(&blocks).await.unwrap(), 234, "what is blocked already stays");

    assert_eq!(change.count_blocks().await.unwrap(), 1234);
    assert_eq!(change.block("1233").await.unwrap().unwrap().value, "value 1233");
}

async fn audit_records_are_paged_newest_first(database: Database) {
    for (now, account, name) in [(1, "ann", "a"), (2, "bob", "b"), (3, "ann", "c"), (4, "ann", "a")] {
        let mut change = database.store.begin(now).await.unwrap();
        let after = (name == "b").then(|| "{}".to_owned());
        let record = NewAuditRecord { account: account.into(), kind: "endpoint".into(), name: name.into(), after, ..Default::default() };
        assert_eq!(change.append_audit(&record).await.unwrap(), now);
        change.commit().await.unwrap();
    }
    let page = async |filter, before, limit| {
        let page = database.store.audit_page(filter, before, limit).await.unwrap();
        page.into_iter().map(|record| record.id).collect::<Vec<_>>()
    };
    let any = AuditFilter::default();
    let of_ann = AuditFilter { account: Some("ann"), ..any };

    assert_eq!(page(any, None, 2).await, [4, 3]);
    assert_eq!(page(any, Some(3), 2).await, [2, 1]);
    assert_eq!(page(of_ann, None, 9).await, [4, 3, 1]);
    assert_eq!(page(AuditFilter { name: Some("a"), kind: Some("endpoint"), since: Some(2), ..of_ann }, None, 9).await, [4]);
    assert_eq!(database.store.count_audit(of_ann).await.unwrap(), 3);
    let record = database.store.audit_page(any, Some(3), 1).await.unwrap().remove(0);
    assert_eq!((record.at, record.record.before, record.record.after.as_deref()), (2, None, Some("{}")));
}

async fn what_is_stored_is_there_after_opening_again(database: Database) {
    add(&database.store, "endpoint", &["a"]).await;
    database.store.close().await;

    let store = Store::open(database.place.clone()).await.unwrap();

    assert!(store.document("endpoint", "a").await.unwrap().is_some());
    let engine = if matches!(database.place, Place::Sqlite(_)) { "SQLite" } else { "PostgreSQL" };
    assert_eq!(store.engine(), engine);
}

pub(crate) async fn add(store: &Store, kind: &str, names: &[&str]) {
    let mut change = store.begin(NOW).await.unwrap();
    for name in names {
        change.insert_document(kind, name, "{}").await.unwrap();
    }
    change.commit().await.unwrap();
}

pub(crate) fn block(id: &str, value: &str) -> NewBlock {
    NewBlock {
        id: id.into(),
        kind: BlockKind::Thumbprint,
        value: value.into(),
        issuer: None,
        note: "stolen".into(),
        created_by: "ann".into(),
    }
}
