//! Devices at work, as a management point tells of them at the control port and administrators see them.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use cmg_site_server::app::devices::expire_presence;
use cmg_site_server::app::growth::{Keep, forget};
use cmg_site_server::http::control;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::house::{Ask, House};
use crate::registration::{management_point, with_management_point};
use crate::seen::made;

/// Asks as the management point does.
async fn tell(house: &House, method: &str, path: &str, body: Value) -> (u16, Value) {
    let request = Request::builder().method(method).uri(format!("/control/v1/client/{path}"));
    let body = if method == "GET" { Body::empty() } else { Body::from(body.to_string()) };
    let router = control::router(Arc::clone(&house.site)).layer(Extension(management_point()));
    let response = router.oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap_or_default())
}

async fn a_device(house: &House, name: &str) -> String {
    let body = json!({ "name": name, "identity_kind": "key", "key_thumbprint": format!("{name:A<43}"), "approved": true });
    made(house, "/devices", body).await.body["id"].as_str().unwrap().to_owned()
}

async fn a_house() -> (House, String) {
    let house = House::new().await;
    with_management_point(&house).await;
    let device = a_device(&house, "PC-1").await;
    (house, device)
}

fn message(client: &str, id: &str, kind: &str, body: Value) -> Value {
    json!({
        "client": client, "through": { "cmg": "main" }, "received_at": 1_000,
        "message": { "id": id, "kind": kind, "at": 900, "body": body },
    })
}

async fn pass_on(house: &House, messages: Value) -> Value {
    let (status, kept) = tell(house, "POST", "messages", json!({ "messages": messages })).await;
    assert_eq!(status, 200, "{kept}");
    kept
}

async fn get(house: &House, path: &str) -> Value {
    house.ask_as("ann", Ask::get(path)).await.body
}

#[tokio::test]
async fn what_a_device_says_of_itself_is_shown() {
    let (house, device) = a_house().await;
    let heartbeat = json!({
        "name": "PC-1", "client_version": "0.1.0", "os": "Debian GNU/Linux 12",
        "policy": { "epoch": 1, "number": 3 }, "addresses": ["192.0.2.7"],
    });
    let inventory = json!({ "packages": ["bash"] });
    let mut uploaded = message(&device, "u1", "inventory", json!("{\"large\": true}"));
    uploaded["message"]["upload"] = json!("an-upload");

    let messages = json!([message(&device, "h1", "heartbeat", heartbeat.clone()), message(&device, "i1", "inventory", inventory.clone())]);
    let kept = pass_on(&house, messages).await;

    assert_eq!(kept["kept"], json!(["h1", "i1"]));
    let shown = get(&house, &format!("/devices/{device}")).await;
    assert_eq!((&shown["heartbeat"], &shown["heartbeat_at"]), (&heartbeat, &json!(1_000)));
    assert!(shown["last_seen_at"].as_i64().unwrap() >= house.now() - 60);
    assert_eq!(get(&house, &format!("/devices/{device}/inventory")).await, inventory);
    assert_eq!(pass_on(&house, json!([uploaded])).await["kept"], json!(["u1"]));
    assert_eq!(get(&house, &format!("/devices/{device}/inventory")).await, json!({ "large": true }));
}

#[tokio::test]
async fn a_message_that_comes_again_is_kept_once() {
    let (house, device) = a_house().await;
    let status = message(&device, "s1", "status", json!({ "text": "installed" }));

    for _ in 0..2 {
        assert_eq!(pass_on(&house, json!([status, status])).await["kept"], json!(["s1", "s1"]));
    }

    let messages = get(&house, &format!("/devices/{device}/messages")).await;
    let items = messages["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["body"]["text"], &items[0]["through"]), (1, &json!("installed"), &json!("cmg/main")));
}

#[tokio::test]
async fn a_message_that_will_never_be_kept_has_its_reason_and_keeps_no_other() {
    let (house, device) = a_house().await;
    let blocked = a_device(&house, "PC-2").await;
    made(&house, &format!("/devices/{blocked}/block"), json!({})).await;
    let mut upload = message(&device, "broken", "inventory", json!("{\"large\": "));
    upload["message"]["upload"] = json!("an-upload");

    let kept = pass_on(
        &house,
        json!([
            message("nobody", "a", "status", json!({})),
            message(&blocked, "b", "status", json!({})),
            message(&device, "c/d", "status", json!({})),
            message(&device, "e", "heartbeat", json!({ "name": 7 })),
            message(&device, "f", "inventory", json!([])),
            upload,
            message(&device, "good", "status", json!({})),
        ]),
    )
    .await;

    assert_eq!(kept["kept"], json!(["good"]));
    let refused: Vec<_> = kept["refused"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(refused, ["a", "b", "c/d", "e", "f", "broken"], "{kept}");
}

#[tokio::test]
async fn who_is_online_is_shown_with_through_what_until_the_management_point_goes_silent() {
    let (house, device) = a_house().await;
    let other = a_device(&house, "PC-2").await;
    let online = json!([{ "client": device, "through": { "cmg": "main" }, "since": 500 }]);

    assert_eq!(tell(&house, "POST", "presence", json!({ "whole": true, "online": online, "offline": [] })).await.0, 204);

    let shown = get(&house, &format!("/devices/{device}")).await;
    assert_eq!(shown["online"], json!({ "management_point": "mp-1", "through": "cmg/main", "since": 500 }));
    let ids = async |query: &str| {
        let page = get(&house, &format!("/devices?{query}")).await;
        page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((ids("online=true").await, ids("online=false").await), (vec![device.clone()], vec![other]));
    assert_eq!((ids("through=cmg/main").await.len(), ids("through=intranet").await.len()), (1, 0));
    assert_eq!(get(&house, "/devices").await["total"]["online"], json!(1));
    assert_eq!(house.ask_as("ann", Ask::get("/devices?through=pigeon")).await.keys(), ["?through"]);

    assert_eq!(expire_presence(&house.site, house.now() + 80).await.unwrap(), 0);
    assert_eq!(expire_presence(&house.site, house.now() + 100).await.unwrap(), 1);
    assert_eq!(get(&house, &format!("/devices/{device}")).await["online"], Value::Null);
}

#[tokio::test]
async fn a_whole_word_ends_whom_it_does_not_name_and_a_block_ends_who_is_blocked() {
    let (house, one) = a_house().await;
    let two = a_device(&house, "PC-2").await;
    let online = |ids: &[&str]| ids.iter().map(|id| json!({ "client": id, "through": "intranet", "since": 5 })).collect::<Vec<_>>();
    let say = |whole: bool, ids: &[&str]| json!({ "whole": whole, "online": online(ids), "offline": [] });
    tell(&house, "POST", "presence", say(true, &[&one, &two])).await;
    let count = async || get(&house, "/devices").await["total"]["online"].clone();
    assert_eq!(count().await, json!(2));

    tell(&house, "POST", "presence", say(false, &[&one])).await;
    assert_eq!(count().await, json!(2));
    tell(&house, "POST", "presence", say(true, &[&one])).await;
    assert_eq!(count().await, json!(1));
    made(&house, &format!("/devices/{one}/block"), json!({})).await;

    assert_eq!(count().await, json!(0));
}

#[tokio::test]
async fn what_is_asked_of_a_device_reaches_its_management_point_at_once() {
    let (house, device) = a_house().await;
    let path = format!("tasks?after={}&wait=60", house.site.store.last_task().await.unwrap());

    let held = tell(&house, "GET", &path, Value::Null);
    let asked = async {
        tokio::task::yield_now().await;
        made(&house, &format!("/devices/{device}/ping"), json!({})).await
    };
    let ((status, tasks), asked) = tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(held, asked) }).await.unwrap();

    assert_eq!((status, asked.status.as_u16(), &asked.body["through"]), (200, 202, &Value::Null));
    assert_eq!(tasks["tasks"], json!([{ "client": device, "task": { "number": asked.body["task"], "kind": "ping" } }]));
    let (_, again) = tell(&house, "GET", "tasks?after=1000&wait=60", Value::Null).await;
    assert_eq!(again["tasks"], tasks["tasks"], "a number that was never given is of another database");
    let records = get(&house, "/audit?kind=client&limit=1").await;
    assert_eq!(records["items"][0]["action"], json!("ask"));
}

#[tokio::test]
async fn who_does_not_count_is_asked_nothing() {
    let house = House::new().await;
    let waiting = json!({ "name": "PC-1", "identity_kind": "key", "key_thumbprint": "A".repeat(43) });
    let id = made(&house, "/devices", waiting).await.body["id"].as_str().unwrap().to_owned();

    let refused = house.ask_as("ian", Ask::post(&format!("/devices/{id}/policy"), json!({}))).await;

    assert_eq!((refused.status.as_u16(), refused.keys()), (422, vec!["state"]));
    assert_eq!(house.site.store.last_task().await.unwrap(), 0);
}

#[tokio::test]
async fn messages_and_tasks_are_forgotten_in_time() {
    let (house, device) = a_house().await;
    let mut new = message(&device, "new", "status", json!({}));
    new["received_at"] = json!(house.now());
    pass_on(&house, json!([message(&device, "old", "status", json!({})), new])).await;
    made(&house, &format!("/devices/{device}/ping"), json!({})).await;
    let keep = Keep { audit: Duration::from_secs(400 * 86_400), messages: Duration::from_secs(86_400) };

    let first = forget(&house.site, keep, house.now()).await.unwrap();
    let second = forget(&house.site, keep, house.now() + 2 * 86_400).await.unwrap();

    assert_eq!(((first.messages, first.tasks), (second.messages, second.tasks)), ((1, 0), (1, 1)));
}
