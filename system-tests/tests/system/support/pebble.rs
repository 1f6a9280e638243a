//! A real ACME server, pebble of Debian's package of that name, and the DNS that it asks, which tests change.
//!
//! It refuses a share of nonces on purpose, as it does everywhere.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cmg_lab::Authority;
use cmg_lab::ports::free_port;
use serde_json::{Value, json};

use super::until;

/// The ports at which gateways are asked.
pub(crate) struct Asks {
    /// For TLS-ALPN-01.
    pub(crate) tls: u16,
    /// For HTTP-01.
    pub(crate) http: u16,
    /// Whether accounts are bound to the external account of [`KEY_ID`] and [`MAC_KEY`].
    pub(crate) external: bool,
}

/// An external account that the ACME server knows, and its key.
pub(crate) const KEY_ID: &str = "kid-1";
pub(crate) const MAC_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

/// A running ACME server. It ends with the test.
pub(crate) struct Pebble {
    directory_port: u16,
    management_port: u16,
    dns_management_port: u16,
    /// The authority of its own certificate.
    authority: String,
    authority_file: PathBuf,
    _programs: [Ends; 2],
}

/// Ends a program when it is dropped.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Pebble {
    /// Starts it, with files in `dir`; none where it is not installed, which is an error in CI.
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    pub(crate) fn start(dir: &Path, authority: &Authority, asks: &Asks) -> Option<Self> {
        let is_there = |program: &&str| Command::new(program).arg("-help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
        if !["pebble", "pebble-challtestsrv"].iter().all(is_there) {
            assert!(std::env::var_os("CI").is_none(), "pebble is not installed: apt-get install pebble");
            println!("skipped: pebble is not installed");
            return None;
        }
        let dir = dir.join("pebble");
        fs::create_dir_all(&dir).unwrap();
        let [directory_port, management_port, dns_management_port, dns_port] = [(); 4].map(|()| free_port().unwrap());
        let authority_file = dir.join("authority.pem");
        fs::write(&authority_file, authority.certificate_pem()).unwrap();
        let own = authority.server(&["localhost", "127.0.0.1"]).unwrap();
        fs::write(dir.join("cert.pem"), &own.chain_pem).unwrap();
        fs::write(dir.join("key.pem"), &own.key_pem).unwrap();
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{directory_port}"),
            "managementListenAddress": format!("127.0.0.1:{management_port}"),
            "certificate": dir.join("cert.pem"),
            "privateKey": dir.join("key.pem"),
            "httpPort": asks.http,
            "tlsPort": asks.tls,
            "externalAccountBindingRequired": asks.external,
            "externalAccountMACKeys": { (KEY_ID): MAC_KEY },
        } });
        fs::write(dir.join("pebble.json"), config.to_string()).unwrap();
        let said = |name: &str| fs::File::create(dir.join(name)).unwrap();
        let mut dns = Command::new("pebble-challtestsrv");
        dns.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]);
        dns.args(["-dns01", &format!("127.0.0.1:{dns_port}"), "-management", &format!("127.0.0.1:{dns_management_port}")]);
        let dns = Ends(dns.stdin(Stdio::null()).stdout(said("dns.log")).stderr(Stdio::null()).spawn().unwrap());
        let mut pebble = Command::new("pebble");
        pebble.arg("-config").arg(dir.join("pebble.json")).args(["-dnsserver", &format!("127.0.0.1:{dns_port}")]);
        // It would wait up to 15 s before it looks, and would believe what it saw before.
        pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
        let pebble = Ends(pebble.stdin(Stdio::null()).stdout(said("pebble.log")).stderr(said("pebble.err")).spawn().unwrap());
        for port in [directory_port, management_port, dns_management_port] {
            until("the ACME server listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        }
        let authority = authority.certificate_pem();
        Some(Self { directory_port, management_port, dns_management_port, authority, authority_file, _programs: [dns, pebble] })
    }

    /// An `acme` table for these names.
    pub(crate) fn orders(&self, names: &[&str]) -> Value {
        json!({
            "directory": format!("https://localhost:{}/dir", self.directory_port),
            "names": names,
            "terms_agreed": true,
            "contact": "admin@example.com",
            "directory_authorities": [self.authority],
            "allow_private_addresses": true,
        })
    }

    /// The root of what it issues, PEM.
    pub(crate) fn root(&self) -> String {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--cacert"]).arg(&self.authority_file);
        let output = curl.arg(format!("https://localhost:{}/roots/0", self.management_port)).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Where its DNS takes changes.
    pub(crate) fn dns_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.dns_management_port)
    }

    /// Says in DNS that a name is at this address and at no other.
    pub(crate) fn points(&self, name: &str, address: &str) {
        self.tell_dns("clear-a", &json!({ "host": name }));
        self.tell_dns("add-a", &json!({ "host": name, "addresses": [address] }));
    }

    fn tell_dns(&self, what: &str, body: &Value) {
        let mut curl = Command::new("curl");
        let curl = curl.args(["--silent", "--fail", "--data", &body.to_string(), &format!("{}/{what}", self.dns_url())]);
        assert!(curl.status().unwrap().success(), "{what}");
    }
}
