//! Administrators sign in by a real OpenID Connect provider, in a browser that is played here: it follows redirects and keeps cookies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{ManagedSite, OidcProvider, PATIENCE, SECRET, binary};

const CALLBACK: &str = "/api/v1/sign-in/oidc/callback/corp";

/// A site whose administrators sign in by a provider.
struct Office {
    managed: ManagedSite,
    provider: OidcProvider,
    home: TempDir,
}

/// What a page said.
struct Page {
    status: u16,
    location: Option<String>,
    text: String,
}

impl Office {
    /// None: the provider is not installed.
    fn open(client_id: &str) -> Option<Self> {
        let managed = ManagedSite::of(1, 1);
        let url = managed.site.lab().site.as_ref().unwrap().url();
        let provider = OidcProvider::start(managed.site.lab(), "k1", &format!("{url}{CALLBACK}"))?;
        let mut resource = json!({
            "name": "corp",
            "issuer": provider.issuer(),
            "client_id": client_id,
            "site_url": url,
            "allow_private_addresses": true,
            "authorities": [managed.site.lab().servers.certificate_pem()],
        });
        if client_id == "console" {
            resource["client_secret"] = json!(SECRET);
        }
        managed.api.add("sign-in-providers", &resource).unwrap();
        let account = json!({ "name": "alice", "role": "read-only-analyst", "oidc": { "provider": "corp", "subject": "alice@idp" } });
        managed.api.add("accounts", &account).unwrap();
        Some(Self { managed, provider, home: tempfile::tempdir().unwrap() })
    }

    fn cmg(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).env("HOME", self.home.path()).env_remove("XDG_CONFIG_HOME").env_remove("DISPLAY");
        command.env("CMG_SERVER", self.managed.site.lab().site.as_ref().unwrap().url());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Begins a sign-in by the command line; gives the letters and the address that it tells.
    fn login(&self) -> (Child, String, String) {
        let mut login = self.cmg(&["login", "--provider", "corp", "--no-browser"]).spawn().unwrap();
        let mut lines = BufReader::new(login.stderr.take().unwrap()).lines();
        let is_letters = |line: &String| line.len() == 9 && line.as_bytes()[4] == b'-';
        let words = lines.by_ref().map(|line| line.unwrap().trim().to_owned()).find(is_letters).unwrap();
        let url = lines.find_map(|line| line.unwrap().trim().strip_prefix("https://").map(|rest| format!("https://{rest}"))).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        (login, words, url)
    }

    fn at_provider(&self, url: &str, subject: &str) -> String {
        self.provider.browse(self.managed.site.lab(), url, subject)
    }
}

/// Opens an address without TLS, as a browser on this machine.
fn visit(url: &str) -> Page {
    send("GET", url, "", "")
}

/// Types the letters into the page that asks for them; gives where the browser goes on to.
fn type_in(question: &Page, back: &str, words: &str) -> Page {
    let between = |before: &str, after| question.text.split_once(before).unwrap().1.split_once(after).unwrap().0;
    let (ticket, cookie) = (between("name=\"ticket\" value=\"", "\""), between("set-cookie: ", ";"));
    let origin = &back[..back["http://".len()..].find('/').unwrap() + "http://".len()];
    let fields = format!("Origin: {origin}\r\nCookie: {cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\n");
    let page = send("POST", &format!("{origin}/api/v1/sign-in/oidc/answer"), &fields, &format!("ticket={ticket}&words={words}"));
    let location = page.text.split_once("content=\"0;url=").and_then(|(_, rest)| rest.split_once('"')).map(|(url, _)| url.to_owned());
    Page { location, ..page }
}

fn send(method: &str, url: &str, fields: &str, body: &str) -> Page {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut socket = TcpStream::connect(authority).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head = format!("{method} /{path} HTTP/1.1\r\nHost: {authority}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    write!(socket, "{head}{body}").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let location = text.lines().find_map(|line| line.strip_prefix("location: ")).map(str::to_owned);
    Page { status, location, text }
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Signs in by the command line, from its first word to its session.
fn signs_in(office: &Office) {
    let (login, words, url) = office.login();
    // A browser opens connections that it does not use.
    let back = office.at_provider(&url, "alice@idp");
    let question = visit(&back);
    assert_eq!(question.status, 200, "{}", question.text);
    let page = type_in(&question, &back, &words);
    let here = page.location.unwrap();
    let (origin, _) = here.split_at(here.rfind('/').unwrap());
    let _idle = TcpStream::connect(origin.strip_prefix("http://").unwrap()).unwrap();
    assert_eq!(visit(&format!("{origin}/favicon.ico")).status, 404);

    assert_eq!(visit(&here).status, 200);

    assert!(login.wait_with_output().unwrap().status.success());
    let who = json_of(&office.cmg(&["whoami", "--json"]).output().unwrap());
    assert_eq!((who["account"].as_str(), who["role"].as_str()), (Some("alice"), Some("read-only-analyst")));
}

#[test]
fn an_administrator_signs_in_by_a_provider_and_the_command_line_has_a_session() {
    let Some(office) = Office::open("console") else { return };

    signs_in(&office);

    let audit = office.managed.api.ask("GET", "/audit?kind=account&name=alice", None).unwrap();
    assert_eq!(audit["items"][0]["action"], "sign-in", "{audit}");
}

#[test]
fn a_public_client_has_no_secret_and_its_administrators_sign_in() {
    let Some(office) = Office::open("public") else { return };

    signs_in(&office);
}

#[test]
fn who_is_not_tied_to_an_account_reads_what_to_do() {
    let Some(office) = Office::open("console") else { return };
    let (mut login, _, url) = office.login();

    let page = visit(&office.at_provider(&url, "mallory"));

    assert_eq!(page.status, 403);
    assert!(page.text.contains("--provider corp --subject 'mallory'"), "{}", page.text);
    assert!(login.try_wait().unwrap().is_none(), "the command line waits for whoever comes back");
    login.kill().unwrap();
    login.wait().unwrap();
}

#[test]
fn what_the_browser_carried_counts_once() {
    let Some(office) = Office::open("console") else { return };
    let (mut login, words, url) = office.login();
    let back = office.at_provider(&url, "alice@idp");
    let question = visit(&back);
    assert_eq!(type_in(&question, &back, "AAAA-AAAA").status, 403, "other letters end it");
    assert_eq!(type_in(&question, &back, &words).status, 400);

    let again = visit(&back);
    let made_up = visit(&back.replace("state=", "state=x"));

    assert_eq!((again.status, made_up.status), (400, 400));
    login.kill().unwrap();
    login.wait().unwrap();
}
