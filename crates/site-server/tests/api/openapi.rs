//! The OpenAPI document holds every route, and nothing in it leads nowhere.

use std::collections::BTreeSet;

use cmg_site_server::http::api;
use serde_json::Value;

use crate::house::{Ask, House};

async fn document() -> Value {
    let house = House::founded().await;
    house.ask(Ask::get("/openapi.json")).await.body
}

fn references<'a>(value: &'a Value, into: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                into.insert(reference);
            }
            fields.values().for_each(|value| references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}

#[tokio::test]
async fn it_has_every_route_and_no_other() {
    let document = document().await;

    assert_eq!(document["openapi"], "3.1.0");
    let mut routes: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        routes.extend(item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    assert_eq!(routes, api::rows().into_iter().map(|row| (row.method.to_owned(), row.path)).collect());
}

#[tokio::test]
async fn every_reference_leads_to_a_schema_and_every_schema_is_used() {
    let document = document().await;

    let mut used = BTreeSet::new();
    references(&document, &mut used);
    for reference in &used {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    assert!(used.contains("#/components/schemas/ProblemDetails") && used.contains("#/components/schemas/ShownGateway"), "{used:?}");
}

#[tokio::test]
async fn every_operation_names_its_parameters_and_answers() {
    let document = document().await;
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let what = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{what}: its id stands twice");
            let parameters: Vec<&str> = operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let named: Vec<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(parameters, named, "{what}");
            assert!(operation["responses"].as_object().unwrap().len() >= 2, "{what}");
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{what}");
        }
    }
}

#[tokio::test]
async fn what_is_shown_has_a_version_and_what_is_sent_has_none() {
    let document = document().await;
    let properties = |name: &str| document["components"]["schemas"][name]["properties"].clone();

    assert!(properties("ShownBoundaryGroup")["version"].is_object() && properties("BoundaryGroup")["version"].is_null());
    assert!(properties("ShownCertificate")["not_after"].is_object() && properties("CertificateUpload")["key"].is_object());
    assert!(properties("ShownCertificate")["key"].is_null());
}
