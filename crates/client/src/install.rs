//! `cmg client install`, `repair` and `uninstall`: what is typed, and what it means.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use cmg_api::ClientFile;
use cmg_api::bytes::Sha256;
use cmg_core::problem::Problem;
use rustls::sign::CertifiedKey;
use tokio::sync::mpsc;

use crate::carrier::{Carrier, FIRST_CONTACT, FirstContact, Network, Way};
use crate::clock;
use crate::command::Failed;
use crate::config::{Config, resolved};
use crate::desk::{self, Wish};
use crate::disk::Disk;
use crate::identity::{CertificateFiles, Identity};
use crate::key::DeviceKey;
use crate::os;
use crate::policy::{Expected, Keeper};
use crate::properties::Properties;
use crate::register::{Credentials, fetch_policy, read_token, register, renew};
use crate::run::certified;

/// What a device registers by.
#[derive(Debug, Default, Args)]
pub struct Shown {
    /// The device's client certificate and its issuers, PEM; it is shown where services want to see one
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The key of the certificate, PEM, closed to others
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// A file with a token of an OpenID Connect provider, closed to others
    #[arg(long, value_name = "FILE")]
    oidc_token_file: Option<PathBuf>,
    /// A file with a bulk registration token, closed to others
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How many seconds to go on asking where the site cannot answer, or somebody has to approve the device
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
}

/// What an installation is told.
#[derive(Debug, Default, Args)]
pub struct Install {
    /// Properties that ccmsetup knows: CCMHOSTNAME=HOST, SMSSiteCode=P01, /mp:https://HOST, /regtoken:@FILE, CCMALWAYSINF=1
    #[arg(value_name = "PROPERTY")]
    properties: Vec<String>,
    /// The address of a service or management point, https://HOST
    #[arg(long, value_name = "URL")]
    service: Option<String>,
    /// Roots that the address is believed by, PEM; else those of the operating system
    #[arg(long, value_name = "FILE")]
    authorities: Option<PathBuf>,
    /// The SHA-256 of the site's root that the first policy has to be signed under
    #[arg(long, value_name = "SHA256")]
    site_root: Option<String>,
    /// The code of the site
    #[arg(long, value_name = "CODE")]
    site_code: Option<String>,
    /// What the device calls itself; else its host name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Count as on the internet wherever the device is
    #[arg(long)]
    always_internet: bool,
    /// Where a name is not to be looked up
    #[arg(long, value_name = "HOST:PORT=ADDRESS:PORT")]
    resolve: Vec<String>,
    /// The client's folder
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/cmg/client")]
    data: PathBuf,
    /// The configuration file that is written, unless it is there
    #[arg(long, value_name = "FILE", default_value = "/etc/cmg/client.toml")]
    config: PathBuf,
    #[command(flatten)]
    shown: Shown,
}

/// What a repair is told.
#[derive(Debug, Default, Args)]
pub struct Repair {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/cmg/client.toml")]
    config: PathBuf,
    #[command(flatten)]
    shown: Shown,
}

/// What an installation means: everything read, nothing done.
struct Plan {
    first: FirstContact,
    site: Option<String>,
    site_root: Option<Sha256>,
    name: String,
    file: ClientFile,
    network: Network,
    certificate: Option<(CertificateFiles, Arc<CertifiedKey>)>,
    credentials: Credentials,
    remarks: Vec<String>,
}

/// Installs.
pub(crate) async fn install(options: Install, out: &mut dyn Write) -> Result<(), Failed> {
    let (config, wait) = (options.config.clone(), Duration::from_secs(options.shown.wait));
    let plan = Plan::of(options).map_err(Failed::Problems)?;
    for remark in &plan.remarks {
        writeln!(out, "note: {remark}")?;
    }
    let disk = Disk::open(&plan.file.data)?;
    if let Some(known) = Identity::load(&disk)? {
        return Err(Failed::Said(format!(
            "this device is registered already as {}: run `cmg client repair`, or `cmg client uninstall` first",
            known.given.client_id
        )));
    }
    let key = DeviceKey::load_or_make(&disk)?;
    let shows = plan.certificate.as_ref().map(|(_, key)| Arc::clone(key));
    let carrier = Carrier::new(key, shows, plan.network, &plan.first, mpsc::channel(1).0);
    let ways = [Way::Service(FIRST_CONTACT.to_owned())];
    let (registered_by, given) = register(&carrier, &ways, &plan.name, &plan.credentials, wait).await?;
    let identity = Identity {
        name: plan.name,
        registered_by,
        site: plan.site,
        first_contact: plan.first,
        site_root: plan.site_root,
        certificate: plan.certificate.map(|(files, _)| files),
        given,
        given_at: clock::now().0,
    };
    identity.save(&disk)?;
    writeln!(out, "Registered as {}", identity.given.client_id)?;
    carrier.take_token(identity.token());
    tell_policy(&carrier, &ways, &identity, &disk, out).await?;
    write_config(&config, &plan.file, out)?;
    writeln!(out, "Start it: systemctl enable --now cmg-client, or `cmg run client --config {}`", config.display())?;
    Ok(())
}

async fn tell_policy(carrier: &Carrier, ways: &[Way], identity: &Identity, disk: &Disk, out: &mut dyn Write) -> Result<(), Failed> {
    let expected = Expected { site: identity.site.clone(), root: identity.site_root };
    let mut keeper = Keeper::open(disk.clone(), expected)?;
    match fetch_policy(carrier, ways, &mut keeper).await {
        Ok(said) => writeln!(out, "In force: {said}")?,
        Err(why) => writeln!(out, "There is no new policy, and the client asks again by itself: {why}")?,
    }
    for problem in keeper.hand_out() {
        writeln!(out, "note: {problem}")?;
    }
    Ok(())
}

fn write_config(config: &PathBuf, file: &ClientFile, out: &mut dyn Write) -> Result<(), Failed> {
    let text = toml::to_string(file).map_err(|error| Failed::Said(error.to_string()))?;
    if let Some(folder) = config.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::File::create_new(config) {
        Ok(mut made) => {
            made.write_all(text.as_bytes())?;
            made.sync_all()?;
            writeln!(out, "Written: {}", config.display())?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            writeln!(
                out,
                "{} is there already and stays as it is; look whether it names this folder: {}",
                config.display(),
                file.data.display()
            )?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Gets a new token and the policy, by the key that the device has.
pub(crate) async fn repair(options: Repair, out: &mut dyn Write) -> Result<(), Failed> {
    let config = Config::read(&options.config).map_err(Failed::Problems)?;
    let disk = Disk::open(&config.data)?;
    let known = Identity::load(&disk)?.ok_or_else(|| Failed::Said("this device is not registered: run `cmg client install`".to_owned()))?;
    let mut problems = Vec::new();
    let (certificate, mut credentials) = options.shown.read(known.certificate.as_ref(), &mut problems);
    if !problems.is_empty() {
        return Err(Failed::Problems(problems));
    }
    let expected = || Expected { site: known.site.clone(), root: known.site_root };
    let keeper = Keeper::open(disk.clone(), expected()).or_else(|error| {
        writeln!(out, "note: {error}; it is removed, and fetched anew")?;
        disk.remove("policy.json")?;
        Keeper::open(disk.clone(), expected()).map_err(Failed::from)
    })?;
    let key = DeviceKey::load_or_make(&disk)?;
    let shows = certificate.as_ref().map(|(_, key)| Arc::clone(key));
    let carrier = Carrier::new(key, shows, config.network(), &known.first_contact, mpsc::channel(1).0);
    let mut ways = vec![Way::Service(FIRST_CONTACT.to_owned())];
    if let Some(policy) = keeper.held().cloned() {
        let points = policy.management_points.iter().map(|point| Way::Intranet(point.name.clone()));
        let services = policy.services.iter().map(|service| Way::Service(service.name.clone()));
        ways = points.chain(services).chain(ways).collect();
        carrier.follow(policy);
    }
    carrier.take_token(known.token());
    let is_new = options.shown.names_any();
    let renewed = if is_new { Err("it is to register anew".to_owned()) } else { renew(&carrier, &ways).await };
    let identity = match renewed {
        Ok(given) => known.with(given),
        Err(why) => {
            if !is_new {
                writeln!(out, "note: the token that the device has is not renewed: {why}")?;
            }
            credentials.certificate = certificate.is_some();
            let wait = Duration::from_secs(options.shown.wait);
            let (registered_by, given) = register(&carrier, &ways, &known.name, &credentials, wait).await?;
            Identity { registered_by, certificate: certificate.map(|(files, _)| files), ..known.with(given) }
        }
    };
    identity.save(&disk)?;
    writeln!(out, "Registered as {}", identity.given.client_id)?;
    carrier.take_token(identity.token());
    tell_policy(&carrier, &ways, &identity, &disk, out).await?;
    match desk::ask(&disk, Wish::Reload).await {
        Ok(_) => writeln!(out, "The client that runs works by it")?,
        Err(_) => writeln!(out, "No client runs: start it")?,
    }
    Ok(())
}

impl Shown {
    fn names_any(&self) -> bool {
        self.certificate.is_some() || self.oidc_token_file.is_some() || self.token_file.is_some()
    }

    /// Reads the files; `known` is the certificate that the device has.
    fn read(
        &self,
        known: Option<&CertificateFiles>,
        problems: &mut Vec<Problem>,
    ) -> (Option<(CertificateFiles, Arc<CertifiedKey>)>, Credentials) {
        let mut read = |key: &str, file: &Option<PathBuf>| {
            file.as_ref().and_then(|file| read_token(key, file).map_err(|problem| problems.push(problem)).ok())
        };
        let (oidc, bulk) = (read("--oidc-token-file", &self.oidc_token_file), read("--token-file", &self.token_file));
        let absolute = |file: &PathBuf| std::path::absolute(file).unwrap_or_else(|_| file.clone());
        let named = self.certificate.as_ref().zip(self.key.as_ref());
        let named = named.map(|(certificate, key)| CertificateFiles { certificate: absolute(certificate), key: absolute(key) });
        let certificate = named.or_else(|| known.cloned()).and_then(|files| match certified(&files) {
            Ok(key) => Some((files, key)),
            Err(problem) => {
                problems.push(problem);
                None
            }
        });
        let credentials = Credentials { certificate: certificate.is_some(), oidc, bulk };
        (certificate, credentials)
    }
}

impl Plan {
    fn of(options: Install) -> Result<Self, Vec<Problem>> {
        let typed = Properties::read(&options.properties);
        let mut problems: Vec<_> =
            typed.problems.iter().map(|what| Problem::new("properties", what.clone(), "see `cmg client install --help`")).collect();
        let shown = Shown { token_file: options.shown.token_file.clone().or(typed.token_file), ..options.shown };
        let (certificate, mut credentials) = shown.read(None, &mut problems);
        credentials.bulk = credentials.bulk.or(typed.token);
        if !shown.names_any() && credentials.bulk.is_none() {
            let instead = "name --certificate and --key, --oidc-token-file, --token-file or /regtoken:@FILE";
            problems.push(Problem::new("--token-file", "there is nothing to register by", instead));
        }
        let url = options.service.or(typed.url);
        if url.as_deref().is_none_or(|url| crate::origin::Base::parse(url).is_none_or(|base| !base.origin.secure)) {
            let instead = "write --service https://HOST, CCMHOSTNAME=HOST or /mp:https://HOST";
            problems.push(Problem::new("--service", "there is no address to register at", instead));
        }
        let authorities = options.authorities.as_ref().map(std::fs::read_to_string).transpose();
        let authorities = authorities.map_err(|error| {
            problems.push(Problem::new("--authorities", format!("cannot be read: {error}"), "name a file of root certificates, PEM"));
        });
        let site_root = options.site_root.as_deref().map(str::parse).transpose();
        let site_root = site_root.map_err(|error: cmg_api::bytes::NoDigest| {
            problems.push(Problem::new("--site-root", error.to_string(), "`cmg site show` tells it"));
        });
        let (resolve, network) = resolves(&options.resolve, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let always_internet = options.always_internet || typed.always_internet;
        let data = std::path::absolute(&options.data).unwrap_or(options.data);
        Ok(Self {
            first: FirstContact { url: url.unwrap_or_default(), authorities: authorities.ok().flatten().into_iter().collect() },
            site: options.site_code.or(typed.site),
            site_root: site_root.ok().flatten(),
            name: options.name.unwrap_or_else(os::hostname),
            file: ClientFile { data, always_internet, resolve, ..ClientFile::default() },
            network,
            certificate,
            credentials,
            remarks: typed.remarks,
        })
    }
}

fn resolves(typed: &[String], problems: &mut Vec<Problem>) -> (BTreeMap<String, Vec<String>>, Network) {
    let (mut file, mut network) = (BTreeMap::<String, Vec<String>>::new(), Network::default());
    for text in typed {
        let (name, address) = text.split_once('=').unwrap_or((text, ""));
        match resolved(name, &[address.to_owned()]) {
            Ok((place, addresses)) => {
                file.entry(name.to_owned()).or_default().push(address.to_owned());
                network.resolve.entry(place).or_default().extend(addresses);
            }
            Err(problem) => problems.push(Problem { key: "--resolve".to_owned(), ..problem }),
        }
    }
    (file, network)
}
