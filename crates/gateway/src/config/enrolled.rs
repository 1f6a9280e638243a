//! `gateway.toml` of an enrolled gateway, and the document of its snapshot: together they say what the file of one without a site
//! says, and they are judged by the same code.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cmg_api::{
    EnrolledGatewayFile, EnrolmentCode, GatewayDocument, GatewayFile, LimitsFile, LogFile, ServiceFile, TunnelEndFile, WhenWithheld,
};
use cmg_core::problem::{Finding, Problem};
use cmg_credentials::ServerIdentity;
use cmg_credentials::load::Files;
use cmg_enrolled::{DataError, DataFolder, Identity, PartError, Snapshots, ephemeral, read_code};
use cmg_standalone::{Reading, address};
use cmg_transport::proxy_protocol::Network;

use super::acme::{Acme, OfSite};
use super::{Config, of_file, with_others};
use crate::state::now;

/// Keys that belong to the site.
const OF_THE_SITE: [&str; 13] = [
    "name",
    "revoked_members",
    "when_withheld",
    "service",
    "tunnel",
    "certificate",
    "limits",
    "trust",
    "block",
    "block_lists",
    "token_key",
    "entra_tenant",
    "endpoint",
];

/// What an enrolled gateway's own file says, as far as it counts before there is a configuration of the site.
pub(crate) struct Local {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) proxies: Vec<Network>,
    pub(crate) metrics_listen: SocketAddr,
    pub(crate) metrics_public: bool,
    pub(crate) log: LogFile,
    /// Where the identity and the last good configuration are.
    pub(crate) data: PathBuf,
    /// The file with the one-time code.
    pub(crate) enrolment: Option<PathBuf>,
}

/// A snapshot of the site as it was found.
pub(crate) struct Document {
    /// TOML.
    pub(crate) text: String,
    /// The files that it names.
    pub(crate) files: Arc<dyn Files>,
}

impl Local {
    /// Reads the file at `path`, or tells all that is wrong with it.
    pub(crate) fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let (mut reading, file) = open(path);
        let local = file.and_then(|file| Self::of(&file, &mut reading));
        reading.finish(local)
    }

    fn of(file: &EnrolledGatewayFile, reading: &mut Reading) -> Option<Self> {
        let listen = super::listen(&file.listen, reading);
        Some(Self {
            metrics_listen: address::metrics(&file.metrics_listen, file.metrics_public, super::METRICS_EXAMPLE, reading)?,
            metrics_public: file.metrics_public,
            listen,
            proxies: super::networks(&file.proxy_protocol_from, reading),
            log: file.log.clone(),
            data: std::path::absolute(reading.local(&file.site.data)).unwrap_or_default(),
            enrolment: file.site.enrolment.as_ref().map(|path| reading.local(path)),
        })
    }

    /// The one-time code, if it is one for a gateway.
    pub(crate) fn code(&self) -> Result<EnrolmentCode, Problem> {
        let key = "site.enrolment";
        let Some(path) = &self.enrolment else {
            let what = "is missing, and this machine is not enrolled";
            return Err(Problem::new(key, what, "name the file with the one-time code that the site wrote"));
        };
        let code = read_code(key, path)?;
        if code.kind != "gateway" {
            return Err(Problem::new(
                key,
                format!("the code is for a {}", code.kind),
                "name the file that the site wrote for this gateway",
            ));
        }
        if code.ends <= now().0 {
            return Err(Problem::new(key, "the code has run out", "make a new one at the site, and put it in the place of this one"));
        }
        Ok(code)
    }
}

/// Whether the file at `path` is that of an enrolled gateway.
pub(crate) fn is_enrolled(path: &Path) -> bool {
    let table = std::fs::read_to_string(path).ok().and_then(|text| text.parse::<toml::Table>().ok());
    table.is_some_and(|table| table.contains_key("site"))
}

/// Tells what is wrong with the file at `path` and the last good snapshot, or what an administrator should know.
pub(super) fn check(path: &Path) -> Result<Vec<Finding>, Vec<Problem>> {
    let local = Local::read(path)?;
    let found = match local.data.is_dir() {
        true => DataFolder::open(&local.data).and_then(|folder| Ok(Identity::load(&folder)?.map(|identity| (folder, identity)))),
        false => Ok(None),
    };
    let Some((folder, identity)) = found.map_err(|error| vec![of_data(&error)])? else {
        let finding = Finding::new("site", "not enrolled yet; a connection point of the site does that while the gateway runs");
        return local.code().map(|_| vec![finding]).map_err(|problem| vec![problem]);
    };
    let snapshots = Snapshots::open(&folder).map_err(|error| vec![of_data(&error)])?;
    let current = snapshots.current(&identity.member(), &identity.roots).map_err(|error| vec![of_data(&error)])?;
    let Some(manifest) = current else {
        return Ok(vec![Finding::new("site", "no configuration has come from the site yet")]);
    };
    let text = snapshots.document(&manifest).map_err(|error| vec![of_parts(&error)])?;
    let files = snapshots.files(manifest, &identity.sealing).map_err(|error| vec![of_parts(&error)])?;
    read(path, &folder, &identity, Some(Document { text, files: Arc::new(files) })).map(|(_, findings)| findings)
}

/// Reads the file at `path` and a snapshot of the site as one, or tells all that is wrong with them. Without a snapshot the gateway
/// takes tunnels, and serves nobody.
pub(crate) fn read(
    path: &Path,
    folder: &DataFolder,
    identity: &Identity,
    document: Option<Document>,
) -> Result<(Config, Vec<Finding>), Vec<Problem>> {
    let (mut reading, local) = open(path);
    let Some(local) = local else { return reading.finish(None) };
    let is_empty = document.is_none();
    let written = match document {
        Some(Document { text, files }) => reading.go_on(&text, files),
        None => Some(nothing()),
    };
    let Some(written) = written else { return reading.finish(None) };
    let when_withheld = written.when_withheld;
    // An ACME server wants to be answered before there is a certificate.
    let waits = written.certificate.is_empty() && !written.awaited_certificates.is_empty();
    let instead = if is_empty || waits { nobody(&mut reading) } else { None };
    let acme = Acme::of(&written.acme_challenge, written.awaited_certificates.clone(), &mut reading);
    // What is no address is told where it is read.
    let others = local.listen.iter().chain([&local.metrics_listen]).filter_map(|text| text.parse().ok());
    let others: Vec<SocketAddr> = others.collect();
    let acme = acme.listening(&local.acme_listen, &others, &mut reading);
    let file = merged(local, written, folder, identity);
    let (mut config, found) = of_file(&file, OfSite { instead, acme }, reading)?;
    config.when_withheld = when_withheld;
    let findings = if is_empty { found } else { with_others(&config, found) };
    Ok((config, findings))
}

/// What is wrong with the folder of the gateway.
pub(crate) fn of_data(error: &DataError) -> Problem {
    Problem::new("site.data", error.to_string(), "put it right, or name another folder")
}

/// What is wrong with the last good snapshot.
pub(crate) fn of_parts(error: &PartError) -> Problem {
    Problem::new("site.data", error.to_string(), "start the gateway, which fetches it from a connection point")
}

fn open(path: &Path) -> (Reading, Option<EnrolledGatewayFile>) {
    let (mut reading, file) = Reading::open::<EnrolledGatewayFile>(path);
    for key in OF_THE_SITE {
        let (what, instead) = match key {
            "endpoint" => ("belongs to the site, since [site] is in this file", "set it there (`cmg endpoint`), and remove it here"),
            _ => ("belongs to the site, since [site] is in this file", "set it there, and remove it here"),
        };
        reading.explain(key, what, instead);
    }
    (reading, file)
}

/// A document that publishes nothing.
fn nothing() -> GatewayDocument {
    GatewayDocument {
        when_withheld: WhenWithheld::default(),
        revoked_members: Vec::new(),
        service: ServiceFile::default(),
        certificate: Vec::new(),
        awaited_certificates: Vec::new(),
        acme_challenge: Vec::new(),
        limits: LimitsFile::default(),
        trust: Default::default(),
        block_lists: Vec::new(),
        token_key: Vec::new(),
        entra_tenant: Vec::new(),
        endpoint: Vec::new(),
    }
}

/// What clients are shown while nothing is published: a certificate that proves nothing.
fn nobody(reading: &mut Reading) -> Option<ServerIdentity> {
    let made = ephemeral::certificate().map_err(|error| Problem::new("site", error.to_string(), "start the gateway again"));
    reading.keep(made).map(|key| ServerIdentity { names: Vec::new(), key })
}

fn merged(local: EnrolledGatewayFile, document: GatewayDocument, folder: &DataFolder, identity: &Identity) -> GatewayFile {
    GatewayFile {
        name: identity.role.name().to_owned(),
        listen: local.listen,
        metrics_listen: local.metrics_listen,
        metrics_public: local.metrics_public,
        proxy_protocol_from: local.proxy_protocol_from,
        drain: local.drain,
        log: local.log,
        service: document.service,
        tunnel: TunnelEndFile { revoked_members: document.revoked_members, ..folder.tunnel_end() },
        certificate: document.certificate,
        limits: document.limits,
        trust: document.trust,
        block: Vec::new(),
        block_lists: document.block_lists,
        token_key: document.token_key,
        entra_tenant: document.entra_tenant,
        endpoint: document.endpoint,
    }
}
