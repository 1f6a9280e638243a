//! The local door: agents that exist already reach "their" server by its ordinary name, and the client carries it, wherever the device is.
//!
//! There are three ways in, all of them on this machine: a listener that stands for one server; a proxy that is asked in absolute form
//! (`GET http://server/path`); and `CONNECT` at the same proxy, where the client ends TLS itself with a certificate of the device's own
//! authority. Only servers of the policy are behind it, and only local users whom the administrator allows come in: the kernel says
//! whose socket it is. What looks like a browser is refused, so that no web page uses the device's credential.

mod authority;
mod guard;
mod listen;
mod owner;
mod serve;
#[cfg(test)]
mod tests;
mod users;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use cmg_api::policy::Policy;
use cmg_api::{DoorFile, DoorListenerFile};
use cmg_core::problem::Problem;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info};

pub use authority::{DoorAuthority, DoorAuthorityError};

use self::listen::{Entrance, Listening};
use self::users::Users;
use crate::carrier::Carrier;
use crate::disk::Disk;
use crate::origin::Origin;

/// Why the door does not open.
#[derive(Debug, Error)]
pub enum DoorError {
    /// A place cannot be listened on.
    #[error("cannot listen on {place}")]
    Listen {
        /// The place.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// The device's own authority cannot be used.
    #[error(transparent)]
    Authority(#[from] DoorAuthorityError),
}

/// `[door]`, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoorConfig {
    proxy: Option<Place>,
    proxy_users: Users,
    listeners: Vec<(Place, Origin, Users)>,
}

/// Where somebody comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl DoorConfig {
    /// Reads `[door]`; whoever reads tells what is wrong with it.
    pub(crate) fn read(file: &DoorFile, problems: &mut Vec<Problem>) -> Self {
        if file.proxy.is_none() && file.listener.is_empty() {
            return Self::default();
        }
        let is_for_all = file.proxy.is_some() || file.listener.iter().any(|listener| listener.users.is_none());
        let proxy_users = if is_for_all { Users::read("door.users", &file.users, problems) } else { Users::default() };
        let proxy = file.proxy.as_deref().and_then(|text| Place::read("door.proxy", text, problems));
        let listeners = file.listener.iter().filter_map(|listener| of_listener(listener, &proxy_users, problems)).collect();
        Self { proxy, proxy_users, listeners }
    }
}

fn of_listener(file: &DoorListenerFile, others: &Users, problems: &mut Vec<Problem>) -> Option<(Place, Origin, Users)> {
    let origin = Origin::parse(&file.server);
    if origin.is_none() {
        let what = format!("{} is no address of a server", file.server);
        problems.push(Problem::new(
            "door.listener.server",
            what,
            "write it as the policy has it, such as \"https://wsus.corp.example:8531\"",
        ));
    }
    let place = Place::read("door.listener.listen", &file.listen, problems);
    let users = file.users.as_ref().map_or_else(|| others.clone(), |users| Users::read("door.listener.users", users, problems));
    Some((place?, origin?, users))
}

impl Place {
    fn read(key: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let place = match text.strip_prefix("unix:") {
            Some(path) => path.starts_with('/').then(|| Self::Unix(path.into())),
            None => text.parse().ok().filter(|address: &SocketAddr| address.ip().is_loopback()).map(Self::Tcp),
        };
        if place.is_none() {
            let what = format!("{text} is no loopback address with a port, and no path of a Unix socket");
            problems.push(Problem::new(key, what, "write \"127.0.0.1:8170\", \"[::1]:8170\" or \"unix:/run/cmg/wsus.sock\""));
        }
        place
    }
}

/// Opens the door, and keeps it open until dropped. Every place is taken before this returns.
pub async fn open(config: &DoorConfig, disk: &Disk, carrier: Carrier) -> Result<JoinSet<()>, DoorError> {
    let mut open = JoinSet::new();
    let mut entrances = Vec::new();
    if let Some(place) = &config.proxy {
        let authority = Arc::new(DoorAuthority::open(disk)?);
        open.spawn(follow(Arc::clone(&authority), carrier.policies()));
        info!(place = %place, "The door is open for proxied requests; agents believe {}", authority.file().display());
        entrances.push((place, Entrance::Proxy(authority), &config.proxy_users));
    }
    for (place, origin, users) in &config.listeners {
        info!(place = %place, server = %origin, "The door is open for one server");
        entrances.push((place, Entrance::Server(origin.clone()), users));
    }
    for (place, entrance, users) in entrances {
        let listening = Listening::bind(place).await.map_err(|source| DoorError::Listen { place: place.to_string(), source })?;
        open.spawn(listen::serve(listening, Arc::new(entrance), users.clone(), carrier.clone()));
    }
    Ok(open)
}

/// Writes the authority's certificate for every policy that comes, until dropped.
async fn follow(authority: Arc<DoorAuthority>, mut policies: watch::Receiver<Option<Arc<Policy>>>) {
    loop {
        let policy = policies.borrow_and_update().clone();
        if let Some(Err(error)) = policy.map(|policy| authority.follow(&policy)) {
            error!(error = cmg_process::log::chain(&error), "The door's certificate stays as it is");
        }
        if policies.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}
