//! The site: where an enrolled connection point is told what to do, and what it does for its gateways on the way.
//!
//! A connection point asks, nobody asks it. What it learns of its own it puts in force; what it learns for its gateways it hands to the
//! very instance that it is for (`relay`). Everything is verified by the site's signature before it counts and kept on disk, so that a
//! start needs nobody.
mod backoff;
mod board;
mod client;
pub(crate) mod enrolling;
mod enrolment;
mod follow;
mod metrics;
pub(crate) mod relay;
mod renewal;
mod report;
mod run;
mod servers;
mod store;
mod trouble;

use std::sync::Arc;

use arc_swap::ArcSwap;
use cmg_core::problem::Problem;
use cmg_credentials::RoleIdentity;
use cmg_credentials::load::{Disk, PairFiles, read_role_identity};
use cmg_credentials::tls::site_client;
use cmg_enrolled::{DataError, DataFolder, Identity};

pub(crate) use run::run;

use client::SiteClient;

/// The site, as a member asks it. The certificate is renewed while questions are under way, so each takes what is in force.
pub(crate) struct Site(ArcSwap<Member>);

/// Who this connection point is, and how it asks.
pub(crate) struct Member {
    pub(crate) identity: Identity,
    pub(crate) role: RoleIdentity,
    pub(crate) client: SiteClient,
}

impl Site {
    pub(crate) fn new(member: Member) -> Self {
        Self(ArcSwap::from_pointee(member))
    }

    /// Who this connection point is at the moment.
    pub(crate) fn member(&self) -> Arc<Member> {
        self.0.load_full()
    }

    /// Another certificate is in force.
    pub(crate) fn replace(&self, member: Member) {
        self.0.store(Arc::new(member));
    }
}

impl Member {
    /// Puts together what `folder` holds.
    pub(crate) fn new(identity: Identity, folder: &DataFolder) -> Result<Self, Problem> {
        let unusable = |what: String| Problem::new("site.data", what, "put it right, or empty the folder and enrol again with a new code");
        let end = folder.tunnel_end();
        let files = PairFiles { chain_key: "site.data", chain: &end.certificate, private_key_key: "site.data", private_key: &end.key };
        let role = read_role_identity(&Disk, files)?;
        let servers = store::site_servers(folder).map_err(of_data)?;
        let tls = site_client(Some(role.clone()), &identity.roots)?;
        let client = SiteClient::new(servers.all(), tls).map_err(|error| unusable(error.to_string()))?;
        Ok(Self { identity, role, client })
    }
}

/// What is wrong with the data folder.
pub(crate) fn of_data(error: DataError) -> Problem {
    Problem::new("site.data", error.to_string(), "put it right, or name another folder")
}
