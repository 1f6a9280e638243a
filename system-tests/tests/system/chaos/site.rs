//! A running system whose programs can be struck: two gateways, two connection points, a cable between each two, a ledger
//! behind them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cmg_lab::{Discovery, Lab, LabOptions, Program, Published, Signal, System, config};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::cable::Cable;
use super::ledger::Ledger;
use super::load::{Load, Manners};
use crate::support::binary;

/// How long anything may take to come back; generous, because test machines are busy.
pub(super) const RECOVERY: Duration = Duration::from_secs(30);
/// From one look at a log or a metric to the next.
const PAUSE: Duration = Duration::from_millis(10);
/// Sessions of each connection point with each gateway, as the configuration has it by default.
const SESSIONS: u64 = 2;

/// The system and all that belongs to it.
pub(super) struct Site {
    pub(super) system: System,
    pub(super) ledger: Ledger,
    /// `cables[point][gateway]`.
    cables: Vec<Vec<Cable>>,
    _dir: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Site {
    /// Starts everything.
    pub(super) async fn start() -> Self {
        let ledger = Ledger::open().await;
        let url = format!("http://{}", ledger.address);
        Self::start_before(&url, ledger).await
    }

    /// Starts everything before another server. One site at a time, so that none takes the processor from another's deadlines.
    pub(super) async fn start_before(url: &str, ledger: Ledger) -> Self {
        static TURN: OnceLock<Mutex<()>> = OnceLock::new();
        let turn = TURN.get_or_init(Mutex::default).lock().await;
        let dir = tempfile::tempdir().unwrap();
        let published = vec![Published::new("books", url).unwrap()];
        let options = LabOptions { published, discovery: Discovery::Addresses, ..LabOptions::default() };
        let lab = Lab::new(dir.path(), options).unwrap();
        let cables = lay(&lab).await;
        let system = System::start(binary(), lab, |_| {}).await.unwrap();
        let site = Self { system, ledger, cables, _dir: dir, _turn: turn };
        site.recovered().await;
        site
    }

    /// Load that comes to the gateways themselves.
    pub(super) fn load(&self) -> Load {
        let ports = self.system.lab.gateways.iter().map(|gateway| gateway.port).collect();
        self.load_on(ports, Manners::Strict)
    }

    /// Load that comes to the service's one address.
    pub(super) fn load_on_the_service(&self, manners: Manners) -> Load {
        self.load_on(vec![self.system.lab.service_port], manners)
    }

    fn load_on(&self, ports: Vec<u16>, manners: Manners) -> Load {
        Load::start(&self.system.lab.client_dir(), ports, self.path(), manners)
    }

    /// Path of the published server at every gateway.
    pub(super) fn path(&self) -> String {
        let lab = &self.system.lab;
        lab.mutual_url(&lab.endpoints[0]).strip_prefix(&lab.service_url()).unwrap().to_owned()
    }

    /// Cuts a connection point off from every gateway.
    pub(super) fn cut_point(&self, point: usize) {
        self.cables[point].iter().for_each(Cable::cut);
    }

    /// Cuts a gateway off from every connection point; clients still reach it.
    pub(super) fn cut_gateway(&self, gateway: usize) {
        self.cables.iter().for_each(|cables| cables[gateway].cut());
    }

    /// Mends every cable.
    pub(super) fn mend(&self) {
        self.cables.iter().flatten().for_each(Cable::mend);
    }

    /// A watch on what the gateways write from here on, for each gateway that is named.
    pub(super) fn gateway_logs(&self, gateways: &[usize]) -> Watch {
        Watch::new(gateways.iter().map(|number| &self.system.gateways[*number]))
    }

    /// The same for connection points.
    pub(super) fn point_logs(&self) -> Watch {
        Watch::new(self.system.connection_points.iter())
    }

    /// Kills a gateway, if it lives, and starts it again.
    pub(super) async fn restart_gateway(&mut self, number: usize) {
        restart(&mut self.system.gateways[number], Signal::Kill).await;
    }

    /// Kills a connection point, if it lives, and starts it again.
    pub(super) async fn restart_point(&mut self, number: usize) {
        restart(&mut self.system.connection_points[number], Signal::Kill).await;
    }

    /// Every program in turn, connection points first: ends in good order, starts again, and is whole before the next one's turn.
    pub(super) async fn roll(&mut self) {
        for number in 0..self.system.connection_points.len() {
            restart(&mut self.system.connection_points[number], Signal::Terminate).await;
            self.recovered().await;
        }
        for number in 0..self.system.gateways.len() {
            restart(&mut self.system.gateways[number], Signal::Terminate).await;
            self.recovered().await;
        }
    }

    /// Waits until every program is ready and every session stands again.
    pub(super) async fn recovered(&self) {
        let count = |programs: usize| SESSIONS * programs as u64;
        let points = self.system.connection_points.iter().map(|point| (point, "cmg_connection_point", count(self.system.gateways.len())));
        let gateways = self.system.gateways.iter().map(|gateway| (gateway, "cmg_gateway", count(self.system.connection_points.len())));
        for (program, prefix, sessions) in points.chain(gateways) {
            let name = format!("{prefix}_tunnel_sessions");
            until(&format!("{} ready with {sessions} sessions", program.plan.name), || async {
                let ready = program.ask("/readyz").await.is_ok_and(|probe| probe.is_ok());
                ready && metric(program, &name).await == Some(sessions)
            })
            .await;
        }
    }

    /// Ends every program in good order; afterwards nothing can arrive any more.
    pub(super) async fn stop(&mut self) {
        let failures = self.system.stop().await;

        assert_eq!(failures, []);
    }
}

/// Lays a cable from every connection point to every gateway and tells the connection points.
async fn lay(lab: &Lab) -> Vec<Vec<Cable>> {
    let mut all = Vec::new();
    for point in &lab.connection_points {
        let mut cables = Vec::new();
        for gateway in &lab.gateways {
            cables.push(Cable::to(gateway.port).await);
        }
        let addresses: Vec<_> = cables.iter().map(|cable| toml::Value::from(cable.address.to_string())).collect();
        config::edit(&point.config, |file| {
            file["tunnel"].as_table_mut().unwrap().insert("gateways".to_owned(), addresses.into());
        })
        .unwrap();
        all.push(cables);
    }
    all
}

/// Ends a program and starts another of the same plan in its place.
async fn restart(program: &mut Program, signal: Signal) {
    program.signal(signal).await.unwrap();
    let ended = program.wait().await.unwrap();
    assert!(ended.success() || signal == Signal::Kill, "{} {ended}", program.plan.name);
    *program = Program::start(binary(), program.plan.clone()).unwrap();
    program.wait_for("/livez", RECOVERY).await.unwrap();
}

/// Waits for a fact.
pub(super) async fn until<F: Future<Output = bool>>(what: &str, mut fact: impl FnMut() -> F) {
    let deadline = Instant::now() + RECOVERY;
    while !fact().await {
        assert!(Instant::now() < deadline, "{what}: not within {RECOVERY:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// A number without labels out of `/metrics`.
pub(super) async fn metric(program: &Program, name: &str) -> Option<u64> {
    let metrics = program.ask("/metrics").await.ok()?;
    let line = metrics.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Logs, from a moment on.
pub(super) struct Watch(Vec<(File, String)>);

impl Watch {
    fn new<'p>(programs: impl Iterator<Item = &'p Program>) -> Self {
        let open = |program: &Program| {
            let mut file = File::open(&program.plan.log).unwrap();
            file.seek(SeekFrom::End(0)).unwrap();
            (file, String::new())
        };
        Self(programs.map(open).collect())
    }

    /// Waits until every log has `count` lines with all of these words; gives how long that took.
    pub(super) async fn say(&mut self, words: &[&str], count: usize) -> Duration {
        let started = Instant::now();
        for (file, text) in &mut self.0 {
            while text.lines().filter(|line| words.iter().all(|word| line.contains(word))).count() < count {
                assert!(started.elapsed() < RECOVERY, "{words:?} not logged {count} times within {RECOVERY:?}");
                tokio::time::sleep(PAUSE).await;
                let mut more = String::new();
                file.read_to_string(&mut more).unwrap();
                text.extend(more.split_inclusive('\n').filter(|line| !line.contains(r#""event":"request""#)));
            }
        }
        started.elapsed()
    }
}
