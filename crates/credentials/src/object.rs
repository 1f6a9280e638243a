//! JSON objects from strangers: what is written twice is noticed.
//!
//! Readers differ in which of two equal names they believe, so a token that has one could mean one thing here and another at the
//! server behind.
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// A JSON object.
pub(crate) struct Object {
    /// Its members; of doubled ones, the last.
    pub(crate) members: BTreeMap<String, Value>,
    /// Whether any name stands twice.
    pub(crate) doubled: bool,
}

impl Object {
    /// Parses `json`, which must be one object and nothing else.
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The string called `name`: an error where it is something else.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, WrongType> {
        match self.members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(WrongType),
        }
    }

    /// The whole number, zero or more, called `name`: an error where it is something else.
    pub(crate) fn seconds(&self, name: &str) -> Result<Option<u64>, WrongType> {
        match self.members.get(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or(WrongType),
        }
    }
}

/// A member is there, but of another type.
pub(crate) struct WrongType;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
        let mut object = Object { members: BTreeMap::new(), doubled: false };
        while let Some((name, value)) = access.next_entry()? {
            object.doubled |= object.members.insert(name, value).is_some();
        }
        Ok(object)
    }
}
