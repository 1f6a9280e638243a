//! The programs of a laboratory, running, with the relay in front of the gateways.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::LabError;
use crate::lab::Lab;
use crate::managed::{Managed, SiteServer};
use crate::profile::Role;
use crate::program::{Plan, Program};
use crate::relay::{Front, Instance, Relay};

/// How long a program may take to become ready: generous, because test machines are busy.
const START_TIME: Duration = Duration::from_secs(30);
/// How long a program may take to end after it was asked; longer than the `drain` in the laboratory's files.
const STOP_TIME: Duration = Duration::from_secs(15);

/// A part of the system has come up.
#[derive(Clone, Debug)]
pub struct Hop {
    /// Which part.
    pub name: String,
    /// Where it is or what it holds.
    pub place: String,
    /// How long it took, from its start or from the moment when all it needs was there.
    pub took: Duration,
}

/// A running system. Dropping it kills the programs.
pub struct System {
    /// Its files, keys and addresses.
    pub lab: Lab,
    /// The site server, where there is one.
    pub site: Option<Program>,
    /// What the site server has given, where there is one.
    pub managed: Option<Managed>,
    /// Gateway instances, in the order of `lab.gateways`.
    pub gateways: Vec<Program>,
    /// Connection points, in the order of `lab.connection_points`.
    pub connection_points: Vec<Program>,
    /// Management points: one, where there is a site server.
    pub management_points: Vec<Program>,
    _relay: Relay,
}

impl System {
    /// Starts every program of the laboratory and waits until each is ready; tells of each hop as it comes up.
    pub async fn start(binary: &Path, lab: Lab, mut report: impl FnMut(Hop)) -> Result<Self, LabError> {
        let started = Instant::now();
        let relay = Relay::start(fronts(&lab)).await?;
        report(hop("relay", lab.service_url(), started));

        let (site, managed) = match &lab.site {
            Some(server) => start_site(binary, &lab, server, &mut report).await?,
            None => (None, None),
        };

        let started = Instant::now();
        let mut gateways = lab.gateways.iter().map(|gateway| Program::start(binary, gateway.plan(&lab))).collect::<Result<Vec<_>, _>>()?;
        for (program, gateway) in gateways.iter_mut().zip(&lab.gateways) {
            program.wait_for("/livez", START_TIME).await?;
            report(hop(&gateway.name, format!("https://{}:{}", gateway.address, gateway.port), started));
        }

        let started = Instant::now();
        let plans = lab.connection_points.iter().map(|point| Program::start(binary, point.plan(&lab)));
        let mut connection_points = plans.collect::<Result<Vec<_>, _>>()?;
        for program in &mut connection_points {
            program.wait_for("/readyz", START_TIME).await?;
            report(hop(&program.plan.name, "tunnels are up".to_owned(), started));
        }
        for program in &mut gateways {
            program.wait_for("/readyz", START_TIME).await?;
        }
        let mut management_points = Vec::new();
        if let Some(server) = &lab.site {
            let started = Instant::now();
            let mut program = Program::start(binary, server.management_point.plan(&lab))?;
            program.wait_for("/readyz", START_TIME).await?;
            report(hop(&program.plan.name, format!("https://localhost:{}", server.management_point.port), started));
            management_points.push(program);
        }

        Ok(Self { lab, site, managed, gateways, connection_points, management_points, _relay: relay })
    }

    /// Ends every program that still runs, connection points last, so that requests under way can finish. Returns those
    /// that did not end well, with how they ended.
    pub async fn stop(&mut self) -> Vec<(String, String)> {
        let mut failures = Vec::new();
        for program in self.gateways.iter_mut().chain(&mut self.connection_points).chain(&mut self.management_points).chain(&mut self.site)
        {
            if let Err(how) = program.stop(STOP_TIME).await {
                failures.push((program.plan.name.clone(), how));
            }
        }
        failures
    }

    /// Programs that have ended since the last call, with how.
    pub fn newly_ended(&mut self) -> Vec<(String, std::process::ExitStatus)> {
        self.gateways
            .iter_mut()
            .chain(&mut self.connection_points)
            .chain(&mut self.management_points)
            .chain(&mut self.site)
            .filter_map(Program::newly_ended)
            .collect()
    }
}

/// Starts the site server and tells it what the laboratory has.
async fn start_site(
    binary: &Path,
    lab: &Lab,
    server: &SiteServer,
    report: &mut impl FnMut(Hop),
) -> Result<(Option<Program>, Option<Managed>), LabError> {
    let started = Instant::now();
    let mut program = Program::start(binary, server.plan(lab))?;
    program.wait_for("/readyz", START_TIME).await?;
    let managed = server.set_up(lab).await?;
    report(hop(&server.name, server.url(), started));
    Ok((Some(program), Some(managed)))
}

impl crate::lab::Gateway {
    /// How to start this instance.
    pub fn plan(&self, lab: &Lab) -> Plan {
        plan(lab, Role::Gateway, &self.name, &self.config, self.metrics_port)
    }
}

impl crate::lab::ConnectionPoint {
    /// How to start this connection point.
    pub fn plan(&self, lab: &Lab) -> Plan {
        plan(lab, Role::ConnectionPoint, &self.name, &self.config, self.metrics_port)
    }
}

pub(crate) fn plan(lab: &Lab, role: Role, name: &str, config: &Path, metrics_port: u16) -> Plan {
    Plan { name: name.to_owned(), role, config: config.to_owned(), metrics_port, log: lab.log(name) }
}

/// The service's one address, and one address for each published server's plain form.
fn fronts(lab: &Lab) -> Vec<Front> {
    let instances: Vec<_> = lab.gateways.iter().map(|gateway| (Instance::at(gateway.address, gateway.metrics_port), gateway)).collect();
    let service =
        Front { port: lab.service_port, targets: instances.iter().map(|(instance, gateway)| (instance.clone(), gateway.port)).collect() };
    let roots = lab.endpoints.iter().enumerate().map(|(index, endpoint)| Front {
        port: endpoint.root_port,
        targets: instances.iter().map(|(instance, gateway)| (instance.clone(), gateway.root_ports[index])).collect(),
    });
    std::iter::once(service).chain(roots).collect()
}

fn hop(name: &str, place: String, started: Instant) -> Hop {
    Hop { name: name.to_owned(), place, took: started.elapsed() }
}
