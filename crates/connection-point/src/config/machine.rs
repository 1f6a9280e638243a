//! What belongs to the machine: where the program tells how it is, how long it drains, what it logs.
use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use cmg_api::{ConnectionPointFile, EnrolledConnectionPointFile, LogFile};
use cmg_process::health::Exposure;
use cmg_standalone::{Reading, address};

/// What belongs to the machine.
#[derive(Clone)]
pub struct Machine {
    /// Address of `/livez`, `/readyz` and `/metrics`.
    pub metrics_listen: SocketAddr,
    /// Whether other machines may reach that address.
    pub metrics_public: bool,
    /// How long requests in flight are waited for.
    pub drain: Duration,
    /// What is logged, and how.
    pub log: LogFile,
}

impl Machine {
    pub(super) fn of_file(file: &ConnectionPointFile, reading: &mut Reading) -> Option<Self> {
        Some(Self {
            metrics_listen: listen(&file.metrics_listen, file.metrics_public, reading)?,
            metrics_public: file.metrics_public,
            drain: file.drain.time(),
            log: file.log.clone(),
        })
    }

    pub(super) fn of_enrolled(file: &EnrolledConnectionPointFile, reading: &mut Reading) -> Option<Self> {
        Some(Self {
            metrics_listen: listen(&file.metrics_listen, file.metrics_public, reading)?,
            metrics_public: file.metrics_public,
            drain: file.drain.time(),
            log: file.log.clone(),
        })
    }

    /// Who may reach the address of the metrics.
    pub(crate) fn exposure(&self) -> Exposure {
        if self.metrics_public { Exposure::Public } else { Exposure::Loopback }
    }

    /// What wants a restart to be changed.
    pub(super) fn at_start(&self) -> [(&'static str, &dyn Debug); 4] {
        [
            ("metrics_listen", &self.metrics_listen),
            ("metrics_public", &self.metrics_public),
            ("drain", &self.drain),
            ("log.format", &self.log.format),
        ]
    }
}

fn listen(text: &str, public: bool, reading: &mut Reading) -> Option<SocketAddr> {
    address::metrics(text, public, "127.0.0.1:9181", reading)
}
