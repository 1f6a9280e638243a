//! Server certificates: uploads of every form, and keys that are never seen again.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cmg_lab::{Authority, Issued};
use cmg_site_server::app::change::{Actor, ChangeRefused};
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use pki_types::PrivatePkcs8KeyDer;
use pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::house::{Answered, Ask, House};

struct Papers {
    root: Authority,
    issuing: Authority,
    server: Issued,
}

fn papers() -> Papers {
    let root = Authority::root("root").unwrap();
    let issuing = root.issuing("issuing").unwrap();
    let server = issuing.server(&["cmg.example", "*.cmg.example"]).unwrap();
    Papers { root, issuing, server }
}

impl Papers {
    fn chain(&self) -> String {
        format!("{}{}", self.server.certificate_pem, self.issuing.certificate_pem())
    }

    fn upload(&self) -> Value {
        json!({ "name": "web", "chain": self.chain(), "key": self.server.key_pem })
    }

    fn pfx(&self, password: &str) -> String {
        let key = PrivatePkcs8KeyDer::from_pem_slice(self.server.key_pem.as_bytes()).unwrap();
        let key = PrivateKey::from_der(key.secret_pkcs8_der()).unwrap();
        let ders = [&self.server.der[..], self.issuing.certificate_der()];
        let certificates: Vec<_> = ders.map(|der| Certificate::from_der(der).unwrap()).into();
        let mut store = KeyStore::new();
        store.add_entry("server", KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new("id", key, certificates)));
        BASE64_STANDARD.encode(store.writer(password).write().unwrap())
    }
}

async fn new(house: &House, body: Value) -> Answered {
    house.ask_as("ian", Ask::post("/certificates", body)).await
}

#[tokio::test]
async fn a_pem_upload_is_shown_with_what_it_is_and_without_its_key() {
    let (house, papers) = (House::new().await, papers());

    let made = new(&house, papers.upload()).await;

    assert_eq!((made.status.as_u16(), &made.body["names"]), (201, &json!(["cmg.example", "*.cmg.example"])));
    assert_eq!(made.body["fingerprint"].as_str().unwrap().to_lowercase(), papers.server.thumbprint_sha256().to_lowercase());
    assert!(made.body["not_after"].as_i64().unwrap() > house.now());
    assert_eq!(made.body["key_id"].as_str().unwrap().len(), 64);
    let (shown, listed) = (house.ask_as("fay", Ask::get("/certificates/web")).await, house.ask_as("fay", Ask::get("/certificates")).await);
    let audit = house.ask_as("fay", Ask::get("/audit")).await;
    let line = papers.server.key_pem.lines().nth(1).unwrap();
    for body in [&made.body, &shown.body, &listed.body, &audit.body] {
        assert!(!body.to_string().contains(line) && !body.to_string().contains("PRIVATE KEY"));
    }
    let sealed = house.site.store.secret("certificate/web").await.unwrap().unwrap();
    let opened = house.site.keys().vault.open("certificate/web", &sealed).unwrap();
    assert_eq!(opened.expose(), papers.server.key_pem.as_bytes());
}

#[tokio::test]
async fn a_pfx_upload_is_the_same_certificate() {
    let (house, papers) = (House::new().await, papers());
    let pem = new(&house, papers.upload()).await;

    let pfx = new(&house, json!({ "name": "pfx", "pfx": papers.pfx("secret"), "password": "secret" })).await;

    assert_eq!(pfx.status.as_u16(), 201, "{}", pfx.body);
    for field in ["fingerprint", "key_id", "names", "chain"] {
        assert_eq!(pfx.body[field], pem.body[field], "{field}");
    }
    let sealed = house.site.store.secret("certificate/pfx").await.unwrap().unwrap();
    let opened = house.site.keys().vault.open("certificate/pfx", &sealed).unwrap();
    assert!(opened.expose().starts_with(b"-----BEGIN PRIVATE KEY-----\n"));
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused_with_what_to_do() {
    let (house, papers) = (House::new().await, papers());
    let other = self::papers();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let mixed = format!("{}{}", papers.chain(), other.root.certificate_pem());
    for (what, body, key) in [
        ("wrong password", json!({ "pfx": papers.pfx("secret"), "password": "guess" }), "pfx"),
        ("no password", json!({ "pfx": papers.pfx("secret") }), "password"),
        ("no PFX", json!({ "pfx": "AAAA", "password": "" }), "pfx"),
        ("no base64", json!({ "pfx": "!", "password": "" }), "pfx"),
        ("another's key", json!({ "chain": papers.chain(), "key": other.server.key_pem }), "key"),
        ("no key", json!({ "chain": papers.chain() }), "key"),
        ("key alone", json!({ "key": papers.server.key_pem }), "key"),
        ("nothing", json!({}), "chain"),
        ("encrypted key", json!({ "chain": papers.chain(), "key": encrypted }), "key"),
        ("no PEM", json!({ "chain": "hello", "key": papers.server.key_pem }), "chain"),
        (
            "two servers",
            json!({ "chain": format!("{}{}", papers.chain(), other.server.certificate_pem), "key": papers.server.key_pem }),
            "chain",
        ),
        ("a stranger's root", json!({ "chain": mixed, "key": papers.server.key_pem }), "chain"),
        ("both forms", json!({ "chain": papers.chain(), "pfx": papers.pfx("a"), "password": "a" }), "chain"),
        ("password alone", json!({ "password": "a" }), "password"),
    ] {
        let mut body = body;
        body["name"] = json!("web");

        let refused = new(&house, body).await;

        assert_eq!((refused.status.as_u16(), refused.keys()), (422, vec![key]), "{what}: {}", refused.body);
        assert!(refused.body["problems"][0]["instead"].as_str().unwrap().len() > 5, "{what}");
    }
    assert_eq!(house.site.store.secret("certificate/web").await.unwrap(), None);
}

#[tokio::test]
async fn a_chain_in_another_order_is_sorted() {
    let (house, papers) = (House::new().await, papers());
    let chain = format!("{}{}{}", papers.root.certificate_pem(), papers.issuing.certificate_pem(), papers.server.certificate_pem);

    let made = new(&house, json!({ "name": "web", "chain": chain, "key": papers.server.key_pem })).await;

    assert_eq!(made.status.as_u16(), 201, "{}", made.body);
    let chain = made.body["chain"].as_str().unwrap().replace("\r\n", "\n");
    let place = |pem: String| chain.find(pem.replace("\r\n", "\n").lines().nth(3).unwrap()).unwrap();
    let places =
        [place(papers.server.certificate_pem.clone()), place(papers.issuing.certificate_pem()), place(papers.root.certificate_pem())];
    assert!(places.is_sorted(), "{places:?}");
}

#[tokio::test]
async fn a_certificate_is_replaced_with_or_without_its_key() {
    let (house, papers) = (House::new().await, papers());
    new(&house, papers.upload()).await;
    let put = |body: Value| house.ask_as("ian", Ask::put("/certificates/web", "*", body));

    let words = put(json!({ "name": "web", "description": "the public name" })).await;
    assert_eq!((words.status.as_u16(), words.header("etag")), (200, Some("\"2\"")));
    let same = put(json!({ "name": "web", "description": "the public name", "chain": papers.chain() })).await;
    assert_eq!((same.status.as_u16(), same.header("etag")), (200, Some("\"2\"")), "the key is there already");

    let renewed = self::papers();
    let without_key = put(json!({ "name": "web", "chain": renewed.chain() })).await;
    assert_eq!((without_key.status.as_u16(), without_key.keys()), (422, vec!["key"]));
    let with_key = put(renewed.upload()).await;
    assert_eq!((with_key.status.as_u16(), with_key.header("etag")), (200, Some("\"3\"")));
    assert_ne!(with_key.body["key_id"], words.body["key_id"]);
}

#[tokio::test]
async fn a_certificate_that_is_used_stays_and_its_key_goes_with_it() {
    let (house, papers) = (House::new().await, papers());
    new(&house, papers.upload()).await;
    let gateway = json!({ "name": "main", "host": "cmg.example", "certificates": ["web"] });
    let made = house.ask_as("ian", Ask::post("/gateways", gateway)).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.body);

    let used = house.ask_as("ian", Ask::delete("/certificates/web", "*")).await;
    assert_eq!((used.status.as_u16(), used.keys()), (422, vec!["gateways/main.certificates[0]"]));
    assert!(house.site.store.secret("certificate/web").await.unwrap().is_some());

    house.ask_as("ian", Ask::delete("/gateways/main", "*")).await;
    assert_eq!(house.ask_as("ian", Ask::delete("/certificates/web", "*")).await.status.as_u16(), 204);
    assert_eq!(house.site.store.secret("certificate/web").await.unwrap(), None);
}

#[tokio::test]
async fn apply_takes_certificates_with_or_without_their_keys() {
    let (house, papers) = (House::new().await, papers());
    let apply = |resource: Value| {
        let ask = Ask::post("/apply", json!({ "resources": [{ "kind": "certificate", "resource": resource }] }));
        house.ask_as("ian", ask)
    };

    let first = apply(papers.upload()).await;
    let second = apply(json!({ "name": "web", "chain": papers.chain() })).await;

    assert_eq!((&first.body["created"], &second.body["unchanged"]), (&json!(1), &json!(1)), "{} {}", first.body, second.body);
    assert!(!first.body.to_string().contains("PRIVATE KEY"));
}

fn ordered(more: Value) -> Value {
    let mut acme = json!({ "directory": "https://acme.example/dir", "names": ["cmg.example"], "terms_agreed": true });
    acme.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "name": "web", "acme": acme })
}

#[tokio::test]
async fn what_is_wrong_with_an_order_is_told_at_once_and_nothing_is_stored() {
    let (house, papers) = (House::new().await, papers());
    let wrong = json!({ "directory": "ftp://a", "names": ["*.example"], "terms_agreed": false, "hook": "dns" });
    let mut body = ordered(wrong);
    body["key"] = json!(papers.server.key_pem);

    let refused = new(&house, body).await;

    let keys = ["key", "acme.directory", "acme.names[0]", "acme.terms_agreed", "acme.hook"];
    assert_eq!((refused.status.as_u16(), refused.keys()), (422, keys.to_vec()));
    let mut beside = ordered(json!({}));
    beside["chain"] = json!(papers.chain());
    assert_eq!(new(&house, beside).await.keys(), ["chain"]);
    let unknown = ordered(json!({ "challenge": "dns-01", "hook": "dns" }));
    assert_eq!(new(&house, unknown).await.keys(), ["acme.hook"], "no program of that name is in site.toml");
    assert_eq!(house.ask_as("fay", Ask::get("/certificates/web")).await.status.as_u16(), 404);
}

#[tokio::test]
async fn the_key_of_an_external_account_is_kept_and_never_shown() {
    let house = House::new().await;
    let with = |key: Option<&str>, id: &str| ordered(json!({ "external_account": { "key_id": id, "hmac_key": key } }));
    let put = |body: Value| house.ask_as("ian", Ask::put("/certificates/web", "*", body));
    let (one, other) = ("AAAAAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBA");
    assert_eq!(new(&house, with(None, "id")).await.keys(), ["acme.external_account.hmac_key"]);

    let made = new(&house, with(Some(one), "id")).await;

    assert_eq!((made.status.as_u16(), made.body["version"].as_i64()), (201, Some(1)), "{}", made.body);
    let place = "acme/web/external-account";
    let kept = || async { house.site.keys().vault.open(place, &house.site.store.secret(place).await.unwrap().unwrap()).unwrap() };
    assert_eq!(kept().await.expose(), [0; 16]);
    for (body, version) in [(with(None, "id"), 1), (with(Some(one), "id"), 1), (with(Some(other), "id"), 2)] {
        assert_eq!(put(body).await.body["version"], version);
    }
    assert_ne!(kept().await.expose(), [0; 16]);
    assert_eq!(put(with(None, "another")).await.keys(), ["acme.external_account.hmac_key"]);
    for path in ["/certificates/web", "/audit"] {
        let shown = house.ask_as("fay", Ask::get(path)).await.body.to_string();
        assert!(!shown.contains(one) && !shown.contains(other) && !shown.contains("hmac_key"), "{shown}");
    }

    house.ask_as("ian", Ask::delete("/certificates/web", "*")).await;
    assert_eq!(house.site.store.secret(place).await.unwrap(), None);
}

#[tokio::test]
async fn a_renewal_is_asked_for_once_a_minute_and_of_an_acme_server_only() {
    let (house, papers) = (House::new().await, papers());
    new(&house, ordered(json!({}))).await;
    let mut uploaded = papers.upload();
    uploaded["name"] = json!("uploaded");
    new(&house, uploaded).await;
    let renew = |name: &str| house.ask_as("ian", Ask::new("POST", &format!("/certificates/{name}/renew")));

    let first = renew("web").await;

    assert_eq!((first.status.as_u16(), &first.body["is_asked"]), (202, &json!(true)), "{}", first.body);
    assert_eq!(renew("web").await.status.as_u16(), 429);
    assert_eq!(renew("uploaded").await.status.as_u16(), 422);
    let shown = house.ask_as("fay", Ask::get("/certificates/web")).await;
    assert_eq!(shown.body["acme_status"]["is_asked"], json!(true));
}

#[tokio::test]
async fn an_uploaded_certificate_stays_in_force_until_the_acme_server_has_sent_one() {
    let (house, papers) = (House::new().await, papers());
    let before = new(&house, papers.upload()).await;

    let mut body = ordered(json!({}));
    body["chain"] = before.body["chain"].clone();
    let after = house.ask_as("ian", Ask::put("/certificates/web", "*", body)).await;

    assert_eq!(after.status.as_u16(), 200, "{}", after.body);
    assert_eq!((&after.body["fingerprint"], &after.body["chain"]), (&before.body["fingerprint"], &before.body["chain"]));
}

/// A challenge for a name, as it lies in the database while an order is under way.
async fn challenged(house: &House, name: &str) -> Result<(), ChangeRefused> {
    let challenge = json!({ "name": name, "kind": "tls-alpn-01", "token": "t", "key_authorization": "t.k" });
    let mut draft = house.site.draft(&Actor::default()).await?;
    draft.change.put_secret("acme/web/challenges", json!([challenge]).to_string().as_bytes()).await.unwrap();
    draft.ground.acme.insert("web".to_owned(), vec![serde_json::from_value(challenge).unwrap()]);
    draft.publish();
    draft.commit().await.map(drop)
}

#[tokio::test]
async fn a_challenge_ends_when_its_certificate_is_uploaded_in_the_middle_of_an_order() {
    let (house, papers) = (House::new().await, papers());
    new(&house, ordered(json!({}))).await;
    challenged(&house, "cmg.example").await.unwrap();

    let uploaded = house.ask_as("ian", Ask::put("/certificates/web", "*", papers.upload())).await;

    assert_eq!(uploaded.status.as_u16(), 200, "{}", uploaded.body);
    assert!(house.site.in_force().ground.acme.is_empty());
    assert_eq!(house.site.store.secret("acme/web/challenges").await.unwrap(), None);
}

#[tokio::test]
async fn a_challenge_that_gateways_would_refuse_is_not_published() {
    let house = House::new().await;
    new(&house, ordered(json!({}))).await;
    let gateway = json!({ "name": "main", "host": "cmg.example", "certificates": ["web"] });
    let made = house.ask_as("ian", Ask::post("/gateways", gateway)).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.body);

    let refused = challenged(&house, "\u{fc}").await.unwrap_err();

    assert!(format!("{refused:?}").contains("acme_challenge[0]"), "{refused:?}");
    challenged(&house, "cmg.example").await.unwrap();
}
