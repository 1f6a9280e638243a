//! The connection breaks while the database stores a change: it is stored, and nobody was told.
//!
//! PostgreSQL is made to wait for a standby that is not there: what it commits is on disk, and the answer does not come.

use std::sync::Arc;

use crate::house::{Ask, House};
use crate::postgres::Server;
use crate::watch::{following, in_force, new_point, refused};

/// Who waits for the standby.
const WAITING: &str = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

struct Scene {
    server: Server,
    house: Arc<House>,
    secret: String,
}

impl Scene {
    /// `None` if PostgreSQL is not installed.
    async fn new() -> Option<Self> {
        let server = Server::own()?;
        let house = House::at(cmg_store::Place::Postgres(server.url("postgres")), "site-1", None).await;
        let secret = house.session("ian").await;
        Some(Self { server, house: Arc::new(house), secret })
    }

    fn sql(&self, sql: &str) -> String {
        self.server.run("psql", &["-Atqc", sql, "postgres"]).trim().to_owned()
    }

    fn ask(&self) -> Ask {
        new_point("cp-1").bearer(&self.secret).header("idempotency-key", "k")
    }

    /// A request whose change is stored and not answered.
    async fn stored_and_waiting(&self) -> tokio::task::JoinHandle<crate::house::Answered> {
        self.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        self.sql("SELECT pg_reload_conf()");
        // The server tells its children when it has read the file.
        while self.sql("SHOW synchronous_standby_names") != "nobody" {
            tokio::task::yield_now().await;
        }
        let (house, ask) = (Arc::clone(&self.house), self.ask());
        let asked = tokio::spawn(async move { house.ask(ask).await });
        while self.sql(&format!("SELECT count(*) {WAITING}")) != "1" {
            assert!(!asked.is_finished(), "it was answered");
        }
        self.sql("ALTER SYSTEM RESET synchronous_standby_names");
        asked
    }

    async fn is_repaired(&self, before: cmg_api::control::GenerationId) {
        let next = cmg_api::control::GenerationId { number: before.number + 1, ..before };
        in_force(&self.house.site, next).await;
        assert!(self.house.site.in_force().model.connection_points.contains_key("cp-1"));
        let again = self.house.ask(self.ask()).await;
        assert_eq!(again.status.as_u16(), 201, "who asks again with the same key gets the first answer: {again:?}");
        assert_eq!(self.house.site.in_force().generation(), next);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_look_puts_in_force_what_was_stored() {
    let Some(scene) = Scene::new().await else { return };
    let before = scene.house.site.in_force().generation();
    let asked = scene.stored_and_waiting().await;

    scene.sql(&format!("SELECT pg_terminate_backend(pid) {WAITING}"));

    refused(&asked.await.unwrap(), 503, "unavailable", "check that PostgreSQL runs");
    assert_eq!(scene.house.site.in_force().generation(), before, "nobody knows yet");
    scene.sql("SELECT pg_reload_conf()");
    let _following = following(&[&scene.house.site]);
    scene.is_repaired(before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_change_builds_on_what_was_stored() {
    let Some(scene) = Scene::new().await else { return };
    let before = scene.house.site.in_force().generation();
    let asked = scene.stored_and_waiting().await;
    scene.sql(&format!("SELECT pg_terminate_backend(pid) {WAITING}"));
    asked.await.unwrap();
    scene.sql("SELECT pg_reload_conf()");

    let next = scene.house.ask(new_point("cp-2").bearer(&scene.secret)).await;

    assert_eq!(next.status.as_u16(), 201, "{next:?}");
    let after = scene.house.site.in_force();
    assert_eq!(after.generation().number, before.number + 2);
    assert!(after.model.connection_points.keys().eq(["cp-1", "cp-2"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_goes_away_while_it_is_stored() {
    let Some(scene) = Scene::new().await else { return };
    let _following = following(&[&scene.house.site]);
    let before = scene.house.site.in_force().generation();
    let asked = scene.stored_and_waiting().await;

    asked.abort();
    asked.await.unwrap_err();
    scene.sql("SELECT pg_reload_conf()");

    scene.is_repaired(before).await;
}
