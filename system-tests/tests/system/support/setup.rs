//! A laboratory before its programs start, to be bent for the test at hand.

use std::sync::Arc;

use cmg_lab::token::AUDIENCE;
use cmg_lab::{Lab, Origin, config, file};
use toml::{Table, Value};

/// The files of a laboratory that has not been started.
pub(crate) struct Setup {
    /// Its folder, authorities and addresses.
    pub(crate) lab: Lab,
    /// The server behind everything that names no other.
    pub(crate) origin: Arc<Origin>,
}

impl Setup {
    /// Lays `text` over the file of every gateway: tables are joined, lists of tables grow, all else is replaced.
    pub(crate) fn gateway(&self, text: &str) {
        for gateway in &self.lab.gateways {
            config::edit(&gateway.config, |file| join(file, table(text))).unwrap();
        }
    }

    /// The same for every connection point.
    pub(crate) fn point(&self, text: &str) {
        for point in &self.lab.connection_points {
            config::edit(&point.config, |file| join(file, table(text))).unwrap();
        }
    }

    /// The same for all.
    pub(crate) fn both(&self, text: &str) {
        self.gateway(text);
        self.point(text);
    }

    /// Publishes the origin at `/<id>` for every client of the laboratory, unless `text` says otherwise.
    pub(crate) fn endpoint(&self, id: &str, text: &str) {
        let mut endpoint = table(&format!(
            "id = {id:?}\nhost = \"localhost\"\nprefix = \"/{id}\"\nface = \"either\"\ntrust = \"devices\"\ntoken_kinds = [\"site\"]\naudiences = [{AUDIENCE:?}]"
        ));
        let own = table(text);
        if own.contains_key("role_id") {
            endpoint.remove("prefix");
        }
        join(&mut endpoint, own);
        for gateway in &self.lab.gateways {
            config::edit(&gateway.config, |file| append(file, endpoint.clone())).unwrap();
        }
        endpoint.insert("servers".to_owned(), Value::from(vec![self.origin.url()]));
        for point in &self.lab.connection_points {
            config::edit(&point.config, |file| append(file, endpoint.clone())).unwrap();
        }
    }

    /// Lays `text` over an endpoint in the files of the connection points.
    pub(crate) fn inside(&self, id: &str, text: &str) {
        for point in &self.lab.connection_points {
            config::edit(&point.config, |file| join(named(file, id), table(text))).unwrap();
        }
    }

    /// Publishes the origin at `/<id>` and lays `inside` over the endpoint in the files of the connection points.
    pub(crate) fn delivered(&self, id: &str, inside: &str) {
        self.endpoint(id, "");
        self.inside(id, inside);
    }

    /// Writes a file beside the configuration.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        file::write(&self.lab.site_dir().join(name), content).unwrap();
    }

    /// The same, for its owner only.
    pub(crate) fn write_secret(&self, name: &str, content: impl AsRef<[u8]>) {
        file::write_secret(&self.lab.site_dir().join(name), content).unwrap();
    }
}

fn table(text: &str) -> Table {
    text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn append(file: &mut Table, endpoint: Table) {
    file.entry("endpoint").or_insert(Value::Array(vec![])).as_array_mut().unwrap().push(endpoint.into());
}

fn named<'f>(file: &'f mut Table, id: &str) -> &'f mut Table {
    let endpoints = file["endpoint"].as_array_mut().unwrap().iter_mut().filter_map(Value::as_table_mut);
    endpoints.into_iter().find(|endpoint| endpoint["id"].as_str() == Some(id)).unwrap()
}

fn join(file: &mut Table, text: Table) {
    for (key, value) in text {
        match (file.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => join(old, new),
            (Some(Value::Array(old)), Value::Array(new)) if new.first().is_some_and(Value::is_table) => old.extend(new),
            (_, value) => drop(file.insert(key, value)),
        }
    }
}
