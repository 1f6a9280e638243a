//! What a person sees: a line for each hop as it comes up, a line for each first request, and what to try next.
//!
//! With `--json` there is one document at the end and nothing else. Standard output may be closed by its reader at any
//! time; that stops nothing.

use std::io::Write;
use std::time::Duration;

use cmg_lab::Hop;
use serde_json::{Value, json};

use super::first::FirstRequest;
use super::summary::{PublishedSummary, Summary};

/// Standard output, in one of its two forms.
pub(super) struct Screen {
    json: bool,
    requests_begun: bool,
}

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        Self { json, requests_begun: false }
    }

    /// A part of the system is up.
    pub(super) fn hop(&mut self, hop: &Hop) {
        self.line(&format!("  {:<20} {:<58} {:>9}", hop.name, hop.place, millis(hop.took)));
    }

    /// A first request came back.
    pub(super) fn request(&mut self, request: &FirstRequest) {
        if !std::mem::replace(&mut self.requests_begun, true) {
            self.line("\nA client's first requests, each on a new connection:\n");
        }
        let outcome = match &request.result {
            Ok(answer) => format!("{} {}", answer.status, answer.reason),
            Err(error) => format!("failed: {error}"),
        };
        self.line(&format!("  {:<12} {}", request.credential, request.url));
        self.line(&format!("  {:<12} {outcome}{}", "", steps(request)));
    }

    /// How it went: findings, and where to look if not everything worked. With `--json`, the whole document.
    pub(super) fn verdict(&self, worked: bool, summary: &Summary, hops: &[Hop], requests: &[FirstRequest]) {
        if self.json {
            return print(&document(worked, summary, hops, requests).to_string());
        }
        for finding in &summary.findings {
            self.line(&format!("\nFinding: {finding}"));
        }
        if worked {
            return self.line("\nEverything worked");
        }
        self.line("\nNot everything worked; the logs of the programs say more:\n");
        for program in
            summary.site_servers.iter().chain(&summary.gateways).chain(&summary.connection_points).chain(&summary.management_points)
        {
            self.line(&format!("  {}", program.log.display()));
        }
    }

    /// What a person can do while everything is up.
    pub(super) fn advice(&self, summary: &Summary) {
        self.line("\nTry it yourself:\n");
        for published in &summary.published {
            self.line(&format!("  {}\n", curl(summary, published)));
        }
        let token_file = summary.admin_token_file.display();
        self.line(&format!("Administer it:\n\n  export CMG_SERVER={} CMG_TOKEN_FILE={token_file}\n  cmg status\n", summary.site_url));
        let lab_json = summary.site_dir.with_file_name("lab.json");
        self.line(&format!("Every address and file is in {}\nCtrl-C stops everything", lab_json.display()));
    }

    fn line(&self, text: &str) {
        if !self.json {
            print(text);
        }
    }
}

/// A line on standard error.
pub(super) fn note(text: &str) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}

fn curl(summary: &Summary, published: &PublishedSummary) -> String {
    let Summary { ca_cert, client_cert, client_key, .. } = summary;
    let who = match published.open {
        true => String::new(),
        false => format!(" --cert {} --key {}", client_cert.display(), client_key.display()),
    };
    format!("curl --cacert {}{who} {}/", ca_cert.display(), published.mutual_url)
}

fn steps(request: &FirstRequest) -> String {
    match &request.result {
        Ok(answer) => {
            format!("   (connect {}, TLS {}, request {})", millis(answer.connect), millis(answer.handshake), millis(answer.exchange))
        }
        Err(_) => String::new(),
    }
}

fn document(worked: bool, summary: &Summary, hops: &[Hop], requests: &[FirstRequest]) -> Value {
    let hops: Vec<_> = hops.iter().map(|hop| json!({ "name": hop.name, "place": hop.place, "ms": as_millis(hop.took) })).collect();
    let mut lab = json!(summary);
    // The tokens are in lab.json, which only its owner can read; what is printed may end in anybody's log.
    for secret in ["token", "bulk_token"] {
        lab.as_object_mut().map(|lab| lab.remove(secret));
    }
    json!({
        "worked": worked,
        "hops": hops,
        "requests": requests.iter().map(request_document).collect::<Vec<_>>(),
        "lab": lab,
    })
}

fn request_document(request: &FirstRequest) -> Value {
    let common = json!({
        "credential": request.credential,
        "url": request.url,
        "worked": request.worked(),
        "ms": as_millis(request.took()),
    });
    let details = match &request.result {
        Ok(answer) => json!({ "status": answer.status, "reason": answer.reason }),
        Err(error) => json!({ "error": error }),
    };
    match (common, details) {
        (Value::Object(common), Value::Object(details)) => Value::Object(common.into_iter().chain(details).collect()),
        (common, _) => common,
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", as_millis(time))
}

fn as_millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_server_is_tried_without_a_certificate() {
        assert_eq!(tried(true), "curl --cacert /lab/ca.pem https://a/b/");
        assert_eq!(tried(false), "curl --cacert /lab/ca.pem --cert /lab/client.pem --key /lab/client.key https://a/b/");
    }

    fn tried(open: bool) -> String {
        let summary = Summary {
            service_url: String::new(),
            ca_cert: "/lab/ca.pem".into(),
            client_cert: "/lab/client.pem".into(),
            client_key: "/lab/client.key".into(),
            token: String::new(),
            token_file: "/lab/token".into(),
            site_url: String::new(),
            admin_token_file: "/lab/admin-token".into(),
            bulk_token: String::new(),
            published: Vec::new(),
            site_servers: Vec::new(),
            gateways: Vec::new(),
            connection_points: Vec::new(),
            management_points: Vec::new(),
            site_dir: "/lab/site".into(),
            findings: Vec::new(),
        };
        let [name, internal_url, server_url, root_url] = [const { String::new() }; 4];
        let published = PublishedSummary { name, internal_url, mutual_url: "https://a/b".to_owned(), server_url, root_url, open };
        curl(&summary, &published)
    }
}
