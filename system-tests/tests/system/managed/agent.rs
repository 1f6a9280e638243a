//! The client on a device: it installs through a gateway, and goes on over restarts, repairs and renewals.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cmg_lab::lab::HOST;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{ManagedSite, PATIENCE, binary, until};

/// How often a client is asked.
const PAUSE: Duration = Duration::from_millis(50);

/// A device with a folder of its own.
struct Device {
    dir: TempDir,
    /// Where the service is.
    port: u16,
    address: String,
}

/// A client that runs until dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Device {
    fn new(managed: &ManagedSite) -> Self {
        let (lab, dir) = (managed.site.lab(), TempDir::new().unwrap());
        fs::write(dir.path().join("roots.pem"), lab.servers.certificate_pem()).unwrap();
        let gateway = &lab.gateways[0];
        Self { dir, port: gateway.port, address: format!("{}:{}", gateway.address, gateway.port) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn token_file(&self, token: &str) -> String {
        use std::io::Write;
        let path = self.path("token");
        let _ = fs::remove_file(&path);
        let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
        file.unwrap().write_all(token.as_bytes()).unwrap();
        path.display().to_string()
    }

    fn client(&self, verb: &str, more: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(["client", verb, "--config"]).arg(self.path("client.toml")).args(more);
        command.output().unwrap()
    }

    fn install(&self, more: &[&str]) -> Output {
        let (data, roots) = (self.path("data"), self.path("roots.pem"));
        let resolve = format!("{HOST}:{}={}", self.port, self.address);
        let (data, roots) = (data.display().to_string(), roots.display().to_string());
        let mut all = vec!["--data", &data, "--authorities", &roots, "--resolve", &resolve, "--name", "PC-7"];
        all.extend(more);
        self.client("install", &all)
    }

    /// A device that is registered. The laboratory's intranet is on this machine, so it may be told to keep to the internet.
    fn installed(managed: &ManagedSite, more: &[&str]) -> Self {
        let device = Self::new(managed);
        let (token, service) = (device.token_file(&bulk(managed)), device.service());
        let output = device.install(&[&["--token-file", &token, "--service", &service], more].concat());
        assert!(output.status.success(), "{}", said(&output));
        device
    }

    fn service(&self) -> String {
        format!("https://{HOST}:{}", self.port)
    }

    fn start(&self) -> Running {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = Command::new(binary());
        command.args(["run", "client", "--config"]).arg(self.path("client.toml")).stderr(log).stdout(Stdio::null());
        Running(command.spawn().unwrap())
    }

    fn status(&self) -> Value {
        let output = self.client("status", &["--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)))
    }

    /// Waits until the client that runs says so; else tells what it says.
    fn until_status(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if status["is_running"] == true && fits(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "waited in vain: {what}\n{status:#}\n{}", self.log());
            std::thread::sleep(PAUSE);
        }
    }

    fn identity(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("data/identity.json")).unwrap()).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn bulk(managed: &ManagedSite) -> String {
    let made = managed.api.add("bulk-tokens", &json!({})).unwrap();
    made["token"].as_str().unwrap().to_owned()
}

fn site() -> ManagedSite {
    let managed = ManagedSite::of(1, 1);
    managed.everywhere();
    managed
}

#[test]
fn a_device_installs_through_a_gateway_and_its_key_stays_closed() {
    let managed = site();
    let device = Device::installed(&managed, &[]);

    let known = managed.api.ask("GET", &format!("/devices/{}", device.identity()["given"]["client_id"].as_str().unwrap()), None).unwrap();
    assert_eq!((&known["name"], &known["state"]), (&json!("PC-7"), &json!("approved")));
    for name in ["data/device.key", "data/identity.json"] {
        assert_eq!(device.path(name).metadata().unwrap().permissions().mode() & 0o7777, 0o600, "{name}");
    }
    let again = device.install(&["--token-file", &device.token_file(&bulk(&managed)), "--service", &device.service()]);
    assert!(!again.status.success() && said(&again).contains("is registered already as"), "{}", said(&again));
}

#[test]
fn a_device_installs_with_the_properties_that_people_know() {
    let managed = site();
    let device = Device::new(&managed);
    let token = format!("/regtoken:@{}", device.token_file(&bulk(&managed)));
    let host = format!("CCMHOSTNAME={HOST}:{}/CCM_Proxy_MutualAuth/72057594037927941", device.port);

    let output = device.install(&[&token, &host, "smssitecode=LAB", "CCMALWAYSINF=1"]);

    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(device.identity()["site"], "LAB");
    assert!(fs::read_to_string(device.path("client.toml")).unwrap().contains("always_internet = true"));
}

#[test]
fn what_cannot_be_installed_is_told_and_nothing_is_left_behind() {
    let managed = site();
    let device = Device::new(&managed);
    let (token, service) = (device.token_file(&bulk(&managed)), device.service());

    let unknown = device.install(&["--token-file", &token, "--service", &service, "FSP=fsp1", "SMSSITECODE=TOOLONG"]);
    assert!(said(&unknown).contains("FSP is no property") && said(&unknown).contains("TOOLONG"), "{}", said(&unknown));

    fs::set_permissions(device.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    let open = device.install(&["--token-file", &token, "--service", &service]);
    assert!(said(&open).contains("0600 is wanted"), "{}", said(&open));
    assert!(!device.path("data").exists() && !device.path("client.toml").exists());

    let forged = device.token_file("header.claims.signature");
    let refused = device.install(&["--token-file", &forged, "--service", &service, "--wait", "0"]);
    assert!(!refused.status.success() && !device.path("data/identity.json").exists(), "{}", said(&refused));

    fs::write(device.path("roots.pem"), managed.site.lab().clients_root.certificate_pem()).unwrap();
    let foreign = device.install(&["--token-file", &device.token_file(&bulk(&managed)), "--service", &service, "--wait", "0"]);
    assert!(said(&foreign).contains("is somebody else"), "{}", said(&foreign));
}

#[test]
fn a_repair_keeps_the_key_and_the_id() {
    let managed = site();
    let device = Device::installed(&managed, &[]);
    let (before, key) = (device.identity(), fs::read(device.path("data/device.key")).unwrap());

    let renewed = device.client("repair", &[]);
    assert!(renewed.status.success(), "{}", said(&renewed));
    let after = device.identity();
    assert_ne!(after["given"]["token"], before["given"]["token"]);

    let anew = device.client("repair", &["--token-file", &device.token_file(&bulk(&managed))]);
    assert!(anew.status.success(), "{}", said(&anew));
    assert_eq!(device.identity()["given"]["client_id"], before["given"]["client_id"]);
    assert_eq!(fs::read(device.path("data/device.key")).unwrap(), key);
}

#[test]
fn a_client_gets_its_policy_and_works_through_the_gateway_and_a_restart_keeps_both() {
    let managed = site();
    let device = Device::installed(&managed, &["--always-internet"]);
    let running = device.start();
    let status = device.until_status("the client is on the internet", |status| status["place"] == "internet");
    assert_eq!((&status["through"], &status["policy"]["site"]), (&json!("service main"), &json!("LAB")), "{status:#}");
    let id = status["client_id"].clone();
    drop(running);

    assert_eq!(device.status()["place"], "not-running");
    let _running = device.start();

    let status = device.until_status("the client is back", |status| status["place"] == "internet");
    assert_eq!(status["client_id"], id);
    assert!(device.log().contains("On the internet, through main"), "{}", device.log());
    assert!(!device.client("uninstall", &["--yes"]).status.success(), "it runs");
}

#[test]
fn on_the_intranet_the_management_point_proves_itself_and_is_used_straight() {
    let managed = site();
    let device = Device::installed(&managed, &[]);
    let _running = device.start();

    let status = device.until_status("the client is on the intranet", |status| status["place"] == "intranet");

    assert_eq!(status["through"], "management point management-point-1");
    let explained = said(&device.client("locate", &["--explain"]));
    assert!(explained.contains("1. management point management-point-1: it has proven itself"), "{explained}");
}

#[test]
fn a_token_is_renewed_by_itself_before_it_ends() {
    let managed = site();
    let device = Device::installed(&managed, &["--always-internet"]);
    // As it is after two months: its time has come, and it still counts.
    let mut identity = device.identity();
    let token = identity["given"]["token"].clone();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    (identity["given"]["renew_after"], identity["given"]["expires_at"]) = (json!(now - 10), json!(now + 10));
    fs::write(device.path("data/identity.json"), identity.to_string()).unwrap();

    let _running = device.start();

    until("the token is another one", || (device.identity()["given"]["token"] != token).then_some(()));
    let status = device.until_status("the next renewal is far", |status| status["token"]["renew_after"].as_u64() > Some(now + 86_400));
    assert_eq!(status["token"]["trouble"], Value::Null);
}

#[test]
fn heartbeat_and_inventory_reach_the_site_and_a_ping_brings_another() {
    let managed = site();
    let device = Device::installed(&managed, &["--always-internet"]);
    let _running = device.start();
    let status = device.until_status("nothing waits", |status| status["messages"] == 0 && status["place"] == "internet");
    let path = format!("/devices/{}", status["client_id"].as_str().unwrap());
    let seen = || managed.api.ask("GET", &path, None).unwrap();

    let first =
        until("the site has both", || Some(seen()).filter(|device| !device["heartbeat"].is_null() && !device["inventory_at"].is_null()));
    assert_eq!(first["heartbeat"]["name"], "PC-7");
    until("it holds its request for notifications", || (!seen()["online"].is_null()).then_some(()));

    // Heartbeats are told apart by their second, so the first ping may bring one of the same.
    until("another heartbeat", || {
        managed.api.ask("POST", &format!("{path}/ping"), None).unwrap();
        (seen()["heartbeat_at"] != first["heartbeat_at"]).then_some(())
    });
}

#[test]
fn uninstalling_leaves_nothing() {
    let managed = site();
    let device = Device::installed(&managed, &[]);

    assert!(!device.client("uninstall", &[]).status.success(), "without --yes");
    let output = device.client("uninstall", &["--yes"]);

    assert!(output.status.success() && said(&output).contains("cmg device remove"), "{}", said(&output));
    assert!(!device.path("data").exists() && !device.path("client.toml").exists());
}
