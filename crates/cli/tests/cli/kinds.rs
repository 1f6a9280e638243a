//! Every kind of resource: added, shown, listed, changed, removed; and two administrators at once.

use cmg_lab::Authority;
use serde_json::{Value, json};

use crate::house::House;

/// A kind, what a new one needs, what is changed of it, and how that reads afterwards.
const PLAIN: [(&str, &str, &[&str], &str, &str); 11] = [
    ("site", "XYZ", &["description=second"], "description=third", "/description=\"third\""),
    ("gateway", "main", &["host=cmg.example", "limits.connections=4000"], "instances[0].name=gw-1", "/instances/0/name=\"gw-1\""),
    ("connection-point", "cp-1", &["gateways="], "connections=3", "/connections=3"),
    ("management-point", "mp-1", &["host=mp1.corp.example"], "port=8443", "/port=8443"),
    ("site-system", "mp-1", &["role=web", "urls=http://127.0.0.1:9"], "description=a, b", "/description=\"a, b\""),
    (
        "endpoint",
        "web",
        &["host=web.example", "prefix=/", "face=open", "open_acknowledged=true", "servers=http://127.0.0.1:9"],
        "h2=true",
        "/h2=true",
    ),
    ("boundary-group", "vpn", &["networks=10.0.0.0/8,192.0.2.0/24"], "prefer_cloud_based_sources=true", "/prefer_cloud_based_sources=true"),
    ("internet-server", "dmz", &["management_points=https://ibcm.example.com"], "weight=3", "/weight=3"),
    ("client-settings", "default", &["policy_every=30m"], "agents.osquery.interval=60", "/agents/osquery/interval=60"),
    (
        "sign-in-provider",
        "corp",
        &["issuer=https://login.example", "client_id=cmg", "client_secret=sixteen characters", "site_url=https://site.example:8444"],
        "enabled=false",
        "/enabled=false",
    ),
    (
        "token-issuer",
        "keys",
        &[
            "kind=entra",
            "tenant=8a0c6a3e-1111-4222-8333-444455556666",
            "resource_uri=api://cmg",
            "client_app_id=8a0c6a3e-1111-4222-8333-444455556667",
            "token_kind=oidc-user",
        ],
        "enabled=false",
        "/enabled=false",
    ),
];

#[tokio::test]
async fn each_kind_is_added_shown_listed_changed_and_removed() {
    let house = House::signed_in().await;

    for (kind, name, new, set, after) in PLAIN {
        let added = house.cmg(&[&[kind, "new", name], new].concat()).await.done();
        assert!(
            added.err.contains(&format!("Added {kind} {name}, generation {}", house.generation())) && added.out.is_empty(),
            "{added:?}"
        );
        let set: Vec<&str> = if kind == "gateway" { vec![set, "instances[0].address=10.0.0.1:443"] } else { vec![set] };

        house.cmg(&[&[kind, "set", name], set.as_slice()].concat()).await.done();

        let (pointer, value) = after.split_once('=').unwrap();
        let shown = house.cmg(&[kind, "show", name, "--json"]).await.json();
        assert_eq!(shown.pointer(pointer), Some(&serde_json::from_str::<Value>(value).unwrap()), "{kind}: {shown}");
        let listed = house.cmg(&[kind, "list"]).await.done();
        assert!(listed.out.starts_with("NAME") && listed.out.lines().any(|line| line.starts_with(name)), "{listed:?}");
        house.cmg(&[kind, "remove", name]).await.done();
        house.cmg(&[kind, "show", name]).await.refused(&[name]);
    }
}

#[tokio::test]
async fn a_certificate_comes_from_pem_files_and_is_replaced() {
    let house = House::signed_in().await;
    let root = Authority::root("root").unwrap();
    let [(chain, key), (next_chain, next_key)] = ["one", "next"].map(|stem| {
        let server = root.server(&["cmg.example"]).unwrap();
        (house.file(&format!("{stem}.pem"), &server.certificate_pem), house.file(&format!("{stem}.key"), &server.key_pem))
    });

    let made = house.cmg(&["certificate", "new", "web", "--chain", &chain, "--key", &key, "--json"]).await.json();
    let described = house.cmg(&["certificate", "set", "web", "description=front", "--json"]).await.json();
    let replaced = house.cmg(&["certificate", "set", "web", "--chain", &next_chain, "--key", &next_key, "--json"]).await.json();

    assert_eq!((&made["names"], &described["fingerprint"]), (&json!(["cmg.example"]), &made["fingerprint"]));
    assert_eq!(replaced["description"], "front");
    assert_ne!(replaced["fingerprint"], made["fingerprint"]);
    house.cmg(&["certificate", "set", "web", "--chain", &chain, "--key", &next_key]).await.refused(&["key"]);
}

#[tokio::test]
async fn a_pfx_without_its_password_is_no_command() {
    let house = House::signed_in().await;
    let pfx = house.file("web.pfx", [0x30, 0x03, 0x02, 0x01, 0x01]);
    let password = house.file("password", "secret\n");

    assert_eq!(house.cmg(&["certificate", "new", "web", "--pfx", &pfx]).await.code, 2);
    house.cmg(&["certificate", "new", "web", "--pfx", &pfx, "--password-file", &password]).await.refused(&["pfx"]);
}

#[tokio::test]
async fn a_trust_comes_from_files_in_pem_and_der() {
    let house = House::signed_in().await;
    let (root, second) = (Authority::root("root").unwrap(), Authority::root("second").unwrap());
    let issuing = root.issuing("issuing").unwrap();
    let crl = root.crl(&[]).unwrap();
    let files = [
        ("--authority", house.file("root.pem", root.certificate_pem())),
        ("--authority", house.file("second.cer", second.certificate_der())),
        ("--intermediate", house.file("issuing.pem", issuing.certificate_pem())),
        ("--crl", house.file("root.crl", &crl.der)),
    ];
    let files: Vec<&str> = files.iter().flat_map(|(flag, file)| [*flag, file.as_str()]).collect();

    let added = house.cmg(&[&["trust", "new", "corp", "check_revocation=true"], files.as_slice()].concat()).await.done();
    assert!(added.err.contains("(stale_crl is deny)"), "{added:?}");
    let set = house.cmg(&["trust", "set", "corp", "stale_crl.grace=7d", "--json"]).await.json();
    assert_eq!(set["stale_crl"], json!({"grace": "7d"}));
    let shown = house.cmg(&["trust", "show", "corp"]).await.done();
    assert!(shown.out.contains("grace = \"7d\""), "{shown:?}");

    let shown = house.cmg(&["trust", "show", "corp", "--json"]).await.json();
    let pem = |key: &str| shown[key].as_array().unwrap().iter().all(|text| text.as_str().unwrap().starts_with("-----BEGIN"));
    assert_eq!(shown["authorities"].as_array().map(Vec::len), Some(2));
    assert!(pem("authorities") && pem("intermediates") && pem("crls"));
    house.cmg(&["trust", "set", "corp", "--authority", files[1]]).await.done();
    let after = house.cmg(&["trust", "show", "corp", "--json"]).await.json();
    assert_eq!((after["authorities"].as_array().map(Vec::len), &after["crls"]), (Some(1), &shown["crls"]));
}

#[tokio::test]
async fn a_change_that_somebody_else_made_is_not_lost() {
    let house = House::signed_in().await;
    house.cmg(&["boundary-group", "new", "vpn", "description=first"]).await.done();
    house.cmg(&["boundary-group", "set", "vpn", "description=theirs"]).await.done();

    let set = house.cmg(&["boundary-group", "set", "vpn", "description=mine", "--version", "1"]).await;
    let removed = house.cmg(&["boundary-group", "remove", "vpn", "--version", "1"]).await;

    set.refused(&["changed", "hint: nothing was changed; look at it by `cmg boundary-group show vpn`"]);
    removed.refused(&["hint: nothing was changed"]);
    assert_eq!(house.cmg(&["boundary-group", "show", "vpn", "--json"]).await.json()["description"], "theirs");
}

#[tokio::test]
async fn what_was_read_is_what_is_replaced() {
    let house = House::signed_in().await;
    house.cmg(&["boundary-group", "new", "vpn"]).await.done();

    let sets = ["one", "two", "three"].map(|words| format!("description={words}"));
    let [one, two, three] = &sets;
    let set = |words| ["boundary-group", "set", "vpn", words];
    let (one, two, three) = (set(one), set(two), set(three));
    let ran = tokio::join!(house.cmg(&one), house.cmg(&two), house.cmg(&three));

    let won = [&ran.0, &ran.1, &ran.2].into_iter().filter(|ran| ran.code == 0).count();
    let version = house.cmg(&["boundary-group", "show", "vpn", "--json"]).await.json()["version"].as_u64();
    assert_eq!(version, Some(won as u64 + 1), "{ran:?}");
}

#[tokio::test]
async fn what_is_shown_can_be_sent_back() {
    let house = House::signed_in().await;
    house.cmg(&["gateway", "new", "main", "host=cmg.example", "instances[0].name=gw-1", "instances[0].address=h:1"]).await.done();
    let before = house.generation();
    let shown = house.cmg(&["gateway", "show", "main"]).await.done().out;
    let same = house.file("main.toml", &shown);
    let other = house.file("other.toml", shown.replace("h:1", "h:2"));

    let again = house.cmg(&["gateway", "set", "main", "--file", &same]).await.done();

    assert!(again.err.contains("Nothing to change"), "{again:?}");
    assert_eq!(house.generation(), before);
    house.cmg(&["gateway", "set", "main", "--file", &other]).await.done();
    let changed = house.cmg(&["gateway", "show", "main", "--json"]).await.json();
    assert_eq!(changed["instances"][0]["address"], "h:2");
}

#[tokio::test]
async fn every_problem_is_told_with_its_key() {
    let house = House::signed_in().await;

    let ran = house.cmg(&["gateway", "new", "main", "host=cmg.example", "colour=red", "limits.connections=many"]).await;
    assert_eq!(ran.code, 2);
    let ran = house.cmg(&["gateway", "new", "main", "host=cmg.example", "limits.handshake_time=soon", "colour=red"]).await;

    ran.refused(&["  limits.handshake_time: ", "  colour: "]);
}

#[tokio::test]
async fn a_dry_run_judges_and_stores_nothing() {
    let house = House::signed_in().await;
    house.cmg(&["boundary-group", "new", "vpn"]).await.done();
    let before = house.generation();

    house.cmg(&["boundary-group", "new", "other", "--dry-run"]).await.done();
    house.cmg(&["boundary-group", "set", "vpn", "description=x", "--dry-run"]).await.done();
    let would = house.cmg(&["boundary-group", "remove", "vpn", "--dry-run"]).await.done();
    house.cmg(&["boundary-group", "set", "vpn", "networks=nowhere", "--dry-run"]).await.refused(&["networks[0]"]);

    assert!(would.err.starts_with("Would"), "{would:?}");
    assert_eq!(house.generation(), before);
    assert_eq!(house.cmg(&["boundary-group", "list", "--json"]).await.json()["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_keys_of_a_kind_are_told() {
    let house = House::signed_in().await;

    let keys = house.cmg(&["gateway", "keys"]).await.done().out;

    assert!(keys.lines().any(|line| line.starts_with("instances[].address")), "{keys}");
}
