//! The last step fails: everything was judged, signed and written, and the database does not take the commit.

use serde_json::json;

use crate::house::{Ask, House};
use crate::postgres::shared;
use crate::watch::{Unchanged, database, new_point, refused, with_sealed_certificate};

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_everything_is_as_before() {
    let house = House::new().await;
    with_sealed_certificate(&house).await;
    let secret = house.session("ian").await;
    let fails = "CREATE TABLE parent (id INTEGER PRIMARY KEY); \
                 CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED); \
                 CREATE TRIGGER fails AFTER INSERT ON audit BEGIN INSERT INTO child VALUES (1); END";
    house.site.store.on_writer(fails).await.unwrap();
    let unchanged = Unchanged::since_now(&house).await;

    for ask in asks() {
        let answered = house.ask(ask.bearer(&secret)).await;
        refused(&answered, 500, "failed", "its log has the reason");
        unchanged.check_memory();
    }

    house.site.store.on_writer("DROP TRIGGER fails").await.unwrap();
    unchanged.check_all_and_go_on(&house, &secret).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_everything_is_as_before() {
    let Some((name, place)) = database() else { return };
    let house = House::at(place, "site-1", None).await;
    with_sealed_certificate(&house).await;
    let secret = house.session("ian").await;
    let run = |sql: &str| shared().unwrap().run("psql", &["-qc", sql, &name]);
    run("CREATE FUNCTION fails() RETURNS trigger AS $$ BEGIN RAISE 'no space' USING ERRCODE = '53100'; END $$ LANGUAGE plpgsql");
    run("CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON audit DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fails()");
    let unchanged = Unchanged::since_now(&house).await;

    for ask in asks() {
        refused(&house.ask(ask.bearer(&secret)).await, 507, "full", "free space on that disk");
        unchanged.check_memory();
    }

    run("DROP TRIGGER fails ON audit");
    unchanged.check_all_and_go_on(&house, &secret).await;
}

/// Changes of the model, of what is published besides, and of what is sealed.
fn asks() -> [Ask; 4] {
    let gateway = json!({ "name": "more", "host": "more.example", "certificates": ["web"], "instances": [] });
    [
        new_point("lost"),
        Ask::post("/blocks", json!({ "token": "lost" })),
        Ask::post("/gateways", gateway),
        Ask::delete("/gateways/main", "\"1\""),
    ]
}
