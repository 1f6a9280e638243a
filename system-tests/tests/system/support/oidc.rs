//! A real OpenID Connect provider (npm `oidc-provider`, in `system-tests/oidc-provider`), over TLS with a certificate of the laboratory.
//!
//! `.ci/run` installs it by `npm ci`; where it is missing, a test says so and passes, unless `CI` is set.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use cmg_lab::Lab;
use cmg_lab::ports::free_port;
use serde_json::{Value, json};

use super::{Caller, until};

/// The secret of its clients.
pub(crate) const SECRET: &str = "a secret with blanks";

/// What the header of a token says.
pub(crate) fn header_of(token: &str) -> Value {
    part(token, 0)
}

/// What a token claims.
pub(crate) fn claims_of(token: &str) -> Value {
    part(token, 1)
}

fn part(token: &str, place: usize) -> Value {
    let part = token.split('.').nth(place).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The provider. It ends with its handle.
pub(crate) struct OidcProvider {
    pub(crate) port: u16,
    /// Where its certificate and its log are.
    folder: PathBuf,
    redirect: String,
    child: Child,
}

impl OidcProvider {
    /// Starts it with a key of this id; none: it is not installed. `redirect`: where sign-ins come back to.
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    pub(crate) fn start(lab: &Lab, key_id: &str, redirect: &str) -> Option<Self> {
        let is_there = home().join("node_modules/oidc-provider").is_dir();
        if !(is_there && node_is_new()) {
            assert!(std::env::var_os("CI").is_none(), "oidc-provider is not installed: Node.js 20 and `npm ci` in {}", home().display());
            println!("skipped: oidc-provider is not installed: Node.js 20 and `npm ci` in {}", home().display());
            return None;
        }
        let port = free_port().unwrap();
        let folder = lab.site_dir().join(format!("provider-{port}"));
        fs::create_dir(&folder).unwrap();
        lab.servers.server(&["localhost"]).unwrap().write(&folder, "provider").unwrap();
        let child = run(&folder, port, key_id, redirect);
        let provider = Self { port, folder, redirect: redirect.to_owned(), child };
        provider.wait();
        Some(provider)
    }

    /// Starts it again with another key, as a provider that changes its key.
    pub(crate) fn rotate(&mut self, key_id: &str) {
        self.stop();
        self.child = run(&self.folder, self.port, key_id, &self.redirect);
        self.wait();
    }

    pub(crate) fn issuer(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Somebody who asks it.
    pub(crate) fn caller(&self, lab: &Lab) -> Caller {
        Caller::new(lab, None).port(self.port).host("localhost").host_field(&format!("localhost:{}", self.port))
    }

    /// An access token of the client `device` for a resource.
    pub(crate) fn token(&self, lab: &Lab, resource: &str) -> String {
        self.ask_for_token(lab, "device", &format!("grant_type=client_credentials&resource={resource}"))
    }

    /// An access token for a resource of somebody who signs in as `subject`.
    pub(crate) fn user_token(&self, lab: &Lab, resource: &str, subject: &str) -> String {
        let verifier = "a-verifier-that-is-as-long-as-one-has-to-be";
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let (issuer, redirect) = (self.issuer(), &self.redirect);
        let begin = format!(
            "{issuer}/auth?client_id=console&response_type=code&scope=openid&redirect_uri={redirect}&resource={resource}\
             &code_challenge={challenge}&code_challenge_method=S256"
        );
        let back = self.browse(lab, &begin, subject);
        let code = back.split(['?', '&']).find_map(|pair| pair.strip_prefix("code=")).unwrap_or_else(|| panic!("no code in {back}"));
        let form =
            format!("grant_type=authorization_code&code={code}&redirect_uri={redirect}&code_verifier={verifier}&resource={resource}");
        self.ask_for_token(lab, "console", &form)
    }

    /// Goes through the provider's pages as somebody who signs in as `subject`; gives where the browser is sent back to.
    pub(crate) fn browse(&self, lab: &Lab, url: &str, subject: &str) -> String {
        let (issuer, mut url, mut cookies) = (self.issuer(), url.to_owned(), Vec::<String>::new());
        for _ in 0..10 {
            let path = url.strip_prefix(&issuer).map_or(url.as_str(), |path| path).to_owned();
            if path.starts_with("http") {
                return path;
            }
            let cookie = cookies.join("; ");
            let fields = [("Cookie", cookie.as_str()), ("X-Test-Subject", subject)];
            let reply = self.caller(lab).request("GET", &path, &fields, b"");
            for (name, value) in &reply.fields {
                if name.eq_ignore_ascii_case("set-cookie") {
                    let pair = value.split(';').next().unwrap().to_owned();
                    let name = pair.split('=').next().unwrap().to_owned() + "=";
                    cookies.retain(|known| !known.starts_with(&name));
                    cookies.push(pair);
                }
            }
            url = reply.field("Location").unwrap_or_else(|| panic!("{path}: {} {}", reply.status, reply.text())).to_owned();
        }
        panic!("the provider sends the browser round and round");
    }

    fn ask_for_token(&self, lab: &Lab, client: &str, form: &str) -> String {
        let secret = SECRET.replace(' ', "+");
        let fields = [
            ("Authorization", format!("Basic {}", BASE64_STANDARD.encode(format!("{client}:{secret}")))),
            ("Content-Type", "application/x-www-form-urlencoded".to_owned()),
        ];
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = self.caller(lab).request("POST", "/token", &fields, form.as_bytes());
        assert_eq!(reply.status, 200, "{}", reply.text());
        let answer: Value = serde_json::from_slice(&reply.body).unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// How often it was asked this, such as `GET /jwks`, since it was started.
    pub(crate) fn asked(&self, what: &str) -> usize {
        fs::read_to_string(self.folder.join("provider.log")).unwrap().lines().filter(|line| *line == what).count()
    }

    fn wait(&self) {
        until("the provider listens", || (self.asked("listening") > 0).then_some(()));
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whether there is a Node.js that it runs on.
fn node_is_new() -> bool {
    let output = Command::new("node").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let major = String::from_utf8_lossy(&output).trim().strip_prefix('v').and_then(|text| text.split('.').next()?.parse::<u32>().ok());
    major.is_some_and(|major| major >= 20)
}

fn home() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/oidc-provider"))
}

fn run(folder: &Path, port: u16, key_id: &str, redirect: &str) -> Child {
    let settings = json!({
        "port": port,
        "certificate": folder.join("provider.pem"),
        "key": folder.join("provider.key"),
        "keyId": key_id,
        "redirectUris": [redirect],
        "clientSecret": SECRET,
    });
    let log = File::create(folder.join("provider.log")).unwrap();
    let errors = File::create(folder.join("provider.errors")).unwrap();
    let mut command = Command::new("node");
    command.current_dir(home()).args(["provider.mjs", &settings.to_string()]).stdin(Stdio::null()).stdout(log).stderr(errors);
    command.spawn().unwrap()
}
