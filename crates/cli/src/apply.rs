//! `cmg apply`: the configuration becomes what a file says, in one change; the same again changes nothing.
//!
//! The file has a list of tables for each kind, called as the kind: `[[gateway]]`, `[[site-system]]`. The site server compares,
//! so that what is shown is what is done.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::fields::{read_file, without_nothing};
use crate::kinds::KINDS;
use crate::server::{Request, Server};
use crate::table::{plain, words};
use crate::told::Told;

/// What stands in a file besides resources.
const BESIDE: [&str; 2] = ["account", "block"];

/// The longest value that is shown of a difference, in letters.
const LONGEST: usize = 60;

/// What to apply.
#[derive(Debug, Args)]
pub struct Apply {
    /// A file with tables such as [[gateway]] and [[endpoint]], TOML, or JSON where its name ends in .json; @NAME in it is the contents of that file
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Show the difference and store nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove what is not in the file, of these kinds
    #[arg(long, value_name = "KIND,...", value_delimiter = ',')]
    prune: Vec<String>,
}

pub(crate) async fn apply(apply: &Apply, server: &Server) -> Result<Told, Failure> {
    let resources = resources(read_file(&apply.file)?)?;
    let places: Vec<(String, String)> = resources.iter().map(place).collect();
    let prune = (!apply.prune.is_empty()).then(|| apply.prune.join(","));
    let request = Request::post(&["apply"], json!({ "resources": resources })).query("dry_run", apply.dry_run.then_some(true));
    let reply = server.ask(request.query("prune", prune)).await.map_err(|failure| in_words_of_the_file(failure, &places))?;
    let body = reply.body;
    let count = |key: &str| body[key].as_u64().unwrap_or(0);
    let (created, changed, removed, unchanged) = (count("created"), count("changed"), count("removed"), count("unchanged"));
    let counts = format!("{created} new, {changed} changed, {removed} removed, {unchanged} as they were");
    let note = match (apply.dry_run, reply.generation) {
        (true, _) => format!("Would be: {counts}; nothing was stored"),
        (false, Some(generation)) => format!("{counts}; generation {generation}"),
        (false, None) => counts,
    };
    let text = body["resources"].as_array().map_or(&[][..], Vec::as_slice).iter().map(difference).collect();
    Ok(Told::words(body, text).and_note(note))
}

/// The list that the site server takes, out of tables by kind.
fn resources(file: Map<String, Value>) -> Result<Vec<Value>, Failure> {
    let mut list = Vec::new();
    for (kind, resources) in file {
        let known: Vec<_> = KINDS.iter().map(|kind| kind.name).chain(BESIDE).collect();
        if !known.contains(&&*kind) {
            return Err(Failure::file(&kind, "is no kind of resource", format!("write [[KIND]], one of {}", known.join(", "))));
        }
        let Value::Array(resources) = resources else {
            return Err(Failure::file(&kind, "is no list of tables", format!("write [[{kind}]] with two brackets")));
        };
        for mut resource in resources {
            without_nothing(&mut resource);
            if let Some(fields) = resource.as_object_mut() {
                fields.remove("version");
            }
            list.push(json!({"kind": kind, "resource": resource}));
        }
    }
    Ok(list)
}

fn place(resource: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let fields = &resource["resource"];
    // Blocks have no names.
    let name =
        ["name", "client", "thumbprint", "serial", "token", "identity"].into_iter().map(|key| &fields[key]).find(|value| value.is_string());
    (text(&resource["kind"]), text(name.unwrap_or(&Value::Null)))
}

/// The site server counts places in a list that nobody has seen; the file has kinds and names.
fn in_words_of_the_file(mut failure: Failure, places: &[(String, String)]) -> Failure {
    if let Failure::Refused(refusal) = &mut failure
        && let Some(problems) = refusal.body["problems"].as_array_mut()
    {
        for problem in problems {
            let key = problem["key"].as_str().and_then(|key| renamed(key, places));
            if let Some(key) = key {
                problem["key"] = key.into();
            }
        }
    }
    failure
}

fn renamed(key: &str, places: &[(String, String)]) -> Option<String> {
    let (place, rest) = key.strip_prefix("resources[")?.split_once(']')?;
    let (kind, name) = places.get(place.parse::<usize>().ok()?)?;
    let rest = rest.strip_prefix(".resource").unwrap_or(rest);
    Some(format!("{kind} {name}{}", rest.replacen('.', " ", 1)))
}

/// What happens to a resource, and to its fields.
fn difference(resource: &Value) -> String {
    let (sign, fields) = match resource["action"].as_str() {
        Some("created") => ("+", false),
        Some("changed") => ("~", true),
        Some("removed") => ("-", false),
        _ => return String::new(),
    };
    let text = |value: &Value| plain(value.as_str().unwrap_or("")).into_owned();
    let mut shown = format!("{sign} {} {}\n", text(&resource["kind"]), text(&resource["name"]));
    let differences = resource["fields"].as_array().filter(|_| fields);
    for field in differences.into_iter().flatten() {
        shown.push_str(&format!("    {}: {} -> {}\n", text(&field["field"]), short(&field["before"]), short(&field["after"])));
    }
    shown
}

fn short(value: &Value) -> String {
    let text = words(value);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None if text.is_empty() => "nothing".to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_resource_of_the_file() {
        let places = [("gateway".to_owned(), "main".to_owned()), ("endpoint".to_owned(), "mp".to_owned())];

        assert_eq!(renamed("resources[1].resource.health.path", &places).as_deref(), Some("endpoint mp health.path"));
        assert_eq!(renamed("endpoints/mp.trust", &places), None);
        assert_eq!(renamed("resources[7].resource.x", &places), None);
    }

    #[test]
    fn what_is_no_kind_is_refused_before_anything_is_sent() {
        for file in [json!({"gateways": []}), json!({"gateway": {}}), json!({"site_system": []})] {
            let Value::Object(file) = file else { unreachable!("a table") };
            assert!(resources(file).is_err());
        }
    }
}
