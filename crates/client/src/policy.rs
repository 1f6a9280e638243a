//! The site's policy on this device: verified before it counts, kept on disk, never an older one.
//!
//! Who signs it proves itself under the roots of the policy in force. The first one has none before it: it is believed under the root that
//! the installation named, or, where it named none, because TLS has authenticated whoever it came from.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use cmg_api::bytes::Sha256;
use cmg_api::control::{GenerationId, Signed};
use cmg_api::policy::{LARGEST_POLICY, POLICY_CONTEXT, Policy};
use cmg_core::ids::is_name;
use cmg_core::time::WallTime;
use cmg_credentials::members::{MemberRefused, Statement};
use thiserror::Error;

use crate::disk::{Disk, DiskError};

/// Its file in the client's folder, as it came.
const FILE: &str = "policy.json";
/// The folder of settings for agents.
const AGENTS: &str = "agents";

/// The largest answer with a policy, in bytes: its text in JSON again, and certificates.
pub const LARGEST_ANSWER: usize = 2 * LARGEST_POLICY;

/// Why a policy does not count.
#[derive(Debug, Error)]
pub enum PolicyRefused {
    /// It is no policy, or not whole.
    #[error("it is no policy, or not whole: {0}")]
    Malformed(String),
    /// It is too large.
    #[error("it has {0} bytes, and no more than {LARGEST_POLICY} count")]
    TooLarge(usize),
    /// It names no root.
    #[error("it names no root of the site")]
    NoRoot,
    /// Its signature does not count.
    #[error("{refused}{}", clock_hint(*refused))]
    Signature {
        /// What is wrong with it, or with who made it.
        refused: MemberRefused,
    },
    /// It is another site's.
    #[error("it is of site {came}, and this device is of site {held}")]
    OtherSite {
        /// The site of the device.
        held: String,
        /// The site of the policy.
        came: String,
    },
    /// The one in force is newer.
    #[error("it is of generation {came}, and the policy in force is of generation {held}, which is newer")]
    Older {
        /// The generation in force.
        held: GenerationId,
        /// The other one.
        came: GenerationId,
    },
    /// It cannot be kept.
    #[error("it cannot be kept: {0}")]
    Disk(#[from] DiskError),
}

fn clock_hint(refused: MemberRefused) -> &'static str {
    if refused == MemberRefused::NotInForce { ": set this device's clock if it is wrong" } else { "" }
}

/// What the device knows of its site before it has a policy.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The site code, where the installation named it.
    pub site: Option<String>,
    /// The SHA-256 of the root, where the installation named it.
    pub root: Option<Sha256>,
}

/// Keeps the policy.
pub struct Keeper {
    disk: Disk,
    expected: Expected,
    held: Option<Arc<Policy>>,
}

impl Keeper {
    /// With the policy that was kept. It was verified when it came, so it counts however old it is: a device that sleeps for weeks finds its
    /// way back by it.
    pub fn open(disk: Disk, expected: Expected) -> Result<Self, DiskError> {
        let kept = disk.read_json::<Signed>(FILE)?;
        let held = kept.map(|signed| serde_json::from_str(&signed.payload).map_err(|error| disk.damaged(FILE, error.to_string())));
        Ok(Self { held: held.transpose()?.map(Arc::new), disk, expected })
    }

    /// The policy in force.
    pub fn held(&self) -> Option<&Arc<Policy>> {
        self.held.as_ref()
    }

    /// What `If-None-Match` says.
    pub fn tag(&self) -> Option<String> {
        self.held.as_ref().map(|policy| format!("\"{}\"", policy.generation))
    }

    /// Takes a policy as it came. None: it is the one in force.
    pub fn take(&mut self, answer: &[u8], now: WallTime) -> Result<Option<Arc<Policy>>, PolicyRefused> {
        let policy = judge(answer, self.held.as_deref(), &self.expected, now)?;
        if self.held.as_ref().is_some_and(|held| held.generation == policy.generation) {
            return Ok(None);
        }
        self.disk.write(FILE, answer)?;
        let policy = Arc::new(policy);
        self.held = Some(Arc::clone(&policy));
        Ok(Some(policy))
    }

    /// Writes the settings of agents to `agents/NAME.json`, and removes those that the policy has no more. Says what could not be.
    pub fn hand_out(&self) -> Vec<String> {
        let Some(policy) = &self.held else { return Vec::new() };
        let agents = match self.disk.within(AGENTS) {
            Ok(agents) => agents,
            Err(error) => return vec![error.to_string()],
        };
        let mut problems = Vec::new();
        let file = |name: &str| format!("{name}.json");
        for (name, settings) in policy.agents.iter().filter(|(name, _)| is_name(name)) {
            problems.extend(agents.write_json(&file(name), settings).err().map(|error| error.to_string()));
        }
        for name in agents.names().unwrap_or_default() {
            if !policy.agents.keys().any(|known| file(known) == name) {
                problems.extend(agents.remove(&name).err().map(|error| error.to_string()));
            }
        }
        problems
    }
}

/// Whether a policy counts, at this time and after the one that is held.
fn judge(answer: &[u8], held: Option<&Policy>, expected: &Expected, now: WallTime) -> Result<Policy, PolicyRefused> {
    let malformed = |error: serde_json::Error| PolicyRefused::Malformed(error.to_string());
    let signed: Signed = serde_json::from_slice(answer).map_err(malformed)?;
    if signed.payload.len() > LARGEST_POLICY {
        return Err(PolicyRefused::TooLarge(signed.payload.len()));
    }
    let policy: Policy = serde_json::from_str(&signed.payload).map_err(malformed)?;
    let roots: Vec<Vec<u8>> = match held {
        Some(held) => held.roots.iter().map(|root| root.0.clone()).collect(),
        None => policy.roots.iter().map(|root| root.0.clone()).filter(|root| expected.root.is_none_or(|pin| is(root, pin))).collect(),
    };
    let chain: Vec<_> = signed.chain.iter().map(|der| der.0.as_slice()).collect();
    let statement = Statement { payload: signed.payload.as_bytes(), chain: &chain, signature: &signed.signature.0 };
    if roots.is_empty() || policy.roots.is_empty() {
        return Err(if expected.root.is_some() { signature(MemberRefused::Foreign) } else { PolicyRefused::NoRoot });
    }
    statement.verify(POLICY_CONTEXT, &roots, now).map_err(signature)?;
    let site = held.map(|held| &held.site).or(expected.site.as_ref());
    if let Some(site) = site.filter(|site| **site != policy.site) {
        return Err(PolicyRefused::OtherSite { held: site.clone(), came: policy.site });
    }
    match held {
        Some(held) if policy.generation < held.generation => Err(PolicyRefused::Older { held: held.generation, came: policy.generation }),
        _ => Ok(policy),
    }
}

fn signature(refused: MemberRefused) -> PolicyRefused {
    PolicyRefused::Signature { refused }
}

fn is(root: &[u8], pin: Sha256) -> bool {
    digest(&SHA256, root).as_ref() == pin.0
}

#[cfg(test)]
mod tests;
