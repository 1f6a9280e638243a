//! Who may do what, as a table: every route, asked by nobody and by an account of each role, and the status that it answers.
//!
//! A new route fails this test until its row is written into `routes.txt`; whoever does that decides who may use it.

use std::fmt::Write;

use cmg_site_server::http::api;

use crate::house::{ACCOUNTS, Ask, House};

const TABLE: &str = include_str!("routes.txt");

#[tokio::test]
async fn every_route_answers_every_role_as_the_table_says() {
    let house = House::new().await;
    let mut found = String::from("# method, path, needs: status for nobody, analyst, infrastructure administrator, full administrator\n");
    for row in api::rows() {
        let mut statuses = Vec::new();
        statuses.push(house.ask(ask(&row)).await.status.as_u16());
        for (account, _) in ACCOUNTS {
            statuses.push(house.ask_as(account, ask(&row)).await.status.as_u16());
        }
        let statuses: Vec<String> = statuses.iter().map(u16::to_string).collect();
        let path = row.path.strip_prefix("/api/v1").unwrap();
        writeln!(found, "{} {path} {}: {}", row.method, row.needs, statuses.join(" ")).unwrap();
    }

    assert!(found == TABLE, "write this into routes.txt, if it is as it should be:\n{found}");
}

/// A request that is as empty as it can be: it shows whether it comes past the guard.
fn ask(row: &api::Row) -> Ask {
    let path = row.path.strip_prefix("/api/v1").unwrap().split('/');
    let path: Vec<&str> = path.map(|part| if part.starts_with('{') { "nothing" } else { part }).collect();
    let ask = Ask::new(row.method, &path.join("/"));
    match row.method {
        "GET" => ask,
        "DELETE" => ask.header("if-match", "*"),
        _ => ask.header("if-match", "*").json(serde_json::json!({})),
    }
}
