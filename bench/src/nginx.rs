//! nginx as the yardstick, from the committed configuration in `bench/nginx`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

use crate::process::Process;
use crate::systems::{Lab, Part, Role, Running, System, free_address};
use crate::{Result, cpu};

const COMMON: &str = include_str!("../nginx/common.conf");
const ONE_HOP: &str = include_str!("../nginx/one-hop.conf");
const FRONT: &str = include_str!("../nginx/front.conf");
const BACK: &str = include_str!("../nginx/back.conf");

/// One reverse proxy in front of the origin.
pub(crate) fn start_one(lab: &Lab) -> Result<Running> {
    let dir = TempDir::new_in(&lab.dir)?;
    let address = free_address()?;
    let gateway = start(lab, &dir.path().join("one-hop"), ONE_HOP, address, lab.origin)?;
    let parts = vec![Part { role: Role::Gateway, process: gateway }];
    Ok(Running { system: System::Nginx1, address, parts, dir })
}

/// Two reverse proxies in a row.
pub(crate) fn start_two(lab: &Lab) -> Result<Running> {
    let dir = TempDir::new_in(&lab.dir)?;
    let (address, inner) = (free_address()?, free_address()?);
    let back = start(lab, &dir.path().join("back"), BACK, inner, lab.origin)?;
    let front = start(lab, &dir.path().join("front"), FRONT, address, inner)?;
    let parts = vec![Part { role: Role::Gateway, process: front }, Part { role: Role::ConnectionPoint, process: back }];
    Ok(Running { system: System::Nginx2, address, parts, dir })
}

fn start(lab: &Lab, dir: &Path, template: &str, listen: SocketAddr, origin: SocketAddr) -> Result<Process> {
    fs::create_dir(dir)?;
    let fill = |template: &str| {
        template
            .replace("{{dir}}", &dir.display().to_string())
            .replace("{{pki}}", &lab.pki.dir.display().to_string())
            .replace("{{listen}}", &listen.to_string())
            .replace("{{origin}}", &origin.to_string())
    };
    fs::write(dir.join("common.conf"), fill(COMMON))?;
    let config = dir.join("nginx.conf");
    fs::write(&config, fill(template))?;

    let mut command = cpu::pinned(cpu::SYSTEM, Path::new("nginx"));
    command.arg("-p").arg(dir).arg("-e").arg(dir.join("error.log")).arg("-c").arg(config);
    Process::start(command.stdout(Stdio::null()).stderr(fs::File::create(dir.join("stderr.log"))?))
}
