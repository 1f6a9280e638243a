//! `connection-point.toml` of an enrolled connection point, and the document of its snapshot: together they say what the file of one
//! without a site says, and they are judged by the same code.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cmg_api::text::Duration;
use cmg_api::{ConnectionPointDocument, ConnectionPointFile, DialFile, EnrolledConnectionPointFile, LogFile};
use cmg_core::ids::{ConnectionPointId, Role};
use cmg_core::problem::{Finding, Problem};
use cmg_core::snapshot::Parts;
use cmg_credentials::load::Files;
use cmg_credentials::tls::{Believed, RevokedMembers, tunnel_client};
use cmg_enrolled::{DataError, DataFolder, Identity, SnapshotFiles, Snapshots, read_code};
use cmg_standalone::{AtStart, Reading, connection_point_parts, tunnel};
use cmg_transport::connect::Proxy;
use cmg_tunnel::connector::Route;

use super::dial::{self, WayOut};
use super::{Config, Machine, TunnelPlan, server_tls};
use crate::site::enrolling::Candidate;
use crate::state::now;

/// Keys that belong to the site.
const OF_THE_SITE: [&str; 7] = ["name", "tunnel", "trust", "block", "block_lists", "token_key", "endpoint"];

/// What an enrolled connection point's own file says, judged: a snapshot that comes later must not depend on what was typed meanwhile.
pub(crate) struct Local {
    pub(crate) machine: Machine,
    /// The way out to gateways.
    proxy: Option<Proxy>,
    /// Where the identity and the last good configuration are.
    pub(crate) data: PathBuf,
    /// The file with the one-time code.
    pub(crate) enrolment: Option<PathBuf>,
}

/// A snapshot of the site as it was found.
pub(crate) struct Document {
    pub(crate) text: String,
    pub(crate) files: SnapshotFiles,
}

/// What the file and a snapshot say together.
pub(crate) struct Enrolled {
    pub(crate) config: Config,
    /// Gateway instances that wait for their first certificates.
    pub(crate) candidates: Vec<Candidate>,
    /// Names of all gateway instances.
    pub(crate) gateways: Vec<String>,
    /// Addresses of the site servers.
    pub(crate) site_servers: Vec<String>,
    /// What an administrator should know.
    pub(crate) findings: Vec<Finding>,
}

impl Local {
    /// Reads the file at `path`, or tells all that is wrong with it.
    pub(crate) fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let (mut reading, file) = Reading::open::<EnrolledConnectionPointFile>(path);
        for key in OF_THE_SITE {
            reading.explain(key, "belongs to the site, since [site] is in this file", "set it there, and remove it here");
        }
        let local = file.and_then(|file| Self::of(&file, &mut reading));
        reading.finish(local)
    }

    fn of(file: &EnrolledConnectionPointFile, reading: &mut Reading) -> Option<Self> {
        let machine = Machine::of_enrolled(file, reading);
        let proxy = dial::proxy(&WayOut::of_machine(file), reading);
        let data = std::path::absolute(reading.local(&file.site.data)).unwrap_or_default();
        let enrolment = file.site.enrolment.as_ref().map(|path| reading.local(path));
        Some(Self { machine: machine?, proxy, data, enrolment })
    }

    /// What wants a restart to be changed.
    pub(crate) fn at_start(&self) -> AtStart {
        let [metrics_listen, metrics_public, drain, format] = self.machine.at_start();
        AtStart::new(&[("site.data", &self.data), metrics_listen, metrics_public, drain, format])
    }
}

/// Whether the file at `path` is that of an enrolled connection point.
pub(crate) fn is_enrolled(path: &Path) -> bool {
    let table = std::fs::read_to_string(path).ok().and_then(|text| text.parse::<toml::Table>().ok());
    table.is_some_and(|table| table.contains_key("site"))
}

/// Tells what is wrong with the file at `path` and the last good snapshot, or what an administrator should know.
pub(super) fn check(path: &Path) -> Result<Vec<Finding>, Vec<Problem>> {
    let local = Local::read(path)?;
    let of_data = |error: DataError| vec![Problem::new("site.data", error.to_string(), "put it right, or name another folder")];
    let identity = match local.data.is_dir() {
        true => DataFolder::open(&local.data).and_then(|folder| Ok(Identity::load(&folder)?.map(|identity| (folder, identity)))),
        false => Ok(None),
    };
    let Some((folder, identity)) = identity.map_err(of_data)? else {
        let code = local.enrolment.as_ref().ok_or_else(no_code).and_then(|path| read_code("site.enrolment", path));
        return code.map(|_| vec![Finding::new("site", "not enrolled yet; that is done at the start")]).map_err(|problem| vec![problem]);
    };
    let snapshots = Snapshots::open(&folder).map_err(of_data)?;
    let Some(manifest) = snapshots.current(&identity.member(), &identity.roots).map_err(of_data)? else {
        return Ok(vec![Finding::new("site", "no configuration has come from the site yet")]);
    };
    let damaged =
        |error: cmg_enrolled::PartError| vec![Problem::new("site.data", error.to_string(), "start the program, which fetches it")];
    let text = snapshots.document(&manifest).map_err(damaged)?;
    let files = snapshots.files(manifest, &identity.sealing).map_err(damaged)?;
    read(&local, &folder, &identity, Document { text, files }).map(|enrolled| enrolled.findings)
}

/// What is wrong where neither an identity nor a code is there.
pub(crate) fn no_code() -> Problem {
    Problem::new(
        "site.enrolment",
        "is missing, and this machine is not enrolled",
        "name the file with the one-time code that the site wrote",
    )
}

/// Reads what the file and a snapshot of the site say as one, or tells all that is wrong with the snapshot.
pub(crate) fn read(local: &Local, folder: &DataFolder, identity: &Identity, document: Document) -> Result<Enrolled, Vec<Problem>> {
    let files: Arc<dyn Files> = Arc::new(document.files);
    let mut reading = Reading::of_files(Arc::clone(&files));
    let Some(written) = reading.go_on::<ConnectionPointDocument>(&document.text, files) else {
        return reading.finish(None);
    };
    let gateways = written.gateway.iter().map(|gateway| gateway.name.clone()).collect();
    let site_servers = written.site_servers.clone();
    let (routes, candidates) = ways(&written, local.proxy.as_ref(), &mut reading);
    let whole = merged(written, folder, identity);
    let parts = connection_point_parts(&whole, &mut reading);
    let mut findings = reading.judge(&parts);
    let config = config(&whole, local, routes, parts, &mut findings, &mut reading);
    let enrolled = config.map(|config| {
        findings.extend(super::findings(&config, now()));
        Enrolled { config, candidates, gateways, site_servers, findings }
    });
    reading.finish(enrolled)
}

fn config(
    whole: &ConnectionPointFile,
    local: &Local,
    routes: Vec<Route>,
    parts: Parts,
    findings: &mut Vec<Finding>,
    reading: &mut Reading,
) -> Option<Config> {
    let me = ConnectionPointId::new(&whole.name);
    let role = tunnel::role(&Role::ConnectionPoint(me.clone()), &whole.tunnel.certificate, &whole.tunnel.key, reading);
    let infrastructure = tunnel::authority(&whole.tunnel.authority, &parts, reading);
    let (sessions, lanes) = dial::connections(&whole.tunnel, reading);
    let revoked: RevokedMembers = whole.tunnel.revoked_members.iter().map(|digest| digest.0).collect();
    let believed = infrastructure.as_deref().map(|roots| Believed { roots, revoked: revoked.clone() });
    let membership = role.as_ref().zip(believed);
    let server_tls = server_tls::read(&whole.endpoint, &parts.deliveries, membership, findings, reading);
    let overdue_lists = reading.overdue_lists(&parts, now());
    let (role, infrastructure) = (role?, infrastructure?);
    let believed = Believed { roots: &infrastructure, revoked: revoked.clone() };
    let tls = reading.keep_all(tunnel_client(role.clone(), believed))?;
    let tunnel = TunnelPlan { me, tls, infrastructure, revoked, routes, sessions, lanes };
    Some(Config { machine: local.machine.clone(), tunnel, role, overdue_lists, parts, server_tls })
}

/// The ways to the gateways that have certificates, and those that wait for one. Several instances may be behind one address.
fn ways(document: &ConnectionPointDocument, proxy: Option<&Proxy>, reading: &mut Reading) -> (Vec<Route>, Vec<Candidate>) {
    let (mut routes, mut candidates) = (Vec::<Route>::new(), Vec::new());
    for (place, gateway) in document.gateway.iter().enumerate() {
        let Some(route) = dial::route(&format!("gateway[{place}].address"), &gateway.address, proxy, reading) else { continue };
        if gateway.enrols {
            candidates.push(Candidate { name: gateway.name.clone(), route });
        } else if !routes.iter().any(|known| (&known.host, known.port) == (&route.host, route.port)) {
            routes.push(route);
        }
    }
    (routes, candidates)
}

/// The document in the shape of a whole file. What is the machine's is judged already, so it stays empty here.
fn merged(document: ConnectionPointDocument, folder: &DataFolder, identity: &Identity) -> ConnectionPointFile {
    let end = folder.tunnel_end();
    ConnectionPointFile {
        name: identity.role.name().to_owned(),
        metrics_listen: String::new(),
        metrics_public: false,
        drain: Duration::seconds(0),
        log: LogFile::default(),
        tunnel: DialFile {
            certificate: end.certificate,
            key: end.key,
            authority: end.authority,
            revoked_members: document.revoked_members,
            gateways: Vec::new(),
            connections: document.connections,
            lanes: document.lanes,
            proxy: None,
            proxy_user: None,
            proxy_password_file: None,
        },
        trust: document.trust,
        block: Vec::new(),
        block_lists: document.block_lists,
        token_key: document.token_key,
        endpoint: document.endpoint,
    }
}
