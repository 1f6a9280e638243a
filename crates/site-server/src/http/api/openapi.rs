//! The OpenAPI document, made out of the table of routes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Route, Shape};
use super::{BASE, table};
use crate::app::roles::Needs;
use crate::http::problem::{ProblemDetails, Refused};

/// The document, made once.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document(&table()));

pub(super) fn routes() -> Vec<Route> {
    vec![Route::new(Method::Get, "/openapi.json", Needs::Nobody, "This document", serve)]
}

async fn serve(_: Asked) -> Result<Answer, Refused> {
    Ok(Answer::ok(&*DOCUMENT))
}

fn document(table: &[Route]) -> Value {
    let mut schemas = BTreeMap::new();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in table {
        let operation = operation(route, &mut schemas);
        paths.entry(format!("{BASE}{}", route.path)).or_default().insert(route.method.as_str().to_lowercase(), operation);
    }
    named(&Shape::of::<ProblemDetails>(), &mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "opencmg site server",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Everything that administrators do. Every answer carries X-Request-Id; refusals are problem details (RFC 9457).",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "The secret of a session, or an API token." },
                "cookie": { "type": "apiKey", "in": "cookie", "name": super::sessions::COOKIE_TLS },
            },
        },
    })
}

fn operation(route: &Route, schemas: &mut BTreeMap<String, Value>) -> Value {
    let mut parameters: Vec<Value> = path_parameters(&route.path).map(path_parameter).collect();
    for parameter in route.query {
        parameters.push(json!({
            "name": parameter.0, "in": "query", "required": false, "description": parameter.2, "schema": { "type": parameter.1 },
        }));
    }
    if route.matches {
        let description = "The version that was read, such as \"3\"; * is any.";
        parameters.push(header_parameter("If-Match", true, description));
    }
    if route.once {
        let description = "Sent twice with one key, the request is carried out once, and answered the same; kept for 24 hours.";
        parameters.push(header_parameter("Idempotency-Key", false, description));
    }
    let mut success = json!({ "description": "Success" });
    if let Some(shape) = &route.gives {
        success["content"] = json!({ "application/json": { "schema": named(shape, schemas) } });
    }
    let problem = json!({
        "description": "A problem",
        "content": { "application/problem+json": { "schema": { "$ref": reference("ProblemDetails") } } },
    });
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "x-needs": route.needs_text(),
        "parameters": parameters,
        "responses": { route.status.to_string(): success, "default": problem },
        "security": if route.needs == Needs::Nobody { json!([]) } else { json!([{ "bearer": [] }, { "cookie": [] }]) },
    });
    if let Some(shape) = &route.takes {
        operation["requestBody"] = json!({ "required": true, "content": { route.media_type(): { "schema": named(shape, schemas) } } });
    }
    operation
}

/// The reference to a schema, which is put among the others with all that it names.
fn named(shape: &Shape, schemas: &mut BTreeMap<String, Value>) -> Value {
    let mut collected = Vec::new();
    (shape.collect)(&mut collected);
    for (name, schema) in collected {
        let schema = serde_json::to_value(schema).expect("a schema is JSON");
        schemas.entry(name).or_insert(schema);
    }
    let Some((name, beside)) = &shape.beside else { return json!({ "$ref": reference(&shape.name) }) };
    let mut schema = schemas[&shape.name].clone();
    if let (Some(properties), Some(beside)) = (schema["properties"].as_object_mut(), beside.as_object()) {
        properties.extend(beside.clone());
    }
    schemas.insert(name.clone(), schema);
    json!({ "$ref": reference(name) })
}

pub(super) fn reference(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn path_parameter(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
}

fn header_parameter(name: &str, required: bool, description: &str) -> Value {
    json!({ "name": name, "in": "header", "required": required, "description": description, "schema": { "type": "string" } })
}

/// `get_gateways_name`: unique, since method and path are.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let method = route.method.as_str().to_lowercase();
    std::iter::once(method.as_str()).chain(words).collect::<Vec<_>>().join("_")
}
