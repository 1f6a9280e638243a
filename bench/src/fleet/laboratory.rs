//! The real programs that a fleet meets: a site server, gateways, connection points, a management point.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cmg_lab::{Api, Lab, LabOptions, Origin, Program, Published, Signal, System};

use serde_json::json;

use super::plan::PlannedService;
use crate::Result;

pub(super) struct Laboratory {
    system: System,
    binary: PathBuf,
    _origin: Origin,
    _dir: tempfile::TempDir,
}

impl Laboratory {
    pub(super) async fn start(binary: &Path, gateways: usize, pin: Option<usize>) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let origin = Origin::start(([127, 0, 0, 1], 0).into()).await?;
        let options =
            LabOptions { published: vec![Published::new("app", &origin.url())?], gateways, managed: true, ..LabOptions::default() };
        let system = System::start(binary, Lab::new(dir.path(), options)?, drop).await?;
        let laboratory = Self { system, binary: binary.to_owned(), _origin: origin, _dir: dir };
        if let Some(processor) = pin {
            laboratory.pin(processor)?;
        }
        Ok(laboratory)
    }

    /// Gives the management point a processor, with every thread that it has.
    fn pin(&self, processor: usize) -> Result<()> {
        for program in &self.system.management_points {
            let pid = program.pid().to_string();
            let status = Command::new("taskset").args(["-acp", &processor.to_string(), &pid]).stdout(Stdio::null()).status()?;
            if !status.success() {
                return Err("taskset failed".into());
            }
        }
        Ok(())
    }

    /// Each gateway instance is a service to the clients.
    pub(super) fn services(&self) -> Vec<PlannedService> {
        let lab = &self.system.lab;
        let service = |gateway: &cmg_lab::lab::Gateway| PlannedService {
            name: gateway.name.clone(),
            url: lab.service_url(),
            address: (gateway.address, gateway.port).into(),
        };
        lab.gateways.iter().map(service).collect()
    }

    /// Root of the services' certificates, PEM.
    pub(super) fn authority(&self) -> String {
        self.system.lab.servers.certificate_pem()
    }

    /// New bulk registration tokens.
    pub(super) fn bulk_tokens(&self, count: usize) -> Result<Vec<String>> {
        let managed = self.system.managed.as_ref().ok_or("the laboratory has no site server")?;
        let port = self.system.lab.site.as_ref().ok_or("the laboratory has no site server")?.port;
        let api = Api { port, token: Some(std::fs::read_to_string(&managed.admin_token_file)?.trim().to_owned()) };
        let make = |_| {
            let made = api.ask("POST", "/bulk-tokens", Some(&json!({ "note": "fleet" })))?;
            Ok(made["token"].as_str().ok_or("a bulk token without its text")?.to_owned())
        };
        (0..count).map(make).collect()
    }

    /// Kills a gateway, as a power cut would.
    pub(super) async fn kill_gateway(&mut self, place: usize) -> Result<()> {
        let program = self.system.gateways.get_mut(place).ok_or("there is no such gateway")?;
        program.signal(Signal::Kill).await?;
        program.wait().await?;
        Ok(())
    }

    /// Starts every gateway that was killed.
    pub(super) async fn start_gateways(&mut self) -> Result<()> {
        for program in &mut self.system.gateways {
            if program.ask("/livez").await.is_err() {
                *program = Program::start(&self.binary, program.plan.clone())?;
            }
        }
        Ok(())
    }

    /// A counter of the management point, by the beginning of its line.
    pub(super) async fn of_management_point(&self, metric: &str) -> Result<u64> {
        let program = self.system.management_points.first().ok_or("there is no management point")?;
        let metrics = program.ask("/metrics").await?.body;
        let line = metrics.lines().find(|line| line.starts_with(metric));
        Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default())
    }
}
