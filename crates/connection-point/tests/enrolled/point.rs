//! The connection point as a process, with its file and its folder.
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use cmg_api::EnrolmentCode;
use cmg_authority::MemberKind;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fake_site::FakeSite;
use crate::until;

/// The program, and where it lives.
pub(crate) struct Point {
    dir: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Point {
    /// Starts with a good code of the site.
    pub(crate) fn start(site: &FakeSite) -> Self {
        Self::with_code(&site.code(MemberKind::ConnectionPoint, "cp-1"))
    }

    /// Starts with this code.
    pub(crate) fn with_code(code: &EnrolmentCode) -> Self {
        let mut point = Self { dir: TempDir::new().unwrap(), port: cmg_lab::ports::free_port().unwrap(), child: None };
        point.write_code(code);
        let file =
            format!("metrics_listen = \"127.0.0.1:{}\"\ndrain = \"1s\"\n[site]\ndata = \"data\"\nenrolment = \"code.toml\"\n", point.port);
        std::fs::write(point.file(), file).unwrap();
        point.run();
        point
    }

    pub(crate) fn write_code(&self, code: &EnrolmentCode) {
        let path = self.dir.path().join("code.toml");
        std::fs::write(&path, toml::to_string(code).unwrap()).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("connection-point.toml")
    }

    /// Ends it at once, and starts it again.
    pub(crate) fn start_again(&mut self) {
        self.kill();
        self.run();
    }

    fn run(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cmg-connection-point"));
        command.arg("--config").arg(self.file()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Tells it that its file has changed.
    pub(crate) fn reload(&self) {
        self.signal("-HUP");
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn end(&mut self) {
        self.signal("-TERM");
        let child = self.child.as_mut().unwrap();
        until(async || child.try_wait().unwrap().is_some()).await;
        self.child = None;
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Everything that it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Waits until it has said so.
    pub(crate) async fn says(&self, words: &str) {
        until(async || self.log().contains(words)).await;
    }

    /// What `/readyz` or `/metrics` says; nothing while nobody listens.
    pub(crate) async fn get(&self, path: &str) -> String {
        let Ok(mut tcp) = TcpStream::connect(("127.0.0.1", self.port)).await else { return String::new() };
        let _ = tcp.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        let mut answer = String::new();
        let _ = tcp.read_to_string(&mut answer).await;
        answer
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn is_ready_or_says(&self, words: &str) {
        until(async || self.get("/readyz").await.contains(words)).await;
    }
}

impl Drop for Point {
    #[expect(clippy::print_stderr, reason = "it says why a test has failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        self.kill();
    }
}
