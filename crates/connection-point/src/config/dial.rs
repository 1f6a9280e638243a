//! Where the gateways are, and how to get there.
use std::path::Path;

use cmg_api::{DialFile, EnrolledConnectionPointFile};
use cmg_process::secret_file;
use cmg_standalone::Reading;
use cmg_transport::connect::Proxy;
use cmg_tunnel::connector::Route;
use rustls::pki_types::ServerName;

/// Sessions with one instance, at most: more of them carry nothing that two do not.
const MOST_SESSIONS: u32 = 16;

/// Idle lanes on one session, at most: as many as it may have.
const MOST_LANES: u32 = 64;

const GATEWAY_EXAMPLE: &str = "write HOST:PORT such as cmg.example.com:443";

/// Sessions with each instance, and idle lanes on each session.
pub(super) fn connections(file: &DialFile, reading: &mut Reading) -> (usize, usize) {
    if !(1..=MOST_SESSIONS).contains(&file.connections) {
        reading.problem("tunnel.connections", format!("{} does not fit", file.connections), format!("write 1 to {MOST_SESSIONS}"));
    }
    if file.lanes > MOST_LANES {
        reading.problem("tunnel.lanes", format!("{} does not fit", file.lanes), format!("write 0 to {MOST_LANES}"));
    }
    (file.connections as usize, file.lanes as usize)
}

/// The keys that say how to get out: those of `[tunnel]`, or those of an enrolled connection point's file.
pub(super) struct WayOut<'a> {
    prefix: &'static str,
    proxy: Option<&'a str>,
    user: Option<&'a str>,
    password_file: Option<&'a Path>,
}

impl<'a> WayOut<'a> {
    pub(super) fn of_tunnel(file: &'a DialFile) -> Self {
        let (proxy, user) = (file.proxy.as_deref(), file.proxy_user.as_deref());
        Self { prefix: "tunnel.", proxy, user, password_file: file.proxy_password_file.as_deref() }
    }

    pub(super) fn of_machine(file: &'a EnrolledConnectionPointFile) -> Self {
        let (proxy, user) = (file.proxy.as_deref(), file.proxy_user.as_deref());
        Self { prefix: "", proxy, user, password_file: file.proxy_password_file.as_deref() }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// The way to each gateway, or to the name in front of several, that `[tunnel]` names.
pub(super) fn routes(file: &DialFile, reading: &mut Reading) -> Vec<Route> {
    if file.gateways.is_empty() {
        reading.problem("tunnel.gateways", "no gateway is named", GATEWAY_EXAMPLE);
    }
    let proxy = proxy(&WayOut::of_tunnel(file), reading);
    let mut routes: Vec<Route> = Vec::new();
    for (place, text) in file.gateways.iter().enumerate() {
        let key = format!("tunnel.gateways[{place}]");
        let Some(route) = route(&key, text, proxy.as_ref(), reading) else { continue };
        if routes.iter().any(|known| known.host == route.host && known.port == route.port) {
            reading.problem(key, format!("\"{text}\" is named twice"), "remove it here");
        } else {
            routes.push(route);
        }
    }
    routes
}

/// The way to one gateway, whose host and port `key` names.
pub(super) fn route(key: &str, text: &str, proxy: Option<&Proxy>, reading: &mut Reading) -> Option<Route> {
    let Some((host, port)) = host_and_port(text) else {
        reading.problem(key, format!("\"{text}\" is no host with a port"), GATEWAY_EXAMPLE);
        return None;
    };
    Some(Route { host, port, proxy: proxy.cloned() })
}

/// The proxy on the way out.
pub(super) fn proxy(way: &WayOut<'_>, reading: &mut Reading) -> Option<Proxy> {
    let login = login(way, reading);
    let key = way.key("proxy");
    let Some(url) = way.proxy else {
        if way.user.is_some() || way.password_file.is_some() {
            reading.problem(key, "is missing beside its log-in", "write http://HOST:PORT, or remove proxy_user and proxy_password_file");
        }
        return None;
    };
    let address = url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    if url.contains('@') {
        // The address may hold a password, which is not repeated.
        reading.problem(key, "it holds a log-in", "write http://HOST:PORT, and the log-in as proxy_user and proxy_password_file");
        return None;
    }
    let Some((host, port)) = address.and_then(host_and_port) else {
        reading.problem(key, format!("\"{url}\" is no HTTP proxy"), "write http://HOST:PORT such as http://proxy.corp.example:3128");
        return None;
    };
    Some(Proxy { host, port, login })
}

fn login(way: &WayOut<'_>, reading: &mut Reading) -> Option<(String, String)> {
    let (user_key, password_key) = (way.key("proxy_user"), way.key("proxy_password_file"));
    let user = way.user;
    if user.is_some_and(|user| user.is_empty() || user.contains(':') || user.contains(char::is_control)) {
        reading.problem(&user_key, "Basic log-in cannot say this name", "write one without colons, or use a proxy without log-in");
    }
    let Some(password_file) = way.password_file else {
        if user.is_some() {
            reading.problem(password_key, "is missing beside proxy_user", "name a file of mode 0600 with the password in its first line");
        }
        return None;
    };
    if user.is_none() {
        reading.problem(user_key, "is missing beside proxy_password_file", "write the user name");
    }
    let secret = reading.keep(secret_file(&password_key, &reading.local(password_file)))?;
    let Some(password) = secret.expose_line() else {
        reading.problem(password_key, format!("{} is not UTF-8", password_file.display()), "write the password as UTF-8 text");
        return None;
    };
    Some((user?.to_owned(), password.to_owned()))
}

/// Splits `host:port`, `[ipv6]:port` into a name or an address, and a port other than 0.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|address| address.contains(':'))?,
        None => Some(host).filter(|name| !name.contains(':'))?,
    };
    ServerName::try_from(host).ok()?;
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| is_number && *port != 0)?;
    Some((host.to_ascii_lowercase(), port))
}
