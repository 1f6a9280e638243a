//! What type a key has, out of the schemas that the site server's API is described by.
//!
//! A person writes `limits.connections=4000` and means a number, and `role_id=72057594037927937` and means a text. A key that is not
//! known here goes to the site server as what it looks like, which then says what is known.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// The schema of a resource, with those that it names.
#[derive(Debug)]
pub(crate) struct Schema {
    root: Value,
    named: BTreeMap<String, Value>,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// A text.
    Text,
    /// A number of bytes: a number, or a text with a unit.
    Size,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A list.
    List,
    /// A table.
    Table,
    /// Nothing is known.
    Unknown,
}

/// A key with what people need to know to write it.
#[derive(Debug)]
pub(crate) struct Key {
    /// The path, such as `instances[].address`.
    pub(crate) path: String,
    /// Its type, in a word.
    pub(crate) kind: &'static str,
    /// Whether it has to be written.
    pub(crate) needed: bool,
    /// What it is.
    pub(crate) what: String,
}

impl Schema {
    /// The schema of `T`.
    pub(crate) fn of<T: ToSchema>() -> Self {
        let mut collected = Vec::new();
        T::schemas(&mut collected);
        let json = |schema| serde_json::to_value(schema).unwrap_or_default();
        Self { root: json(T::schema()), named: collected.into_iter().map(|(name, schema)| (name, json(schema))).collect() }
    }

    /// The keys of the resource itself.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.properties(&self.root).is_some_and(|properties| properties.contains_key(key))
    }

    /// The type at a path; `None` in it is a place in a list.
    pub(crate) fn kind(&self, path: &[Option<&str>]) -> Type {
        self.at(path).map_or(Type::Unknown, kind)
    }

    fn at(&self, path: &[Option<&str>]) -> Option<&Value> {
        let mut at = self.resolved(&self.root);
        for part in path {
            let next = match part {
                Some(key) => at["properties"].get(*key).or_else(|| at.get("additionalProperties")),
                None => at.get("items"),
            };
            at = self.resolved(next?);
        }
        Some(at)
    }

    /// Whether a table may stand at a path, among others.
    pub(crate) fn may_be_table(&self, path: &[Option<&str>]) -> bool {
        let Some(choices) = self.at(path).and_then(|schema| schema["oneOf"].as_array()) else { return false };
        choices.iter().any(|choice| kind(self.resolved(choice)) == Type::Table)
    }

    /// Every key, by its path.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        self.collect("", &self.root, &mut keys);
        keys
    }

    fn collect(&self, prefix: &str, schema: &Value, keys: &mut Vec<Key>) {
        let Some(properties) = self.properties(schema) else { return };
        let required = self.resolved(schema)["required"].as_array().cloned().unwrap_or_default();
        for (name, property) in properties {
            let path = format!("{prefix}{name}");
            let resolved = self.resolved(&property);
            let what = property["description"].as_str().unwrap_or("").split_whitespace().collect::<Vec<_>>().join(" ");
            keys.push(Key { path: path.clone(), kind: word(kind(resolved)), needed: required.contains(&name.as_str().into()), what });
            self.collect(&format!("{path}."), &property, keys);
            if let Some(items) = resolved.get("items") {
                self.collect(&format!("{path}[]."), items, keys);
            }
        }
    }

    fn properties(&self, schema: &Value) -> Option<serde_json::Map<String, Value>> {
        self.resolved(schema)["properties"].as_object().cloned()
    }

    /// The schema that another one names, without "or null".
    fn resolved<'s>(&'s self, schema: &'s Value) -> &'s Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            return self.named.get(name).unwrap_or(schema);
        }
        let choices = ["oneOf", "anyOf", "allOf"].into_iter().find_map(|of| schema[of].as_array());
        let Some(choices) = choices else { return schema };
        let mut real = choices.iter().filter(|choice| choice["type"] != "null");
        match (real.next(), real.next()) {
            (Some(one), None) => self.resolved(one),
            _ => schema,
        }
    }
}

fn kind(schema: &Value) -> Type {
    let named = match &schema["type"] {
        Value::Array(several) => several.iter().find(|named| *named != "null").and_then(Value::as_str),
        one => one.as_str(),
    };
    let is_size = schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("KiB"));
    match named {
        Some("string") if is_size => Type::Size,
        Some("string") => Type::Text,
        Some("integer" | "number") => Type::Number,
        Some("boolean") => Type::Flag,
        Some("array") => Type::List,
        Some("object") => Type::Table,
        _ => Type::Unknown,
    }
}

fn word(kind: Type) -> &'static str {
    match kind {
        Type::Text => "text",
        Type::Size => "size",
        Type::Number => "number",
        Type::Flag => "true, false",
        Type::List => "list",
        Type::Table => "table",
        Type::Unknown => "text",
    }
}

#[cfg(test)]
mod tests {
    use cmg_api::resource::{Gateway, PublishedEndpoint, SiteSystem, TokenIssuer};

    use super::*;

    #[test]
    fn a_type_is_found_through_tables_lists_and_what_may_be_absent() {
        let (gateway, endpoint) = (Schema::of::<Gateway>(), Schema::of::<PublishedEndpoint>());

        assert_eq!(gateway.kind(&[Some("limits"), Some("connections")]), Type::Number);
        assert_eq!(gateway.kind(&[Some("limits"), Some("head_bytes")]), Type::Size);
        assert_eq!(gateway.kind(&[Some("instances"), None, Some("address")]), Type::Text);
        assert_eq!(gateway.kind(&[Some("running")]), Type::Flag);
        assert_eq!(endpoint.kind(&[Some("health"), Some("expect"), None]), Type::Number);
        assert_eq!(endpoint.kind(&[Some("role_id")]), Type::Text);
        assert_eq!(endpoint.kind(&[Some("identity_headers"), Some("X-Client")]), Type::Text);
        assert_eq!(Schema::of::<SiteSystem>().kind(&[Some("allow_cmg_traffic"), Some("port")]), Type::Number);
        assert_eq!(Schema::of::<TokenIssuer>().kind(&[Some("keys"), Some("k1")]), Type::Text);
        assert_eq!(gateway.kind(&[Some("colour")]), Type::Unknown);
    }

    #[test]
    fn all_keys_are_told_with_those_inside() {
        let keys = Schema::of::<Gateway>().keys();
        let of = |path: &str| keys.iter().find(|key| key.path == path).unwrap();

        assert!(of("host").needed && !of("limits.connections").needed);
        assert_eq!(of("instances[].address").kind, "text");
        assert!(of("host").what.starts_with("The service name"));
    }
}
