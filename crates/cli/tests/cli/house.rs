//! A site server that answers on loopback, and an administrator's home folder.
//!
//! A site is founded and set up once; every test works in a copy of its folder.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use clap::Parser;
use cmg_cli::{Command, Surroundings};
use cmg_process::shutdown::Drain;
use cmg_site_server::app::setup::prepare_setup;
use cmg_site_server::config::Config;
use cmg_site_server::http::api;
use cmg_site_server::http::listener::Service;
use cmg_site_server::site::Site;
use rustls::ServerConfig;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

/// The password of the first administrator.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The name of the first administrator.
pub(crate) const NAME: &str = "fay";

/// A site with its first administrator.
static SET_UP: OnceCell<TempDir> = OnceCell::const_new();

/// A site server, and an administrator at it.
pub(crate) struct House {
    pub(crate) site: Arc<Site>,
    /// Where it answers.
    pub(crate) url: String,
    folder: TempDir,
    home: TempDir,
    variables: RefCell<BTreeMap<String, OsString>>,
    _task: Task,
}

/// Ends with the house.
struct Task(JoinHandle<()>);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A command line, as `cmg` has it.
#[derive(Debug, Parser)]
#[command(name = "cmg")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl House {
    /// A site that nobody is signed in at.
    pub(crate) async fn new() -> Self {
        let set_up = SET_UP
            .get_or_init(|| async {
                let folder = tempfile::tempdir().unwrap();
                let house = Self::founded(folder, None).await;
                let code = house.site_folder().join("setup-code");
                let ran = house.cmg(&["setup", "--code-file", text(&code), "--name", NAME]).await;
                assert_eq!(ran.code, 0, "{ran:?}");
                house.site.store.close().await;
                house.folder
            })
            .await;
        Self::founded(copy(set_up.path()), None).await
    }

    /// A site that the first administrator is signed in at.
    pub(crate) async fn signed_in() -> Self {
        let house = Self::new().await;
        house.cmg(&["login", "--name", NAME]).await.done();
        house
    }

    /// A site without any account; with TLS where `tls` says how.
    pub(crate) async fn founded(folder: TempDir, tls: Option<ServerConfig>) -> Self {
        let site = Site::open(&config(folder.path())).await.unwrap();
        prepare_setup(&site, &folder.path().join("data")).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = if tls.is_some() { format!("https://localhost:{port}") } else { format!("http://127.0.0.1:{port}") };
        let tls = tls.map(|tls| Arc::new(ArcSwap::from_pointee(tls)));
        let router = api::router(Arc::clone(&site));
        let task = Task(tokio::spawn(Service { listener, tls, router, drain: Arc::new(Drain::default()) }.run()));
        let home = tempfile::tempdir().unwrap();
        let variables = [("HOME", home.path().as_os_str().to_owned()), ("CMG_SERVER", url.clone().into())];
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { site, url, folder, home, variables: RefCell::new(variables), _task: task }
    }

    /// Runs a command to its end.
    pub(crate) async fn cmg(&self, arguments: &[&str]) -> Ran {
        self.cmg_typing(arguments, PASSWORD).await
    }

    /// The same with another password, where one is asked for.
    pub(crate) async fn cmg_typing(&self, arguments: &[&str], password: &str) -> Ran {
        let cli = match Cli::try_parse_from(std::iter::once(&"cmg").chain(arguments)) {
            Ok(cli) => cli,
            Err(error) => return Ran { code: u8::try_from(error.exit_code()).unwrap(), out: String::new(), err: error.to_string() },
        };
        let (out, err) = (Shared::default(), Shared::default());
        let (variables, password) = (self.variables.borrow().clone(), password.to_owned());
        let mut surroundings = Surroundings {
            variable: Box::new(move |name| variables.get(name).cloned()),
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            width: 100,
            ask: Box::new(move |_| Ok(password.clone())),
            browse: Box::new(|_| Err(io::ErrorKind::NotFound.into())),
        };
        let code = cmg_cli::run(cli.command, &mut surroundings).await;
        Ran { code, out: out.text(), err: err.text() }
    }

    /// Sets a variable of the environment.
    pub(crate) fn set(&self, name: &str, value: impl Into<OsString>) {
        self.variables.borrow_mut().insert(name.to_owned(), value.into());
    }

    pub(crate) fn unset(&self, name: &str) {
        self.variables.borrow_mut().remove(name);
    }

    pub(crate) fn session_file(&self) -> PathBuf {
        self.home.path().join(".config/cmg/session.json")
    }

    /// The data folder of the site server.
    pub(crate) fn site_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Writes a file in the administrator's home.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        self.file_with_mode(name, contents, 0o600)
    }

    pub(crate) fn file_with_mode(&self, name: &str, contents: impl AsRef<[u8]>, mode: u32) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, contents).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        text(&path).to_owned()
    }

    /// A path in the administrator's home.
    pub(crate) fn path(&self, name: &str) -> String {
        text(&self.home.path().join(name)).to_owned()
    }

    /// The generation in force.
    pub(crate) fn generation(&self) -> String {
        self.site.in_force().generation().to_string()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Ran {
    /// It ended well.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It was refused by the site server, for these reasons among others.
    #[track_caller]
    pub(crate) fn refused(self, words: &[&str]) -> Self {
        assert_eq!(self.code, 1, "{self:?}");
        assert!(self.out.is_empty() && words.iter().all(|words| self.err.contains(words)), "{self:?}");
        self
    }

    /// What was written is JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Bytes that a test can read after somebody else wrote them.
#[derive(Clone, Default)]
pub(crate) struct Shared(Rc<RefCell<Vec<u8>>>);

impl Shared {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn mode(path: impl AsRef<Path>) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn config(folder: &Path) -> Config {
    let file = folder.join("site.toml");
    if !file.exists() {
        let passphrase = folder.join("passphrase");
        std::fs::write(&passphrase, "a long passphrase for the roots\n").unwrap();
        std::fs::set_permissions(&passphrase, std::fs::Permissions::from_mode(0o600)).unwrap();
        let keys = "name = 'site-1'\nsite = 'LAB'\ndata = 'data'\ncontrol_urls = ['https://site.example:8445']\n";
        std::fs::write(&file, format!("{keys}root_passphrase_file = 'passphrase'\n")).unwrap();
    }
    Config::read(&file).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn copy(from: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_into(from, folder.path());
    folder
}

fn copy_into(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_into(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700)).unwrap();
}
