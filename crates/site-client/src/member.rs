//! Who this program is at the site, and how it asks: out of its data folder, and replaced when its certificate is renewed.

use std::sync::Arc;

use arc_swap::ArcSwap;
use cmg_api::control::Manifest;
use cmg_core::problem::Problem;
use cmg_credentials::RoleIdentity;
use cmg_credentials::load::{Disk, PairFiles, read_role_identity};
use cmg_credentials::tls::site_client;
use cmg_enrolled::{DataError, DataFolder, Identity};
use cmg_process::log::chain;
use tokio::sync::watch;
use tracing::{error, info};

use crate::client::SiteClient;
use crate::servers::Servers;

/// The addresses of the site servers.
const SITE: &str = "site.json";

/// The site, as a member asks it. The certificate is renewed while questions are under way, so each takes what is in force.
pub struct Site {
    member: ArcSwap<Member>,
    changes: watch::Sender<()>,
}

/// Who this member is, and how it asks.
pub struct Member {
    /// What the data folder holds.
    pub identity: Identity,
    /// What it shows to others.
    pub role: RoleIdentity,
    /// Asks the site servers.
    pub client: SiteClient,
}

impl Site {
    /// Asks as `member`.
    pub fn new(member: Member) -> Self {
        Self { member: ArcSwap::from_pointee(member), changes: watch::Sender::default() }
    }

    /// Who this member is at the moment.
    pub fn member(&self) -> Arc<Member> {
        self.member.load_full()
    }

    /// Changes whenever this member has another certificate, or believes other roots.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Believes the roots that a manifest of the site names, and keeps them in `folder`.
    pub fn believe(&self, manifest: &Manifest, folder: &DataFolder) -> Result<(), Problem> {
        if let Some(identity) = self.member().identity.believing(manifest, folder)? {
            self.replace(Member::new(identity, folder)?);
            info!(roots = manifest.authorities.len(), "The site has named the roots that count");
        }
        Ok(())
    }

    /// Asks the site where it says that it is, and keeps that in `folder`.
    pub fn know_servers(&self, folder: &DataFolder, told: &[String]) {
        let client = &self.member().client;
        let kept = site_servers(folder).and_then(|known| {
            let next = known.after(told, client.answered().as_deref());
            if next != known { keep_site_servers(folder, &next).map(|()| next) } else { Ok(next) }
        });
        match kept {
            Ok(servers) => client.ask_at(servers.all()),
            Err(error) => error!(error = chain(&error), "The addresses of the site servers cannot be kept"),
        }
    }

    /// Another certificate is in force, or other roots.
    pub fn replace(&self, member: Member) {
        self.member.store(Arc::new(member));
        self.changes.send_replace(());
    }
}

impl Member {
    /// Puts together what `folder` holds.
    pub fn new(identity: Identity, folder: &DataFolder) -> Result<Self, Problem> {
        let unusable = |what: String| Problem::new("site.data", what, "put it right, or empty the folder and enrol again with a new code");
        let end = folder.tunnel_end();
        let files = PairFiles { chain_key: "site.data", chain: &end.certificate, private_key_key: "site.data", private_key: &end.key };
        let role = read_role_identity(&Disk, files)?;
        let servers = site_servers(folder).map_err(of_data)?;
        let tls = site_client(Some(role.clone()), &identity.roots)?;
        let client = SiteClient::new(role.role.kind(), servers.all(), tls).map_err(|error| unusable(error.to_string()))?;
        Ok(Self { identity, role, client })
    }
}

/// What is wrong with the data folder.
pub fn of_data(error: DataError) -> Problem {
    Problem::new("site.data", error.to_string(), "put it right, or name another folder")
}

/// The addresses of the site servers.
fn site_servers(folder: &DataFolder) -> Result<Servers, DataError> {
    Ok(folder.read(SITE)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

/// Keeps the addresses of the site servers.
pub(crate) fn keep_site_servers(folder: &DataFolder, servers: &Servers) -> Result<(), DataError> {
    folder.write(SITE, &serde_json::to_vec(servers).expect("lists of texts"))
}
