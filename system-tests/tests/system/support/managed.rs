//! A system that a site server manages, and the administrator who works with it.

use std::fs;

use cmg_lab::{Api, Issued, Lab, LabOptions, Program};
use serde_json::{Value, json};

use super::{Caller, Site, until};

/// A running system with a site server.
pub(crate) struct ManagedSite {
    pub(crate) site: Site,
    pub(crate) api: Api,
}

impl ManagedSite {
    /// With that many gateway instances and connection points; the origin is published as `app`.
    pub(crate) fn of(gateways: usize, connection_points: usize) -> Self {
        Self::with(LabOptions { gateways, connection_points, managed: true, ..LabOptions::default() }, |_| {})
    }

    /// With a laboratory of any kind, whose files `bend` may change before anything starts.
    pub(crate) fn with(options: LabOptions, bend: impl FnOnce(&Lab)) -> Self {
        let site = Site::with(options, |setup| bend(&setup.lab));
        let token = fs::read_to_string(&site.system.managed.as_ref().unwrap().admin_token_file).unwrap();
        let api = Api { port: site.lab().site.as_ref().unwrap().port, token: Some(token.trim().to_owned()) };
        Self { site, api }
    }

    pub(crate) fn server(&mut self) -> &mut Program {
        self.site.system.site.as_mut().unwrap()
    }

    /// Publishes the origin at `/NAME` for clients with a certificate.
    pub(crate) fn publish(&self, name: &str) {
        let resource = json!({
            "name": name,
            "prefix": format!("/{name}"),
            "face": "mutual",
            "trust": "devices",
            "servers": [self.site.origin.url()],
        });
        self.api.add("endpoints", &resource).unwrap();
    }

    /// What the site says about itself and its members.
    pub(crate) fn status(&self) -> Value {
        self.api.ask("GET", "/status", None).unwrap()
    }

    /// Waits until every member runs by the generation in force.
    pub(crate) fn everywhere(&self) -> Value {
        until("the generation is everywhere", || Some(self.status()).filter(|status| status["everywhere"] == true))
    }

    /// A caller of each gateway instance.
    pub(crate) fn callers(&self, certificate: Option<&Issued>) -> Vec<Caller> {
        let lab = self.site.lab();
        let to = |gateway: &cmg_lab::lab::Gateway| Caller::new(lab, certificate).address((gateway.address, gateway.port).into());
        lab.gateways.iter().map(to).collect()
    }

    /// Callers of each gateway instance with the laboratory's client certificate.
    pub(crate) fn devices(&self) -> Vec<Caller> {
        self.callers(Some(&self.site.lab().client))
    }

    /// The status that the first gateway instance answers a device; none: it does not answer.
    pub(crate) fn answer(&self, path: &str) -> Option<u16> {
        let mut wire = self.devices()[0].try_open().ok()?;
        wire.send("GET", path, &[], b"");
        Some(wire.try_read().ok()?.status)
    }
}
