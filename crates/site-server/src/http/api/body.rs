//! Bodies: JSON read strictly, into a type of the API with every problem named at once.
//!
//! A body is parsed into the same values as a configuration file, so that the same reader tells what is wrong with it. `null` is the
//! same as absent. Refused here are two keys of one name, which programs read in different ways, and depths that nothing has.

use std::fmt;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use cmg_process::file;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use tokio::time::timeout;
use toml::Value;

use crate::http::problem::{Kind, Refused};

/// The largest body that a route takes which says nothing else, in bytes: a certificate with its issuers has some kilobytes, a configuration of a thousand resources about 1 MiB.
pub(crate) const LARGEST: usize = 4 << 20;

/// The largest body of a route that needs nobody to be signed in, in bytes: a name, a password and a code fit many times.
pub(crate) const LARGEST_OF_STRANGERS: usize = 4 << 10;

/// The longest that a body may take: even 4 MiB come in that time over a slow line, and a connection is not held for longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The deepest that lists and tables stand in each other.
const DEEPEST: usize = 32;

/// Takes in a body of this media type and of at most `largest` bytes.
pub(crate) async fn receive(headers: &HeaderMap, body: Body, media_type: &str, largest: usize) -> Result<Bytes, Refused> {
    demand(headers, media_type)?;
    let too_large = || Refused::new(Kind::TooLarge, format!("a body has at most {largest} bytes; send less at once"));
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > largest) {
        return Err(too_large());
    }
    match timeout(PATIENCE, axum::body::to_bytes(body, largest)).await {
        Ok(received) => received.map_err(|_| too_large()), // or the connection broke: then nobody reads the answer
        Err(_) => Err(Refused::new(Kind::TooSlow, format!("the body did not come in {} s", PATIENCE.as_secs()))),
    }
}

/// Reads a body, or tells everything that is wrong with it.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    of_value(parse(body)?)
}

/// Reads a value, or tells everything that is wrong with it.
pub(crate) fn of_value<T: DeserializeOwned>(value: Value) -> Result<T, Refused> {
    file::value(value).finish().map_err(|problems| Refused::invalid(problems.0))
}

/// Parses a body.
pub(crate) fn parse(body: &[u8]) -> Result<Value, Refused> {
    let malformed = |error: serde_json::Error| Refused::new(Kind::Malformed, format!("the body is no JSON that can be read: {error}"));
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = Json { depth: 0 }.deserialize(&mut json).map_err(malformed)?;
    json.end().map_err(malformed)?;
    match value {
        Some(value @ Value::Table(_)) => Ok(value),
        _ => Err(Refused::new(Kind::Malformed, "the body is no table; write {...}")),
    }
}

fn demand(headers: &HeaderMap, wanted: &str) -> Result<(), Refused> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut parts = media_type.split(';').map(str::trim);
    let is_wanted = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
    let is_utf8 = parts.all(|parameter| parameter.eq_ignore_ascii_case("charset=utf-8"));
    let is_plain = !headers.contains_key(header::CONTENT_ENCODING);
    if is_wanted && is_utf8 && is_plain {
        return Ok(());
    }
    Err(Refused::new(Kind::MediaType, format!("send the body as it is, with Content-Type: {wanted}")))
}

/// One JSON value; none is `null`.
struct Json {
    depth: usize,
}

impl Json {
    fn inside<E: de::Error>(&self) -> Result<Self, E> {
        if self.depth == DEEPEST {
            return Err(E::custom(format_args!("lists and tables stand more than {DEEPEST} deep in each other")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Json {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<Value>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json {
    type Value = Option<Value>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Option<Value>, E> {
        Ok(Some(Value::Boolean(flag)))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Option<Value>, E> {
        Ok(Some(Value::Integer(number)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Option<Value>, E> {
        i64::try_from(number).map(|number| Some(Value::Integer(number))).map_err(|_| E::custom(format_args!("{number} is too great")))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Option<Value>, E> {
        Ok(Some(Value::Float(number)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<Value>, E> {
        Ok(Some(Value::String(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<Value>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inside()?)? {
            list.push(item.ok_or_else(|| de::Error::custom("null stands in a list"))?);
        }
        Ok(Some(Value::Array(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Option<Value>, A::Error> {
        let (mut table, mut absent) = (toml::Table::new(), Vec::new());
        while let Some(key) = entries.next_key::<String>()? {
            if table.contains_key(&key) || absent.contains(&key) {
                return Err(de::Error::custom(format_args!("the key \"{key}\" stands twice in one table")));
            }
            match entries.next_value_seed(self.inside()?)? {
                Some(value) => _ = table.insert(key, value),
                None => absent.push(key),
            }
        }
        Ok(Some(Value::Table(table)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        format!("{:?}", parse(body.as_bytes()).unwrap_err())
    }

    #[test]
    fn null_is_absent() {
        let value = parse(br#"{"a": null, "b": [1, "x"], "c": {"d": true}}"#).unwrap();

        assert_eq!(value.to_string(), "{ b = [1, \"x\"], c = { d = true } }");
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        for body in [r#"{"a": 1, "a": 2}"#, r#"{"a": null, "a": 2}"#, r#"{"x": {"a": 1, "a": 1}}"#] {
            assert!(refusal(body).contains("twice"), "{body}");
        }
    }

    #[test]
    fn a_depth_that_nothing_has_is_refused() {
        let deep = |n: usize| format!("{{\"a\": {}1{}}}", "[".repeat(n), "]".repeat(n));

        assert!(parse(deep(DEEPEST - 1).as_bytes()).is_ok());
        assert!(refusal(&deep(DEEPEST)).contains("deep"));
        assert!(refusal(&deep(100_000)).contains("deep"));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for body in ["", "null", "1", "[]", "{} {}", "{", "\"a\"", "{\"a\": 18446744073709551615}", "{\"a\": [null]}"] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
