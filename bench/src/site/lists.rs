//! How long list pages and `apply` take when there is much: the database is filled beside the running site server.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cmg_lab::Api;
use cmg_store::{Client, ClientState, NewAuditRecord, Place, Store};
use serde_json::{Value, json};

use super::{percentiles, say};
use crate::Result;

const CLIENTS: usize = 100_000;
const ENDPOINTS: usize = 1_000;
const AUDIT_RECORDS: usize = 10_000;
/// How often each question is asked.
const TIMES: usize = 100;

pub(super) async fn run(api: Arc<Api>, database: &Path, origin: String) -> Result<()> {
    fill(database).await?;
    tokio::task::spawn_blocking(move || measure(&api, &origin)).await?
}

async fn fill(database: &Path) -> Result<()> {
    let store = Store::open(Place::Sqlite(database.to_owned())).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
    for thousand in 0..CLIENTS / 1_000 {
        let mut change = store.begin(now).await?;
        for number in thousand * 1_000..(thousand + 1) * 1_000 {
            change
                .add_client(&Client {
                    id: format!("{number:08}-0000-4000-8000-000000000000"),
                    name: format!("PC-{number:06}"),
                    identity: "pki".to_owned(),
                    key_thumbprint: format!("{number:064x}"),
                    state: ClientState::Approved,
                    created_at: now,
                    last_seen_at: Some(now),
                    body: "{}".to_owned(),
                })
                .await?;
        }
        change.commit().await?;
    }
    let mut change = store.begin(now).await?;
    for number in 0..AUDIT_RECORDS {
        let record = NewAuditRecord {
            account: format!("account-{}", number % 10),
            action: "set".to_owned(),
            kind: "endpoint".to_owned(),
            name: format!("endpoint-{}", number % ENDPOINTS),
            before: Some("{}".to_owned()),
            after: Some("{}".to_owned()),
            ..NewAuditRecord::default()
        };
        change.append_audit(&record).await?;
    }
    change.commit().await?;
    store.close().await;
    Ok(())
}

fn measure(api: &Api, origin: &str) -> Result<()> {
    let resources: Vec<Value> = (0..ENDPOINTS).map(|number| endpoint(number, origin, "")).collect();
    let apply = |resources: &[Value]| api.ask("POST", "/apply", Some(&json!({ "resources": resources })));
    let asked = Instant::now();
    apply(&resources)?;
    say(&json!({ "apply_of_new_endpoints": ENDPOINTS, "ms": asked.elapsed().as_millis() as u64 }))?;

    for path in ["/devices?limit=100", "/devices?limit=100&search=PC-0999", "/endpoints?limit=100", "/audit?limit=100", "/status"] {
        time(path, |_| api.ask("GET", path, None).map(drop))?;
    }
    time("POST /apply, 1,000 endpoints, nothing changed", |_| apply(&resources).map(drop))?;
    time("POST /apply, 1,000 endpoints, one changed", |turn| {
        let mut changed = resources.clone();
        changed[turn] = endpoint(turn, origin, "changed");
        apply(&changed).map(drop)
    })?;
    time("POST /apply of one endpoint, changed", |turn| apply(&[endpoint(turn, origin, "changed again")]).map(drop))
}

fn endpoint(number: usize, origin: &str, description: &str) -> Value {
    json!({ "kind": "endpoint", "resource": {
        "name": format!("endpoint-{number}"),
        "description": description,
        "prefix": format!("/endpoint-{number}"),
        "face": "mutual",
        "trust": "devices",
        "servers": [origin],
    }})
}

fn time(what: &str, mut ask: impl FnMut(usize) -> Result<(), cmg_lab::LabError>) -> Result<()> {
    let mut took = Vec::new();
    for turn in 0..TIMES {
        let asked = Instant::now();
        ask(turn)?;
        took.push(asked.elapsed().as_millis() as u64);
    }
    say(&json!({ "asked": what, "ms": percentiles(&mut took) }))
}
