//! What reading a configuration file has found so far.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cmg_core::problem::{Finding, Problem};
use cmg_core::snapshot::{Generation, Parts, Snapshot};
use cmg_core::time::WallTime;
use cmg_credentials::load::{Disk, Files};
use cmg_credentials::{Verifier, overdue};
use cmg_process::{clock, file};
use serde::de::DeserializeOwned;

/// A configuration file being read: where its paths start, where the files are that it names, and every problem so far.
pub struct Reading {
    file: PathBuf,
    /// The files of a snapshot; none: those of this machine.
    files: Option<Arc<dyn Files>>,
    problems: Vec<Problem>,
    /// A file may hold several certificates, and a verifier counts certificates, not files: its keys, and those of the files.
    origins: BTreeMap<String, String>,
}

impl Reading {
    /// Opens the file at `path`; no contents where a value is wrong or missing.
    pub fn open<T: DeserializeOwned>(path: &Path) -> (Self, Option<T>) {
        let file::Reading { value, problems } = file::read(path);
        (Self { file: path.to_owned(), files: None, problems: problems.0, origins: BTreeMap::new() }, value)
    }

    /// Nothing read yet, where the files come from `files`: to judge what was put together in memory.
    pub fn of_files(files: Arc<dyn Files>) -> Self {
        Self { file: PathBuf::new(), files: Some(files), problems: Vec::new(), origins: BTreeMap::new() }
    }

    /// Goes on with the text of a document of the site, whose files come from `files`; no contents where a value is wrong or missing.
    pub fn go_on<T: DeserializeOwned>(&mut self, document: &str, files: Arc<dyn Files>) -> Option<T> {
        self.files = Some(files);
        let file::Reading { value, problems } = file::parse(document);
        problems.0.into_iter().for_each(|problem| self.add(problem));
        value
    }

    /// Says more about an unknown key than that it is unknown.
    pub fn explain(&mut self, key: &str, what: &str, instead: &str) {
        if let Some(problem) = self.problems.iter_mut().find(|problem| problem.key == key) {
            (problem.what, problem.instead) = (what.to_owned(), instead.to_owned());
        }
    }

    /// Where the files are that the configuration names: on this machine, or in a snapshot.
    pub fn files(&self) -> &dyn Files {
        self.files.as_deref().unwrap_or(&Disk)
    }

    /// The name in [`Reading::files`] of a file that the configuration names; on this machine, relative paths start at the
    /// configuration file's folder.
    pub fn path(&self, named: &Path) -> PathBuf {
        if self.files.is_some() { named.to_owned() } else { self.local(named) }
    }

    /// A file of this machine, wherever the others are.
    pub fn local(&self, named: &Path) -> PathBuf {
        file::beside(&self.file, named)
    }

    /// Notes one more problem, unless its key, or something inside, has one: what follows from a problem is none of its own.
    pub fn add(&mut self, problem: Problem) {
        if !self.problems.iter().any(|known| is_within(&known.key, &problem.key)) {
            self.problems.push(problem);
        }
    }

    /// The same, put together from its words.
    pub fn problem(&mut self, key: impl Into<String>, what: impl Into<String>, instead: impl Into<String>) {
        self.add(Problem::new(key, what, instead));
    }

    /// The value, or nothing and the problem noted.
    pub fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        self.keep_all(result.map_err(|problem| vec![problem]))
    }

    /// The value, or nothing and the problems noted.
    pub fn keep_all<T>(&mut self, result: Result<T, Vec<Problem>>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.add(problem));
                None
            }
        }
    }

    /// Judges the parts as a whole: notes what is wrong, and gives what an administrator should know.
    ///
    /// The verifier that the program will need is made here too and dropped, so that its problems are among the others.
    pub fn judge(&mut self, parts: &Parts) -> Vec<Finding> {
        let snapshot = self.keep_all(Snapshot::parse(Generation::default(), parts.clone()));
        if let Err(problems) = Verifier::new(&parts.trusts, &parts.blocks, &parts.token_keys) {
            for problem in problems {
                let key = self.origins.get(&problem.key).cloned().unwrap_or(problem.key);
                self.problem(key, problem.what, problem.instead);
            }
        }
        snapshot.map(|snapshot| snapshot.findings).unwrap_or_default()
    }

    /// Revocation lists that are out of date at `now` where that refuses clients: the program starts with them, and serves all others.
    pub fn overdue_lists(&self, parts: &Parts, now: WallTime) -> Vec<Finding> {
        let mut findings = Vec::new();
        for trust in parts.trusts.iter().filter(|trust| trust.revocation.check) {
            for (number, due) in overdue(&trust.lists, now) {
                let Some(last) = trust.revocation.stale.believed_until(due) else { continue };
                let part = format!("trust.{}.crls[{number}]", trust.name);
                let key = self.origins.get(&part).cloned().unwrap_or(part);
                let what = match last < now {
                    true => "every client that it covers is refused until it is replaced".to_owned(),
                    false => format!("every client that it covers is refused from {} on unless it is replaced", clock::text(last)),
                };
                findings.push(Finding::new(key, format!("the revocation list is out of date since {}: {what}", clock::text(due))));
            }
        }
        findings
    }

    /// The value if nothing is wrong, else all that is.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Problem>> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.problems),
        }
    }

    /// What a verifier will call `part` is in the file that `key` names.
    pub(crate) fn comes_from(&mut self, part: String, key: &str) {
        self.origins.insert(part, key.to_owned());
    }
}

/// Whether `inner` is the key `outer` or one inside of it.
fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
impl Reading {
    /// A reading of a file in `folder` that is not looked at.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { file: folder.join("test.toml"), files: None, problems: Vec::new(), origins: BTreeMap::new() }
    }

    /// Keys of the problems so far.
    pub(crate) fn keys(&self) -> Vec<&str> {
        self.problems.iter().map(|problem| problem.key.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_a_problem_is_not_told() {
        let mut reading = Reading::in_folder(Path::new("/etc/cmg"));

        for key in ["trust.a.crls[0]", "trust.a.crls[0]", "trust.a.crls", "trust.a.crls[0].x", "trust.ab", "trust.a.crl"] {
            reading.problem(key, "is wrong", "write another");
        }

        assert_eq!(reading.keys(), ["trust.a.crls[0]", "trust.a.crls[0].x", "trust.ab", "trust.a.crl"]);
    }

    #[test]
    fn paths_start_at_the_folder_of_the_file() {
        let reading = Reading::in_folder(Path::new("/etc/cmg"));

        assert_eq!(reading.path(Path::new("a.pem")), Path::new("/etc/cmg/a.pem"));
        assert_eq!(reading.path(Path::new("/b.pem")), Path::new("/b.pem"));
    }
}
