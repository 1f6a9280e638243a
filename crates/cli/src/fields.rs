//! What a person writes of a resource: a file, and `KEY=VALUE` pairs on top of it.
//!
//! A value that begins with `@` is the contents of the file of that name; `@@` begins a value that begins with `@`. It is the same in
//! pairs and in files, so there is one rule to know; in files the name is relative to the file.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use cmg_credentials::load::{Disk, Files};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::schema::{Schema, Type};

/// The most items that a list gets by `KEY[PLACE]`.
const LONGEST: usize = 10_000;

/// What `new` and `set` take.
#[derive(Debug, Default, Args)]
pub(crate) struct Fields {
    /// A file with keys, TOML, or JSON where its name ends in .json; @NAME in it is the contents of that file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Keys, such as host=cmg.example, limits.connections=4000, instances[0].name=gw-1, gateways=a,b, authorities=@ca.pem
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) pairs: Vec<String>,
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Place(usize),
}

impl Fields {
    /// Whether nothing is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.file.is_none() && self.pairs.is_empty()
    }

    /// Writes everything onto a resource: what is named is replaced, what is not stays.
    pub(crate) fn onto(&self, schema: &Schema, resource: &mut Map<String, Value>) -> Result<(), Failure> {
        if let Some(file) = &self.file {
            resource.extend(read_file(file)?);
        }
        for pair in &self.pairs {
            let (path, value) = pair.split_once('=').ok_or_else(|| Failure::Usage(format!("`{pair}` is no KEY=VALUE")))?;
            let steps =
                steps(path).ok_or_else(|| Failure::Usage(format!("`{path}` is no path: write keys joined by dots, lists as a[0].b")))?;
            let value = typed(schema, &steps, value)?;
            put(schema, resource, path, &steps, value)?;
        }
        Ok(())
    }
}

/// A TOML or JSON file as a table, with the contents of the files that it names.
pub(crate) fn read_file(path: &Path) -> Result<Map<String, Value>, Failure> {
    let what = |error: String| Failure::file("--file", format!("{} {error}", path.display()), "name a TOML or JSON file");
    let text = std::fs::read_to_string(path).map_err(|error| what(format!("cannot be read: {error}")))?;
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    let read = if is_json {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map_err(|error| error.to_string().trim_end().to_owned())
    };
    let mut read: Map<String, Value> = read.map_err(|error| what(format!("cannot be understood: {error}")))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for (key, value) in &mut read {
        resolve(key, value, folder)?;
    }
    Ok(read)
}

/// Puts the contents of files in the place of their names.
fn resolve(key: &str, value: &mut Value, folder: &Path) -> Result<(), Failure> {
    match value {
        Value::String(text) => {
            if let Some(named) = text.strip_prefix('@') {
                *text = if named.starts_with('@') { named.to_owned() } else { contents(key, &folder.join(named))? };
            }
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| resolve(key, item, folder))?,
        Value::Object(entries) => entries.iter_mut().try_for_each(|(key, value)| resolve(key, value, folder))?,
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

/// The contents of a file, as the key `key` of a resource takes them.
pub(crate) fn contents(key: &str, path: &Path) -> Result<String, Failure> {
    match key {
        "pfx" => Ok(BASE64_STANDARD.encode(Disk.read_secret(key, path)?)),
        "key" => text(key, path, Disk.read_secret(key, path)?),
        "password" | "hmac_key" | "client_secret" => {
            Ok(text(key, path, Disk.read_secret(key, path)?)?.lines().next().unwrap_or("").to_owned())
        }
        "crls" => text_or_pem(key, path, "X509 CRL"),
        "authorities" | "intermediates" | "server_authorities" | "chain" | "certificate" => text_or_pem(key, path, "CERTIFICATE"),
        _ => text(key, path, Disk.read(key, path)?),
    }
}

fn text(key: &str, path: &Path, bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|_| Failure::file(key, format!("{} is no text", path.display()), "name a text file"))
}

/// Authorities hand out DER, the site takes PEM.
fn text_or_pem(key: &str, path: &Path, label: &str) -> Result<String, Failure> {
    let bytes = Disk.read(key, path)?;
    // Every certificate and list is a sequence of DER.
    if bytes.first() != Some(&0x30) {
        return text(key, path, bytes);
    }
    let encoded = BASE64_STANDARD.encode(bytes);
    let lines: Vec<&str> = encoded.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
    Ok(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")))
}

/// `a.b[0]."c.d"` as steps.
fn steps(path: &str) -> Option<Vec<Step>> {
    let (mut steps, mut rest) = (Vec::new(), path);
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (key, after) = quoted.split_once('"')?;
            steps.push(Step::Key(key.to_owned()));
            rest = after;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            steps.push(Step::Key(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        while let Some(inside) = rest.strip_prefix('[') {
            let (place, after) = inside.split_once(']')?;
            steps.push(Step::Place(place.parse().ok().filter(|place| *place < LONGEST)?));
            rest = after;
        }
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None => return rest.is_empty().then_some(steps),
        }
    }
}

/// The value that `text` means at a path. Nothing, where nothing is written for what is no text.
fn typed(schema: &Schema, steps: &[Step], text: &str) -> Result<Value, Failure> {
    let mut path = keys(steps);
    let key = path.iter().rev().find_map(|part| *part).unwrap_or("").to_owned();
    match schema.kind(&path) {
        Type::List if !text.starts_with('[') => {
            path.push(None);
            let item = schema.kind(&path);
            let items = text.split(',').filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(|text| one(&key, item, text.trim())).collect::<Result<_, _>>()?))
        }
        kind => one(&key, kind, text),
    }
}

fn one(key: &str, kind: Type, text: &str) -> Result<Value, Failure> {
    let wrong = |what: &str| Failure::Usage(format!("{key}: `{text}` is no {what}"));
    let named = text.strip_prefix('@').filter(|named| !named.starts_with('@'));
    if let Some(named) = named {
        return Ok(Value::String(contents(key, Path::new(named))?));
    }
    let literal = if text.starts_with("@@") { &text[1..] } else { text };
    match kind {
        Type::Text => Ok(Value::String(literal.to_owned())),
        _ if text.is_empty() => Ok(Value::Null),
        Type::Size => Ok(text.parse::<u64>().map_or_else(|_| Value::String(text.to_owned()), Value::from)),
        Type::Number => text.parse::<i64>().map(Value::from).map_err(|_| wrong("whole number")),
        Type::Flag => text.parse::<bool>().map(Value::from).map_err(|_| wrong("true or false")),
        Type::List => serde_json::from_str(text).map_err(|_| wrong("list: write items joined by commas, or JSON")),
        Type::Table => serde_json::from_str(text).map_err(|_| wrong("table: write KEY.KEY=VALUE, or JSON")),
        Type::Unknown => Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(literal.to_owned()))),
    }
}

/// Steps as a schema takes them.
fn keys(steps: &[Step]) -> Vec<Option<&str>> {
    let mut keys = Vec::new();
    for step in steps {
        keys.push(match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Place(_) => None,
        });
    }
    keys
}

/// Puts a value at a path; nothing takes away what is there. A word gives way to a table where the key may be either.
fn put(schema: &Schema, resource: &mut Map<String, Value>, path: &str, steps: &[Step], value: Value) -> Result<(), Failure> {
    let misfit = |what: &str| Failure::Usage(format!("{path}: {what}"));
    let mut root = Value::Object(std::mem::take(resource));
    let mut at = &mut root;
    for (depth, step) in steps.iter().enumerate() {
        if at.is_null() || at.is_string() && schema.may_be_table(&keys(&steps[..depth])) {
            *at = match step {
                Step::Key(_) => Value::Object(Map::new()),
                Step::Place(_) => Value::Array(Vec::new()),
            };
        }
        at = match (step, at) {
            (Step::Key(key), Value::Object(entries)) => entries.entry(key.clone()).or_insert(Value::Null),
            (Step::Place(place), Value::Array(items)) => {
                if *place > items.len() {
                    return Err(misfit(&format!("the list has {} items, so the next place is [{}]", items.len(), items.len())));
                }
                if *place == items.len() {
                    items.push(Value::Null);
                }
                &mut items[*place]
            }
            (Step::Key(key), _) => return Err(misfit(&format!("what has the key `{key}` is no table"))),
            (Step::Place(_), _) => return Err(misfit("what has a place is no list")),
        };
    }
    *at = value;
    without_nothing(&mut root);
    if let Value::Object(entries) = root {
        *resource = entries;
    }
    Ok(())
}

/// What is nothing is absent, so that it has its default.
pub(crate) fn without_nothing(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|_, value| !value.is_null());
            entries.values_mut().for_each(without_nothing);
        }
        Value::Array(items) => {
            items.retain(|value| !value.is_null());
            items.iter_mut().for_each(without_nothing);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use cmg_api::resource::{Gateway, PublishedEndpoint};
    use serde_json::json;

    use super::*;

    fn gateway(pairs: &[&str]) -> Result<Value, String> {
        onto(&Schema::of::<Gateway>(), json!({"host": "h", "instances": [{"name": "a", "address": "a:1"}]}), pairs)
    }

    fn onto(schema: &Schema, resource: Value, pairs: &[&str]) -> Result<Value, String> {
        let Value::Object(mut resource) = resource else { panic!("a table") };
        let fields = Fields { file: None, pairs: pairs.iter().map(|&pair| pair.to_owned()).collect() };
        fields.onto(schema, &mut resource).map_err(|failure| failure.to_string())?;
        Ok(Value::Object(resource))
    }

    #[test]
    fn a_path_leads_into_tables_and_lists() {
        let changed = gateway(&["limits.connections=4000", "instances[0].address=b:2", "instances[1].name=c", "running=false"]).unwrap();

        assert_eq!(
            changed,
            json!({"host": "h", "limits": {"connections": 4000}, "running": false,
                   "instances": [{"name": "a", "address": "b:2"}, {"name": "c"}]})
        );
    }

    #[test]
    fn a_value_has_the_type_of_its_key() {
        let pairs = ["description=42", "limits.head_bytes=1024", "limits.head_time=5s", "certificates=a,b", "instances=[]"];

        assert_eq!(
            gateway(&pairs).unwrap(),
            json!({"host": "h", "description": "42", "certificates": ["a", "b"], "instances": [],
                   "limits": {"head_bytes": 1024, "head_time": "5s"}})
        );
    }

    #[test]
    fn nothing_takes_a_key_away() {
        let schema = Schema::of::<PublishedEndpoint>();

        let changed = onto(&schema, json!({"port": 8531, "health": {"path": "/"}}), &["port=", "health=", "gateways="]).unwrap();

        assert_eq!(changed, json!({"gateways": []}));
    }

    #[test]
    fn a_word_gives_way_to_a_table_where_either_may_stand() {
        let schema = Schema::of::<cmg_api::resource::ClientTrust>();
        let set = |stale_crl, pair| onto(&schema, json!({ "stale_crl": stale_crl }), &[pair]).map(|changed| changed["stale_crl"].clone());

        assert_eq!(set(json!("deny"), "stale_crl.grace=7d"), Ok(json!({"grace": "7d"})));
        assert_eq!(set(json!({"grace": "7d"}), "stale_crl.grace=9d"), Ok(json!({"grace": "9d"})));
        assert_eq!(set(json!({"grace": "7d"}), "stale_crl=deny"), Ok(json!("deny")));
    }

    #[test]
    fn a_quoted_key_may_have_dots() {
        let schema = Schema::of::<PublishedEndpoint>();

        let changed = onto(&schema, json!({}), &["identity_headers.\"X.Y\"=subject"]).unwrap();

        assert_eq!(changed, json!({"identity_headers": {"X.Y": "subject"}}));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let cases = ["host", "=1", "a..b=1", "a[x]=1", "a[0=1", "instances[5].name=x", "host.x=1", "instances.name=x", "running=perhaps"];
        for pair in cases {
            assert!(gateway(&[pair]).is_err(), "{pair}");
        }
    }

    #[test]
    fn an_at_sign_names_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("note.txt");
        std::fs::write(&path, "from a file").unwrap();

        let changed = gateway(&[&format!("description=@{}", path.display())]).unwrap();

        assert_eq!(changed["description"], "from a file");
        assert_eq!(gateway(&["description=@@home"]).unwrap()["description"], "@home");
    }

    #[test]
    fn a_file_names_others_beside_itself() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), "PEM").unwrap();
        std::fs::write(dir.path().join("t.toml"), "authorities = ['@ca.pem', '@@x']\n[[list]]\nserver_authorities = ['@ca.pem']").unwrap();

        let read = read_file(&dir.path().join("t.toml")).unwrap_or_default();

        assert_eq!(Value::Object(read), json!({"authorities": ["PEM", "@x"], "list": [{"server_authorities": ["PEM"]}]}));
    }

    #[test]
    fn an_authority_in_der_becomes_pem() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.cer"), [0x30, 0x03, 0x02, 0x01, 0x01]).unwrap();

        let read = contents("authorities", &dir.path().join("ca.cer")).unwrap_or_default();

        assert_eq!(read, "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n");
    }

    #[test]
    fn a_private_key_that_others_can_read_is_not_sent() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        std::fs::write(&path, "KEY").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();

        assert!(contents("key", &path).is_err_and(|failure| failure.to_string().contains("chmod 600")));
    }
}
