//! The door as agents find it: curl comes in, and a service far away answers.

use std::process::Output;

use cmg_api::{DoorFile, DoorListenerFile};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::*;
use crate::carrier::Way;
use crate::carrier::tests::{Far, Near, near, service};

/// The server's ordinary name, which nothing on this machine leads to.
const WIKI: &str = "https://wiki.corp.example";

/// A user who is nobody here.
const NOBODY: &str = "65534";

struct Door {
    far: Far,
    near: Near,
    dir: TempDir,
    proxy: SocketAddr,
    _open: JoinSet<()>,
}

impl Door {
    /// A door for this user, with a proxy and a Unix socket for the wiki, which is carried through a service.
    async fn open(inside: &str) -> Self {
        let far = Far::start(true).await;
        let near = near(vec![service("a", &far.url)], inside);
        near.carrier.take_way(Way::Service("a".to_owned()));
        let dir = TempDir::new().unwrap();
        let disk = Disk::open(&dir.path().join("data")).unwrap();
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let file = DoorFile {
            proxy: Some(proxy.to_string()),
            users: vec![nix::unistd::geteuid().to_string()],
            listener: vec![DoorListenerFile {
                listen: format!("unix:{}", dir.path().join("wiki.sock").display()),
                server: inside.to_owned(),
                users: None,
            }],
        };
        let mut problems = Vec::new();
        let config = DoorConfig::read(&file, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        let open = open(&config, &disk, near.carrier.clone()).await.unwrap();
        Self { far, near, dir, proxy, _open: open }
    }

    fn authority(&self) -> String {
        self.dir.path().join("data/door-authority.pem").display().to_string()
    }

    async fn by_proxy(&self, more: &[&str]) -> Output {
        let proxy = format!("http://{}", self.proxy);
        let authority = self.authority();
        let mut all = vec!["--noproxy", "", "--proxy", &proxy, "--cacert", &authority];
        all.extend(more);
        curl(&all).await
    }

    async fn by_socket(&self, more: &[&str]) -> Output {
        let socket = self.dir.path().join("wiki.sock").display().to_string();
        let mut all = vec!["--unix-socket", &socket];
        all.extend(more);
        curl(&all).await
    }
}

/// Runs curl; it writes the body, and behind it the status.
async fn curl(arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30", "--write-out", "%{http_code}"]).args(arguments);
    command.output().await.expect("curl is installed")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn an_agent_reaches_a_server_by_its_name_and_believes_the_devices_authority() {
    let door = Door::open(WIKI).await;

    let output = door.by_proxy(&[&format!("{WIKI}/page?x=1")]).await;

    assert_eq!(said(&output), "well200");
    assert_eq!(door.far.seen().last().map(|(_, asked, _)| asked.clone()).as_deref(), Some("GET /app/page?x=1"));
}

#[tokio::test]
async fn an_agent_uploads_through_the_door() {
    let door = Door::open(WIKI).await;
    let file = door.dir.path().join("file");
    std::fs::write(&file, vec![7; 300_000]).unwrap();

    let output = door.by_proxy(&["--upload-file", &file.display().to_string(), &format!("{WIKI}/up")]).await;

    assert!(said(&output).ends_with("200"), "{}", said(&output));
    assert_eq!(door.far.seen().last().map(|(_, _, length)| *length), Some(300_000));
}

#[tokio::test]
async fn a_proxy_is_asked_in_absolute_form_and_a_socket_directly() {
    let door = Door::open("http://repo.corp.example").await;

    assert_eq!(said(&door.by_proxy(&["http://repo.corp.example/dists"]).await), "well200");
    assert_eq!(said(&door.by_socket(&["http://repo.corp.example/dists"]).await), "well200");
}

#[tokio::test]
async fn only_servers_of_the_policy_are_behind_the_door() {
    let door = Door::open(WIKI).await;

    for address in ["https://other.corp.example/", "https://wiki.corp.example:8443/", "http://wiki.corp.example/"] {
        let output = door.by_proxy(&[address]).await;
        assert!(said(&output).contains("403"), "{address}: {}", said(&output));
    }
    assert!(door.far.seen().is_empty());
}

#[tokio::test]
async fn web_pages_and_names_that_only_lead_here_are_refused() {
    let door = Door::open("http://repo.corp.example").await;
    let address = "http://repo.corp.example/";

    for page in ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"] {
        assert!(said(&door.by_socket(&["--header", page, address]).await).ends_with("403"), "{page}");
        assert!(said(&door.by_proxy(&["--header", page, address]).await).ends_with("403"), "{page}");
    }
    assert!(said(&door.by_socket(&["http://evil.example/"]).await).ends_with("421"));
    assert!(door.far.seen().is_empty());
}

#[tokio::test]
async fn another_user_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can be another user");
        return;
    }
    let door = Door::open(WIKI).await;
    std::fs::set_permissions(door.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let as_nobody = |arguments: Vec<String>| async move {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--clear-groups", "curl", "--silent", "--max-time", "30"]).args(arguments);
        command.output().await.unwrap()
    };
    let socket = door.dir.path().join("wiki.sock");

    let by_proxy = as_nobody(vec!["--proxy".into(), format!("http://{}", door.proxy), "http://wiki.corp.example/".into()]).await;
    let by_socket = as_nobody(vec!["--unix-socket".into(), socket.display().to_string(), "http://wiki.corp.example/".into()]).await;

    // Nothing comes back at all: the connection is closed unread.
    for output in [by_proxy, by_socket] {
        assert!(!output.status.success() && output.stdout.is_empty(), "{}", said(&output));
    }
    assert_eq!(said(&door.by_proxy(&[WIKI]).await), "well200", "while its own user comes in");
}

#[tokio::test]
async fn without_a_way_to_the_site_an_agent_is_told_to_come_again() {
    let door = Door::open("http://repo.corp.example").await;
    door.near.carrier.take_way(Way::Nowhere("no cable".to_owned()));

    let output = door.by_socket(&["--dump-header", "-", "http://repo.corp.example/"]).await;

    let said = said(&output).to_ascii_lowercase();
    assert!(said.contains("503") && said.contains("retry-after: 15") && said.contains("no cable"), "{said}");
}

#[test]
fn a_place_is_loopback_or_a_socket_and_names_its_users() {
    let listener = |listen: &str, server: &str| DoorListenerFile { listen: listen.to_owned(), server: server.to_owned(), users: None };
    let file = DoorFile {
        proxy: Some("0.0.0.0:8170".to_owned()),
        users: Vec::new(),
        listener: vec![listener("unix:wiki.sock", WIKI), listener("127.0.0.1:1", "wiki")],
    };
    let mut problems = Vec::new();

    DoorConfig::read(&file, &mut problems);

    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["door.users", "door.proxy", "door.listener.listen", "door.listener.server"]);
}
