//! The addresses of a policy, read once: whom to ask for what, by which way, and who is believed there.

use std::collections::BTreeMap;
use std::sync::Arc;

use cmg_api::policy::{InternetService, Policy, RouteCredential};
use cmg_core::problem::Problem;
use cmg_credentials::tls::{device_client, server_client};
use pki_types::CertificateDer;
use pki_types::pem::PemObject;
use rustls::ClientConfig;
use rustls::sign::CertifiedKey;

use super::circle::Circle;
use crate::origin::{Base, Origin};

/// The name of the service that a client knows before it has a policy.
pub const FIRST_CONTACT: &str = "first contact";

/// Where everything is.
pub(crate) struct Book {
    /// Management points of the intranet, by name.
    pub(crate) management_points: BTreeMap<String, Place>,
    /// Internet-based services, by name.
    pub(crate) services: BTreeMap<String, Service>,
    /// Servers by their addresses on the intranet.
    pub(crate) servers: BTreeMap<Origin, Server>,
    /// What could not be used, in words.
    pub(crate) problems: Vec<String>,
}

/// An address, and who is believed there.
pub(crate) struct Place {
    pub(crate) base: Base,
    pub(crate) circle: Arc<Circle>,
}

/// An internet-based service.
pub(crate) struct Service {
    pub(crate) circle: Arc<Circle>,
    /// Where management points are reached.
    pub(crate) management_points: Vec<Base>,
    /// Ways to servers, by the name of the server; the longest path first.
    routes: BTreeMap<String, Vec<Route>>,
}

/// A way to a server through a service.
pub(crate) struct Route {
    pub(crate) path: String,
    pub(crate) base: Base,
    pub(crate) credential: RouteCredential,
}

/// A server inside.
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) circle: Arc<Circle>,
}

/// How a client reaches the site before it has a policy.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FirstContact {
    /// Where a management point is reached: a gateway, an internet-facing server, or the management point itself.
    pub url: String,
    /// Roots (PEM) that it is believed by; empty: those of the operating system.
    #[serde(default)]
    pub authorities: Vec<String>,
}

impl Book {
    /// What is known before there is a policy.
    pub(crate) fn of_first_contact(first: &FirstContact, shows: Option<&Arc<CertifiedKey>>) -> Self {
        let mut reading = Reading { shows, system: None, problems: Vec::new() };
        let service = reading.service("first contact", std::slice::from_ref(&first.url), &first.authorities, BTreeMap::new());
        let services = service.map(|service| (FIRST_CONTACT.to_owned(), service)).into_iter().collect();
        Self { management_points: BTreeMap::new(), services, servers: BTreeMap::new(), problems: reading.problems }
    }

    /// What a policy says. `shows` is the device's certificate, if it has one. First contact stays known, for a repair.
    pub(crate) fn of(policy: &Policy, first: &FirstContact, shows: Option<&Arc<CertifiedKey>>) -> Self {
        let mut reading = Reading { shows, system: None, problems: Vec::new() };
        let Self { services: mut known, .. } = Self::of_first_contact(first, shows);
        let roots: Vec<_> = policy.roots.iter().map(|root| root.0.clone()).collect();
        let management_points = policy.management_points.iter().filter_map(|point| {
            let base = reading.base(&format!("management point {}", point.name), &point.url)?;
            let tls = reading.usable(&point.name, device_client(&point.name, &roots, shows))?;
            Some((point.name.clone(), Place { base, circle: Circle::new(Some(tls)) }))
        });
        let management_points = management_points.collect();
        known.extend(policy.services.iter().filter_map(|service| Some((service.name.clone(), reading.internet(service)?))));
        let mut servers = BTreeMap::new();
        for server in &policy.servers {
            let Some(tls) = reading.tls(&server.name, &server.authorities, None) else { continue };
            let circle = Circle::new(Some(tls));
            for text in &server.origins {
                let Some(base) = reading.base(&server.name, text) else { continue };
                servers.entry(base.origin).or_insert(Server { name: server.name.clone(), circle: Arc::clone(&circle) });
            }
        }
        Self { management_points, services: known, servers, problems: reading.problems }
    }

    /// Forgets all connections that wait.
    pub(crate) fn forget_connections(&self) {
        self.management_points.values().for_each(|point| point.circle.forget());
        self.services.values().for_each(|service| service.circle.forget());
        self.servers.values().for_each(|server| server.circle.forget());
    }
}

impl Service {
    /// The way to a path of a server: the longest that fits.
    pub(crate) fn route(&self, server: &str, path: &str) -> Option<&Route> {
        self.routes.get(server)?.iter().find(|route| fits(&route.path, path))
    }
}

/// Whether `path` lies below `prefix`; only whole segments count.
fn fits(prefix: &str, path: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

struct Reading<'a> {
    shows: Option<&'a Arc<CertifiedKey>>,
    /// The operating system's roots, read where they are needed.
    system: Option<Arc<ClientConfig>>,
    problems: Vec<String>,
}

impl Reading<'_> {
    fn internet(&mut self, service: &InternetService) -> Option<Service> {
        let mut routes = BTreeMap::new();
        for (server, ways) in &service.servers {
            let mut read: Vec<_> = ways
                .iter()
                .filter_map(|way| {
                    Some(Route { path: way.path.clone(), base: self.base(&service.name, &way.url)?, credential: way.credential })
                })
                .collect();
            read.sort_by_key(|route| std::cmp::Reverse(route.path.trim_end_matches('/').len()));
            routes.insert(server.clone(), read);
        }
        self.service(&service.name, &service.management_points, &service.authorities, routes)
    }

    fn service(&mut self, name: &str, urls: &[String], authorities: &[String], routes: BTreeMap<String, Vec<Route>>) -> Option<Service> {
        let management_points: Vec<_> = urls.iter().filter_map(|url| self.base(name, url)).collect();
        let tls = self.tls(name, authorities, self.shows)?;
        Some(Service { circle: Circle::new(Some(tls)), management_points, routes })
    }

    fn base(&mut self, whose: &str, text: &str) -> Option<Base> {
        let base = Base::parse(text);
        if base.is_none() {
            self.problems.push(format!("{whose}: `{text}` is no address"));
        }
        base
    }

    fn tls(&mut self, whose: &str, authorities: &[String], shows: Option<&Arc<CertifiedKey>>) -> Option<Arc<ClientConfig>> {
        if !authorities.is_empty() {
            let roots = authorities.iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()));
            let roots: Vec<_> = roots.filter_map(Result::ok).map(|root| root.to_vec()).collect();
            return self.usable(whose, server_client("authorities", &roots, shows));
        }
        if let Some(known) = self.system.as_ref().filter(|_| shows.is_none()) {
            return Some(Arc::clone(known));
        }
        let roots: Vec<_> = rustls_native_certs::load_native_certs().certs.iter().map(|root| root.to_vec()).collect();
        let tls = self.usable("the operating system's roots", server_client("authorities", &roots, shows))?;
        if shows.is_none() {
            self.system = Some(Arc::clone(&tls));
        }
        Some(tls)
    }

    fn usable<T>(&mut self, whose: &str, made: Result<T, Problem>) -> Option<T> {
        made.inspect_err(|problem| self.problems.push(format!("{whose}: {}", problem.what))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_below_whole_segments() {
        for (prefix, path, good) in [
            ("/", "/", true),
            ("/", "/a?b", true),
            ("/a", "/a", true),
            ("/a", "/a?b", true),
            ("/a/", "/a/b", true),
            ("/a", "/ab", false),
            ("/a/b", "/a", false),
        ] {
            assert_eq!(fits(prefix, path), good, "{prefix} {path}");
        }
    }
}
