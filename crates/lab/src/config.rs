//! The configuration files of a laboratory's gateways and connection points, as templates.
//!
//! Every published server is there twice: in the ConfigMgr form under the service's one address, and in the plain form
//! mounted at `/` on a port of its own. Who needs another setting edits the written file with [`edit`].

use std::fmt::Write;
use std::path::Path;

use crate::error::LabError;
use crate::file;
use crate::published::Published;
use crate::token::AUDIENCE;

/// The first role id of the ConfigMgr form, above 2^53 as real ones are; the n-th published server adds n.
const FIRST_ROLE_ID: u64 = 72_057_594_037_927_937;

/// The role id of the n-th published server (from 0), as text.
pub fn role_id(index: usize) -> String {
    (FIRST_ROLE_ID + index as u64).to_string()
}

/// What a gateway's file says.
pub(crate) struct GatewayFile<'a> {
    pub(crate) name: &'a str,
    /// Port of the service on 127.0.0.1.
    pub(crate) port: u16,
    pub(crate) metrics_port: u16,
    /// Names of all instances.
    pub(crate) instances: &'a [String],
    /// This instance's port for each published server's plain form.
    pub(crate) root_ports: &'a [u16],
}

/// What a connection point's file says.
pub(crate) struct ConnectionPointFile<'a> {
    pub(crate) name: &'a str,
    pub(crate) metrics_port: u16,
    /// `host:port` of each gateway instance, or one address in front of them all.
    pub(crate) gateways: &'a [String],
    /// The service's port for each published server's plain form.
    pub(crate) root_ports: &'a [u16],
}

/// What both files have in common.
pub(crate) struct Common<'a> {
    /// External host name.
    pub(crate) host: &'a str,
    pub(crate) published: &'a [Published],
    /// Files with client certificate authorities besides the laboratory's own.
    pub(crate) client_authorities: &'a [String],
    pub(crate) token_key_id: &'a str,
    pub(crate) token_issuer: &'a str,
}

/// The text of a gateway's file.
pub(crate) fn gateway(file: &GatewayFile, common: &Common) -> String {
    let GatewayFile { name, port, metrics_port, instances, .. } = file;
    let mut text = format!(
        r#"name = "{name}"
listen = ["127.0.0.1:{port}"]
metrics_listen = "127.0.0.1:{metrics_port}"
drain = "10s"

[log]
level = "info"
format = "json"

[service]
instances = {instances:?}

[tunnel]
certificate = "{name}.pem"
key = "{name}.key"
authority = "infrastructure-ca.pem"

[[certificate]]
chain = "server.pem"
key = "server.key"

# A laboratory has few devices, and the account that it runs under may open few files.
[limits]
connections = 4000
handshakes = 256
"#
    );
    text.push_str(&trust(common));
    for (index, published) in common.published.iter().enumerate() {
        for form in [Form::ConfigMgr(index), Form::Plain(file.root_ports[index])] {
            text.push_str(&endpoint(common.host, published, form));
        }
    }
    text
}

/// The text of a connection point's file.
pub(crate) fn connection_point(file: &ConnectionPointFile, common: &Common) -> String {
    let ConnectionPointFile { name, metrics_port, gateways, .. } = file;
    let mut text = format!(
        r#"name = "{name}"
metrics_listen = "127.0.0.1:{metrics_port}"
drain = "10s"

[log]
level = "info"
format = "json"

[tunnel]
certificate = "{name}.pem"
key = "{name}.key"
authority = "infrastructure-ca.pem"
gateways = {gateways:?}
"#
    );
    text.push_str(&trust(common));
    for (index, published) in common.published.iter().enumerate() {
        for form in [Form::ConfigMgr(index), Form::Plain(file.root_ports[index])] {
            text.push_str(&endpoint(common.host, published, form));
            text.push_str(&inside(published));
        }
    }
    text
}

/// Who may come in: client certificate authorities and the token key.
fn trust(common: &Common) -> String {
    let mut authorities = vec!["clients-root.pem".to_owned()];
    authorities.extend_from_slice(common.client_authorities);
    // The laboratory has revocation lists of its own authorities, but none of anybody else's.
    let unknown_crl = if common.client_authorities.is_empty() { "deny" } else { "allow" };
    let Common { token_key_id, token_issuer, .. } = common;
    format!(
        r#"
[trust.devices]
authorities = {authorities:?}
intermediates = ["clients-issuing.pem"]
crls = ["clients-root.crl", "clients-issuing.crl"]
check_revocation = true
stale_crl = "deny"
unknown_crl = "{unknown_crl}"

[[token_key]]
id = "{token_key_id}"
issuer = "{token_issuer}"
algorithms = ["RS256"]
key = "token-signing.pub.pem"
kind = "site"
"#
    )
}

/// The form in which a server is published.
#[derive(Clone, Copy)]
enum Form {
    /// Under `/CCM_Proxy_*/<role id>/<name>`; the index of the published server.
    ConfigMgr(usize),
    /// At `/` on this port.
    Plain(u16),
}

/// The keys of an endpoint that both files share.
fn endpoint(host: &str, published: &Published, form: Form) -> String {
    let name = &published.name;
    let id = match form {
        Form::ConfigMgr(_) => name.clone(),
        Form::Plain(_) => format!("{name}-root"),
    };
    let place = match form {
        Form::ConfigMgr(index) => format!("role_id = \"{}\"\nname = \"{name}\"\n", role_id(index)),
        Form::Plain(port) => format!("port = {port}\nprefix = \"/\"\n"),
    };
    let who = if published.open {
        "face = \"open\"\nopen_acknowledged = true\n".to_owned()
    } else {
        format!("face = \"either\"\ntrust = \"devices\"\ntoken_kinds = [\"site\"]\naudiences = [\"{AUDIENCE}\"]\n")
    };
    format!("\n[[endpoint]]\nid = \"{id}\"\nhost = \"{host}\"\n{place}{who}body_limit = \"16GiB\"\ntotal = \"0s\"\nupgrade = true\n")
}

/// The keys of an endpoint that only a connection point knows.
fn inside(published: &Published) -> String {
    let mut text = format!("servers = [{:?}]\n", published.internal_url);
    if !published.server_authorities.is_empty() {
        let _ = writeln!(text, "server_authorities = {:?}", published.server_authorities);
    }
    if !published.identity_headers.is_empty() {
        let pairs: Vec<_> = published.identity_headers.iter().map(|(name, field)| format!("{name:?} = {field:?}")).collect();
        let _ = writeln!(text, "identity_headers = {{ {} }}", pairs.join(", "));
    }
    text
}

/// Reads a configuration file, lets the caller change it, and writes it back.
pub fn edit(path: &Path, change: impl FnOnce(&mut toml::Table)) -> Result<(), LabError> {
    let unusable = |source| LabError::File { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(unusable)?;
    let mut table: toml::Table = text.parse().map_err(|error| unusable(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
    change(&mut table);
    file::write(path, table.to_string())
}
