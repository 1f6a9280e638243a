//! A deserializer without input: it gives every type some value, and so learns which keys a type has.

use std::cell::RefCell;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::fault::{Fault, one_of};

/// Gives a value of any type that a configuration file uses. The values mean nothing and are never used.
#[derive(Default)]
pub(super) struct StandIn<'a> {
    path: String,
    seen: Option<&'a RefCell<Vec<String>>>,
    wanted: Option<&'a RefCell<Option<String>>>,
}

/// See [`super::keys`].
pub(super) fn keys<T: DeserializeOwned>() -> Vec<String> {
    let seen = RefCell::default();
    // A type for which there is no stand-in gives the keys before it; the documentation's tests would show that.
    let _ = T::deserialize(StandIn { seen: Some(&seen), ..StandIn::default() });
    seen.into_inner()
}

impl<'a> StandIn<'a> {
    /// A stand-in that tells what ought to stand in its place.
    pub(super) fn that_tells(wanted: &'a RefCell<Option<String>>) -> Self {
        Self { wanted: Some(wanted), ..Self::default() }
    }

    fn child(&self, key: &str) -> Self {
        let path = match self.path.as_str() {
            "" => key.to_owned(),
            parent => format!("{parent}.{key}"),
        };
        if let Some(seen) = self.seen {
            seen.borrow_mut().push(path.clone());
        }
        Self { path, seen: self.seen, wanted: None }
    }

    fn tell(&self, words: impl Into<String>) {
        if let Some(wanted) = self.wanted {
            wanted.replace(Some(words.into()));
        }
    }
}

impl<'de> Deserializer<'de> for StandIn<'_> {
    type Error = Fault;

    /// What is none of the kinds below is a number.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.tell("a whole number");
        visitor.visit_u64(0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.tell("true or false");
        visitor.visit_bool(false)
    }

    /// A text that is a duration too.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.tell("a text in quotes");
        visitor.visit_str("0s")
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.tell("a list in brackets");
        let item = Self { path: format!("{}[]", self.path), seen: self.seen, wanted: None };
        visitor.visit_seq(One(Some(item)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_struct("", &["*"], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.tell("a table");
        visitor.visit_map(Fields { table: self, fields, next: 0 })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.tell(one_of(variants));
        let first: StrDeserializer<'_, Fault> = variants.first().copied().unwrap_or("").into_deserializer();
        visitor.visit_enum(first)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf
        unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct One<'a>(Option<StandIn<'a>>);

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Fault;

    /// A list of what has no stand-in, such as digests, is empty.
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        Ok(self.0.take().and_then(|item| seed.deserialize(item).ok()))
    }
}

struct Fields<'a> {
    table: StandIn<'a>,
    fields: &'static [&'static str],
    next: usize,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some(field) = self.fields.get(self.next) else {
            return Ok(None);
        };
        let field: StrDeserializer<'_, Fault> = (*field).into_deserializer();
        seed.deserialize(field).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let field = self.fields[self.next];
        self.next += 1;
        seed.deserialize(self.table.child(field))
    }
}
