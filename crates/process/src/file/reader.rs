//! A serde deserializer over parsed TOML that knows where it is, notes unknown keys and reads on behind them.

use std::cell::{Cell, RefCell};
use std::fmt;

use cmg_core::problem::Problem;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use toml::Value;

use super::Problems;
use super::fault::{Fault, one_of};
use super::stand_in::StandIn;

/// Problems beyond this number are not looked for: each costs one more run, and nobody reads on.
const MOST: usize = 100;

/// One value of the file, with the way to it.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    value: &'a Value,
    path: Path<'a>,
    notes: &'a Notes,
}

/// What all runs over one file have found.
#[derive(Default)]
pub(super) struct Notes {
    problems: RefCell<Problems>,
    /// Keys whose value is wrong or missing; the next run puts a stand-in there.
    stand_ins: RefCell<Vec<String>>,
    full: Cell<bool>,
}

#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl<'a> Reader<'a> {
    pub(super) fn new(value: &'a Value, notes: &'a Notes) -> Self {
        Self { value, path: Path::Root, notes }
    }
}

impl Notes {
    pub(super) fn has_stand_ins(&self) -> bool {
        !self.stand_ins.borrow().is_empty()
    }

    pub(super) fn into_problems(self) -> Problems {
        let mut problems = self.problems.into_inner();
        for problem in problems.0.iter_mut().filter(|problem| problem.instead.is_empty()) {
            problem.instead = "write it as in the documented example".to_owned();
        }
        problems
    }

    /// Notes the fault; false if another run would not get any further.
    pub(super) fn stand_in_for(&self, fault: Fault) -> bool {
        let Fault { what, instead, key, missing } = fault;
        let key = key.or(missing.map(str::to_owned)).unwrap_or_default();
        if self.stands_in(&key) {
            return false;
        }
        self.add(Problem::new(key.clone(), what, instead.unwrap_or_default()));
        self.stand_ins.borrow_mut().push(key);
        !self.full.get()
    }

    fn stands_in(&self, key: &str) -> bool {
        self.stand_ins.borrow().iter().any(|other| other == key)
    }

    /// Adds what to write to a problem that does not say so.
    fn complete(&self, key: &str, wanted: Option<String>) {
        let mut problems = self.problems.borrow_mut();
        let incomplete = problems.0.iter_mut().find(|problem| problem.key == key && problem.instead.is_empty());
        if let (Some(problem), Some(wanted)) = (incomplete, wanted) {
            problem.instead = format!("write {wanted}");
        }
    }

    fn add(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        if problems.0.len() < MOST {
            problems.add(problem);
        } else if !self.full.replace(true) {
            problems.add(Problem::new("and more", format!("the first {MOST} problems are shown"), "correct those first"));
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::String(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(flag) => visitor.visit_bool(*flag),
            Value::Datetime(_) => Err(de::Error::invalid_type(Unexpected::Other("date"), &visitor)),
            Value::Array(items) => visitor.visit_seq(Items { list: self, items, next: 0 }),
            Value::Table(table) => {
                let keys = table.keys().map(String::as_str).collect();
                visitor.visit_map(Entries { table: self, keys, next: 0 })
            }
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Value::Table(table) = self.value else {
            return self.deserialize_any(visitor);
        };
        for unknown in table.keys().filter(|key| !fields.contains(&key.as_str())) {
            self.notes.add(no_such_key(&Path::Key(&self.path, unknown), unknown, fields));
        }
        let stands_in = |field: &str| self.notes.stands_in(&Path::Key(&self.path, field).to_string());
        let keys = fields.iter().copied().filter(|field| table.contains_key(*field) || stands_in(field)).collect();
        visitor.visit_map(Entries { table: self, keys, next: 0 })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if let Value::Table(table) = self.value
            && let [key] = table.keys().map(String::as_str).collect::<Vec<_>>()[..]
            && variants.contains(&key)
        {
            return visitor.visit_enum(MapAccessDeserializer::new(Entries { table: self, keys: vec![key], next: 0 }));
        }
        let Value::String(text) = self.value else {
            let kind = de::Error::invalid_type(unexpected(self.value), &visitor);
            return Err(Fault { instead: Some(format!("write {}", one_of(variants))), ..kind });
        };
        let text: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
        visitor.visit_enum(text)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// The entries of a table that are to be read, in this order.
struct Entries<'a> {
    table: Reader<'a>,
    keys: Vec<&'a str>,
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some(key) = self.keys.get(self.next) else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, Fault> = (*key).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let key = self.keys[self.next];
        self.next += 1;
        let value = self.table.value.get(key);
        one(value, Path::Key(&self.table.path, key), self.table.notes, seed)
    }
}

/// The items of a list.
struct Items<'a> {
    list: Reader<'a>,
    items: &'a [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.items.get(self.next) else {
            return Ok(None);
        };
        let path = Path::Item(&self.list.path, self.next);
        self.next += 1;
        one(Some(item), path, self.list.notes, seed).map(Some)
    }
}

/// Reads one value, or the stand-in for it; a fault learns here where it arose.
fn one<'de, S: DeserializeSeed<'de>>(value: Option<&Value>, path: Path<'_>, notes: &Notes, seed: S) -> Result<S::Value, Fault> {
    let key = path.to_string();
    if let Some(value) = value.filter(|_| !notes.stands_in(&key)) {
        return seed.deserialize(Reader { value, path, notes }).map_err(|fault| fault.at(key));
    }
    let wanted = RefCell::default();
    let result = seed.deserialize(StandIn::that_tells(&wanted));
    notes.complete(&key, wanted.into_inner());
    result.map_err(|fault| fault.at(key))
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => out.write_str(key),
            Self::Key(parent, key) => write!(out, "{parent}.{key}"),
            Self::Item(parent, index) => write!(out, "{parent}[{index}]"),
        }
    }
}

fn no_such_key(path: &Path<'_>, key: &str, known: &[&str]) -> Problem {
    let near = known.iter().map(|other| (distance(key, other), other)).min().filter(|(steps, _)| *steps <= 2);
    let instead = match near {
        Some((_, near)) => format!("perhaps `{near}`"),
        None => format!("known here: {}", known.join(", ")),
    };
    Problem::new(path.to_string(), "no such key", instead)
}

/// How many letters must be added, removed or changed to make `b` out of `a`; two letters that changed places
/// count as two.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::String(text) => Unexpected::Str(text),
        Value::Integer(number) => Unexpected::Signed(*number),
        Value::Float(number) => Unexpected::Float(*number),
        Value::Boolean(flag) => Unexpected::Bool(*flag),
        Value::Datetime(_) => Unexpected::Other("date"),
        Value::Array(_) => Unexpected::Seq,
        Value::Table(_) => Unexpected::Map,
    }
}
