//! `cmg apply`: the difference, the change, and nothing the second time.

use cmg_lab::Authority;
use serde_json::{Value, json};

use crate::house::House;

const FILE: &str = "
[[gateway]]
name = 'main'
host = 'cmg.example'
instances = [{ name = 'gw-1', address = '10.0.0.1:443' }]

[[trust]]
name = 'corp'
authorities = ['@root.pem']
check_revocation = false

[[endpoint]]
name = 'web'
host = 'web.example'
prefix = '/'
face = 'mutual'
trust = 'corp'
servers = ['http://127.0.0.1:9']
";

fn file(house: &House, text: &str) -> String {
    house.file("root.pem", Authority::root("root").unwrap().certificate_pem());
    house.file("all.toml", text)
}

#[tokio::test]
async fn applied_twice_it_changes_nothing_the_second_time() {
    let house = House::signed_in().await;
    let file = file(&house, FILE);

    let first = house.cmg(&["apply", "-f", &file]).await.done();
    let generation = house.generation();
    let second = house.cmg(&["apply", "-f", &file]).await.done();

    assert_eq!(first.out, "+ endpoint web\n+ gateway main\n+ trust corp\n");
    assert!(first.err.contains("3 new") && first.err.contains(&generation), "{first:?}");
    assert_eq!((second.out.trim(), house.generation()), ("", generation));
    assert!(second.err.contains("3 as they were"), "{second:?}");
    let trust = house.cmg(&["trust", "show", "corp", "--json"]).await.json();
    assert!(trust["authorities"][0].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE"));
}

#[tokio::test]
async fn a_dry_run_shows_the_difference_and_stores_nothing() {
    let house = House::signed_in().await;
    let file = file(&house, FILE);
    house.cmg(&["apply", "-f", &file]).await.done();
    let generation = house.generation();
    let changed =
        house.file("changed.toml", FILE.replace("'web.example'", "'www.example'").replace("[[gateway]]", "[[gateway]]\ndescription = 'x'"));

    let ran = house.cmg(&["apply", "-f", &changed, "--dry-run"]).await.done();

    assert_eq!(ran.out, "~ endpoint web\n    host: web.example -> www.example\n~ gateway main\n    description: nothing -> x\n");
    assert_eq!(house.generation(), generation);
    assert_eq!(house.cmg(&["endpoint", "show", "web", "--json"]).await.json()["host"], "web.example");
}

#[tokio::test]
async fn what_is_not_in_the_file_is_removed_where_that_is_said() {
    let house = House::signed_in().await;
    house.cmg(&["boundary-group", "new", "old"]).await.done();
    house.cmg(&["site", "new", "XYZ"]).await.done();
    let file = house.file("groups.json", json!({"boundary-group": [{"name": "vpn"}]}).to_string());

    house.cmg(&["apply", "-f", &file]).await.done();
    let names = async || -> Value {
        let list = house.cmg(&["boundary-group", "list", "--json"]).await.json();
        list["items"].as_array().unwrap().iter().map(|group| group["name"].clone()).collect()
    };
    assert_eq!(names().await, json!(["old", "vpn"]));
    let pruned = house.cmg(&["apply", "-f", &file, "--prune", "boundary-group"]).await.done();

    assert!(pruned.out.contains("- boundary-group old"), "{pruned:?}");
    assert_eq!(names().await, json!(["vpn"]));
    house.cmg(&["site", "show", "XYZ"]).await.done();
}

#[tokio::test]
async fn problems_are_told_in_words_of_the_file_and_nothing_is_stored() {
    let house = House::signed_in().await;
    let generation = house.generation();
    let file = house.file(
        "bad.toml",
        "[[gateway]]\nname = 'main'\nhost = 'h'\ncolour = 'red'\n[[endpoint]]\nname = 'web'\nface = 'blue'\nservers = []\n",
    );

    house.cmg(&["apply", "-f", &file]).await.refused(&["gateway main colour", "endpoint web face"]);

    assert_eq!(house.generation(), generation);
    let unknown = house.file("unknown.toml", "[[gateways]]\nname = 'main'\n");
    house.cmg(&["apply", "-f", &unknown]).await.refused(&["gateways", "connection-point"]);
    house.cmg(&["apply", "-f", &house.path("absent.toml")]).await.refused(&["absent.toml"]);
}

#[tokio::test]
async fn accounts_and_blocks_stand_in_the_file_too() {
    let house = House::signed_in().await;
    house.cmg(&["account", "new", "ann", "--role", "read-only-analyst"]).await.done();
    let text = "[[account]]\nname = 'ann'\nrole = 'infrastructure-administrator'\n[[block]]\ntoken = 't-1'\nnote = 'lost'\n";
    let file = house.file("people.toml", text);

    let first = house.cmg(&["apply", "-f", &file]).await.done();
    let second = house.cmg(&["apply", "-f", &file]).await.done();
    let wrong = house.file("wrong.toml", "[[block]]\nthumbprint = 'xx'\n[[account]]\nname = 'eve'\nrole = 'king'\n");

    assert_eq!(first.out, "~ account ann\n    role: read-only-analyst -> infrastructure-administrator\n+ block token t-1\n");
    assert!(second.err.contains("2 as they were"), "{second:?}");
    house.cmg(&["apply", "-f", &wrong]).await.refused(&["block xx thumbprint", "account eve role"]);
}
