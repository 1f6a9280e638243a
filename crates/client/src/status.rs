//! What `cmg client status` says: for programs as JSON, for people as text.

use std::fmt::Write;

use cmg_api::control::GenerationId;
use cmg_api::policy::Policy;
use cmg_core::time::WallTime;
use cmg_process::clock::text;
use serde::{Deserialize, Serialize};

use crate::identity::Identity;

/// Where the client is, and all about it that helps.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Status {
    /// Whether the agent runs; else this is what is on disk.
    pub is_running: bool,
    /// The version of the client.
    pub version: String,
    /// The device's name.
    pub name: String,
    /// Its id at the site.
    pub client_id: String,
    /// The thumbprint of its key (RFC 7638).
    pub key_thumbprint: String,
    /// `intranet`, `internet`, `diverted`, `portal`, `offline`, `unknown`, `not-running`.
    pub place: String,
    /// Through what it works.
    pub through: String,
    /// The same in words.
    pub says: String,
    /// Since when, in seconds since 1970.
    pub since: Option<u64>,
    /// The last search.
    pub search: Option<Search>,
    /// The token.
    pub token: TokenAge,
    /// Whether it has a certificate of its own.
    pub certificate: Option<String>,
    /// The policy in force.
    pub policy: Option<PolicyAge>,
    /// Messages that wait for the site.
    pub messages: usize,
    /// Whether the site can tell it something at any moment.
    pub is_told: bool,
    /// By how many seconds the device's clock is behind the site's; negative: ahead.
    pub clock_behind: i64,
    /// What went wrong lately.
    pub mishaps: Vec<Mishap>,
}

/// A search for the site.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Search {
    /// Why it was made.
    pub why: String,
    /// When it began, in seconds since 1970.
    pub began: u64,
    /// Whether it goes on.
    pub is_under_way: bool,
    /// Whom it asked, in the order of preference.
    pub tried: Vec<Tried>,
    /// The boundary groups of this network.
    pub boundary_groups: Vec<String>,
    /// Whether they prefer services on the internet.
    pub prefers_cloud: bool,
    /// Whether the intranet is not looked for at all.
    pub always_internet: bool,
    /// Who has failed lately.
    pub avoided: Vec<String>,
    /// When the next one is, in seconds since 1970.
    pub next: u64,
    /// Why then.
    pub next_why: String,
}

/// Somebody who was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tried {
    /// Whom.
    pub whom: String,
    /// What came of it.
    pub outcome: String,
    /// How long it took.
    pub milliseconds: Option<u64>,
}

/// The token's times, in seconds since 1970.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TokenAge {
    /// When it was given.
    pub given_at: u64,
    /// When the next one is asked for.
    pub renew_after: u64,
    /// When it ends.
    pub expires_at: u64,
    /// Why it could not be renewed, and what to do.
    pub trouble: Option<String>,
}

/// The policy in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyAge {
    /// Its site code.
    pub site: String,
    /// Its generation.
    pub generation: GenerationId,
    /// When it was made, in seconds since 1970.
    pub made_at: u64,
    /// Its internet-based services.
    pub services: Vec<String>,
    /// Its management points.
    pub management_points: Vec<String>,
}

/// Something that went wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mishap {
    /// When, in seconds since 1970.
    pub at: u64,
    /// What.
    pub what: String,
}

impl Status {
    /// What the disk says.
    pub fn of_disk(identity: &Identity, policy: Option<&Policy>, messages: usize) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: identity.name.clone(),
            client_id: identity.given.client_id.clone(),
            place: "not-running".to_owned(),
            through: "nothing".to_owned(),
            says: "The client does not run".to_owned(),
            token: TokenAge {
                given_at: identity.given_at,
                renew_after: identity.given.renew_after,
                expires_at: identity.given.expires_at,
                trouble: None,
            },
            certificate: identity.certificate.as_ref().map(|files| files.certificate.display().to_string()),
            policy: policy.map(|policy| PolicyAge {
                site: policy.site.clone(),
                generation: policy.generation,
                made_at: policy.made_at,
                services: policy.services.iter().map(|service| service.name.clone()).collect(),
                management_points: policy.management_points.iter().map(|point| point.name.clone()).collect(),
            }),
            messages,
            ..Self::default()
        }
    }

    /// For people. `explained`: with everything that was tried.
    pub fn text(&self, explained: bool) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out, explained);
        out
    }

    fn write(&self, out: &mut String, explained: bool) -> std::fmt::Result {
        let when = |at: u64| text(WallTime(at));
        let since = self.since.map(|since| format!(", since {}", when(since))).unwrap_or_default();
        writeln!(out, "{}{since}", self.says)?;
        writeln!(out, "device      {} ({})", self.name, self.client_id)?;
        if let Some(search) = &self.search {
            let goes_on = if search.is_under_way { "being looked for, because" } else { "last looked for at" };
            let at = if search.is_under_way { String::new() } else { format!(" {}, because", when(search.began)) };
            writeln!(out, "site        {goes_on}{at} {}; next at {}: {}", search.why, when(search.next), search.next_why)?;
            if explained || !self.is_settled() {
                write_search(out, search)?;
            }
        }
        match &self.policy {
            Some(policy) => {
                let PolicyAge { site, generation, made_at, services, .. } = policy;
                writeln!(
                    out,
                    "policy      generation {generation} of site {site}, made {}; services: {}",
                    when(*made_at),
                    services.join(", ")
                )?;
            }
            None => writeln!(out, "policy      none yet")?,
        }
        let TokenAge { given_at, renew_after, expires_at, trouble } = &self.token;
        writeln!(out, "token       given {}, renewed from {}, ends {}", when(*given_at), when(*renew_after), when(*expires_at))?;
        if let Some(trouble) = trouble {
            writeln!(out, "            not renewed: {trouble}")?;
        }
        if let Some(certificate) = &self.certificate {
            writeln!(out, "certificate {certificate}")?;
        }
        writeln!(
            out,
            "messages    {} wait; the site can{} tell this device something at any moment",
            self.messages,
            if self.is_told { "" } else { "not" }
        )?;
        if self.clock_behind != 0 && self.clock_behind.abs() >= crate::clock::WORTH_TELLING {
            writeln!(out, "clock       {} s behind the site's: set it", self.clock_behind)?;
        }
        for mishap in &self.mishaps {
            writeln!(out, "{}  {}", when(mishap.at), mishap.what)?;
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        matches!(self.place.as_str(), "intranet" | "internet" | "diverted")
    }
}

fn write_search(out: &mut String, search: &Search) -> std::fmt::Result {
    for (number, tried) in search.tried.iter().enumerate() {
        let took = tried.milliseconds.map(|milliseconds| format!(" ({milliseconds} ms)")).unwrap_or_default();
        writeln!(out, "  {}. {}: {}{took}", number + 1, tried.whom, tried.outcome)?;
    }
    if search.always_internet {
        writeln!(out, "  the intranet is not looked for: always_internet")?;
    }
    if !search.boundary_groups.is_empty() {
        let prefers = if search.prefers_cloud { ", which prefer services on the internet" } else { "" };
        writeln!(out, "  boundary groups of this network: {}{prefers}", search.boundary_groups.join(", "))?;
    }
    search.avoided.iter().try_for_each(|avoided| writeln!(out, "  {avoided}"))
}
