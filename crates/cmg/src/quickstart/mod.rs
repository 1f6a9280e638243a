//! `cmg quickstart`: the whole thing on one machine, with nothing to prepare.
//!
//! It makes a laboratory (keys, certificates, one token key, configuration), starts two gateways and two connection
//! points as processes of their own from this very binary, puts a relay in front of the gateways, sends a client's
//! first requests through all of it, and stays up until Ctrl-C. What a person reads goes to standard output, all else
//! to standard error; the programs' own logs are files. No issuing code is in a gateway or a connection point: the
//! laboratory does it.

mod first;
mod folder;
mod published;
mod screen;
mod summary;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cmg_lab::{Discovery, Hop, Lab, LabError, LabOptions, Origin, Published, System};
use cmg_process::log::chain;
use tokio::signal::unix::{Signal, SignalKind, signal};

use first::FirstRequest;
use folder::Folder;
use screen::Screen;
use summary::Summary;

/// The port of the service if it is free.
const WANTED_PORT: u16 = 8443;
/// How often the programs are looked at while everything stays up.
const WATCH: Duration = Duration::from_millis(250);

/// Run everything on this machine, send a client's first requests through it, and stay up until Ctrl-C
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Folder for keys, configuration and logs; by default a temporary one, removed at the end
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Publish an HTTP or HTTPS server that already runs, for clients with a certificate or a token
    #[arg(long, value_name = "NAME=URL")]
    publish: Vec<Published>,
    /// Publish a server without client authentication, for agents that have none
    #[arg(long, value_name = "NAME=URL")]
    publish_open: Vec<Published>,
    /// Trust client certificates of these authorities too (PEM)
    #[arg(long, value_name = "FILE")]
    client_ca: Vec<PathBuf>,
    /// Trust these authorities for published HTTPS servers (PEM); by default those of the operating system
    #[arg(long, value_name = "FILE")]
    server_ca: Vec<PathBuf>,
    /// Tell published servers about the client in this header; FIELD is one of subject, common_name, issuer, serial,
    /// thumbprint, thumbprint_sha256, san, verify, not_after, token_subject, token_kind, token_id, claim:NAME
    #[arg(long, value_name = "NAME=FIELD", value_parser = identity_header)]
    identity_header: Vec<(String, String)>,
    /// End after the first requests; the exit code is 0 only if all of them worked
    #[arg(long)]
    check: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the quickstart to its end.
pub(crate) async fn run(options: Options) -> ExitCode {
    let (folder, mut stop) = match (Folder::new(options.dir.as_deref()), StopSignal::new()) {
        (Ok(folder), Ok(stop)) => (folder, stop),
        (Err(error), _) | (_, Err(error)) => return fail(&error),
    };
    let result = quickstart(&options, &folder.path, &mut stop).await;
    folder.remove_if_of_no_use(matches!(result, Ok(true)));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

/// Starts everything, and stays up if it was not only a check. True if all of it worked.
async fn quickstart(options: &Options, dir: &Path, stop: &mut StopSignal) -> Result<bool, LabError> {
    let running = tokio::select! {
        running = start(options, dir) => running?,
        // What runs already is killed with the future that started it.
        () = stop.received() => return Ok(false),
    };
    if options.check { Ok(running.end().await) } else { Ok(running.stay_up(stop).await) }
}

/// Everything that is up, and how it came up.
struct Running {
    system: System,
    screen: Screen,
    summary: Summary,
    hops: Vec<Hop>,
    requests: Vec<FirstRequest>,
    _own_origin: Option<Origin>,
}

/// Starts everything, hop by hop, and sends the first requests.
async fn start(options: &Options, dir: &Path) -> Result<Running, LabError> {
    let mut screen = Screen::new(options.json);
    let mut hops = Vec::new();
    let mut report = |hop: Hop| {
        screen.hop(&hop);
        hops.push(hop);
    };
    Summary::remove(dir)?;

    let own_origin = own_origin(options, &mut report).await?;
    let lab = laboratory(options, own_origin.as_ref(), dir, &mut report)?;
    let system = System::start(&own_binary()?, lab, &mut report).await?;

    let summary = Summary::new(&system)?;
    summary.write(dir)?;
    let requests = first::send(&system, own_origin.is_some(), |request| screen.request(request)).await;
    Ok(Running { system, screen, summary, hops, requests, _own_origin: own_origin })
}

impl Running {
    /// Whether every first request worked.
    fn worked(&self) -> bool {
        self.requests.iter().all(FirstRequest::worked)
    }

    /// Stops everything and says how it went. True if the requests worked and every program ended well.
    async fn end(mut self) -> bool {
        let worked = self.worked() & stop(&mut self.system).await;
        self.screen.verdict(worked, &self.summary, &self.hops, &self.requests);
        worked
    }

    /// Says what to try, waits for Ctrl-C or SIGTERM, and stops everything. True if the first requests worked.
    async fn stay_up(mut self, stop_signal: &mut StopSignal) -> bool {
        let worked = self.worked();
        self.screen.verdict(worked, &self.summary, &self.hops, &self.requests);
        self.screen.advice(&self.summary);
        let mut watch = tokio::time::interval(WATCH);
        loop {
            tokio::select! {
                () = stop_signal.received() => break,
                _ = watch.tick() => {
                    for (name, status) in self.system.newly_ended() {
                        screen::note(&format!("{name} ended: {status}"));
                    }
                }
            }
        }
        screen::note("Stopping; requests under way are finished first");
        stop(&mut self.system).await;
        worked
    }
}

/// Stops every program; says which ones did not end well, and returns whether none.
async fn stop(system: &mut System) -> bool {
    let failures = system.stop().await;
    for (name, how) in &failures {
        screen::note(&format!("{name} did not end well: {how}"));
    }
    failures.is_empty()
}

/// An origin of our own, if nothing else is published.
async fn own_origin(options: &Options, report: &mut impl FnMut(Hop)) -> Result<Option<Origin>, LabError> {
    if !options.publish.is_empty() || !options.publish_open.is_empty() {
        return Ok(None);
    }
    let started = Instant::now();
    let origin = Origin::start(([127, 0, 0, 1], 0).into()).await?;
    report(Hop { name: "origin".to_owned(), place: origin.url(), took: started.elapsed() });
    Ok(Some(origin))
}

fn laboratory(options: &Options, own: Option<&Origin>, dir: &Path, report: &mut impl FnMut(Hop)) -> Result<Lab, LabError> {
    let started = Instant::now();
    let lab = Lab::new(
        dir,
        LabOptions {
            published: published::published(options, own)?,
            client_authorities: options.client_ca.clone(),
            discovery: Discovery::ServiceName,
            wanted_port: WANTED_PORT,
            managed: true,
            ..LabOptions::default()
        },
    )?;
    report(Hop { name: "laboratory".to_owned(), place: lab.dir.display().to_string(), took: started.elapsed() });
    Ok(lab)
}

fn own_binary() -> Result<PathBuf, LabError> {
    std::env::current_exe().map_err(|source| LabError::Start { program: "this program".to_owned(), source })
}

/// Ctrl-C, or SIGTERM from a supervisor.
struct StopSignal {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignal {
    fn new() -> Result<Self, LabError> {
        let listen = |kind| signal(kind).map_err(|source| LabError::Signals { source });
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn identity_header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, field)) if !name.is_empty() && !field.is_empty() => Ok((name.to_owned(), field.to_owned())),
        Some(_) | None => Err("write NAME=FIELD, for example X-Client-DN=subject".to_owned()),
    }
}

/// Says what went wrong, cause by cause.
fn fail(error: &LabError) -> ExitCode {
    screen::note(&format!("error: {}", chain(error)));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_header_is_a_name_and_a_field() {
        assert_eq!(identity_header("X-Client-DN=subject"), Ok(("X-Client-DN".to_owned(), "subject".to_owned())));
    }

    #[test]
    fn an_identity_header_without_a_field_is_refused() {
        for text in ["X-Client-DN", "X-Client-DN=", "=subject"] {
            assert!(identity_header(text).is_err(), "{text}");
        }
    }
}
