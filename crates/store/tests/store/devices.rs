//! Devices: lists of them, their messages, who is online, and tasks.

use cmg_store::{Client, ClientCounts, ClientState, DeviceFilter, Error, NewMessage, Online, Present, Store};

use crate::clients::client;
use crate::engines::{Database, NOW, on_both};

on_both! {
    devices_are_paged_searched_and_counted,
    devices_are_filtered_by_what_they_prove_and_by_where_they_are,
    a_message_is_taken_once,
    messages_end_by_age_and_by_number,
    the_latest_heartbeat_and_inventory_are_kept,
    who_is_online_stands_where_it_was_said_last,
    who_does_not_count_is_not_online,
    a_management_point_that_is_silent_has_nobody_online,
    tasks_are_numbered_and_one_of_a_kind_is_left,
    a_removed_client_takes_everything_along,
}

async fn devices_are_paged_searched_and_counted(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    for (id, name, state) in
        [("1", "PC-1", ClientState::Approved), ("2", "pc-2", ClientState::Pending), ("3", "MÄC", ClientState::Approved)]
    {
        change.add_client(&Client { name: name.into(), state, ..client(id) }).await.unwrap();
    }
    assert!(matches!(change.set_client_state("9", ClientState::Blocked).await, Err(Error::NotFound)));
    change.set_client_state("3", ClientState::Blocked).await.unwrap();
    change.commit().await.unwrap();
    let any = DeviceFilter::default();
    let page = async |filter, after| ids(&database.store, filter, after).await;

    assert_eq!(page(any, Some("1")).await, ["2", "3"]);
    assert_eq!(page(DeviceFilter { search: Some("Pc-"), ..any }, None).await, ["1", "2"]);
    assert_eq!(page(DeviceFilter { search: Some("mÄ"), ..any }, None).await, ["3"], "in either case of any letter");
    assert_eq!(page(DeviceFilter { search: Some("id-2"), ..any }, None).await, ["2"]);
    assert_eq!(page(DeviceFilter { state: Some(ClientState::Pending), ..any }, None).await, ["2"]);
    assert_eq!(database.store.count_clients().await.unwrap(), ClientCounts { pending: 1, approved: 1, blocked: 1 });
}

async fn devices_are_filtered_by_what_they_prove_and_by_where_they_are(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    for (id, identity) in [("1", "key/a"), ("2", "keys/b"), ("3", "bulk-token/c"), ("4", "key/d")] {
        change.add_client(&Client { identity: identity.into(), ..client(id) }).await.unwrap();
    }
    let present = [present("1", "intranet"), present("2", "cmg/main"), present("3", "ibcm/main"), present("4", "cmg/other")];
    change.put_present("mp1", &present[..3]).await.unwrap();
    change.commit().await.unwrap();
    let any = DeviceFilter::default();
    let page = async |filter| ids(&database.store, filter, None).await;

    assert_eq!(page(DeviceFilter { identity_kind: Some("key"), ..any }).await, ["1", "4"]);
    assert_eq!(page(DeviceFilter { online: Some(true), ..any }).await, ["1", "2", "3"]);
    assert_eq!(page(DeviceFilter { online: Some(false), ..any }).await, ["4"]);
    assert_eq!(page(DeviceFilter { online: Some(false), identity_kind: Some("bulk-token"), ..any }).await, [""; 0]);
    for (through, expected) in [("intranet", "1"), ("cmg", "2"), ("cmg/main", "2"), ("ibcm", "3")] {
        assert_eq!(page(DeviceFilter { through: Some(through), ..any }).await, [expected], "{through}");
    }
    assert_eq!(page(DeviceFilter { through: Some("cmg/other"), ..any }).await, [""; 0]);
    assert_eq!(database.store.count_online().await.unwrap(), 3);
}

async fn a_message_is_taken_once(database: Database) {
    let mut change = with_clients(&database, &["1", "2"]).await;

    let taken = [("1", "a"), ("1", "a"), ("2", "a"), ("1", "b")];
    let new = change.take_messages(&taken.map(|(client, id)| message(client, id, NOW))).await.unwrap();
    let again = change.take_messages(&[message("1", "b", NOW + 1), message("1", "c", NOW)]).await.unwrap();
    change.commit().await.unwrap();

    let pair = |client: &str, id: &str| (client.to_owned(), id.to_owned());
    assert_eq!(new, [pair("1", "a"), pair("1", "b"), pair("2", "a")].into());
    assert_eq!(again, [pair("1", "c")].into());
    let page = database.store.message_page("1", None, 9).await.unwrap();
    assert_eq!(page.iter().map(|kept| kept.message.id.as_str()).collect::<Vec<_>>(), ["c", "b", "a"], "the latest first");
    assert_eq!(page[2].message, message("1", "a", NOW));
    assert_eq!(database.store.message_page("1", Some(page[0].number), 9).await.unwrap(), page[1..]);
    let senders = database.store.senders(&["1", "9"]).await.unwrap();
    assert_eq!(senders.iter().map(|sender| sender.id.as_str()).collect::<Vec<_>>(), ["1"]);
}

async fn messages_end_by_age_and_by_number(database: Database) {
    let mut change = with_clients(&database, &["1", "2"]).await;
    let sent = [("1", "old", NOW - 10), ("1", "a", NOW), ("1", "b", NOW), ("1", "c", NOW), ("2", "a", NOW)];
    change.take_messages(&sent.map(|(client, id, at)| message(client, id, at))).await.unwrap();

    assert_eq!(change.remove_messages_before(NOW).await.unwrap(), 1);
    assert_eq!(change.remove_messages_beyond(2).await.unwrap(), 1);

    let left = change.message_page("1", None, 9).await.unwrap();
    assert_eq!(left.iter().map(|kept| kept.message.id.as_str()).collect::<Vec<_>>(), ["c", "b"]);
    assert_eq!(change.message_page("2", None, 9).await.unwrap().len(), 1);
}

async fn the_latest_heartbeat_and_inventory_are_kept(database: Database) {
    let mut change = with_clients(&database, &["1"]).await;
    for (at, body) in [(NOW, "first"), (NOW + 5, "second"), (NOW + 2, "late")] {
        change.put_heartbeat("1", at, body).await.unwrap();
        change.put_inventory("1", at, body).await.unwrap();
    }
    change.commit().await.unwrap();

    let device = database.store.device("1").await.unwrap().unwrap();
    assert_eq!((device.heartbeat.as_deref(), device.heartbeat_at), (Some("second"), Some(NOW + 5)));
    assert_eq!((device.inventory_at, device.inventory_size), (Some(NOW + 5), Some(6)));
    assert_eq!(database.store.inventory("1").await.unwrap().as_deref(), Some("second"));
    assert_eq!(database.store.device("9").await.unwrap(), None);
}

async fn who_is_online_stands_where_it_was_said_last(database: Database) {
    let mut change = with_clients(&database, &["1", "2"]).await;
    change.put_present("mp1", &[present("1", "intranet"), present("2", "intranet"), present("9", "intranet")]).await.unwrap();
    change.put_present("mp2", &[present("1", "cmg/main")]).await.unwrap();
    change.remove_present("mp1", &["1", "2"]).await.unwrap();
    change.commit().await.unwrap();

    let online = Online { management_point: "mp2".into(), through: "cmg/main".into(), since: NOW };
    let device = database.store.device("1").await.unwrap().unwrap();
    assert_eq!((device.online, device.client.last_seen_at), (Some(online), Some(NOW)));
    assert_eq!(database.store.device("2").await.unwrap().unwrap().online, None);
}

async fn who_does_not_count_is_not_online(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.add_client(&Client { state: ClientState::Pending, ..client("1") }).await.unwrap();
    change.put_present("mp1", &[present("1", "intranet")]).await.unwrap();
    assert_eq!(change.count_online().await.unwrap(), 0);
    change.set_client_state("1", ClientState::Approved).await.unwrap();
    change.put_present("mp1", &[present("1", "intranet")]).await.unwrap();
    assert_eq!(change.count_online().await.unwrap(), 1);

    change.forget_presence("1").await.unwrap();

    assert_eq!(change.count_online().await.unwrap(), 0);
}

async fn a_management_point_that_is_silent_has_nobody_online(database: Database) {
    let mut change = with_clients(&database, &["1", "2"]).await;
    change.put_present("mp1", &[present("1", "intranet")]).await.unwrap();
    change.note_presence_told("mp1").await.unwrap();
    change.commit().await.unwrap();
    let mut change = database.store.begin(NOW + 60).await.unwrap();
    change.put_present("mp2", &[present("2", "intranet")]).await.unwrap();
    change.note_presence_told("mp2").await.unwrap();

    assert_eq!(change.expire_presence(NOW).await.unwrap(), 0);
    assert_eq!(change.expire_presence(NOW + 1).await.unwrap(), 1);

    assert_eq!((change.present_at("mp1").await.unwrap(), change.present_at("mp2").await.unwrap()), (vec![], vec!["2".to_owned()]));
}

async fn tasks_are_numbered_and_one_of_a_kind_is_left(database: Database) {
    let mut change = with_clients(&database, &["1", "2"]).await;
    let mut numbers = Vec::new();
    for (client, kind) in [("1", "ping"), ("1", "policy"), ("2", "ping"), ("1", "ping")] {
        numbers.push(change.add_task(client, kind).await.unwrap());
    }
    change.commit().await.unwrap();

    assert_eq!((numbers, database.store.last_task().await.unwrap()), (vec![1, 2, 3, 4], 4));
    let after = |number| {
        let store = database.store.clone();
        async move { store.tasks_after(number, 2).await.unwrap().into_iter().map(|task| (task.number, task.client)).collect::<Vec<_>>() }
    };
    assert_eq!(after(0).await, [(2, "1".to_owned()), (3, "2".to_owned())]);
    assert_eq!(after(3).await, [(4, "1".to_owned())]);
    let mut change = database.store.begin(NOW + 10).await.unwrap();
    assert_eq!(change.remove_tasks_before(NOW + 1).await.unwrap(), 3);
    assert_eq!(change.add_task("1", "ping").await.unwrap(), 5, "numbers go on");
}

async fn a_removed_client_takes_everything_along(database: Database) {
    let mut change = with_clients(&database, &["1"]).await;
    change.take_messages(&[message("1", "a", NOW)]).await.unwrap();
    change.put_heartbeat("1", NOW, "{}").await.unwrap();
    change.put_inventory("1", NOW, "{}").await.unwrap();
    change.put_present("mp1", &[present("1", "intranet")]).await.unwrap();
    change.add_task("1", "ping").await.unwrap();

    change.remove_client("1").await.unwrap();

    assert_eq!(change.message_page("1", None, 9).await.unwrap(), []);
    assert_eq!((change.inventory("1").await.unwrap(), change.count_online().await.unwrap()), (None, 0));
    assert_eq!(change.tasks_after(0, 9).await.unwrap(), []);
}

async fn ids(store: &Store, filter: DeviceFilter<'_>, after: Option<&str>) -> Vec<String> {
    store.device_page(filter, after, 9).await.unwrap().into_iter().map(|device| device.client.id).collect()
}

async fn with_clients(database: &Database, ids: &[&str]) -> cmg_store::Change {
    let mut change = database.store.begin(NOW).await.unwrap();
    for id in ids {
        change.add_client(&client(id)).await.unwrap();
    }
    change
}

fn present(client: &str, through: &str) -> Present {
    Present { client: client.into(), through: through.into(), since: NOW }
}

fn message(client: &str, id: &str, received_at: i64) -> NewMessage {
    NewMessage {
        client: client.into(),
        id: id.into(),
        kind: "status".into(),
        at: NOW - 100,
        received_at,
        through: "intranet".into(),
        body: Some("{\"text\":\"a\"}".into()),
    }
}
