//! A real PostgreSQL on a loopback port: one that all tests of a program share, or one of a test's own to be killed. The tests of the site
//! server use this file too.

use std::fs::DirBuilder;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Who PostgreSQL runs as, where tests run as root, which it refuses.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

/// A PostgreSQL on a loopback port.
pub(crate) struct Server {
    programs: PathBuf,
    user: Option<User>,
    data: PathBuf,
    port: u16,
    running: Option<Child>,
    _folder: Option<TempDir>,
}

/// Runs a server until this program ends in whatever way, which closes the shell's input; then removes `$FOLDER`, if there is one.
const WATCH: &str =
    r#""$@" >/dev/null 2>&1 </dev/null & server=$!; read -r _; kill -QUIT $server; wait $server; [ -z "$FOLDER" ] || rm -rf "$FOLDER""#;

impl Server {
    /// One of its own, which ends with the value. `None` if PostgreSQL is not installed.
    pub(crate) fn own() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self::made_in(folder.path())?;
        server.start(None);
        server._folder = Some(folder);
        Some(server)
    }

    fn made_in(folder: &Path) -> Option<Self> {
        let programs = programs()?;
        let user = postgres_user();
        let data = folder.join("data");
        DirBuilder::new().mode(0o700).create(&data).unwrap();
        for path in [folder, &*data] {
            user.inspect(|user| chown(path, Some(user.uid), Some(user.gid)).unwrap());
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { programs, user, data, port, running: None, _folder: None };
        let data = server.data.to_str().unwrap();
        server.run_program("initdb", &["-D", data, "-U", "opencmg", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        Some(server)
    }

    pub(crate) fn start(&mut self, remove: Option<&Path>) {
        let mut command = self.command("sh");
        let port = self.port.to_string();
        let data = self.data.to_str().unwrap();
        command.args(["-c", WATCH, "watch"]).arg(self.programs.join("postgres"));
        command.args(["-D", data, "-k", data, "-p", &port, "-c", "listen_addresses=127.0.0.1"]);
        command.env("FOLDER", remove.map(Path::as_os_str).unwrap_or_default());
        self.running = Some(command.stdin(Stdio::piped()).spawn().unwrap());
        while !self.command(self.programs.join("pg_isready")).args(["-q", "-h", data, "-p", &port]).status().unwrap().success() {
            std::thread::yield_now();
        }
    }

    /// Ends it at once, in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.stdin.take());
            running.wait().unwrap();
        }
    }

    /// Stops it and all its children (`STOP`), as if its host had died without a word, or lets them go on (`CONT`).
    pub(crate) fn signal(&self, signal: &str) {
        let leader = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap();
        let leader = leader.lines().next().unwrap();
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", leader]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        // A child may have ended meanwhile.
        let _ = Command::new("kill").arg(format!("-{signal}")).arg(leader).args(children.split_whitespace()).output().unwrap();
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://opencmg:a-password@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs a client program as the owner of all databases, and gives what it writes.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let address = ["-h", self.data.to_str().unwrap(), "-p", &port, "-U", "opencmg"];
        self.run_program(program, &[&address, arguments].concat())
    }

    fn run_program(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(self.programs.join(program)).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.running.is_some() {
            // Whoever is stopped would not end.
            self.signal("CONT");
        }
        self.kill();
    }
}

/// The server that all tests share. Its folder is removed when this program ends.
pub(crate) fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    let start = || {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Server::made_in(folder.path())?;
        server.start(Some(&folder.keep()));
        Some(server)
    };
    SHARED.get_or_init(start).as_ref()
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs = versions.map(|version| version.path().join("bin")).find(|bin| bin.join("postgres").exists());
    if programs.is_none() {
        assert!(std::env::var_os("CI").is_none(), "PostgreSQL is not installed: apt-get install postgresql");
        println!("skipped: PostgreSQL is not installed");
    }
    programs
}

fn postgres_user() -> Option<User> {
    let id = |arguments: &[&str]| -> u32 {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    (id(&["-u"]) == 0).then(|| User { uid: id(&["-u", "postgres"]), gid: id(&["-g", "postgres"]) })
}
