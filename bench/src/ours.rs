//! Our gateway and connection point in full policy: CRL, the published list on both sides, limits, metrics, one
//! access-log line a request.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

use crate::process::Process;
use crate::systems::{Lab, Part, Role, Running, System, free_address};
use crate::{Result, cpu};

const GATEWAY: &str = include_str!("../cmg/gateway.toml");
const CONNECTION_POINT: &str = include_str!("../cmg/connection-point.toml");

/// Gateway and connection point, one tunnelled straight to the other.
pub(crate) fn start(lab: &Lab) -> Result<Running> {
    let address = free_address()?;
    start_pair(lab, address, address)
}

/// The same with something between them: the connection point dials `relay`.
pub(crate) fn start_behind(lab: &Lab, relay: SocketAddr) -> Result<Running> {
    start_pair(lab, free_address()?, relay)
}

fn start_pair(lab: &Lab, address: SocketAddr, dialled: SocketAddr) -> Result<Running> {
    let dir = TempDir::new_in(&lab.dir)?;
    let gateway = start_one(lab, dir.path(), "gateway", GATEWAY, address)?;
    let connection_point = start_one(lab, dir.path(), "connection-point", CONNECTION_POINT, dialled)?;
    let parts = vec![Part { role: Role::Gateway, process: gateway }, Part { role: Role::ConnectionPoint, process: connection_point }];
    Ok(Running { system: System::Cmg, address, parts, dir })
}

/// Starts one side; its log goes to files beside its configuration.
fn start_one(lab: &Lab, dir: &Path, role: &str, template: &str, gateway: SocketAddr) -> Result<Process> {
    let config = dir.join(format!("{role}.toml"));
    let filled = template
        .replace("{{pki}}", &lab.pki.dir.display().to_string())
        .replace("{{gateway}}", &gateway.to_string())
        .replace("{{metrics}}", &free_address()?.to_string())
        .replace("{{origin}}", &lab.origin.to_string());
    fs::write(&config, filled)?;

    let mut command = cpu::pinned(cpu::SYSTEM, &lab.binary);
    command.args(["run", role, "--config"]).arg(&config);
    let file = |kind: &str| fs::File::create(dir.join(format!("{role}.{kind}")));
    Process::start(command.stdin(Stdio::null()).stdout(file("access.log")?).stderr(file("log")?))
}
