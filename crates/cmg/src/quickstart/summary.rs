//! `DIR/lab.json`: every address and file of the running laboratory, for scripts and for real clients.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use cmg_lab::{Lab, LabError, Program, System, file};
use serde::Serialize;

/// The content of `lab.json`.
#[derive(Serialize)]
pub(super) struct Summary {
    /// The one address of the service.
    pub(super) service_url: String,
    /// The authority of the gateways' server certificates.
    pub(super) ca_cert: PathBuf,
    pub(super) client_cert: PathBuf,
    pub(super) client_key: PathBuf,
    /// A bearer token, good for a day.
    pub(super) token: String,
    /// The same in a file.
    pub(super) token_file: PathBuf,
    /// The administrators' interface of the site server.
    pub(super) site_url: String,
    /// A file with an administrator's API token for it.
    pub(super) admin_token_file: PathBuf,
    /// A bulk registration token, good for three days.
    pub(super) bulk_token: String,
    pub(super) published: Vec<PublishedSummary>,
    pub(super) site_servers: Vec<ProgramSummary>,
    pub(super) gateways: Vec<ProgramSummary>,
    pub(super) connection_points: Vec<ProgramSummary>,
    /// Where clients register.
    pub(super) management_points: Vec<ProgramSummary>,
    /// The programs' configuration files, certificates and keys.
    pub(super) site_dir: PathBuf,
    /// What an administrator should know.
    pub(super) findings: Vec<String>,
}

/// A published server.
#[derive(Serialize)]
pub(super) struct PublishedSummary {
    pub(super) name: String,
    pub(super) internal_url: String,
    pub(super) mutual_url: String,
    pub(super) server_url: String,
    pub(super) root_url: String,
    /// Whether anybody may use it, without a certificate or a token.
    pub(super) open: bool,
}

/// A running program.
#[derive(Serialize)]
pub(super) struct ProgramSummary {
    pub(super) name: String,
    pub(super) pid: u32,
    /// `host:port` where it listens: a gateway for clients and tunnels, a connection point for its metrics only.
    pub(super) address: String,
    pub(super) metrics_url: String,
    pub(super) config: PathBuf,
    pub(super) log: PathBuf,
}

impl Summary {
    pub(super) fn new(system: &System) -> Result<Self, LabError> {
        let lab = &system.lab;
        let (Some(server), Some(program), Some(managed)) = (&lab.site, &system.site, &system.managed) else {
            return Err(LabError::Site { asked: "its addresses".to_owned(), answer: "there is none".to_owned() });
        };
        let client = lab.client_dir();
        let gateways = system.gateways.iter().zip(&lab.gateways);
        Ok(Self {
            service_url: lab.service_url(),
            ca_cert: client.join("ca.pem"),
            client_cert: client.join("client.pem"),
            client_key: client.join("client.key"),
            token: lab.token.clone(),
            token_file: client.join("token"),
            site_url: server.url(),
            admin_token_file: managed.admin_token_file.clone(),
            bulk_token: managed.bulk_token.clone(),
            published: published(lab),
            site_servers: vec![summary_of(program, format!("127.0.0.1:{}", server.port))],
            gateways: gateways.map(|(program, gateway)| summary_of(program, format!("{}:{}", gateway.address, gateway.port))).collect(),
            connection_points: system
                .connection_points
                .iter()
                .map(|program| summary_of(program, format!("127.0.0.1:{}", program.plan.metrics_port)))
                .collect(),
            management_points: system
                .management_points
                .iter()
                .map(|program| summary_of(program, format!("localhost:{}", server.management_point.port)))
                .collect(),
            site_dir: lab.site_dir(),
            findings: findings(lab),
        })
    }

    /// Removes the `lab.json` of an earlier run, whose addresses are not those of this one.
    pub(super) fn remove(dir: &Path) -> Result<(), LabError> {
        let path = dir.join("lab.json");
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(LabError::File { path, source }),
            _ => Ok(()),
        }
    }

    /// Writes `lab.json` in one step, so that whoever waits for the file never reads half of it.
    pub(super) fn write(&self, dir: &Path) -> Result<(), LabError> {
        let path = dir.join("lab.json");
        let unusable = |source| LabError::File { path: path.clone(), source };
        let text = serde_json::to_string_pretty(self).map_err(|error| unusable(error.into()))?;
        let half = dir.join("lab.json.new");
        file::write_secret(&half, text + "\n")?;
        std::fs::rename(&half, &path).map_err(unusable)
    }
}

fn published(lab: &Lab) -> Vec<PublishedSummary> {
    let summaries = lab.endpoints.iter().map(|endpoint| PublishedSummary {
        name: endpoint.published.name.clone(),
        internal_url: endpoint.published.internal_url.clone(),
        mutual_url: lab.mutual_url(endpoint),
        server_url: lab.server_url(endpoint),
        root_url: endpoint.root_url(),
        open: endpoint.published.open,
    });
    summaries.collect()
}

fn summary_of(program: &Program, address: String) -> ProgramSummary {
    ProgramSummary {
        name: program.plan.name.clone(),
        pid: program.pid(),
        address,
        metrics_url: format!("http://127.0.0.1:{}/metrics", program.plan.metrics_port),
        config: program.plan.config.clone(),
        log: program.plan.log.clone(),
    }
}

fn findings(lab: &Lab) -> Vec<String> {
    let open = lab.endpoints.iter().filter(|endpoint| endpoint.published.open);
    let mut findings: Vec<_> = open
        .map(|endpoint| format!("{} is published without client authentication: anybody may use it", endpoint.published.name))
        .collect();
    if lab.trusts_others {
        findings.push("certificates of --client-ca authorities are accepted without a revocation list".to_owned());
    }
    findings
}
