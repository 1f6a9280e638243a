//! A running system of the laboratory, and questions to it.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use cmg_lab::{Discovery, Issued, Lab, LabOptions, Origin, Program, Published, Signal, System};
use serde_json::Value;
use tempfile::TempDir;

use super::{Caller, Reply, Setup, binary, field, lines, until, wait};

/// A running system. Dropping it kills the programs and removes its folder, which is kept when the test fails.
pub(crate) struct Site {
    pub(crate) system: System,
    pub(crate) origin: Arc<Origin>,
    dir: Option<TempDir>,
}

impl Site {
    /// One gateway, one connection point, and the origin published as `app`, with whatever `bend` changes.
    pub(crate) fn start(bend: impl FnOnce(&Setup)) -> Self {
        Self::of(1, 1, bend)
    }

    /// The same with that many gateways and connection points.
    pub(crate) fn of(gateways: usize, connection_points: usize, bend: impl FnOnce(&Setup)) -> Self {
        let options = LabOptions { gateways, connection_points, discovery: Discovery::Addresses, ..LabOptions::default() };
        Self::with(options, bend)
    }

    /// The same with a laboratory of any kind; the origin is published as `app` besides.
    pub(crate) fn with(mut options: LabOptions, bend: impl FnOnce(&Setup)) -> Self {
        let dir = tempfile::Builder::new().prefix("cmg-system-").tempdir().unwrap();
        let origin = Arc::new(wait(Origin::start(([127, 0, 0, 1], 0).into())).unwrap());
        options.published.insert(0, Published::new("app", &origin.url()).unwrap());
        let setup = Setup { lab: Lab::new(dir.path(), options).unwrap(), origin };
        bend(&setup);
        let Setup { lab, origin } = setup;
        let started = wait(System::start(binary(), lab, drop));
        match started {
            Ok(system) => Self { system, origin, dir: Some(dir) },
            Err(error) => panic!("{error}; kept in {}", dir.keep().display()),
        }
    }

    /// For a system that many tests share and that is never dropped: it ends with the test process, however that ends.
    pub(crate) fn shared(self) -> Self {
        let programs = self.system.gateways.iter().chain(&self.system.connection_points);
        let mut watch = Command::new("/bin/sh");
        watch.args(["-c", r#"read -r line; dir="$1"; shift; kill -KILL "$@"; rm -rf "$dir""#, "watch"]);
        watch.arg(&self.lab().dir).args(programs.map(|program| program.pid().to_string()));
        let watch: Child = watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
        // The pipe to it closes with this process.
        std::mem::forget(watch);
        self
    }

    pub(crate) fn lab(&self) -> &Lab {
        &self.system.lab
    }

    /// The laboratory's client with its certificate.
    pub(crate) fn device(&self) -> Caller {
        self.with_certificate(&self.lab().client)
    }

    /// A client with another certificate.
    pub(crate) fn with_certificate(&self, certificate: &Issued) -> Caller {
        Caller::new(self.lab(), Some(certificate))
    }

    /// A client that proves nothing.
    pub(crate) fn stranger(&self) -> Caller {
        Caller::new(self.lab(), None)
    }

    /// A client with a token in `Authorization`.
    pub(crate) fn with_token(&self, token: &str) -> Caller {
        self.stranger().field("Authorization", &format!("Bearer {token}"))
    }

    /// The ConfigMgr form of what is published as `app`.
    pub(crate) fn mutual(&self) -> String {
        format!("/CCM_Proxy_MutualAuth/{}/app", self.lab().endpoints[0].role_id)
    }

    /// The same for clients with a token.
    pub(crate) fn server(&self) -> String {
        format!("/CCM_Proxy_ServerAuth/{}/app", self.lab().endpoints[0].role_id)
    }

    pub(crate) fn gateway(&self) -> &Program {
        &self.system.gateways[0]
    }

    pub(crate) fn point(&self) -> &Program {
        &self.system.connection_points[0]
    }

    /// What the first gateway's log says about a request.
    pub(crate) fn logged(&self, reply: &Reply) -> Value {
        logged_by(self.gateway(), reply)
    }

    /// A line of the first gateway's log, once it is there.
    pub(crate) fn log_line(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        line_of(self.gateway(), what, is_it)
    }

    /// A line of the first connection point's log, once it is there.
    pub(crate) fn point_log_line(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        line_of(self.point(), what, is_it)
    }

    /// The value of one of the first gateway's metrics, 0 if it is not there.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        metric_of(self.gateway(), name)
    }

    /// Asserts everything that there is to a refusal: what the client is told, what the log says, what is counted.
    #[track_caller]
    pub(crate) fn assert_refused(&self, reply: &Reply, status: u16, phrase: &str, label: &str) {
        assert_refused_by(self.gateway(), reply, (status, phrase, label));
    }

    /// Has every program read its configuration again and waits until each has.
    pub(crate) fn reload(&self) {
        for program in self.system.gateways.iter().chain(&self.system.connection_points) {
            reload(program);
        }
    }
}

/// What a gateway's log says about a request.
fn logged_by(gateway: &Program, reply: &Reply) -> Value {
    let id = reply.field("X-Request-Id").expect("every answer names its request");
    line_of(gateway, "the request", |line| field(line, "event") == "request" && field(line, "id") == id)
}

/// Asserts everything that there is to a gateway's refusal, given as status, phrase and label.
#[track_caller]
pub(crate) fn assert_refused_by(gateway: &Program, reply: &Reply, (status, phrase, label): (u16, &str, &str)) {
    assert_eq!((reply.status, reply.reason.as_str()), (status, phrase));
    let id = reply.field("X-Request-Id").unwrap();
    assert_eq!(String::from_utf8_lossy(&reply.body), format!("{phrase}\nrequest {id}\n"), "nothing else is told");
    let line = logged_by(gateway, reply);
    assert_eq!((field(&line, "refused"), line["status"].as_u64()), (label, Some(status.into())), "{line}");
    assert!(metric_of(gateway, &format!("cmg_gateway_refusals_total{{reason=\"{label}\"}}")) >= 1.0, "counted as {label}");
}

/// Has a program read its configuration again; true: it is in force.
pub(crate) fn reload(program: &Program) -> bool {
    let prefix = match program.plan.role {
        cmg_lab::Role::Gateway => "cmg_gateway",
        cmg_lab::Role::ConnectionPoint => "cmg_connection_point",
        cmg_lab::Role::ManagementPoint => "cmg_management_point",
        cmg_lab::Role::SiteServer => "cmg_site",
    };
    let count = |result: &str| metric_of(program, &format!("{prefix}_reloads_total{{result=\"{result}\"}}"));
    let before = (count("applied"), count("refused"));
    wait(program.signal(Signal::Reload)).unwrap();
    until("the configuration was read again", || {
        let after = (count("applied"), count("refused"));
        (after != before).then_some(after.0 > before.0)
    })
}

/// The value of one of a program's metrics, 0 if it is not there.
pub(crate) fn metric_of(program: &Program, name: &str) -> f64 {
    let page = until("metrics", || wait(program.ask("/metrics")).ok()).body;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or(0.0)
}

/// A line of a program's log, once it is there.
pub(crate) fn line_of(program: &Program, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    until(what, || lines(&program.plan.log).into_iter().find(&is_it))
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(dir) = self.dir.take().filter(|_| std::thread::panicking()) {
            let kept: PathBuf = dir.keep();
            let _ = writeln!(std::io::stderr(), "kept for you: {}", kept.display());
        }
    }
}
