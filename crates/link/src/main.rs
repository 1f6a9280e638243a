//! `cmg-link`: a network link with a delay, a rate, a plain queue and random loss, between two network namespaces, in user space.
//!
//! For machines whose kernel has no `netem`. Needs root. Two threads for each direction: one reads packets and decides when they
//! arrive, one waits and writes them. Prints `up` when the link stands and runs until its standard input ends.
//!
//! ```text
//! ip netns add cloud; ip netns add corp
//! cmg-link --from cloud:10.77.0.1/30 --to corp:10.77.0.2/30 --rtt 50ms --rate 200mbit --loss 0.1% --control cubic
//! ```

mod dice;
mod end;
mod line;
mod units;

use std::io::{Read, Result, Write, stdin, stdout};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use clap::Parser;
use tun_rs::SyncDevice;

use crate::dice::Dice;
use crate::end::{MTU, Place, open};
use crate::line::{Fate, Line, Nature};

#[derive(Parser)]
#[command(about = "A network link with delay, rate, queue and loss between two network namespaces")]
struct Cli {
    /// One end, NAMESPACE:ADDRESS/PREFIX
    #[arg(long)]
    from: Place,
    /// The other end, NAMESPACE:ADDRESS/PREFIX
    #[arg(long)]
    to: Place,
    /// Time there and back
    #[arg(long, default_value = "50ms", value_parser = units::time)]
    rtt: Duration,
    /// Bits a second, each way
    #[arg(long, default_value = "200mbit", value_parser = units::rate)]
    rate: f64,
    /// Longest wait in the queue, each way
    #[arg(long, default_value = "100ms", value_parser = units::time)]
    queue: Duration,
    /// Packets lost, each way
    #[arg(long, default_value = "0%", value_parser = units::share)]
    loss: f64,
    /// Congestion control of TCP over the link, such as cubic; the system's own if not given
    #[arg(long)]
    control: Option<String>,
    /// The same seed loses the same packets
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let device = |letter: char, place| open(&format!("link-{letter}{}", std::process::id()), place, cli.control.as_deref()).map(Arc::new);
    let (one, other) = (device('a', &cli.from)?, device('b', &cli.to)?);
    let nature = Nature { delay: cli.rtt / 2, rate: cli.rate, queue: cli.queue, loss: cli.loss };

    direction(&one, &other, nature, Dice::new(cli.seed));
    direction(&other, &one, nature, Dice::new(cli.seed.wrapping_add(1)));

    writeln!(stdout(), "up")?;
    stdin().read_to_end(&mut Vec::new()).map(drop)
}

/// A packet on its way, and when it arrives.
type Travelling = (Instant, Vec<u8>);

/// Carries packets one way for as long as the process lives.
fn direction(from: &Arc<SyncDevice>, to: &Arc<SyncDevice>, nature: Nature, dice: Dice) {
    let (sender, receiver) = channel();
    let (from, to) = (Arc::clone(from), Arc::clone(to));
    spawn(move || depart(&from, Line::new(nature), dice, &sender));
    spawn(move || arrive(&to, &receiver));
}

fn depart(from: &SyncDevice, mut line: Line, mut dice: Dice, way: &Sender<Travelling>) -> Result<()> {
    let started = Instant::now();
    let mut packet = vec![0; usize::from(MTU)];
    loop {
        let length = from.recv(&mut packet)?;
        if let Fate::Arrives(at) = line.take(started.elapsed(), length, dice.draw()) {
            // Fails when the other thread has ended, and then nothing arrives any more.
            let _ = way.send((started + at, packet[..length].to_vec()));
        }
    }
}

fn arrive(to: &SyncDevice, way: &Receiver<Travelling>) {
    while let Ok((at, packet)) = way.recv() {
        sleep(at.saturating_duration_since(Instant::now()));
        // A device that is down takes no packets: they are lost, as they would be.
        let _ = to.send(&packet);
    }
}
