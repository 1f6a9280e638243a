//! Real servers with their own real clients, through the gateway.
//!
//! What they need (nginx, apt, dpkg-deb, curl, Python's websockets) is installed by `.ci/run`; where it is missing, a test says so and
//! passes.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use cmg_lab::ports::free_port;

use crate::support::{Site, until};

/// Whether all of these programs can be started; says which cannot.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn have(programs: &[&str]) -> bool {
    programs.iter().all(|program| {
        let is_there = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
        if !is_there {
            assert!(std::env::var_os("CI").is_none(), "{program} is not installed");
            println!("skipped: {program} is not installed");
        }
        is_there
    })
}

/// A child process that ends with the test.
pub(crate) struct Running(Child);

impl Running {
    /// Starts it and waits until it listens on `port`.
    pub(crate) fn start(command: &mut Command, port: u16) -> Self {
        let running = Self(command.stdin(Stdio::null()).spawn().unwrap());
        until("it listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    output
}

/// nginx serving the files of `dir`.
fn nginx(dir: &Path, port: u16) -> Running {
    let text = format!(
        "daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/error.log;
        events {{ }}
        http {{
            access_log {dir}/access.log;
            client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
            uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
            server {{ listen 127.0.0.1:{port}; root {dir}/www; autoindex on; }}
        }}",
        dir = dir.display()
    );
    let config = dir.join("nginx.conf");
    std::fs::write(&config, text).unwrap();
    Running::start(Command::new("nginx").arg("-c").arg(&config).arg("-p").arg(dir).stderr(Stdio::null()), port)
}

const DEB: &str = "cmg-lab-test_1.0~rc1+really_all.deb";

/// A repository with one package of a few hundred KiB that does not compress away.
fn repository(dir: &Path) {
    let package = dir.join("package");
    std::fs::create_dir_all(package.join("DEBIAN")).unwrap();
    std::fs::create_dir_all(package.join("usr/share/cmg-lab")).unwrap();
    let control = "Package: cmg-lab-test\nVersion: 1.0~rc1+really\nArchitecture: all\nMaintainer: Lab <lab@example>\nDescription: a test\n";
    std::fs::write(package.join("DEBIAN/control"), control).unwrap();
    let mut noise = 1_u32;
    let bytes = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.to_be_bytes()[0]
    });
    let content: Vec<u8> = bytes.take(400_000).collect();
    std::fs::write(package.join("usr/share/cmg-lab/noise"), content).unwrap();
    let pool = dir.join("www/pool");
    std::fs::create_dir_all(&pool).unwrap();
    run(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&package).arg(pool.join(DEB)));
    let packages = run(Command::new("dpkg-scanpackages").args(["--multiversion", "pool"]).current_dir(dir.join("www"))).stdout;
    std::fs::write(pool.join("Packages"), packages).unwrap();
}

/// apt-get in a world of its own below `dir`.
fn apt(dir: &Path, site: &Site, source: &str) -> Command {
    let client = site.lab().client_dir();
    for folder in ["lists/partial", "archives/partial", "etc", "download"] {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
    }
    std::fs::write(dir.join("etc/sources.list"), source).unwrap();
    std::fs::write(dir.join("etc/status"), "").unwrap();
    let mut apt = Command::new("apt-get");
    let at = |path: &str| dir.join(path).display().to_string();
    let in_client = |name: &str| client.join(name).display().to_string();
    let options: [(&str, String); 12] = [
        ("Dir::State::lists", at("lists")),
        ("Dir::State::status", at("etc/status")),
        ("Dir::Cache", at("")),
        ("Dir::Cache::archives", at("archives")),
        ("Dir::Etc::sourcelist", at("etc/sources.list")),
        ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
        ("Acquire::https::CaInfo", in_client("ca.pem")),
        ("Acquire::https::SslCert", in_client("client.pem")),
        ("Acquire::https::SslKey", in_client("client.key")),
        ("Acquire::https::Proxy", "DIRECT".to_owned()),
        ("APT::Sandbox::User", "root".to_owned()),
        ("Acquire::Languages", "none".to_owned()),
    ];
    for (name, value) in options {
        apt.arg("-o").arg(format!("{name}={value}"));
    }
    apt.current_dir(dir.join("download"));
    apt
}

#[test]
fn apt_updates_and_downloads_from_nginx_with_a_client_certificate() {
    if !have(&["apt-get", "dpkg-deb", "dpkg-scanpackages", "nginx"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    repository(dir.path());
    let port = free_port().unwrap();
    let _nginx = nginx(dir.path(), port);
    let site = Site::start(|setup| setup.delivered("debian", &format!("servers = [\"http://127.0.0.1:{port}\"]")));
    // Not "./", which apt would send as it is: dot segments are refused.
    let source = format!("deb [trusted=yes] {} pool/\n", url(&site, "/debian"));

    run(apt(dir.path(), &site, &source).arg("update"));
    // Again, which asks whether anything has changed since.
    run(apt(dir.path(), &site, &source).arg("update"));
    run(apt(dir.path(), &site, &source).args(["download", "cmg-lab-test"]));

    let downloaded = std::fs::read_dir(dir.path().join("download")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read(downloaded).unwrap(), std::fs::read(dir.path().join("www/pool").join(DEB)).unwrap());
    let log = std::fs::read_to_string(dir.path().join("access.log")).unwrap();
    assert!(log.contains("Debian APT-HTTP"), "apt's own words reach nginx: {log}");
}

#[test]
fn curl_resumes_a_download_from_nginx() {
    if !have(&["curl", "nginx"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("www")).unwrap();
    let content = cmg_lab::origin::pattern(0, 1_000_000);
    std::fs::write(dir.path().join("www/file"), &content).unwrap();
    let port = free_port().unwrap();
    let _nginx = nginx(dir.path(), port);
    let site = Site::start(|setup| setup.delivered("files", &format!("servers = [\"http://127.0.0.1:{port}\"]")));
    let target = dir.path().join("target");
    std::fs::write(&target, &content[..123_456]).unwrap();

    run(curl(&site).args(["--continue-at", "-", "--output"]).arg(&target).arg(url(&site, "/files/file")));

    assert_eq!(std::fs::read(&target).unwrap(), content);
}

#[test]
fn curl_uploads_after_an_invitation_and_with_a_token() {
    if !have(&["curl"]) {
        return;
    }
    let site = Site::start(|_| {});
    let file = site.lab().dir.join("upload");
    std::fs::write(&file, cmg_lab::origin::pattern(0, 2_000_000)).unwrap();
    let token = format!("Authorization: Bearer {}", site.lab().token);

    let ca = site.lab().client_dir().join("ca.pem");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--cacert"]).arg(ca);
    curl.args(["--header", &token, "--header", "Expect: 100-continue", "--upload-file"]).arg(&file);
    let output = run(curl.arg(url(&site, &(site.server() + "/upload"))));

    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["method"].as_str(), report["length"].as_u64()), (Some("PUT"), Some(2_000_000)));
}

#[test]
fn the_curl_line_of_a_stranger_is_refused_with_the_phrase() {
    if !have(&["curl"]) {
        return;
    }
    let site = Site::start(|_| {});
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--include", "--noproxy", "*", "--cacert"]).arg(site.lab().client_dir().join("ca.pem"));

    let output = run(curl.arg(url(&site, &(site.mutual() + "/echo"))));

    assert!(String::from_utf8_lossy(&output.stdout).starts_with("HTTP/1.1 403 CMGService_Client_Certificate_Required"));
}

fn curl(site: &Site) -> Command {
    let client = site.lab().client_dir();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--cacert"]).arg(client.join("ca.pem"));
    curl.arg("--cert").arg(client.join("client.pem")).arg("--key").arg(client.join("client.key"));
    curl
}

fn url(site: &Site, target: &str) -> String {
    format!("https://localhost:{}{target}", site.lab().gateways[0].port)
}

/// Debian's Python, which has Debian's packages.
const PYTHON: &str = "/usr/bin/python3";

const SERVER: &str = r#"
import asyncio, sys, websockets
async def echo(socket):
    async for message in socket:
        await socket.send(message)
async def main():
    async with websockets.serve(echo, "127.0.0.1", int(sys.argv[1]), max_size=None):
        await asyncio.Future()
asyncio.run(main())
"#;

const CLIENT: &str = r#"
import asyncio, ssl, sys, websockets
url, folder = sys.argv[1:]
context = ssl.create_default_context(cafile=folder + "/ca.pem")
context.load_cert_chain(folder + "/client.pem", folder + "/client.key")
async def main():
    async with websockets.connect(url, ssl=context, max_size=None) as socket:
        for message in ["text", b"binary", "x" * 200000, b"y" * 2000000]:
            await socket.send(message)
            assert await socket.recv() == message
        pong = await socket.ping()
        await pong
asyncio.run(main())
"#;

#[test]
fn a_python_websocket_application_talks_to_its_own_client() {
    let has_library =
        Command::new(PYTHON).args(["-c", "import websockets"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !has_library {
        println!("skipped: {PYTHON} has no websockets");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let port = free_port().unwrap();
    let _server = Running::start(Command::new(PYTHON).arg(script("server.py", SERVER)).arg(port.to_string()), port);
    let site = Site::start(|setup| setup.delivered("talk", &format!("servers = [\"http://127.0.0.1:{port}\"]")));

    let url = url(&site, "/talk/").replace("https:", "wss:");
    run(Command::new(PYTHON).arg(script("client.py", CLIENT)).arg(url).arg(site.lab().client_dir()));
}
