//! The certificate doctor: every way in which a certificate fails, and that it says what a gateway would say.

use cmg_lab::{Authority, Profile};
use serde_json::{Value, json};

use crate::house::{Ask, House};
use crate::seen::made;

struct Ward {
    house: House,
    root: Authority,
    issuing: Authority,
}

impl Ward {
    async fn new(trust: Value) -> Self {
        let house = House::new().await;
        let root = Authority::root("Lab CA").unwrap();
        let issuing = root.issuing("Lab Issuing").unwrap();
        let mut body = json!({ "name": "devices", "authorities": [root.certificate_pem()] });
        for (key, value) in trust.as_object().unwrap() {
            body[key] = match value.as_str() {
                Some("lists") => json!([root.crl(&[]).unwrap().pem, issuing.crl(&[&[0x66]]).unwrap().pem]),
                Some("list of the root") => json!([root.crl(&[]).unwrap().pem]),
                Some("intermediates") => json!([issuing.certificate_pem()]),
                _ => value.clone(),
            };
        }
        made(&house, "/trusts", body).await;
        Self { house, root, issuing }
    }

    async fn well() -> Self {
        Self::new(json!({ "intermediates": "intermediates", "crls": "lists" })).await
    }

    async fn says(&self, pem: &str) -> Value {
        self.asked(json!({ "certificate": pem })).await
    }

    async fn asked(&self, question: Value) -> Value {
        let answered = self.house.ask_as("ann", Ask::post("/certificate-doctor", question)).await;
        assert!(answered.status.is_success(), "{answered:?}");
        answered.body
    }

    fn client(&self) -> Profile {
        Profile::client("pc1")
    }
}

fn steps(examination: &Value) -> Vec<(&str, &str)> {
    let steps = examination["steps"].as_array().unwrap();
    steps.iter().map(|step| (step["step"].as_str().unwrap(), step["verdict"].as_str().unwrap())).collect()
}

fn detail<'a>(examination: &'a Value, step: &str) -> &'a str {
    let steps = examination["steps"].as_array().unwrap();
    steps.iter().find(|found| found["step"] == step).unwrap()["detail"].as_str().unwrap()
}

pub(crate) fn label(examination: &Value) -> &str {
    examination["decision"]["label"].as_str().unwrap_or("admitted")
}

/// The first step that went wrong.
fn first_bad(examination: &Value) -> Option<&str> {
    steps(examination).into_iter().find(|(_, verdict)| *verdict == "bad").map(|(step, _)| step)
}

#[tokio::test]
async fn a_good_certificate_passes_every_step() {
    let ward = Ward::well().await;

    let said = ward.says(&ward.issuing.issue(&ward.client()).unwrap().certificate_pem).await;

    let expected = ["parsed", "chain", "purpose", "validity", "revocation", "blocks"].map(|step| (step, "good"));
    assert_eq!((steps(&said), &said["decision"]["admitted"]), (expected.to_vec(), &json!(true)));
    assert!(detail(&said, "chain").contains("Lab Issuing") && detail(&said, "chain").contains("Lab CA"), "{said:#}");
    assert_eq!(detail(&said, "revocation").matches("fresh until").count(), 2, "{said:#}");
}

#[tokio::test]
async fn each_illness_is_found_at_its_step() {
    let ward = Ward::well().await;
    let foreign = Authority::root("Other CA").unwrap();
    for (certificate, step, expected) in [
        (ward.issuing.issue(&ward.client().expired()), "validity", "certificate_expired"),
        (ward.issuing.issue(&ward.client().not_yet_valid()), "validity", "certificate_not_yet_valid"),
        (ward.issuing.issue(&ward.client().for_servers_only()), "purpose", "certificate_purpose"),
        (ward.issuing.issue(&ward.client().serial(&[0x66])), "revocation", "certificate_revoked"),
        (foreign.issue(&ward.client()), "chain", "certificate_issuer_not_found"),
    ] {
        let said = ward.says(&certificate.unwrap().certificate_pem).await;

        assert_eq!((first_bad(&said), label(&said)), (Some(step), expected), "{said:#}");
        assert_eq!(said["decision"]["status"], json!(403));
        assert_eq!(said["decision"]["phrase"], json!("CMGService_Client_Certificate_Refused"));
    }
}

#[tokio::test]
async fn a_missing_intermediate_is_named() {
    let ward = Ward::new(json!({ "crls": "list of the root" })).await;

    let said = ward.says(&ward.issuing.issue(&ward.client()).unwrap().certificate_pem).await;

    assert_eq!((first_bad(&said), label(&said)), (Some("chain"), "certificate_issuer_not_found"));
    assert!(detail(&said, "chain").contains("CN=Lab Issuing"), "{said:#}");
}

#[tokio::test]
async fn an_uncovered_certificate_is_refused_or_not_as_the_policy_says() {
    let strict = Ward::new(json!({ "intermediates": "intermediates" })).await;
    let lenient = Ward::new(json!({ "intermediates": "intermediates", "unknown_crl": "allow" })).await;
    let blind = Ward::new(json!({ "intermediates": "intermediates", "check_revocation": false })).await;
    let certificate = |ward: &Ward| ward.issuing.issue(&ward.client()).unwrap().certificate_pem;

    let said = strict.says(&certificate(&strict)).await;
    assert_eq!((first_bad(&said), label(&said)), (Some("revocation"), "certificate_revocation_unknown"));
    assert!(detail(&said, "revocation").contains("no list"), "{said:#}");
    assert_eq!(label(&lenient.says(&certificate(&lenient)).await), "admitted");
    let said = blind.says(&certificate(&blind)).await;
    assert_eq!((label(&said), steps(&said)[4]), ("admitted", ("revocation", "skipped")));
}

#[tokio::test]
async fn a_stale_list_is_told_with_its_date() {
    let ward = Ward::well().await;
    let pem = ward.issuing.issue(&ward.client()).unwrap().certificate_pem;

    let said = ward.asked(json!({ "certificate": pem, "time": ward.house.now() + 40 * 86_400 })).await;

    assert_eq!((first_bad(&said), label(&said)), (Some("revocation"), "certificate_list_stale"), "{said:#}");
    assert!(detail(&said, "revocation").contains("stale since"), "{said:#}");
}

#[tokio::test]
async fn a_block_is_found() {
    let ward = Ward::well().await;
    let certificate = ward.issuing.issue(&ward.client()).unwrap();
    made(&ward.house, "/blocks", json!({ "thumbprint": certificate.thumbprint_sha256() })).await;

    let said = ward.says(&certificate.certificate_pem).await;

    assert_eq!((first_bad(&said), label(&said)), (Some("blocks"), "certificate_blocked"), "{said:#}");
}

#[tokio::test]
async fn an_endpoint_says_whether_a_certificate_counts_there() {
    let ward = Ward::well().await;
    made(&ward.house, "/gateways", json!({ "name": "main", "host": "cmg.example" })).await;
    made(
        &ward.house,
        "/endpoints",
        json!({ "name": "mutual", "prefix": "/m", "face": "mutual", "trust": "devices", "servers": ["http://a"] }),
    )
    .await;
    let tokens =
        json!({ "name": "tokens", "prefix": "/t", "face": "server", "token_kinds": ["site"], "audiences": ["a"], "servers": ["http://a"] });
    made(&ward.house, "/endpoints", tokens).await;
    let pem = ward.issuing.issue(&ward.client()).unwrap().certificate_pem;

    let mutual = ward.asked(json!({ "certificate": pem, "endpoint": "mutual" })).await;
    let tokens = ward.asked(json!({ "certificate": pem, "endpoint": "tokens" })).await;

    assert_eq!((label(&mutual), &mutual["decision"]["trust"]), ("admitted", &json!("devices")));
    assert_eq!((first_bad(&tokens), label(&tokens)), (Some("endpoint"), "token_missing"));
}

#[tokio::test]
async fn more_than_a_client_sends_is_refused_before_it_is_examined() {
    let ward = Ward::well().await;
    let pem = ward.issuing.issue(&ward.client()).unwrap().certificate_pem;
    let ask = |pem: String| ward.house.ask_as("ann", Ask::post("/certificate-doctor", json!({ "certificate": pem, "trust": "none" })));

    for (certificate, words) in [(pem.repeat(11), "more than 10"), (format!("{}{pem}", "x\n".repeat(32 << 10)), "more than 65536 bytes")] {
        let refused = ask(certificate).await;
        assert_eq!((refused.status.as_u16(), refused.keys()), (422, vec!["certificate"]));
        assert!(refused.body.to_string().contains(words), "{refused:?}");
    }
    assert_eq!(ask(pem.repeat(10)).await.keys(), ["trust"]);
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_is_refused_with_every_problem() {
    let ward = Ward::well().await;
    let ask = |question: Value| ward.house.ask_as("ann", Ask::post("/certificate-doctor", question));

    assert_eq!(ask(json!({ "certificate": "rubbish", "trust": "none", "time": -1 })).await.keys(), ["certificate", "time", "trust"]);
    assert_eq!(ask(json!({ "certificate": ward.root.certificate_pem(), "endpoint": "none" })).await.keys(), ["endpoint"]);
    assert_eq!(ask(json!({ "certificate": ward.root.certificate_pem(), "endpoint": "a", "trust": "devices" })).await.keys(), ["trust"]);
}
