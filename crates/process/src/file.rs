//! Configuration files: TOML into a type of `cmg-api`, with every problem named at once.
//!
//! serde stops at the first error, and an administrator who must start a program nine times to learn of nine
//! mistakes will not love it. So the file is read with our own deserializer, which notes an unknown key and goes on,
//! and which, after a wrong or missing value, is run again with a stand-in at that key. Keys are paths as people
//! say them: `endpoint[2].face`.

mod fault;
mod reader;
mod stand_in;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use cmg_core::problem::Problem;
use serde::de::DeserializeOwned;
use toml::de::DeTable;

use reader::{Notes, Reader};

/// All that is wrong with a configuration, in the order of the documentation's keys. The key of a problem is the path of a key, or
/// the line where the text is no TOML.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// What reading a file gave.
#[derive(Debug)]
pub struct Reading<T> {
    /// The contents. There even beside problems if these are nothing but unknown keys, so that the meaning of the
    /// rest can be judged in the same run; absent if a value is wrong or missing.
    pub value: Option<T>,
    /// What was found wrong.
    pub problems: Problems,
}

/// Reads and parses the file at `path`.
pub fn read<T: DeserializeOwned>(path: &Path) -> Reading<T> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text),
        Err(error) => {
            let what = format!("cannot be read: {error}");
            Reading::failed(vec![Problem::new(path.display().to_string(), what, "name a file of text that this user can read")])
        }
    }
}

/// Parses the text of a file.
pub fn parse<T: DeserializeOwned>(text: &str) -> Reading<T> {
    let (_, mut errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        errors.sort_by_key(|error| error.span().map(|span| span.start));
        return Reading::failed(errors.iter().map(|error| no_toml(text, error)).collect());
    }
    match text.parse::<toml::Table>() {
        Ok(table) => shape(toml::Value::Table(table)),
        Err(error) => Reading::failed(vec![no_toml(text, &error)]),
    }
}

/// Reads what was parsed elsewhere, such as the body of a request that came as JSON.
pub fn value<T: DeserializeOwned>(contents: toml::Value) -> Reading<T> {
    shape(contents)
}

/// The path of every key that `T` knows, in the order of its fields; `*` stands for a name that people choose.
pub fn keys<T: DeserializeOwned>() -> Vec<String> {
    stand_in::keys::<T>()
}

/// The file that a configuration file names: relative paths start at the configuration file's folder.
pub fn beside(file: &Path, named: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(named)
}

impl Problems {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes one more problem, unless this key has one already.
    pub fn add(&mut self, problem: Problem) {
        if !self.0.iter().any(|known| known.key == problem.key) {
            self.0.push(problem);
        }
    }
}

impl<T> Reading<T> {
    /// The contents if nothing is wrong, else all that is.
    pub fn finish(self) -> Result<T, Problems> {
        match self.value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.problems),
        }
    }

    fn failed(problems: Vec<Problem>) -> Self {
        Self { value: None, problems: Problems(problems) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(out, "{line_end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A file named in the configuration that cannot be opened or read.
pub(crate) fn unreadable(key: &str, path: &Path, error: &io::Error) -> Problem {
    let instead = match error.kind() {
        io::ErrorKind::NotFound => "name a file that exists; paths start at the folder of the configuration file",
        io::ErrorKind::PermissionDenied => "let the account that runs the program read it",
        _ => "name a file that can be read",
    };
    Problem::new(key, format!("{} cannot be read: {error}", path.display()), instead)
}

/// Parses until every problem is known: each further run has one more stand-in.
fn shape<T: DeserializeOwned>(contents: toml::Value) -> Reading<T> {
    let notes = Notes::default();
    loop {
        match T::deserialize(Reader::new(&contents, &notes)) {
            Ok(value) => {
                let value = (!notes.has_stand_ins()).then_some(value);
                return Reading { value, problems: notes.into_problems() };
            }
            Err(fault) => {
                if !notes.stand_in_for(fault) {
                    return Reading { value: None, problems: notes.into_problems() };
                }
            }
        }
    }
}

fn no_toml(text: &str, error: &toml::de::Error) -> Problem {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Problem::new(format!("line {line}, column {column}"), error.message().replace('\n', ", "), "correct the TOML there")
}
