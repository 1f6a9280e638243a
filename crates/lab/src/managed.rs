//! A laboratory whose programs are managed by a site server: it is set up through its own interface, as an administrator would.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use crate::api::Api;
use crate::error::LabError;
use crate::file;
use crate::lab::{Endpoint, HOST, Lab, config_path};
use crate::ports::free_port;
use crate::profile::Role;
use crate::program::Plan;
use crate::system;
use crate::token::{AUDIENCE, base64url};

/// The code of the laboratory's site.
const SITE: &str = "LAB";
/// The account that sets everything up.
const ADMINISTRATOR: &str = "quickstart";
/// How many days the administrator's token lasts.
const TOKEN_DAYS: u32 = 30;

/// The site server of a laboratory.
#[derive(Clone, Debug)]
pub struct SiteServer {
    /// Name.
    pub name: String,
    /// Configuration file.
    pub config: PathBuf,
    /// Port of the administrators' interface on 127.0.0.1.
    pub port: u16,
    /// Port of the connection points' interface on 127.0.0.1.
    pub control_port: u16,
    /// Port of `/livez`, `/readyz`, `/metrics`.
    pub metrics_port: u16,
    /// The management point, where clients register.
    pub management_point: ManagementPoint,
}

/// The management point of a managed laboratory.
#[derive(Clone, Debug)]
pub struct ManagementPoint {
    /// Name.
    pub name: String,
    /// Configuration file.
    pub config: PathBuf,
    /// Port on 127.0.0.1 where connection points reach it, as `localhost`.
    pub port: u16,
    /// Port of `/livez`, `/readyz`, `/metrics`.
    pub metrics_port: u16,
}

impl ManagementPoint {
    fn new(dir: &Path) -> Result<Self, LabError> {
        let name = "management-point-1".to_owned();
        Ok(Self { config: config_path(dir, &name), name, port: free_port()?, metrics_port: free_port()? })
    }

    /// How to start it.
    pub fn plan(&self, lab: &Lab) -> Plan {
        system::plan(lab, Role::ManagementPoint, &self.name, &self.config, self.metrics_port)
    }
}

/// What the site server has given to whoever set it up.
#[derive(Clone, Debug)]
pub struct Managed {
    /// A file with the administrator's API token.
    pub admin_token_file: PathBuf,
    /// A file with the administrator's password.
    pub admin_password_file: PathBuf,
    /// A bulk registration token.
    pub bulk_token: String,
}

impl SiteServer {
    pub(crate) fn new(dir: &Path) -> Result<Self, LabError> {
        let name = "site-1".to_owned();
        let management_point = ManagementPoint::new(dir)?;
        let (port, control_port, metrics_port) = (free_port()?, free_port()?, free_port()?);
        Ok(Self { config: config_path(dir, &name), name, port, control_port, metrics_port, management_point })
    }

    /// The administrators' interface.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How to start it.
    pub fn plan(&self, lab: &Lab) -> Plan {
        system::plan(lab, Role::SiteServer, &self.name, &self.config, self.metrics_port)
    }

    /// Writes the files of the site server and of the programs that it manages. What an earlier laboratory left is removed, since
    /// its keys are of another site.
    pub(crate) fn write_programs(&self, lab: &Lab, client_authorities: Vec<String>) -> Result<(), LabError> {
        let site = lab.site_dir();
        let names = lab.gateways.iter().map(|gateway| &gateway.name).chain(lab.connection_points.iter().map(|point| &point.name));
        for name in names.chain([&self.name, &self.management_point.name]) {
            remove_folder(&site.join(format!("{name}-data")))?;
        }
        file::write_secret(&site.join("root-passphrase"), random()? + "\n")?;
        file::write(&self.config, self.file())?;
        for gateway in &lab.gateways {
            let own = format!("listen = [\"{}:{}\"]\n", gateway.address, gateway.port);
            file::write(&gateway.config, enrolled_file(&gateway.name, gateway.metrics_port, &own))?;
        }
        for point in &lab.connection_points {
            file::write(&point.config, enrolled_file(&point.name, point.metrics_port, ""))?;
        }
        let own = format!("listen = \"127.0.0.1:{}\"\n", self.management_point.port);
        file::write(&self.management_point.config, enrolled_file(&self.management_point.name, self.management_point.metrics_port, &own))?;
        file::write(&site.join("client-authorities"), client_authorities.join("\n"))
    }

    fn file(&self) -> String {
        let Self { name, port, control_port, metrics_port, .. } = self;
        format!(
            r#"name = "{name}"
site = "{SITE}"
data = "{name}-data"
root_passphrase_file = "root-passphrase"
listen = "127.0.0.1:{port}"
control_listen = "127.0.0.1:{control_port}"
control_urls = ["https://127.0.0.1:{control_port}"]
metrics_listen = "127.0.0.1:{metrics_port}"
drain = "10s"

[log]
level = "info"
format = "json"
"#
        )
    }

    /// Makes the first account, and says what the laboratory has: certificates, authorities, gateways, connection points, endpoints.
    pub(crate) async fn set_up(&self, lab: &Lab) -> Result<Managed, LabError> {
        let (api, wanted) = (Api { port: self.port, token: None }, Wanted::new(self, lab)?);
        let set_up = tokio::task::spawn_blocking(move || wanted.set_up(api));
        set_up.await.unwrap_or_else(|error| Err(LabError::Site { asked: "its set-up".to_owned(), answer: error.to_string() }))
    }
}

/// What is asked of the site server, put together before anything is sent.
struct Wanted {
    setup_code: PathBuf,
    client_dir: PathBuf,
    resources: Vec<(&'static str, Value)>,
    /// Paths that make enrolment codes, and the files that the codes go to.
    codes: Vec<(String, PathBuf)>,
}

impl Wanted {
    fn new(server: &SiteServer, lab: &Lab) -> Result<Self, LabError> {
        let site = lab.site_dir();
        let read = |name: &str| {
            let path = site.join(name);
            fs::read_to_string(&path).map_err(|source| LabError::File { path, source })
        };
        let mut authorities = vec![lab.clients_root.certificate_pem()];
        for name in read("client-authorities")?.lines() {
            authorities.push(read(name)?);
        }
        let instances: Vec<_> = lab
            .gateways
            .iter()
            .map(|gateway| json!({ "name": gateway.name, "address": format!("{}:{}", gateway.address, gateway.port) }))
            .collect();
        let certificate = json!({ "name": "server", "chain": read("server.pem")?, "key": read("server.key")? });
        let trust = json!({
            "name": "devices",
            "authorities": authorities,
            "intermediates": [lab.clients.certificate_pem()],
            "crls": [lab.clients_root.crl(&[])?.pem, lab.clients.crl(&[])?.pem],
            // The laboratory has revocation lists of its own authorities, but none of anybody else's.
            "unknown_crl": if lab.trusts_others { "allow" } else { "deny" },
        });
        let issuer = json!({
            "name": "laboratory",
            "kind": "key",
            "issuer": lab.tokens.issuer,
            "keys": { (lab.tokens.key_id.clone()): lab.tokens.public_key_pem() },
            "token_kind": "site",
        });
        // A laboratory has few devices, and the account that it runs under may open few files.
        let gateway = json!({
            "name": "main",
            "host": HOST,
            "port": lab.gateways.first().map_or(443, |gateway| gateway.port),
            "certificates": ["server"],
            "authorities": [lab.servers.certificate_pem()],
            "instances": instances,
            "limits": { "connections": 4000, "handshakes": 256 },
        });
        let mut resources = vec![("certificates", certificate), ("trusts", trust), ("token-issuers", issuer), ("gateways", gateway)];
        resources.extend(lab.connection_points.iter().map(|point| ("connection-points", json!({ "name": point.name }))));
        let point = &server.management_point;
        let traffic = json!({ "trust": "devices" });
        let point = json!({ "name": point.name, "host": "localhost", "port": point.port, "allow_cmg_traffic": traffic });
        resources.push(("management-points", point));
        for endpoint in &lab.endpoints {
            for (id, place) in forms(endpoint) {
                resources.push(("endpoints", published(endpoint, &id, place)?));
            }
        }
        let code = |name: &str| site.join(format!("{name}.code"));
        let of_gateways =
            lab.gateways.iter().map(|gateway| (format!("/gateways/main/instances/{}/enrolment-code", gateway.name), code(&gateway.name)));
        let of_points =
            lab.connection_points.iter().map(|point| (format!("/connection-points/{}/enrolment-code", point.name), code(&point.name)));
        let of_management_points =
            [&server.management_point.name].map(|name| (format!("/management-points/{name}/enrolment-code"), code(name)));
        Ok(Self {
            setup_code: site.join(format!("{}-data", server.name)).join("setup-code"),
            client_dir: lab.client_dir(),
            resources,
            codes: of_gateways.chain(of_points).chain(of_management_points).collect(),
        })
    }

    fn set_up(self, mut api: Api) -> Result<Managed, LabError> {
        let code = fs::read_to_string(&self.setup_code).map_err(|source| LabError::File { path: self.setup_code.clone(), source })?;
        let password = random()?;
        api.ask("POST", "/setup", Some(&json!({ "code": code.trim(), "name": ADMINISTRATOR, "password": password })))?;
        let session = api.ask("POST", "/sessions", Some(&json!({ "name": ADMINISTRATOR, "password": password })))?;
        api.token = Some(text(&session, "token")?);
        let wanted = json!({ "name": "quickstart", "days": TOKEN_DAYS });
        let token = api.ask("POST", &format!("/accounts/{ADMINISTRATOR}/api-tokens"), Some(&wanted))?;
        let (admin_token_file, admin_password_file) = (self.client_dir.join("admin-token"), self.client_dir.join("admin-password"));
        file::write_secret(&admin_token_file, text(&token, "token")? + "\n")?;
        file::write_secret(&admin_password_file, password + "\n")?;
        for (plural, resource) in &self.resources {
            api.add(plural, resource)?;
        }
        for (path, code_file) in &self.codes {
            let code = api.ask("POST", path, None)?;
            file::write_secret(code_file, text(&code, "file")?)?;
        }
        let bulk = api.ask("POST", "/bulk-tokens", Some(&json!({ "note": "quickstart" })))?;
        Ok(Managed { admin_token_file, admin_password_file, bulk_token: text(&bulk, "token")? })
    }
}

/// The ids and places of the forms in which a server is published: under the service's address, and at `/` on a port of its own.
fn forms(endpoint: &Endpoint) -> [(String, Value); 2] {
    let name = &endpoint.published.name;
    [
        (name.clone(), json!({ "role_id": endpoint.role_id, "path_name": name })),
        (format!("{name}-root"), json!({ "port": endpoint.root_port, "prefix": "/" })),
    ]
}

fn published(endpoint: &Endpoint, id: &str, place: Value) -> Result<Value, LabError> {
    let published = &endpoint.published;
    let read = |path: &PathBuf| fs::read_to_string(path).map_err(|source| LabError::File { path: path.clone(), source });
    let server_authorities = published.server_authorities.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut resource = json!({
        "name": id,
        "servers": [published.internal_url],
        "server_authorities": server_authorities,
        "identity_headers": published.identity_headers.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "body_limit": "16GiB",
        "total": "0s",
    });
    let who = match published.open {
        true => json!({ "face": "open", "open_acknowledged": true }),
        false => json!({ "face": "either", "trust": "devices", "token_kinds": ["site"], "audiences": [AUDIENCE] }),
    };
    for more in [place, who] {
        if let (Some(resource), Value::Object(more)) = (resource.as_object_mut(), more) {
            resource.extend(more);
        }
    }
    Ok(resource)
}

fn enrolled_file(name: &str, metrics_port: u16, own: &str) -> String {
    format!(
        r#"{own}metrics_listen = "127.0.0.1:{metrics_port}"
drain = "10s"

[log]
level = "info"
format = "json"

[site]
data = "{name}-data"
enrolment = "{name}.code"
"#
    )
}

fn text(answer: &Value, field: &str) -> Result<String, LabError> {
    let missing = || LabError::Site { asked: format!("a `{field}`"), answer: "an answer without it".to_owned() };
    answer[field].as_str().map(str::to_owned).ok_or_else(missing)
}

fn random() -> Result<String, LabError> {
    let mut bytes = [0; 18];
    SystemRandom::new().fill(&mut bytes).map_err(|_| LabError::Key("no random numbers"))?;
    Ok(base64url(bytes))
}

fn remove_folder(path: &Path) -> Result<(), LabError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(LabError::File { path: path.to_owned(), source }),
        _ => Ok(()),
    }
}
