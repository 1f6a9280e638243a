//! The site's configuration in memory: every resource by kind and name, and what must hold between them.
//!
//! A model is copied, changed and published as a whole; copies share what did not change.

mod internet;

use std::collections::BTreeMap;
use std::sync::Arc;

use cmg_api::TokenKind;
use cmg_api::resource::{
    BoundaryGroup, Certificate, ClientSettings, ClientTrust, ConnectionPoint, Gateway, InternetServer, ManagementPoint, PublishedEndpoint,
    Resource, SignInProvider, Site, SiteSystem, TokenAlgorithm, TokenIssuer,
};
use cmg_core::ids::is_name;
use cmg_core::problem::Problem;

/// Resources of one kind by name.
pub type Named<T> = BTreeMap<String, Arc<T>>;

/// The site's configuration.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Sites.
    pub sites: Named<Site>,
    /// Cloud management gateways.
    pub gateways: Named<Gateway>,
    /// CMG connection points.
    pub connection_points: Named<ConnectionPoint>,
    /// Management points of the site.
    pub management_points: Named<ManagementPoint>,
    /// Client certificate authorities.
    pub trusts: Named<ClientTrust>,
    /// Server certificates.
    pub certificates: Named<Certificate>,
    /// Who issues tokens.
    pub token_issuers: Named<TokenIssuer>,
    /// Site systems.
    pub site_systems: Named<SiteSystem>,
    /// Published endpoints.
    pub endpoints: Named<PublishedEndpoint>,
    /// Boundary groups.
    pub boundary_groups: Named<BoundaryGroup>,
    /// Internet-facing servers.
    pub internet_servers: Named<InternetServer>,
    /// How clients behave.
    pub client_settings: Named<ClientSettings>,
    /// Who administrators sign in by.
    pub sign_in_providers: Named<SignInProvider>,
    /// The code of the site that the site server was set up with.
    pub own_site: String,
}

/// A kind of resource that a model holds.
pub trait Kept: Resource {
    /// Where a model keeps this kind.
    fn of(model: &Model) -> &Named<Self>;
    /// The same, to be changed.
    fn of_mut(model: &mut Model) -> &mut Named<Self>;
}

macro_rules! kept {
    ($($type:ident in $field:ident),* $(,)?) => {
        $(impl Kept for $type {
            fn of(model: &Model) -> &Named<Self> {
                &model.$field
            }

            fn of_mut(model: &mut Model) -> &mut Named<Self> {
                &mut model.$field
            }
        })*

        impl Model {
            /// Takes in a stored resource; an error where its kind or its text is not known.
            pub fn take(&mut self, kind: &str, body: &str) -> Result<(), serde_json::Error> {
                match kind {
                    $($type::KIND => {
                        let resource: $type = serde_json::from_str(body)?;
                        self.$field.insert(resource.name().to_owned(), Arc::new(resource));
                        Ok(())
                    })*
                    _ => Err(serde::de::Error::custom(format!("`{kind}` is no kind of resource"))),
                }
            }
        }
    };
}

kept! {
    Site in sites,
    Gateway in gateways,
    ConnectionPoint in connection_points,
    ManagementPoint in management_points,
    ClientTrust in trusts,
    Certificate in certificates,
    TokenIssuer in token_issuers,
    SiteSystem in site_systems,
    PublishedEndpoint in endpoints,
    BoundaryGroup in boundary_groups,
    InternetServer in internet_servers,
    ClientSettings in client_settings,
    SignInProvider in sign_in_providers,
}

/// Most resources of one kind, so that a generation stays of a size that members can take in.
const MOST: usize = 10_000;

impl Model {
    /// The site of who names none.
    pub fn site_of<'a>(&'a self, named: &'a Option<String>) -> &'a str {
        named.as_deref().unwrap_or(&self.own_site)
    }

    /// How tokens are signed of clients that ask at the management point `point`.
    pub fn token_algorithm(&self, point: &str) -> TokenAlgorithm {
        let site = self.management_points.get(point).map_or(self.own_site.as_str(), |point| self.site_of(&point.site));
        self.sites.get(site).map(|site| site.token_algorithm).unwrap_or_default()
    }

    /// Gateways by these names; all where none is named.
    pub fn gateways_named<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a Arc<Gateway>> {
        self.gateways.values().filter(move |gateway| names.is_empty() || names.contains(&gateway.name))
    }

    /// Whether there is a certificate of this name that an ACME server issues.
    pub fn is_ordered(&self, certificate: &str) -> bool {
        self.certificates.get(certificate).is_some_and(|certificate| certificate.acme.is_some())
    }

    /// What does not hold between resources, by the path of the field: `gateways/main.certificates[0]`.
    pub fn problems(&self) -> Vec<Problem> {
        let mut check = Check { model: self, problems: Vec::new() };
        check.names();
        check.gateways();
        check.connection_points();
        check.management_points();
        check.site_systems();
        check.endpoints();
        check.boundary_groups();
        check.internet_servers();
        check.client_settings();
        check.problems
    }
}

struct Check<'m> {
    model: &'m Model,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, key: String, what: impl Into<String>, instead: impl Into<String>) {
        self.problems.push(Problem::new(key, what, instead));
    }

    fn names(&mut self) {
        let model = self.model;
        self.names_of(&model.sites);
        self.names_of(&model.gateways);
        self.names_of(&model.connection_points);
        self.names_of(&model.management_points);
        self.names_of(&model.trusts);
        self.names_of(&model.certificates);
        self.names_of(&model.token_issuers);
        self.names_of(&model.site_systems);
        self.names_of(&model.endpoints);
        self.names_of(&model.boundary_groups);
        self.names_of(&model.internet_servers);
        self.names_of(&model.client_settings);
        self.names_of(&model.sign_in_providers);
    }

    fn names_of<T: Resource>(&mut self, named: &Named<T>) {
        for name in named.keys().filter(|name| !is_name(name)) {
            let key = format!("{}/{name}.name", T::PLURAL);
            self.problem(key, format!("\"{name}\" is no name"), "write 1 to 64 letters, digits, dots, hyphens or underscores");
        }
        if named.len() > MOST {
            self.problem(T::PLURAL.to_owned(), format!("there are more than {MOST}"), "remove some that are not used");
        }
    }

    /// A name that must be one of `named`.
    fn names_one_of<T: Resource>(&mut self, key: String, name: &str, named: &Named<T>) {
        if !named.contains_key(name) {
            self.problem(key, format!("there is no {} \"{name}\"", T::KIND), format!("name one of `cmg {} list`", T::KIND));
        }
    }

    fn site(&mut self, key: String, site: &Option<String>) {
        if let Some(site) = site {
            let model = self.model;
            self.names_one_of(key, site, &model.sites);
        }
    }

    fn gateways(&mut self) {
        let model = self.model;
        let mut instances = BTreeMap::new();
        for gateway in model.gateways.values() {
            let key = format!("gateways/{}", gateway.name);
            for (place, name) in gateway.certificates.iter().enumerate() {
                self.names_one_of(format!("{key}.certificates[{place}]"), name, &model.certificates);
            }
            self.authorities(&key, &gateway.authorities);
            for (place, instance) in gateway.instances.iter().enumerate() {
                let key = format!("{key}.instances[{place}]");
                if !is_name(&instance.name) {
                    let what = format!("\"{}\" is no name", instance.name);
                    self.problem(format!("{key}.name"), what, "write 1 to 64 letters, digits, dots, hyphens or underscores");
                }
                if let Some(other) = instances.insert(&instance.name, &gateway.name) {
                    let what = format!("an instance of gateway \"{other}\" is called \"{}\" too", instance.name);
                    self.problem(format!("{key}.name"), what, "give each instance a name of its own");
                }
                if !is_host_and_port(&instance.address) {
                    let what = format!("\"{}\" is no host with a port", instance.address);
                    self.problem(format!("{key}.address"), what, "write HOST:PORT such as cmg.example.com:443");
                }
            }
        }
    }

    fn connection_points(&mut self) {
        let model = self.model;
        for point in model.connection_points.values() {
            let key = format!("connection-points/{}", point.name);
            self.site(format!("{key}.site"), &point.site);
            for (place, name) in point.gateways.iter().enumerate() {
                self.names_one_of(format!("{key}.gateways[{place}]"), name, &model.gateways);
            }
            if !(1..=16).contains(&point.connections) {
                self.problem(format!("{key}.connections"), format!("{} does not fit", point.connections), "write 1 to 16");
            }
            if point.lanes > 64 {
                self.problem(format!("{key}.lanes"), format!("{} does not fit", point.lanes), "write 0 to 64");
            }
        }
    }

    fn management_points(&mut self) {
        let model = self.model;
        for point in model.management_points.values() {
            let key = format!("management-points/{}", point.name);
            self.site(format!("{key}.site"), &point.site);
            if !is_host_name(&point.host) {
                let what = format!("\"{}\" is no DNS name", point.host);
                self.problem(format!("{key}.host"), what, "write the name that connection points dial, such as mp1.corp.example");
            }
            if point.port == 0 {
                self.problem(format!("{key}.port"), "0 does not fit", "write 1 to 65535");
            }
            let Some(allowed) = &point.allow_cmg_traffic else { continue };
            let key = format!("{key}.allow_cmg_traffic");
            for (place, name) in allowed.gateways.iter().enumerate() {
                self.names_one_of(format!("{key}.gateways[{place}]"), name, &model.gateways);
            }
            if let Some(trust) = &allowed.trust {
                self.names_one_of(format!("{key}.trust"), trust, &model.trusts);
            }
            for (place, kind) in allowed.token_kinds.iter().enumerate().filter(|(_, kind)| matches!(kind, TokenKind::Site | TokenKind::Ccm))
            {
                let what = format!("nobody registers with a token of kind {kind:?}");
                self.problem(format!("{key}.token_kinds[{place}]"), what, "write bulk, oidc-device or oidc-user");
            }
        }
    }

    fn site_systems(&mut self) {
        let model = self.model;
        let mut role_ids = BTreeMap::new();
        for point in model.management_points.values() {
            if let Some(id) = &point.role_id
                && let Some(other) = role_ids.insert(id, &point.name)
            {
                let (key, what) = (format!("management-points/{}.role_id", point.name), format!("management point \"{other}\" has it too"));
                self.problem(key, what, "write another, or remove it to be given one");
            }
        }
        for system in model.site_systems.values() {
            let key = format!("site-systems/{}", system.name);
            self.site(format!("{key}.site"), &system.site);
            if let Some(name) = &system.client_certificate {
                self.names_one_of(format!("{key}.client_certificate"), name, &model.certificates);
            }
            if let Some(id) = &system.role_id
                && let Some(other) = role_ids.insert(id, &system.name)
            {
                let what = format!("\"{other}\" has it too");
                self.problem(format!("{key}.role_id"), what, "write another, or remove it to be given one");
            }
            if let Some(allowed) = &system.allow_cmg_traffic {
                for (place, name) in allowed.gateways.iter().enumerate() {
                    self.names_one_of(format!("{key}.allow_cmg_traffic.gateways[{place}]"), name, &model.gateways);
                }
            }
        }
    }

    fn endpoints(&mut self) {
        let model = self.model;
        for endpoint in model.endpoints.values() {
            let key = format!("endpoints/{}", endpoint.name);
            self.site(format!("{key}.site"), &endpoint.site);
            for (place, name) in endpoint.gateways.iter().enumerate() {
                self.names_one_of(format!("{key}.gateways[{place}]"), name, &model.gateways);
            }
            if let Some(name) = &endpoint.client_certificate {
                self.names_one_of(format!("{key}.client_certificate"), name, &model.certificates);
            }
        }
    }
}

/// Whether `text` can stand in a certificate as a DNS name.
fn is_host_name(text: &str) -> bool {
    matches!(pki_types::ServerName::try_from(text), Ok(pki_types::ServerName::DnsName(_))) && !text.ends_with('.') && !text.contains('_')
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    is_port && pki_types::ServerName::try_from(host).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(model: &Model) -> Vec<String> {
        model.problems().into_iter().map(|problem| problem.key).collect()
    }

    fn taken(resources: &[(&str, &str)]) -> Model {
        let mut model = Model { own_site: "LAB".to_owned(), ..Model::default() };
        for (kind, body) in resources {
            model.take(kind, body).unwrap();
        }
        model
    }

    #[test]
    fn what_is_named_must_exist() {
        let model = taken(&[
            ("gateway", r#"{"name":"main","host":"cmg.example","certificates":["none"],"instances":[{"name":"gw-1","address":"a"}]}"#),
            ("connection-point", r#"{"name":"cp-1","site":"XYZ","gateways":["other"],"connections":0}"#),
            ("boundary-group", r#"{"name":"vpn","networks":["10.0.0.0/33","::1"],"gateways":["main"],"fallback":["vpn"]}"#),
        ]);

        assert_eq!(
            keys(&model),
            [
                "gateways/main.certificates[0]",
                "gateways/main.instances[0].address",
                "connection-points/cp-1.site",
                "connection-points/cp-1.gateways[0]",
                "connection-points/cp-1.connections",
                "boundary-groups/vpn.networks[0]",
                "boundary-groups/vpn.fallback[0]",
            ]
        );
    }

    #[test]
    fn an_instance_has_one_gateway() {
        let gateway =
            |name: &str| format!(r#"{{"name":"{name}","host":"{name}.example","instances":[{{"name":"gw-1","address":"a:443"}}]}}"#);

        let model = taken(&[("gateway", &gateway("a")), ("gateway", &gateway("b"))]);

        assert_eq!(keys(&model), ["gateways/b.instances[0].name"]);
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["a:443", "192.0.2.1:1", "[2001:db8::1]:443", "cmg.example.com:65535"] {
            assert!(is_host_and_port(good), "{good}");
        }
        for wrong in ["a", "a:0", "a:65536", ":443", "a b:443", "http://a:443", "a:+44"] {
            assert!(!is_host_and_port(wrong), "{wrong}");
        }
    }
}
