//! `[tunnel]`: where the gateways are, and how to get there.
use std::hash::{DefaultHasher, Hash, Hasher};

use cmg_api::DialFile;
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

/// The way to each gateway, or to the name in front of several.
pub(super) fn routes(file: &DialFile, reading: &mut Reading) -> Vec<Route> {
    if file.gateways.is_empty() {
        reading.problem("tunnel.gateways", "no gateway is named", GATEWAY_EXAMPLE);
    }
    let proxy = proxy(file, reading);
    let mut routes: Vec<Route> = Vec::new();
    for (place, text) in file.gateways.iter().enumerate() {
        let key = format!("tunnel.gateways[{place}]");
        match host_and_port(text) {
            Some((host, port)) if routes.iter().any(|known| known.host == host && known.port == port) => {
                reading.problem(key, format!("\"{text}\" is named twice"), "remove it here");
            }
            Some((host, port)) => routes.push(Route { host, port, proxy: proxy.clone() }),
            None => reading.problem(key, format!("\"{text}\" is no host with a port"), GATEWAY_EXAMPLE),
        }
    }
    routes
}

/// Tells one way out from another without saying its password.
pub(super) fn fingerprint(routes: &[Route]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for Proxy { host, port, login } in routes.iter().filter_map(|route| route.proxy.as_ref()) {
        (host, port, login).hash(&mut hasher);
    }
    hasher.finish()
}

fn proxy(file: &DialFile, reading: &mut Reading) -> Option<Proxy> {
    let login = login(file, reading);
    let key = "tunnel.proxy";
    let Some(url) = &file.proxy else {
        if file.proxy_user.is_some() || file.proxy_password_file.is_some() {
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

fn login(file: &DialFile, reading: &mut Reading) -> Option<(String, String)> {
    let (user_key, password_key) = ("tunnel.proxy_user", "tunnel.proxy_password_file");
    let user = file.proxy_user.as_ref();
    if user.is_some_and(|user| user.is_empty() || user.contains(':') || user.contains(char::is_control)) {
        reading.problem(user_key, "Basic log-in cannot say this name", "write one without colons, or use a proxy without log-in");
    }
    let Some(password_file) = &file.proxy_password_file else {
        if user.is_some() {
            reading.problem(password_key, "is missing beside proxy_user", "name a file of mode 0600 with the password in its first line");
        }
        return None;
    };
    if user.is_none() {
        reading.problem(user_key, "is missing beside proxy_password_file", "write the user name");
    }
    let secret = reading.keep(secret_file(password_key, &reading.path(password_file)))?;
    let Some(password) = secret.expose_line() else {
        reading.problem(password_key, format!("{} is not UTF-8", password_file.display()), "write the password as UTF-8 text");
        return None;
    };
    Some((user?.clone(), password.to_owned()))
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
