//! What clients reach from the internet, and under which addresses: through gateways what is published there, through internet-facing
//! servers what the administrator says.

use std::collections::BTreeMap;
use std::sync::Arc;

use cmg_api::policy::{InternetService, PolicyServer, RouteCredential, ServiceKind, ServiceRoute};
use cmg_api::resource::{Gateway, InternetServer, ManagementPoint, PublishedEndpoint, SiteSystem, SiteSystemRole};
use cmg_api::{Face, TokenKind};
use cmg_authority::tokens::AUDIENCE;

use crate::app::model::Model;
use crate::app::publish::Ground;
use crate::app::templates;

/// The port that nobody writes.
const HTTPS: u16 = 443;

/// The management points of a site that are enrolled: of no others is there anything to be asked.
pub(super) fn management_points<'m>(model: &'m Model, ground: &'m Ground, site: &'m str) -> impl Iterator<Item = &'m Arc<ManagementPoint>> {
    let points = model.management_points.values().filter(move |point| model.site_of(&point.site) == site);
    points.filter(|point| ground.sealing_keys.contains_key(&format!("management-point/{}", point.name)))
}

/// The servers of a site, and what is published of them.
pub(super) struct Published<'m> {
    model: &'m Model,
    ground: &'m Ground,
    site: &'m str,
    /// The servers that clients may ask for.
    pub(super) servers: Vec<PolicyServer>,
    /// What is published of each, by its name.
    endpoints: Vec<(String, Arc<PublishedEndpoint>)>,
}

impl<'m> Published<'m> {
    pub(super) fn new(model: &'m Model, ground: &'m Ground, site: &'m str) -> Self {
        let mut published = Self { model, ground, site, servers: Vec::new(), endpoints: Vec::new() };
        for system in model.site_systems.values().filter(|system| model.site_of(&system.site) == site) {
            published.add_system(system);
        }
        for endpoint in model.endpoints.values().filter(|endpoint| model.site_of(&endpoint.site) == site) {
            published.add_endpoint(endpoint);
        }
        published
    }

    fn add_system(&mut self, system: &SiteSystem) {
        // It is for administrators, wherever they are let in to it.
        if system.role == SiteSystemRole::AdministrationService && system.allow_cmg_traffic.is_none() {
            return;
        }
        self.servers.push(PolicyServer {
            name: system.name.clone(),
            origins: system.urls.iter().map(|url| parts(url).0.to_owned()).collect(),
            authorities: system.authorities.clone(),
            content: system.role == SiteSystemRole::DistributionPoint,
        });
        let endpoints = templates::endpoints(system, system.role_id.as_deref().unwrap_or_default());
        self.endpoints.extend(endpoints.into_iter().map(|endpoint| (system.name.clone(), Arc::new(endpoint))));
    }

    /// What is published of a server that stands there already, under whatever name, is one more way to it.
    fn add_endpoint(&mut self, endpoint: &Arc<PublishedEndpoint>) {
        let origins: Vec<String> = endpoint.servers.iter().map(|url| parts(url).0.to_owned()).collect();
        let known =
            self.servers.iter().find(|server| server.origins.iter().any(|origin| origins.contains(origin)) || server.name == endpoint.name);
        let name = known.map_or_else(|| endpoint.name.clone(), |known| known.name.clone());
        if known.is_none() {
            self.servers.push(PolicyServer {
                name: name.clone(),
                origins,
                authorities: endpoint.server_authorities.clone(),
                content: false,
            });
        }
        self.endpoints.push((name, Arc::clone(endpoint)));
    }

    /// Gateways that run and have something for clients, and internet-facing servers.
    pub(super) fn services(&self) -> Vec<InternetService> {
        let gateways = self.model.gateways.values().filter(|gateway| gateway.running).map(|gateway| self.gateway(gateway));
        let gateways = gateways.filter(|service| !service.management_points.is_empty() || !service.servers.is_empty());
        let facing = self.model.internet_servers.values().filter(|server| self.model.site_of(&server.site) == self.site);
        gateways.chain(facing.map(|server| internet_server(server))).collect()
    }

    fn gateway(&self, gateway: &Gateway) -> InternetService {
        let is_on = |gateways: &[String]| gateways.is_empty() || gateways.contains(&gateway.name);
        let points = management_points(self.model, self.ground, self.site);
        let allowed = points.filter_map(|point| point.allow_cmg_traffic.as_ref()).filter(|allowed| is_on(&allowed.gateways));
        let mut servers = BTreeMap::<String, Vec<ServiceRoute>>::new();
        for (name, endpoint) in self.endpoints.iter().filter(|(_, endpoint)| is_on(&endpoint.gateways)) {
            for route in routes(endpoint, gateway) {
                servers.entry(name.clone()).or_default().push(route);
            }
        }
        InternetService {
            name: gateway.name.clone(),
            kind: ServiceKind::Cmg,
            weight: gateway.weight,
            authorities: gateway.authorities.clone(),
            management_points: allowed.map(|allowed| base(allowed.host.as_ref().unwrap_or(&gateway.host), gateway.port)).collect(),
            servers,
        }
    }
}

fn internet_server(server: &InternetServer) -> InternetService {
    InternetService {
        name: server.name.clone(),
        kind: ServiceKind::Ibcm,
        weight: server.weight,
        authorities: server.authorities.clone(),
        management_points: server.management_points.iter().map(|url| url.trim_end_matches('/').to_owned()).collect(),
        servers: server.servers.iter().map(|(name, routes)| (name.clone(), routes.iter().map(ServiceRoute::from).collect())).collect(),
    }
}

/// The ways to a server that an endpoint makes on `gateway`, for whoever has a certificate or a token of the site.
fn routes(endpoint: &PublishedEndpoint, gateway: &Gateway) -> Vec<ServiceRoute> {
    let base = base(endpoint.host.as_ref().unwrap_or(&gateway.host), endpoint.port.unwrap_or(gateway.port));
    let Some((_, path)) = endpoint.servers.first().map(|url| parts(url)) else { return Vec::new() };
    let route = |external: String, credential| ServiceRoute { path: path.to_owned(), url: base.clone() + &external, credential };
    let takes_token = endpoint.token_kinds.contains(&TokenKind::Site) && endpoint.audiences.iter().any(|audience| audience == AUDIENCE);
    let credential = match (endpoint.face, takes_token) {
        (Face::Mutual, _) | (Face::Either, false) => RouteCredential::Certificate,
        (Face::Server, true) => RouteCredential::Token,
        (Face::Either, true) => RouteCredential::Either,
        (Face::Open, _) => RouteCredential::Nothing,
        (Face::Server, false) => return Vec::new(),
    };
    match (&endpoint.prefix, &endpoint.role_id, &endpoint.path_name) {
        (Some(prefix), _, _) => vec![route(prefix.trim_end_matches('/').to_owned(), credential)],
        (None, Some(id), Some(name)) => {
            let form = |form: &str, credential| route(format!("/CCM_Proxy_{form}/{id}/{name}"), credential);
            match credential {
                RouteCredential::Certificate => vec![form("MutualAuth", credential)],
                RouteCredential::Token | RouteCredential::Nothing => vec![form("ServerAuth", credential)],
                RouteCredential::Either => {
                    vec![form("MutualAuth", RouteCredential::Certificate), form("ServerAuth", RouteCredential::Token)]
                }
            }
        }
        _ => Vec::new(),
    }
}

fn base(host: &str, port: u16) -> String {
    if port == HTTPS { format!("https://{host}") } else { format!("https://{host}:{port}") }
}

/// Scheme, host and port of a URL, and its path, which is `/` where there is none.
fn parts(url: &str) -> (&str, &str) {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find('/').map_or(url.len(), |at| begin + at);
    let path = url[end..].trim_end_matches('/');
    (&url[..end], if path.is_empty() { "/" } else { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_model(resources: &[(&str, &str)]) -> Model {
        let mut model = Model { own_site: "LAB".to_owned(), ..Model::default() };
        let common = [
            ("site", r#"{"name":"LAB"}"#),
            ("gateway", r#"{"name":"main","host":"cmg.example","authorities":["root"],"weight":2}"#),
            ("management-point", r#"{"name":"mp1","host":"mp1.corp.example","allow_cmg_traffic":{}}"#),
        ];
        for (kind, body) in common.iter().chain(resources) {
            model.take(kind, body).unwrap();
        }
        model
    }

    fn ground() -> Ground {
        Ground { sealing_keys: [("management-point/mp1".to_owned(), vec![4; 65])].into(), ..Ground::default() }
    }

    /// The services, and of the gateway its routes to each server as `PATH URL CREDENTIAL`.
    fn told(resources: &[(&str, &str)]) -> (Vec<InternetService>, Vec<PolicyServer>) {
        let (model, ground) = (a_model(resources), ground());
        let published = Published::new(&model, &ground, "LAB");
        (published.services(), published.servers)
    }

    fn routes_of(resources: &[(&str, &str)], server: &str) -> Vec<(String, String, RouteCredential)> {
        let (services, _) = told(resources);
        let routes = services.first().and_then(|service| service.servers.get(server)).cloned().unwrap_or_default();
        routes.into_iter().map(|route| (route.path, route.url, route.credential)).collect()
    }

    #[test]
    fn a_gateway_with_a_management_point_is_a_service() {
        let (services, _) = told(&[]);

        let expected = InternetService {
            name: "main".to_owned(),
            kind: ServiceKind::Cmg,
            weight: 2,
            authorities: vec!["root".to_owned()],
            management_points: vec!["https://cmg.example".to_owned()],
            servers: BTreeMap::new(),
        };
        assert_eq!(services, [expected]);
    }

    #[test]
    fn a_gateway_that_is_stopped_or_has_nothing_is_none() {
        let stopped = ("gateway", r#"{"name":"main","host":"cmg.example","running":false}"#);
        let elsewhere = ("management-point", r#"{"name":"mp1","host":"mp1.corp.example","site":"XYZ","allow_cmg_traffic":{}}"#);
        let inside_only = ("management-point", r#"{"name":"mp1","host":"mp1.corp.example"}"#);

        for resource in [stopped, elsewhere, inside_only] {
            assert_eq!(told(&[resource]).0, [], "{resource:?}");
        }
    }

    #[test]
    fn a_site_system_is_reached_by_each_of_its_paths_with_what_its_face_wants() {
        let wsus = r#"{"name":"sup","role":"software-update-point","role_id":"72057594037927937","urls":["https://sup.corp.example:8531/"],
            "allow_cmg_traffic":{"trust":"devices"}}"#;
        let routes = routes_of(&[("site-system", wsus)], "sup");

        let first = |form: &str, credential| {
            let url = format!("https://cmg.example/CCM_Proxy_{form}/72057594037927937/clientwebservice");
            ("/clientwebservice".to_owned(), url, credential)
        };
        assert_eq!(routes[..2], [first("MutualAuth", RouteCredential::Certificate), first("ServerAuth", RouteCredential::Token)]);
        assert_eq!(routes.len(), 6);
        let (_, servers) = told(&[("site-system", wsus)]);
        assert_eq!(servers[0].origins, ["https://sup.corp.example:8531"]);
    }

    #[test]
    fn a_web_server_is_reached_under_its_prefix_and_by_tokens_only_where_they_count() {
        let web = |more: &str| format!(r#"{{"name":"wiki","prefix":"/wiki","servers":["http://wiki.corp.example/w"],{more}}}"#);
        let found = |more: &str| routes_of(&[("endpoint", &web(more))], "wiki");
        let route = |credential| vec![("/w".to_owned(), "https://cmg.example/wiki".to_owned(), credential)];

        let audience = r#""audiences":["urn:sccm:service"]"#;
        assert_eq!(found(r#""face":"mutual","trust":"devices""#), route(RouteCredential::Certificate));
        assert_eq!(found(&format!(r#""face":"either","trust":"d","token_kinds":["site"],{audience}"#)), route(RouteCredential::Either));
        assert_eq!(found(&format!(r#""face":"server","token_kinds":["site"],{audience}"#)), route(RouteCredential::Token));
        assert_eq!(found(r#""face":"server","token_kinds":["site"],"audiences":["other"]"#), []);
        assert_eq!(found(r#""face":"open","open_acknowledged":true"#), route(RouteCredential::Nothing));
    }

    #[test]
    fn what_is_published_of_a_server_twice_is_two_ways_to_one_server() {
        let system =
            r#"{"name":"wiki","role":"web","urls":["http://wiki.corp.example"],"allow_cmg_traffic":{"host":"wiki.example","face":"open"}}"#;
        let more = r#"{"name":"wiki-images","prefix":"/images","face":"open","open_acknowledged":true,"servers":["http://wiki.corp.example/img"]}"#;
        let resources = [("site-system", system), ("endpoint", more)];

        let urls: Vec<_> = routes_of(&resources, "wiki").into_iter().map(|(path, url, _)| (path, url)).collect();

        let way = |path: &str, url: &str| (path.to_owned(), url.to_owned());
        assert_eq!(urls, [way("/", "https://wiki.example"), way("/img", "https://cmg.example/images")]);
        assert_eq!(told(&resources).1.len(), 1);
    }

    #[test]
    fn an_internet_server_says_itself_what_it_has() {
        let dmz = r#"{"name":"dmz","weight":0,"management_points":["https://ibcm.example.com/"],
            "servers":{"wiki":[{"url":"https://ibcm.example.com/wiki","credential":"nothing"}]}}"#;

        let (services, _) = told(&[("internet-server", dmz)]);

        let route =
            ServiceRoute { path: "/".to_owned(), url: "https://ibcm.example.com/wiki".to_owned(), credential: RouteCredential::Nothing };
        assert_eq!((services[1].kind, services[1].weight), (ServiceKind::Ibcm, 0));
        assert_eq!(services[1].management_points, ["https://ibcm.example.com"]);
        assert_eq!(services[1].servers["wiki"], [route]);
    }

    #[test]
    fn the_administration_service_is_told_only_where_it_is_published() {
        let of =
            |allowed: &str| format!(r#"{{"name":"admin","role":"administration-service","role_id":"1","urls":["https://a"]{allowed}}}"#);

        assert_eq!(told(&[("site-system", &of(""))]).1, []);
        assert_eq!(told(&[("site-system", &of(r#","allow_cmg_traffic":{}"#))]).1.len(), 1);
    }
}
