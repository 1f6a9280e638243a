//! The program itself: started from a file, asked how it is, told to read the file again, told to end.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use cmg_lab::{Lab, LabOptions, Published, probe};
use tempfile::TempDir;

/// The deadline of a test that hangs: far longer than any machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

struct Gateway {
    child: Child,
    metrics_port: u16,
}

impl Gateway {
    fn start(file: &Path, metrics_port: u16) -> Self {
        let binary = env!("CARGO_BIN_EXE_cmg-gateway");
        let child = Command::new(binary).arg("--config").arg(file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, metrics_port }
    }

    /// Waits until what is told at `path` has `words` in it.
    async fn says(&self, path: &str, words: &str) {
        let said = async {
            while !probe(self.metrics_port, path, PATIENCE).await.is_ok_and(|answer| answer.body.contains(words)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("{path} never says {words}"));
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap().success());
    }

    async fn ended(mut self) -> ExitStatus {
        self.signal("TERM");
        tokio::task::spawn_blocking(move || self.child.wait().unwrap()).await.unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn lab(dir: &TempDir) -> Lab {
    let published = vec![Published::new("app", "http://127.0.0.1:9").unwrap()];
    Lab::new(dir.path(), LabOptions { published, ..LabOptions::default() }).unwrap()
}

#[tokio::test]
async fn a_gateway_without_a_site_starts_reloads_and_ends() {
    let dir = TempDir::new().unwrap();
    let lab = lab(&dir);
    let (file, port) = (&lab.gateways[0].config, lab.gateways[0].metrics_port);
    let gateway = Gateway::start(file, port);
    gateway.says("/readyz", "no connection point is connected").await;
    gateway.says("/metrics", "cmg_gateway_snapshot_number 1\n").await;

    gateway.signal("HUP");
    gateway.says("/metrics", "cmg_gateway_snapshot_number 2\n").await;
    let sound = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, format!("speed = 1\n{sound}")).unwrap();
    gateway.signal("HUP");
    gateway.says("/metrics", "cmg_gateway_reloads_total{result=\"refused\"} 1").await;
    gateway.says("/metrics", "cmg_gateway_snapshot_number 2\n").await;

    assert!(gateway.ended().await.success());
}

#[tokio::test]
async fn a_gateway_that_waits_for_its_site_says_so_takes_another_code_and_ends() {
    let dir = TempDir::new().unwrap();
    let port = cmg_lab::ports::free_port().unwrap();
    let listen = cmg_lab::ports::free_port().unwrap();
    let code = |name: &str| {
        format!("kind = 'gateway'\nname = '{name}'\nroot = '{}'\ncode = '{}'\nends = {}\n", "ab".repeat(32), "01".repeat(16), u32::MAX)
    };
    let write = |name: &str| cmg_lab::file::write_secret(&dir.path().join("code.toml"), code(name)).unwrap();
    let file = dir.path().join("gateway.toml");
    let text =
        format!("listen = ['127.0.0.1:{listen}']\nmetrics_listen = '127.0.0.1:{port}'\n[site]\ndata = 'data'\nenrolment = 'code.toml'\n");
    std::fs::write(&file, text).unwrap();
    write("gw-1");
    let gateway = Gateway::start(&file, port);
    gateway.says("/readyz", "not enrolled yet").await;

    for name in ["gw-2", "gw-3"] {
        write(name);
        gateway.signal("HUP");
        gateway.says("/readyz", "not enrolled yet").await;
    }

    assert!(gateway.ended().await.success());
}

#[tokio::test]
async fn a_gateway_without_a_code_does_not_start() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, "listen = ['127.0.0.1:0']\n[site]\ndata = 'data'\n").unwrap();

    let output = Command::new(env!("CARGO_BIN_EXE_cmg-gateway")).arg("--config").arg(&file).output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("site.enrolment: is missing"), "{output:?}");
}
