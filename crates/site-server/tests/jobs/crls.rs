//! Revocation lists, fetched from a real web server.

use std::time::{Duration, SystemTime};

use cmg_lab::Authority;
use cmg_site_server::app::crls::{self, ListRefused, Synced};
use cmg_site_server::app::fetching::{Fetcher, Reach, side_by_side};
use cmg_site_server::app::publish::Ground;
use serde_json::{Value, json};

use crate::house::{Ask, House};
use crate::seen::made;
use crate::serving::{Page, Web};

const HOUR: Duration = Duration::from_secs(3_600);

async fn with_trust(house: &House, authority: &Authority, urls: &[String]) -> std::sync::Arc<cmg_api::resource::ClientTrust> {
    let trust =
        json!({ "name": "devices", "authorities": [authority.certificate_pem()], "crl_urls": urls, "allow_private_addresses": true });
    made(house, "/trusts", trust).await;
    std::sync::Arc::clone(&house.site.in_force().model.trusts["devices"])
}

fn fetcher() -> Fetcher {
    Fetcher::believing(Vec::new())
}

async fn synced(house: &House) -> Vec<Synced> {
    let trust = std::sync::Arc::clone(&house.site.in_force().model.trusts["devices"]);
    crls::sync(&house.site, &fetcher(), &trust, house.now()).await.unwrap()
}

fn lists(house: &House) -> Vec<Vec<u8>> {
    let in_force = house.site.in_force();
    in_force.ground.fetched_lists.get("devices").into_iter().flatten().map(|list| list.to_vec()).collect()
}

#[tokio::test]
async fn lists_of_several_points_are_published_and_only_when_they_change() {
    let (house, web, authority) = (House::new().await, Web::plain().await, Authority::root("Lab CA").unwrap());
    let (one, other) = (authority.crl(&[&[1]]).unwrap(), authority.crl(&[&[2]]).unwrap());
    web.put("/1.crl", Page::Bytes(one.der.clone()));
    web.put("/2.crl", Page::Bytes(other.pem.clone().into_bytes()));
    with_trust(&house, &authority, &[web.url("/1.crl"), web.url("/2.crl")]).await;
    let before = house.site.in_force().generation();

    let first = synced(&house).await;

    assert!(first.iter().all(|synced| synced.outcome == Ok(true)), "{first:?}");
    assert_eq!(lists(&house), [one.der, other.der]);
    let after = house.site.in_force().generation();
    assert!(after > before);
    assert!(synced(&house).await.iter().all(|synced| synced.outcome == Ok(false)));
    assert_eq!(house.site.in_force().generation(), after);
    let shown = house.ask_as("ann", Ask::get("/trusts/devices/crls")).await.body;
    assert_eq!((&shown["items"][0]["state"], &shown["items"][1]["error"]), (&json!("fresh"), &Value::Null));
    let (other, _) = house.other().await;
    assert_eq!(other.in_force().ground.fetched_lists, house.site.in_force().ground.fetched_lists);
}

#[tokio::test]
async fn a_list_that_does_not_count_leaves_the_last_good_one() {
    let (house, web, authority) = (House::new().await, Web::plain().await, Authority::root("Lab CA").unwrap());
    let good = authority.crl(&[&[1]]).unwrap().der;
    web.put("/ca.crl", Page::Bytes(good.clone()));
    with_trust(&house, &authority, &[web.url("/ca.crl")]).await;
    synced(&house).await;
    let now = SystemTime::now();
    let (same_name, foreign) = (Authority::root("Lab CA").unwrap(), Authority::root("Other CA").unwrap());
    for (bytes, words) in [
        (b"<html>log in</html>".to_vec(), "neither DER nor one list in PEM"),
        (vec![0x30, 0x03, 1, 1, 0], "no X.509 revocation list"),
        (same_name.crl(&[]).unwrap().der, "not its signature"),
        (foreign.crl(&[]).unwrap().der, "\"CN=Other CA"),
        (authority.stale_crl(&[]).unwrap().der, "next update was due"),
        (authority.crl_between(&[], now - HOUR * 48, now + HOUR).unwrap().der, "older than the one held"),
        (authority.crl_between(&[], now + HOUR, now + HOUR * 48).unwrap().der, "counts only from"),
    ] {
        web.put("/ca.crl", Page::Bytes(bytes));

        let Err(error) = &synced(&house).await[0].outcome else { panic!("{words}") };

        assert!(error.contains(words), "{words}: {error}");
        assert_eq!(lists(&house), std::slice::from_ref(&good), "{words}");
        let shown = house.ask_as("ann", Ask::get("/trusts/devices/crls")).await.body;
        assert_eq!((shown["items"][0]["error"].as_str(), &shown["items"][0]["state"]), (Some(error.as_str()), &json!("fresh")));
    }
}

#[tokio::test]
async fn a_point_that_is_gone_is_noted_and_tried_again_within_two_minutes() {
    let (house, web, authority) = (House::new().await, Web::plain().await, Authority::root("Lab CA").unwrap());
    with_trust(&house, &authority, &[web.url("/ca.crl")]).await;
    let now = house.now();
    let tries = || web.asked().len();

    crls::sync_due(&house.site, &fetcher(), now).await.unwrap();
    crls::sync_due(&house.site, &fetcher(), now + 59).await.unwrap();
    assert_eq!(tries(), 1);
    web.put("/ca.crl", Page::Bytes(authority.crl(&[]).unwrap().der));
    crls::sync_due(&house.site, &fetcher(), now + 120).await.unwrap();
    assert_eq!((tries(), lists(&house).len()), (2, 1));

    // A month to the next update: looked at every hour, and not before.
    crls::sync_due(&house.site, &fetcher(), now + 120 + 3_599).await.unwrap();
    assert_eq!(tries(), 2);
    crls::sync_due(&house.site, &fetcher(), now + 120 + 3_600).await.unwrap();
    assert_eq!(tries(), 3);
}

#[tokio::test]
async fn a_short_list_is_looked_at_when_half_its_time_is_over() {
    let crl = |lifetime: i64| cmg_store::Crl {
        trust: String::new(),
        source: String::new(),
        der: None,
        this_update: Some(0),
        next_update: Some(1_000 + lifetime),
        fetched_at: Some(1_000),
        tried_at: 1_000,
        error: None,
    };

    assert_eq!([60, 4_000, 1_000_000].map(|lifetime| crls::due(&crl(lifetime)) - 1_000), [600, 2_000, 3_600]);
}

#[tokio::test]
async fn an_address_that_was_taken_away_takes_its_list_along() {
    let (house, web, authority) = (House::new().await, Web::plain().await, Authority::root("Lab CA").unwrap());
    web.put("/ca.crl", Page::Bytes(authority.crl(&[]).unwrap().der));
    with_trust(&house, &authority, &[web.url("/ca.crl")]).await;
    synced(&house).await;
    let without = json!({ "name": "devices", "authorities": [authority.certificate_pem()] });
    assert!(house.ask_as("ian", Ask::put("/trusts/devices", "*", without)).await.status.is_success());

    crls::sync_due(&house.site, &fetcher(), house.now()).await.unwrap();

    assert!(lists(&house).is_empty() && house.site.store.crls_of("devices").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_delta_list_is_told_to_be_one() {
    let authority = Authority::root("Lab CA").unwrap();
    let trust: cmg_api::resource::ClientTrust =
        serde_json::from_value(json!({ "name": "devices", "authorities": [authority.certificate_pem()] })).unwrap();
    let delta = with_extension(&authority.crl(&[]).unwrap().der, &[0x06, 3, 0x55, 0x1d, 27, 0x01, 1, 0xff, 0x04, 3, 2, 1, 1]);

    let refused = crls::judge(&trust, &Ground::default(), &delta, None, 0, 0).unwrap_err();

    assert!(matches!(&refused, ListRefused::Unusable(what) if what.contains("delta list")), "{refused}");
}

/// Adds an extension to a list; the signature does not fit it any more, which is looked at later.
fn with_extension(list: &[u8], extension: &[u8]) -> Vec<u8> {
    use x509_parser::prelude::{CertificateRevocationList, FromDer};

    let (_, parsed) = CertificateRevocationList::from_der(list).unwrap();
    let tbs = parsed.tbs_cert_list.as_ref();
    let wrap = |tag: u8, content: &[u8]| match content.len() {
        short @ ..0x80 => [&[tag, short as u8], content].concat(),
        middle @ ..0x100 => [&[tag, 0x81, middle as u8], content].concat(),
        long => [&[tag, 0x82, (long >> 8) as u8, long as u8], content].concat(),
    };
    let inside = |der: &[u8]| {
        let (_, any) = x509_parser::asn1_rs::Any::from_der(der).unwrap();
        any.data.to_vec()
    };
    // The extensions stand last, as [0] { SEQUENCE }.
    let content = inside(tbs);
    let mut rest: &[u8] = &content;
    let mut last = rest;
    while !rest.is_empty() {
        last = rest;
        rest = x509_parser::asn1_rs::Any::from_der(rest).unwrap().0;
    }
    let before = &content[..content.len() - last.len()];
    let extensions = [inside(&inside(last)), wrap(0x30, extension)].concat();
    let tbs = wrap(0x30, &[before, &wrap(0xa0, &wrap(0x30, &extensions))].concat());
    let after = &inside(list)[parsed.tbs_cert_list.as_ref().len()..];
    wrap(0x30, &[&tbs, after].concat())
}

#[tokio::test]
async fn an_uploaded_list_that_does_not_count_is_refused_with_what_to_do() {
    let house = House::new().await;
    let (authority, foreign) = (Authority::root("Lab CA").unwrap(), Authority::root("Other CA").unwrap());
    let crls =
        [authority.crl(&[]).unwrap().pem, authority.stale_crl(&[]).unwrap().pem, foreign.crl(&[]).unwrap().pem, "rubbish".to_owned()];
    let trust = json!({ "name": "devices", "authorities": [authority.certificate_pem()], "crls": crls });

    let refused = house.ask_as("ian", Ask::post("/trusts", trust)).await;

    assert_eq!((refused.status.as_u16(), refused.keys()), (422, vec!["crls[1]", "crls[2]", "crls[3]"]), "{refused:?}");
    assert!(house.site.in_force().model.trusts.is_empty());
}

#[tokio::test]
async fn every_wrong_field_of_a_trust_is_told() {
    let house = House::new().await;
    let authority = Authority::root("Lab CA").unwrap().certificate_pem();
    let trust = json!({ "name": "devices", "authorities": [authority, "rubbish"], "crl_urls": ["ftp://a", "http://a", "http://a", "http://u:p@a/"] });

    let refused = house.ask_as("ian", Ask::post("/trusts", trust)).await;

    assert_eq!(refused.keys(), ["crl_urls[0]", "crl_urls[2]", "crl_urls[3]", "authorities[1]"]);
}

#[tokio::test]
async fn a_point_with_a_certificate_of_the_trusts_own_authority_is_believed() {
    let (house, authority, other) = (House::new().await, Authority::root("Lab CA").unwrap(), Authority::root("Other CA").unwrap());
    let (own, foreign) =
        (Web::tls(&authority.server(&["localhost"]).unwrap()).await, Web::tls(&other.server(&["localhost"]).unwrap()).await);
    for web in [&own, &foreign] {
        web.put("/ca.crl", Page::Bytes(authority.crl(&[]).unwrap().der));
    }
    with_trust(&house, &authority, &[own.url("/ca.crl"), foreign.url("/ca.crl")]).await;

    let synced = synced(&house).await;

    assert_eq!(synced[0].outcome, Ok(true));
    assert!(synced[1].outcome.as_ref().is_err_and(|error| error.contains("certificate")), "{synced:?}");
}

#[tokio::test]
async fn a_redirect_is_followed_three_times_and_not_to_other_schemes() {
    let web = Web::plain().await;
    web.put("/end", Page::Bytes(b"end".to_vec()));
    for (from, to) in [("/3", "/2"), ("/2", "/1"), ("/1", "/end"), ("/4", "/3")] {
        web.put(from, Page::Redirect(web.url(to)));
    }
    web.put("/file", Page::Redirect("file:///etc/passwd".to_owned()));
    let get = |path| {
        let url = web.url(path);
        async move { fetcher().any(&url, 100, Reach::Everywhere).await }
    };

    assert_eq!(get("/3").await.unwrap(), b"end");
    assert!(get("/4").await.unwrap_err().to_string().contains("redirects too often"));
    assert!(get("/file").await.is_err());
}

#[tokio::test]
async fn a_redirect_leads_to_no_machine_that_may_not_be_asked() {
    let web = Web::plain().await;
    web.put("/own", Page::Bytes(b"own".to_vec()));
    let port = web.url("/own").rsplit_once(':').unwrap().1.to_owned();
    for (path, host) in [("/number", "127.0.0.1"), ("/name", "localhost"), ("/mapped", "[::ffff:127.0.0.1]")] {
        web.put(path, Page::Redirect(format!("http://{host}:{port}")));
        // The first step is judged as those behind it are.
        let reach = Reach::of(true, "http://pki.corp.example/ca.crl");
        let refused = fetcher().any(&web.url(path), 100, reach).await.unwrap_err().to_string();
        assert!(refused.contains("this machine"), "{refused}");
    }
    assert!(web.asked().is_empty());
}

#[tokio::test]
async fn points_inside_are_asked_only_where_the_trust_says_so() {
    let (house, web, authority) = (House::new().await, Web::plain().await, Authority::root("Lab CA").unwrap());
    web.put("/ca.crl", Page::Bytes(authority.crl(&[]).unwrap().der));
    let trust = json!({ "name": "devices", "authorities": [authority.certificate_pem()], "crl_urls": [web.url("/ca.crl")] });
    made(&house, "/trusts", trust).await;

    let refused = synced(&house).await[0].outcome.clone().unwrap_err();

    assert!(refused.contains("allow_private_addresses") && web.asked().is_empty(), "{refused}");
}

#[tokio::test]
async fn a_list_of_another_issuer_does_not_take_the_place_of_one() {
    let (house, web) = (House::new().await, Web::plain().await);
    let (one, other) = (Authority::root("One CA").unwrap(), Authority::root("Other CA").unwrap());
    let held = one.crl(&[&[1]]).unwrap().der;
    web.put("/ca.crl", Page::Bytes(held.clone()));
    let mut trust = json!({
        "name": "devices", "authorities": [one.certificate_pem(), other.certificate_pem()],
        "crl_urls": [web.url("/ca.crl")], "allow_private_addresses": true,
    });
    made(&house, "/trusts", trust.clone()).await;
    assert_eq!(synced(&house).await[0].outcome, Ok(true));

    web.put("/ca.crl", Page::Bytes(other.crl(&[]).unwrap().der));
    let refused = synced(&house).await[0].outcome.clone().unwrap_err();
    assert!(refused.contains("give each issuer an address of its own") && lists(&house) == [held], "{refused}");

    trust["authorities"] = json!([other.certificate_pem()]);
    assert!(house.ask_as("ian", Ask::put("/trusts/devices", "*", trust)).await.status.is_success());
    assert_eq!(synced(&house).await[0].outcome, Ok(true));
}

#[tokio::test]
async fn an_authority_is_replaced_by_one_of_the_same_name_in_one_change() {
    let (house, web) = (House::new().await, Web::plain().await);
    let (old, new) = (Authority::root("Lab CA").unwrap(), Authority::root("Lab CA").unwrap());
    let (old_list, new_list) = (old.crl(&[&[1]]).unwrap().der, new.crl(&[&[2]]).unwrap().der);
    web.put("/ca.crl", Page::Bytes(old_list.clone()));
    with_trust(&house, &old, &[web.url("/ca.crl")]).await;
    synced(&house).await;
    let trust = json!({
        "name": "devices", "authorities": [new.certificate_pem()], "crl_urls": [web.url("/ca.crl")], "allow_private_addresses": true,
    });
    let put = |query: &str| house.ask_as("ian", Ask::put(&format!("/trusts/devices{query}"), "*", trust.clone()));

    assert!(put("?dry_run=true").await.status.is_success());
    assert_eq!(lists(&house), [old_list]);
    let replaced = put("").await;

    assert!(replaced.status.is_success() && lists(&house).is_empty(), "{replaced:?}");
    web.put("/ca.crl", Page::Bytes(new_list.clone()));
    assert_eq!((synced(&house).await[0].outcome.clone(), lists(&house)), (Ok(true), vec![new_list]));
}

/// Each is answered only when as many ask at one time as may.
#[tokio::test]
async fn several_points_are_asked_side_by_side() {
    let gate = tokio::sync::Barrier::new(4);
    let work = (0..8).map(|number| {
        let gate = &gate;
        async move {
            gate.wait().await;
            number
        }
    });

    let all = tokio::time::timeout(Duration::from_secs(30), side_by_side(work.collect())).await;

    assert_eq!(all.unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let web = Web::plain().await;
    web.put("/endless", Page::Endless);

    let cut = fetcher().any(&web.url("/endless"), 1 << 20, Reach::Everywhere).await;

    assert!(cut.unwrap_err().to_string().contains("larger than 1048576 bytes"));
}
