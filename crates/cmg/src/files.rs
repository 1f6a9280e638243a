//! `cmg site backup`, `restore`, `renew-issuers`, `add-root` and `remove-root`: what is done with the files of a site server on its own host.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cmg_cli::sites::{AddRoot, Backup, Issuer, OnFiles, Place, RenewIssuers, Restore};
use cmg_core::time::WallTime;
use cmg_process::file::Problems;
use cmg_process::{clock, secret_file};
use cmg_site_server::app::backup::{self, BackupRefused, Keep};
use cmg_site_server::app::issuers::{self, RenewRefused, Which};
use cmg_site_server::app::roots::command::{self as roots, RootsRefused};
use cmg_site_server::config::Config;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The configuration or the passphrase file has problems.
    #[error("{0}")]
    Config(Problems),
    /// A file cannot be read or written.
    #[error("{} cannot be used", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The site server's part refused.
    #[error(transparent)]
    Backup(#[from] BackupRefused),
    /// No issuing key was made.
    #[error(transparent)]
    Renew(#[from] RenewRefused),
    /// No root was added or removed.
    #[error(transparent)]
    Roots(#[from] RootsRefused),
}

pub(crate) async fn carry_out(work: &OnFiles) -> Result<(), Refused> {
    match work {
        OnFiles::Backup(backup) => back_up(backup).await,
        OnFiles::Restore(restore) => bring_back(restore).await,
        OnFiles::RenewIssuers(renewal) => renew_issuers(renewal).await,
        OnFiles::AddRoot(wanted) => add_root(wanted).await,
        OnFiles::RemoveRoot { config } => remove_root(config).await,
    }
}

async fn renew_issuers(wanted: &RenewIssuers) -> Result<(), Refused> {
    let (config, passphrase) = read(&wanted.place)?;
    let which = match wanted.only {
        Some(Issuer::Infrastructure) => Which::INFRASTRUCTURE,
        Some(Issuer::Clients) => Which::CLIENTS,
        None => Which::BOTH,
    };
    let renewed = issuers::renew(&config, &wanted.root_keys, &passphrase, which, now()).await?;
    for issuer in &renewed.issuers {
        say(&format!("{}: new issuing certificate, SHA-256 {}, until {}", issuer.of, issuer.fingerprint, clock::text(issuer.not_after)));
    }
    say(&format!(
        "generation {}: running site servers follow; certificates that were issued before count to their end",
        renewed.generation
    ));
    Ok(())
}

async fn add_root(wanted: &AddRoot) -> Result<(), Refused> {
    let (config, passphrase) = read(&wanted.place)?;
    let added = roots::add(&config, &wanted.out, &passphrase, now()).await?;
    say(&format!("{}: keys of the new roots, encrypted; keep it and its passphrase elsewhere", wanted.out.display()));
    say(&format!("generation {}: announced; they issue as soon as every member knows them (`cmg keys list`)", added.generation));
    for waits in &added.waits_for {
        say(&format!("  {waits}"));
    }
    Ok(())
}

async fn remove_root(config: &Path) -> Result<(), Refused> {
    let config = Config::read(config).map_err(|problems| Refused::Config(Problems(problems)))?;
    let generation = roots::remove(&config, now()).await?;
    say(&format!("generation {generation}: the earlier roots count no more; their export is of no more use"));
    Ok(())
}

async fn back_up(wanted: &Backup) -> Result<(), Refused> {
    let (config, passphrase) = read(&wanted.place)?;
    let archive = backup::backup(&config, &passphrase, now()).await?;
    let unusable = |source| Refused::File { path: wanted.out.clone(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&wanted.out).map_err(unusable)?;
    file.write_all(&archive).and_then(|()| file.sync_all()).map_err(unusable)?;
    say(&format!("{}: site {}, {} bytes", wanted.out.display(), config.site, archive.len()));
    Ok(())
}

async fn bring_back(wanted: &Restore) -> Result<(), Refused> {
    let (config, passphrase) = read(&wanted.place)?;
    let archive = fs::read(&wanted.archive).map_err(|source| Refused::File { path: wanted.archive.clone(), source })?;
    let before = wanted.before.as_deref();
    let keep = Keep { blocks: wanted.keep_blocks, api_tokens: wanted.keep_api_tokens };
    let restored = backup::restore(&config, &passphrase, &archive, before, keep, now()).await?;
    say(&format!("site {} restored as it was {}", config.site, clock::text(restored.made_at)));
    for block in &restored.newer_blocks {
        let what = if restored.kept { "kept" } else { "not in the backup, gone" };
        say(&format!("block {} ({} {}): {what}", block.id, block.kind.word(), block.value));
    }
    for certificate in &restored.revived_certificates {
        let what = if restored.kept { "revoked again" } else { "was revoked, and counts again" };
        say(&format!("certificate {} ({}): {what}", certificate.serial, certificate.subject));
    }
    for account in &restored.revived_accounts {
        let what = if restored.kept { "disabled again" } else { "could not sign in before, and can again" };
        say(&format!("account {account}: {what}"));
    }
    say("every session has ended; sign in again");
    if wanted.keep_api_tokens {
        say("API tokens count as they did at the backup, those too that were revoked since: look through `cmg api-token list`");
    } else {
        say(&format!("API tokens ended: {}; make new ones by `cmg api-token new`", restored.ended_tokens));
    }
    if before.is_none() {
        say("blocks, revocations, and disabled or removed accounts, are as they were at the backup: look through `cmg block list`, \
             `cmg issued-certificate list` and `cmg account list`");
    }
    Ok(())
}

fn read(place: &Place) -> Result<(Config, String), Refused> {
    let config = Config::read(&place.config).map_err(|problems| Refused::Config(Problems(problems)))?;
    Ok((config, passphrase(&place.passphrase_file)?))
}

fn passphrase(path: &Path) -> Result<String, Refused> {
    let secret = secret_file("--passphrase-file", path).map_err(|problem| Refused::Config(Problems(vec![problem])))?;
    Ok(secret.expose_line().unwrap_or_default().to_owned())
}

/// A line on standard output; where nobody reads it, there is nobody to tell.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn now() -> WallTime {
    WallTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs())
}
