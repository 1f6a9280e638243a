//! Databases to be on, and what must not change while one of them fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cmg_api::control::GenerationId;
use cmg_lab::Authority;
use cmg_site_server::app::in_force::InForce;
use cmg_site_server::site::Site;
use cmg_store::Place;
use serde_json::json;
use tokio::task::JoinSet;

use crate::house::{Answered, Ask, House};
use crate::postgres::shared;
use crate::seen::{enrol, made};

/// After so long nothing comes any more, however slow the machine is.
const LONG: Duration = Duration::from_secs(60);

/// The name of a new database on the server that all tests share. `None` if PostgreSQL is not installed.
pub(crate) fn database() -> Option<(String, Place)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("site{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let server = shared()?;
    server.run("createdb", &[&name]);
    let place = Place::Postgres(server.url(&name));
    Some((name, place))
}

/// Lets site servers follow their database until dropped.
pub(crate) fn following(sites: &[&Arc<Site>]) -> JoinSet<()> {
    sites.iter().map(|site| Arc::clone(site).keep_fresh()).collect()
}

/// Waits until a site server has this generation in force.
pub(crate) async fn in_force(site: &Site, generation: GenerationId) {
    let mut newest = site.newest();
    let reached = tokio::time::timeout(LONG, newest.wait_for(|newest| *newest == generation)).await;
    reached.expect("it is not in force at all").unwrap();
}

/// A request for a new connection point.
pub(crate) fn new_point(name: &str) -> Ask {
    Ask::post("/connection-points", json!({ "name": name }))
}

/// A gateway with a certificate of its own, sealed to an enrolled instance.
pub(crate) async fn with_sealed_certificate(house: &House) {
    let issuing = Authority::root("root").unwrap().issuing("issuing").unwrap();
    let server = issuing.server(&["cmg.example"]).unwrap();
    let chain = format!("{}{}", server.certificate_pem, issuing.certificate_pem());
    made(house, "/certificates", json!({ "name": "web", "chain": chain, "key": server.key_pem })).await;
    let instances = json!([{ "name": "gw-1", "address": "a:443" }]);
    made(house, "/gateways", json!({ "name": "main", "host": "cmg.example", "certificates": ["web"], "instances": instances })).await;
    enrol(house, "gateway", "gw-1", "01AB").await;
}

/// What is in force, watched for any change.
pub(crate) struct Unchanged {
    site: Arc<Site>,
    before: Arc<InForce>,
    records: u64,
}

impl Unchanged {
    pub(crate) async fn since_now(house: &House) -> Self {
        Self { site: Arc::clone(&house.site), before: house.site.in_force(), records: house.records().await }
    }

    /// Memory is as it was: the same value, not one like it.
    pub(crate) fn check_memory(&self) {
        assert!(Arc::ptr_eq(&self.before, &self.site.in_force()));
        assert_eq!(*self.site.newest().borrow(), self.before.generation());
        assert!(self.site.freshness().unwrap().payload.contains(&format!("\"number\":{}", self.before.generation().number)));
    }

    /// Whether a member is told of its configuration.
    pub(crate) fn has_signed_manifest(&self, member: &str) -> bool {
        self.site.in_force().signed.contains_key(member)
    }

    /// The database is as it was too, and the next change is the next generation.
    pub(crate) async fn check_all_and_go_on(&self, house: &House, secret: &str) {
        self.check_memory();
        let stored = house.site.store.generation().await.unwrap();
        assert_eq!(stored.number, self.before.generation().number);
        assert_eq!(house.records().await, self.records);
        assert_eq!(points(house).await, self.before.model.connection_points.len() as u64);

        let next = house.ask(new_point("next").bearer(secret)).await;

        assert_eq!(next.status.as_u16(), 201, "{next:?}");
        let mut names: Vec<_> = self.before.model.connection_points.keys().cloned().collect();
        names.push("next".to_owned());
        names.sort();
        assert_eq!(house.site.in_force().model.connection_points.keys().cloned().collect::<Vec<_>>(), names);
        assert_eq!(house.site.in_force().generation().number, self.before.generation().number + 1);
        assert_eq!(house.site.store.generation().await.unwrap().number, self.before.generation().number + 1);
    }
}

async fn points(house: &House) -> u64 {
    house.site.store.count_documents("connection-point").await.unwrap()
}

/// The answer is a refusal of this kind that tells what to do, and when to ask again where that helps.
pub(crate) fn refused(answered: &Answered, status: u16, kind: &str, what_to_do: &str) {
    assert_eq!((answered.status.as_u16(), answered.kind()), (status, kind), "{answered:?}");
    assert!(answered.body["detail"].as_str().unwrap().contains(what_to_do), "{answered:?}");
    assert_eq!(answered.header("retry-after").is_some(), status == 503, "{answered:?}");
    assert_eq!(answered.header("content-type"), Some("application/problem+json"));
}
