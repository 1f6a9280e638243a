//! `wan`: small requests beside bulk downloads when the gateway is far from the connection point and packets get lost.
//!
//! Gateway and load generator stand in one network namespace, connection point and origin in another; between them is the line
//! of `cmg-link`. Bulk that queued in front of small answers would show at once: on such a line it moves slowly.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::bulk::Downloads;
use crate::client::{Request, Target};
use crate::compare::build;
use crate::figures::percentile;
use crate::load::{self, Load};
use crate::pki::Pki;
use crate::process::Process;
use crate::stream::{self, Identity};
use crate::{Result, cpu};

const GATEWAY: &str = include_str!("../cmg/gateway.toml");
const CONNECTION_POINT: &str = include_str!("../cmg/connection-point.toml");

/// The two ends of the line.
const CLOUD: &str = "10.77.0.1";
const CORP: &str = "10.77.0.2";
/// Where the gateway and the origin listen, each in a namespace of its own.
const GATEWAY_ADDRESS: &str = "10.77.0.1:443";
const ORIGIN_ADDRESS: &str = "127.0.0.1:9000";

/// Small requests a second, and the connections they come on.
const RATE: f64 = 100.0;
const CONNECTIONS: usize = 64;
/// Downloads beside them.
const DOWNLOADS: usize = 4;
/// Until the downloads have found their pace.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long the system may take to its first answer.
const START: Duration = Duration::from_secs(20);

/// The command line.
#[derive(Args)]
pub(crate) struct WanArgs {
    /// Time there and back
    #[arg(long, default_value = "50ms")]
    rtt: String,
    /// Bits a second, each way
    #[arg(long, default_value = "200mbit")]
    rate: String,
    /// Packets lost, each way
    #[arg(long, default_value = "0.1%")]
    loss: String,
    /// Longest wait in the line's queue
    #[arg(long, default_value = "100ms")]
    queue: String,
    /// Congestion control of the tunnel's connections
    #[arg(long, default_value = "cubic")]
    control: String,
    /// Measurements
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// How long each takes
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The `cmg` program; built first where none is given
    #[arg(long)]
    binary: Option<PathBuf>,
    /// The `cmg-link` program; built first where none is given
    #[arg(long)]
    link: Option<PathBuf>,
}

pub(crate) async fn run(args: WanArgs) -> Result<()> {
    let binary = args.binary.clone().map_or_else(build, Ok)?;
    let link = args.link.clone().map_or_else(build_link, Ok)?;
    let dir = tempfile::tempdir()?;
    let pki = Pki::create(&dir.path().join("pki"))?;
    let identities: Arc<[Identity]> = stream::identities(&pki, 1_024)?.into();
    let zones = Zones::create()?;
    zones.enter_cloud()?;

    say(&format!("{} there and back, {} each way, {} lost, {}", args.rtt, args.rate, args.loss, args.control))?;
    for round in 1..=args.rounds {
        let wan = Wan::start(&args, &zones, &pki, [&binary, &link], dir.path(), round)?;
        let target = Target { address: GATEWAY_ADDRESS.parse()?, identities: Some(Arc::clone(&identities)) };
        first_answer(&target).await?;
        say(&format!("round {round}  {}", wan.measure(&target, Duration::from_secs(args.seconds)).await?))?;
    }
    Ok(())
}

/// Everything of one measurement, running.
struct Wan {
    parts: Vec<Process>,
    /// The link lasts as long as its input.
    _line: ChildStdin,
}

impl Wan {
    fn start(args: &WanArgs, zones: &Zones, pki: &Pki, [binary, link]: [&Path; 2], dir: &Path, seed: u64) -> Result<Self> {
        let (link, line) = zones.link(link, args, seed)?;
        let this = std::env::current_exe()?;
        let origin = Process::start(zones.in_corp(cpu::GENERATOR, &this).args(["origin", ORIGIN_ADDRESS]))?;
        let gateway = program(&mut cpu::pinned(cpu::SYSTEM, binary), pki, dir, "gateway", GATEWAY)?;
        let point = program(&mut zones.in_corp(cpu::SYSTEM, binary), pki, dir, "connection-point", CONNECTION_POINT)?;
        Ok(Self { parts: vec![gateway, point, origin, link], _line: line })
    }

    /// Small requests alone, then beside downloads.
    async fn measure(&self, target: &Target, time: Duration) -> Result<String> {
        let pids: Vec<_> = self.parts[..2].iter().map(Process::id).collect();
        let small = Load { target: target.clone(), request: Request::get(1024), connections: CONNECTIONS, warm_up: WARM_UP, time };
        let alone = load::open(&small, RATE, pids.clone()).await?;
        let mut downloads = Downloads::start(target, DOWNLOADS, None);
        let (started, before) = (Instant::now(), downloads.received());
        let beside = load::open(&small, RATE, pids).await?;
        let bulk = (downloads.received() - before) as f64 / started.elapsed().as_secs_f64() / f64::from(1 << 20);
        downloads.check()?;
        Ok(format!(
            "alone {}  beside {DOWNLOADS} downloads {}  bulk {bulk:.1} MiB/s",
            latency(&alone.latencies),
            latency(&beside.latencies)
        ))
    }
}

fn latency(sorted: &[u32]) -> String {
    let [p50, p90, p99, most] = [50.0, 90.0, 99.0, 100.0].map(|percent| percentile(sorted, percent));
    format!("p50 {p50:.0} p90 {p90:.0} p99 {p99:.0} max {most:.0} ms ({} requests)", sorted.len())
}

/// Builds `cmg-link` beside this program.
fn build_link() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--release", "-p", "cmg-link"]).status()?;
    if !status.success() {
        return Err("cmg-link does not build".into());
    }
    Ok(std::env::current_exe()?.with_file_name("cmg-link"))
}

/// Starts `cmg run <role>` with the benchmark's own configuration.
fn program(command: &mut Command, pki: &Pki, dir: &Path, role: &str, template: &str) -> Result<Process> {
    let config = dir.join(format!("{role}.toml"));
    let filled = template
        .replace("{{pki}}", &pki.dir.display().to_string())
        .replace("{{gateway}}", GATEWAY_ADDRESS)
        .replace("{{metrics}}", "127.0.0.1:9180")
        .replace("{{origin}}", ORIGIN_ADDRESS);
    fs::write(&config, filled)?;
    let file = |kind: &str| fs::File::create(dir.join(format!("{role}.{kind}")));
    let command = command.args(["run", role, "--config"]).arg(&config);
    Process::start(command.stdin(Stdio::null()).stdout(file("access.log")?).stderr(file("log")?))
}

async fn first_answer(target: &Target) -> Result<()> {
    let deadline = Instant::now() + START;
    loop {
        let exchange = async { target.connect(0).await?.exchange(&Request::get(1)).await };
        match tokio::time::timeout(Duration::from_secs(2), exchange).await {
            Ok(Ok(())) => return Ok(()),
            _ if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(50)).await,
            last => return Err(format!("no answer within {START:?}: {last:?}").into()),
        }
    }
}

/// Two network namespaces, removed on drop.
struct Zones {
    cloud: String,
    corp: String,
}

impl Zones {
    fn create() -> Result<Self> {
        let name = |zone: &str| format!("cmg-wan-{zone}-{}", std::process::id());
        let zones = Self { cloud: name("cloud"), corp: name("corp") };
        for zone in [&zones.cloud, &zones.corp] {
            ip(&["netns", "add", zone])?;
            ip(&["-n", zone, "link", "set", "lo", "up"])?;
        }
        Ok(zones)
    }

    /// Moves the calling thread, which must be the only one.
    fn enter_cloud(&self) -> Result<()> {
        use std::os::fd::AsFd;
        let namespace = fs::File::open(path(&self.cloud))?;
        Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    fn in_corp(&self, processor: usize, program: &Path) -> Command {
        let mut command = cpu::pinned(processor, Path::new("nsenter"));
        command.arg(format!("--net={}", path(&self.corp))).arg(program);
        command
    }

    /// Starts the link and waits until it stands.
    fn link(&self, program: &Path, args: &WanArgs, seed: u64) -> Result<(Process, ChildStdin)> {
        let mut command = Command::new(program);
        command.args(["--from", &format!("{}:{CLOUD}/30", self.cloud), "--to", &format!("{}:{CORP}/30", self.corp)]);
        command.args(["--rtt", &args.rtt, "--rate", &args.rate, "--loss", &args.loss, "--queue", &args.queue]);
        command.args(["--control", &args.control, "--seed", &seed.to_string()]);
        let (process, input, output) = Process::start_talking(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.trim() == "up" {
            Ok((process, input))
        } else {
            Err("the link does not stand; it needs root, iproute2 and /dev/net/tun".into())
        }
    }
}

impl Drop for Zones {
    fn drop(&mut self) {
        for zone in [&self.cloud, &self.corp] {
            // One that was never made is what was wanted.
            drop(Command::new("ip").args(["netns", "delete", zone]).stderr(Stdio::null()).status());
        }
    }
}

fn path(zone: &str) -> String {
    format!("/run/netns/{zone}")
}

fn ip(arguments: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(arguments).status()?;
    if status.success() { Ok(()) } else { Err(format!("ip {}: {status}; it needs root", arguments.join(" ")).into()) }
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
