//! Idle connections: many authenticated clients that asked once and stay. They are held by several processes, each
//! with a source address of its own, because neither files nor ports of one suffice.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Stdio};

use clap::Args;
use tokio::task::JoinSet;

use crate::client::{Client, Request, Target};
use crate::pki::Pki;
use crate::process::Process;
use crate::systems::{Lab, Running};
use crate::{Result, cpu, stream};

/// Connections of one holder.
const SHARE: usize = 5_000;
/// Handshakes of one holder at once.
const AT_ONCE: usize = 16;

/// The command line of one holder.
#[derive(Args)]
pub(crate) struct HoldArgs {
    /// The system's address
    address: SocketAddr,
    /// The directory with the certificates
    pki: PathBuf,
    /// The address to connect from
    source: IpAddr,
    /// How many connections
    count: usize,
}

/// A holder's life: connects, says so, asks again on demand, and ends with its input.
pub(crate) async fn hold(args: HoldArgs) -> Result<()> {
    let identities = stream::identities(&Pki { dir: args.pki }, args.count)?.into();
    let target = Target { address: args.address, identities: Some(identities) };
    let mut clients = settle(&target, args.source, args.count).await?;
    say(clients.len())?;
    for line in std::io::stdin().lock().lines() {
        say(ask_again(&mut clients, line?.parse()?).await)?;
    }
    Ok(())
}

async fn settle(target: &Target, source: IpAddr, count: usize) -> Result<Vec<Client>> {
    let mut tasks: JoinSet<Result<Vec<Client>>> = JoinSet::new();
    for first in 0..AT_ONCE {
        let target = target.clone();
        tasks.spawn(async move {
            let mut clients = Vec::new();
            for number in (first..count).step_by(AT_ONCE) {
                let mut client = target.connect_from(Some(source), number).await?;
                client.exchange(&Request::get(1024)).await?;
                client.rest();
                clients.push(client);
            }
            Ok(clients)
        });
    }
    let mut clients = Vec::new();
    while let Some(some) = tasks.join_next().await {
        clients.extend(some??);
    }
    Ok(clients)
}

/// Asks on about `wanted` connections, spread over all, and counts the answers.
async fn ask_again(clients: &mut [Client], wanted: usize) -> usize {
    let step = (clients.len() / wanted.max(1)).max(1);
    let mut answered = 0;
    for client in clients.iter_mut().step_by(step).take(wanted) {
        if client.exchange(&Request::get(1024)).await.is_ok() {
            answered += 1;
        }
    }
    answered
}

fn say(number: usize) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{number}")?;
    Ok(out.flush()?)
}

/// All the holders of one measurement.
pub(crate) struct Crowd(Vec<Holder>);

struct Holder {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _process: Process,
}

impl Crowd {
    /// Connects `count` clients and waits until each was answered once.
    pub(crate) fn gather(running: &Running, lab: &Lab, count: usize) -> Result<Self> {
        let mut holders = Vec::new();
        let mut left = count;
        while left > 0 {
            let share = left.min(SHARE);
            left -= share;
            let source = Ipv4Addr::new(127, 0, 0, 2 + holders.len() as u8);
            holders.push(Holder::start(running, lab, source, share)?);
        }
        let mut crowd = Self(holders);
        let held: usize = crowd.0.iter_mut().map(Holder::answer).sum::<Result<_>>()?;
        if held == count { Ok(crowd) } else { Err(format!("{held} of {count} connections").into()) }
    }

    /// Asks again on some of the connections of each holder; returns how many were asked and how many answered.
    pub(crate) fn ask(&mut self, each: usize) -> Result<(usize, usize)> {
        let mut answered = 0;
        for holder in &mut self.0 {
            writeln!(holder.input, "{each}")?;
            answered += holder.answer()?;
        }
        Ok((each * self.0.len(), answered))
    }
}

impl Holder {
    fn start(running: &Running, lab: &Lab, source: Ipv4Addr, count: usize) -> Result<Self> {
        let mut command = cpu::pinned(cpu::GENERATOR, &std::env::current_exe()?);
        command.arg("hold").arg(running.address.to_string()).arg(&lab.pki.dir).arg(source.to_string()).arg(count.to_string());
        let (process, input, output) = Process::start_talking(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        Ok(Self { input, output: BufReader::new(output), _process: process })
    }

    fn answer(&mut self) -> Result<usize> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        line.trim().parse().map_err(|_| "a holder of idle connections failed".into())
    }
}
