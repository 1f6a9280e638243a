//! The systems that are measured side by side, and what they have in common: an address, and parts that cost.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Serialize, Serializer};
use tempfile::TempDir;

use crate::client::{Request, Target};
use crate::pki::{CLIENTS, Pki};
use crate::process::Process;
use crate::stream::{self, Identity};
use crate::{Result, cpu, nginx, ours};

/// How long a system may take from its start to its first answer.
const START: Duration = Duration::from_secs(20);

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum System {
    /// Our gateway and connection point.
    Cmg,
    /// nginx as one mutual-TLS reverse proxy.
    #[value(name = "nginx-1")]
    Nginx1,
    /// nginx in two chained hops with mutual TLS between them.
    #[value(name = "nginx-2")]
    Nginx2,
}

impl System {
    /// The one that ratios refer to.
    pub(crate) const YARDSTICK: Self = Self::Nginx1;

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cmg => "cmg",
            Self::Nginx1 => "nginx-1",
            Self::Nginx2 => "nginx-2",
        }
    }

    /// Starts it and waits for its first answer.
    pub(crate) async fn start(self, lab: &Lab) -> Result<Running> {
        let mut running = match self {
            Self::Cmg => ours::start(lab),
            Self::Nginx1 => nginx::start_one(lab),
            Self::Nginx2 => nginx::start_two(lab),
        }?;
        running.await_answer(lab).await?;
        Ok(running)
    }
}

impl Serialize for System {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What all systems share.
pub(crate) struct Lab {
    pub(crate) pki: Pki,
    pub(crate) origin: SocketAddr,
    /// The `cmg` program.
    pub(crate) binary: PathBuf,
    pub(crate) identities: Arc<[Identity]>,
    pub(crate) dir: PathBuf,
    /// Held for its end.
    _origin: Process,
    _alone: File,
}

impl Lab {
    /// Makes the certificates and starts the origin.
    pub(crate) fn create(dir: &Path, binary: &Path) -> Result<Self> {
        let alone = alone()?;
        let pki = Pki::create(&dir.join("pki"))?;
        let identities = stream::identities(&pki, CLIENTS)?.into();
        let origin = free_address()?;
        let this = std::env::current_exe()?;
        let process = Process::start(cpu::pinned(cpu::GENERATOR, &this).args(["origin", &origin.to_string()]))?;
        Ok(Self { pki, origin, binary: binary.to_owned(), identities, dir: dir.to_owned(), _origin: process, _alone: alone })
    }

    /// The origin itself, without anything in front.
    pub(crate) fn direct(&self) -> Target {
        Target { address: self.origin, identities: None }
    }
}

/// Two measurements at once would be worth nothing: holds a lock for as long as the file lives.
fn alone() -> Result<File> {
    let path = std::env::temp_dir().join("cmg-bench.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path)?;
    file.try_lock().map_err(|_| format!("another measurement runs on this machine: it holds {}", path.display()))?;
    Ok(file)
}

/// A system that serves.
pub(crate) struct Running {
    pub(crate) system: System,
    pub(crate) address: SocketAddr,
    /// The public side first.
    pub(crate) parts: Vec<Part>,
    /// Configuration, logs and temporary files; removed at the end.
    pub(crate) dir: TempDir,
}

/// One side of a system.
pub(crate) struct Part {
    pub(crate) role: Role,
    pub(crate) process: Process,
}

/// Which side a part is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    /// Where client connections end.
    Gateway,
    /// Beside the origin.
    ConnectionPoint,
}

impl Running {
    pub(crate) fn target(&self, identities: &Arc<[Identity]>) -> Target {
        Target { address: self.address, identities: Some(Arc::clone(identities)) }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.parts.iter().map(|part| part.process.id()).collect()
    }

    /// The public side, where client connections end.
    pub(crate) fn gateway(&self) -> u32 {
        self.parts[0].process.id()
    }

    /// Leaves its configuration and logs behind, and says where.
    pub(crate) fn keep(&mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        self.dir.path().to_owned()
    }

    /// Waits for the first answer.
    pub(crate) async fn await_answer(&mut self, lab: &Lab) -> Result<()> {
        let target = self.target(&lab.identities);
        let deadline = Instant::now() + START;
        loop {
            let Err(error) = first_answer(&target).await else { return Ok(()) };
            let ended = self.parts.iter_mut().find_map(|part| Some((part.role, part.process.ended()?)));
            if ended.is_some() || Instant::now() > deadline {
                let kept = self.keep();
                return Err(
                    format!("{} does not serve: {error}; ended: {ended:?}; logs are in {}", self.system.name(), kept.display()).into()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn first_answer(target: &Target) -> Result<()> {
    let exchange = async { target.connect(0).await?.exchange(&Request::get(1)).await };
    tokio::time::timeout(Duration::from_secs(2), exchange).await?
}

/// A loopback address that nobody listens on, handed out once. Its port is below those that the kernel gives to
/// outgoing connections, one of which could take it before the server does.
pub(crate) fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(12_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if port >= 32_000 {
            return Err("no free port is left".into());
        }
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener.local_addr()?);
        }
    }
}

/// Proves that a system refuses whom it must: someone without a certificate, and a revoked one.
pub(crate) async fn refuses_strangers(running: &Running, lab: &Lab) -> Result<()> {
    for (who, identity) in [
        ("a client without a certificate", stream::anonymous_identity()?),
        ("a client with a revoked certificate", stream::revoked_identity(&lab.pki)?),
    ] {
        if first_answer(&running.target(&[identity].into())).await.is_ok() {
            return Err(format!("{} serves {who}", running.system.name()).into());
        }
    }
    Ok(())
}
