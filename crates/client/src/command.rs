//! `cmg client ...`: what people do with the client on a device.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use cmg_core::problem::Problem;
use thiserror::Error;

use crate::config::Config;
use crate::desk::{self, Wish};
use crate::disk::{Disk, DiskError};
use crate::identity::Identity;
use crate::install::{Install, Repair, install, repair};
use crate::policy::{Expected, Keeper};
use crate::queue::Queue;
use crate::register::NotRegistered;
use crate::status::Status;

/// What is done with the client on this device.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Register this device with a site
    Install(Box<Install>),
    /// Tell where this device is, through what it works and why
    Status(Ask),
    /// Tell the policy in force, and ask for a newer one
    Policy(Ask),
    /// Look for the site again
    Locate(Locate),
    /// Get a new token and the policy, by the key that this device has
    Repair(Repair),
    /// Remove the client's key, identity and policy from this device
    Uninstall(Uninstall),
}

/// Which client, and how it is told.
#[derive(Debug, Args)]
pub struct Ask {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/cmg/client.toml")]
    config: PathBuf,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// How the site is looked for.
#[derive(Debug, Args)]
pub struct Locate {
    /// Tell whom it asked, in which order, and what came of it
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    ask: Ask,
}

/// What is removed.
#[derive(Debug, Args)]
pub struct Uninstall {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/cmg/client.toml")]
    config: PathBuf,
    /// Do it
    #[arg(long)]
    yes: bool,
}

/// Why a command was not carried out.
#[derive(Debug, Error)]
pub enum Failed {
    /// What was typed, or a file, has problems.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
    /// The site gives no identity.
    #[error(transparent)]
    NotRegistered(#[from] NotRegistered),
    /// The client's folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The system refused something else.
    #[error(transparent)]
    System(#[from] io::Error),
    /// Something else; this is what, and what to do.
    #[error("{0}")]
    Said(String),
}

/// Carries a command out; what it says goes to `out`.
pub async fn carry_out(command: Command, out: &mut dyn Write) -> Result<(), Failed> {
    match command {
        Command::Install(options) => install(*options, out).await,
        Command::Repair(options) => repair(options, out).await,
        Command::Status(ask) => status(&ask, Wish::Status, false, out).await,
        Command::Locate(Locate { explain, ask }) => locate(&ask, explain, out).await,
        Command::Policy(ask) => policy(&ask, out).await,
        Command::Uninstall(options) => uninstall(&options, out).await,
    }
}

async fn status(ask: &Ask, wish: Wish, explained: bool, out: &mut dyn Write) -> Result<(), Failed> {
    let (disk, identity) = known(&ask.config)?;
    let status = match desk::ask(&disk, wish).await {
        Ok(value) => serde_json::from_value(value).map_err(|error| Failed::Said(format!("the client answers something else: {error}")))?,
        Err(_) => {
            let keeper = keeper(&disk, &identity)?;
            Status::of_disk(&identity, keeper.held().map(AsRef::as_ref), Queue::open(disk.within("messages")?)?.len())
        }
    };
    show(&status, ask.json, explained, out)
}

fn show(status: &Status, json: bool, explained: bool, out: &mut dyn Write) -> Result<(), Failed> {
    match json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(status).map_err(io::Error::from)?)?,
        false => write!(out, "{}", status.text(explained))?,
    }
    Ok(())
}

/// Looks again, and tells once it is found or was not.
async fn locate(ask: &Ask, explain: bool, out: &mut dyn Write) -> Result<(), Failed> {
    let (disk, _) = known(&ask.config)?;
    let running = |_| Failed::Said("no client runs: start it".to_owned());
    let mut answer = desk::ask(&disk, Wish::Locate).await.map_err(running)?;
    // A search ends by itself within seconds.
    for _ in 0..100 {
        let status: Status = serde_json::from_value(answer).map_err(|error| Failed::Said(error.to_string()))?;
        if status.search.as_ref().is_none_or(|search| !search.is_under_way) {
            return show(&status, ask.json, explain, out);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        answer = desk::ask(&disk, Wish::Status).await.map_err(running)?;
    }
    Err(Failed::Said("the search goes on: see `cmg client status`".to_owned()))
}

async fn policy(ask: &Ask, out: &mut dyn Write) -> Result<(), Failed> {
    let (disk, identity) = known(&ask.config)?;
    let asked = desk::ask(&disk, Wish::Policy).await.is_ok();
    let keeper = keeper(&disk, &identity)?;
    let Some(policy) = keeper.held() else {
        return Err(Failed::Said("there is no policy yet: see `cmg client status`".to_owned()));
    };
    if ask.json {
        writeln!(out, "{}", serde_json::to_string_pretty(policy.as_ref()).map_err(io::Error::from)?)?;
        return Ok(());
    }
    writeln!(out, "generation {} of site {} ({})", policy.generation, policy.site, policy.site_name)?;
    for point in &policy.management_points {
        writeln!(out, "management point {} at {}", point.name, point.url)?;
    }
    for service in &policy.services {
        writeln!(out, "service {} (weight {}) at {}", service.name, service.weight, service.management_points.join(", "))?;
    }
    for server in &policy.servers {
        writeln!(out, "server {} at {}", server.name, server.origins.join(", "))?;
    }
    for name in policy.agents.keys() {
        writeln!(out, "settings for {name} in {}", disk.path("agents").join(format!("{name}.json")).display())?;
    }
    writeln!(out, "{}", if asked { "a newer one is being asked for" } else { "no client runs, so nobody asks for a newer one" })?;
    Ok(())
}

async fn uninstall(options: &Uninstall, out: &mut dyn Write) -> Result<(), Failed> {
    let (disk, identity) = known(&options.config)?;
    if desk::ask(&disk, Wish::Status).await.is_ok() {
        return Err(Failed::Said("the client runs: stop it first".to_owned()));
    }
    let (id, folder) = (&identity.given.client_id, disk.path(""));
    if !options.yes {
        return Err(Failed::Said(format!(
            "this removes {} and {} with the key of client {id}: say --yes",
            folder.display(),
            options.config.display()
        )));
    }
    std::fs::remove_dir_all(&folder)?;
    std::fs::remove_file(&options.config)?;
    writeln!(out, "Removed. The site still knows client {id}: an administrator removes it with `cmg device remove {id}`")?;
    Ok(())
}

fn known(config: &std::path::Path) -> Result<(Disk, Identity), Failed> {
    let config = Config::read(config).map_err(Failed::Problems)?;
    let disk = Disk::open(&config.data)?;
    let identity = Identity::load(&disk)?;
    identity
        .map(|identity| (disk, identity))
        .ok_or_else(|| Failed::Said("this device is not registered: run `cmg client install`".to_owned()))
}

fn keeper(disk: &Disk, identity: &Identity) -> Result<Keeper, Failed> {
    let expected = Expected { site: identity.site.clone(), root: identity.site_root };
    Ok(Keeper::open(disk.clone(), expected)?)
}
