//! Which generation each member runs, and who lags since when and why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use cmg_api::control::{GenerationId, MemberStatus};
use cmg_core::time::WallTime;
use cmg_store::{Error, Member};
use serde::Serialize;
use utoipa::ToSchema;

use super::model::Model;
use crate::site::Site;

/// A member that has not been heard for so many seconds is silent: it speaks at least every few seconds.
const SILENT: i64 = 30;

/// How many generations are remembered.
const REMEMBERED: usize = 1_000;

/// When generations came in force, as far as this site server has seen it.
#[derive(Default)]
pub struct Seen(Mutex<BTreeMap<GenerationId, i64>>);

impl Seen {
    /// Notes that this generation is in force.
    pub fn note(&self, generation: GenerationId, now: WallTime) {
        let Ok(mut seen) = self.0.lock() else { return };
        seen.entry(generation).or_insert(now.0 as i64);
        if seen.len() > REMEMBERED {
            seen.pop_first();
        }
    }

    /// Since when something newer than `applied` is in force.
    fn newer_since(&self, applied: GenerationId) -> Option<i64> {
        let seen = self.0.lock().ok()?;
        seen.iter().find(|(generation, _)| **generation > applied).map(|(_, at)| *at)
    }
}

/// The state of the site.
#[derive(Debug, Serialize, ToSchema)]
pub struct SiteStatus {
    /// The site code.
    site: String,
    /// The site server that answers.
    site_server: String,
    /// The generation in force, `EPOCH.NUMBER`.
    generation: String,
    /// `SQLite` or `PostgreSQL`.
    database: &'static str,
    /// Whether every member runs the generation in force.
    everywhere: bool,
    /// The same in words.
    summary: String,
    /// Every member.
    members: Vec<ShownMember>,
}

/// The state of a member.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShownMember {
    /// Such as `gateway/gw-1`.
    member: String,
    /// `new` until it has a code, then `invited`, then `enrolled`.
    state: String,
    /// The generation that it ought to run.
    expected: String,
    /// The generation that it runs, as far as is known.
    applied: Option<String>,
    /// When that came in force there, in milliseconds since 1970.
    applied_at: Option<u64>,
    /// Whether it does not run what it ought to.
    lags: bool,
    /// Since when, in seconds since 1970, as far as is known.
    lags_since: Option<i64>,
    /// Why.
    why: Option<String>,
    /// What deserves a look there.
    findings: Vec<String>,
    /// When its role certificate ends, in seconds since 1970.
    certificate_ends: Option<i64>,
    /// When it was heard last, in seconds since 1970.
    seen_at: Option<i64>,
    /// The version of its program.
    version: Option<String>,
    /// How many tunnels it has, by the member at the other end.
    tunnels: BTreeMap<String, u32>,
}

/// A status, and when it came.
struct Heard {
    status: MemberStatus,
    seen_at: i64,
}

/// The state of the site.
pub async fn status(site: &Site, seen: &Seen) -> Result<SiteStatus, Error> {
    let in_force = site.in_force();
    let now = site.now().0 as i64;
    let mut view = site.store.view().await?;
    let mut known: BTreeMap<String, Member> =
        view.members(None).await?.into_iter().map(|member| (format!("{}/{}", member.kind, member.name), member)).collect();
    let mut heard: BTreeMap<String, Heard> = BTreeMap::new();
    for said in view.member_statuses().await? {
        if let Ok(status) = serde_json::from_str(&said.body) {
            heard.insert(format!("{}/{}", said.kind, said.name), Heard { status, seen_at: said.seen_at });
        }
    }
    let expected = in_force.generation();
    let members: Vec<ShownMember> = members(&in_force.model)
        .into_iter()
        .map(|member| {
            let (known, heard) = (known.remove(&member), heard.remove(&member));
            shown(member, known, heard, expected, seen, now)
        })
        .collect();
    let lagging = members.iter().filter(|member| member.lags).count();
    let summary = match lagging {
        0 => format!("generation {expected} everywhere"),
        _ => format!("{lagging} of {} members do not run generation {expected}", members.len()),
    };
    Ok(SiteStatus {
        site: site.code.clone(),
        site_server: site.name.clone(),
        generation: expected.to_string(),
        database: site.store.engine(),
        everywhere: lagging == 0,
        summary,
        members,
    })
}

fn members(model: &Model) -> BTreeSet<String> {
    let instances = model.gateways.values().flat_map(|gateway| &gateway.instances);
    let gateways = instances.map(|instance| format!("gateway/{}", instance.name));
    let points = model.connection_points.keys().map(|name| format!("connection-point/{name}"));
    gateways.chain(points).chain(model.management_points.keys().map(|name| format!("management-point/{name}"))).collect()
}

fn shown(member: String, known: Option<Member>, heard: Option<Heard>, expected: GenerationId, seen: &Seen, now: i64) -> ShownMember {
    let state = known.as_ref().map_or("new", |known| &known.state).to_owned();
    let applied = heard.as_ref().map(|heard| heard.status.applied);
    let lags = applied != Some(expected);
    let why = lags.then(|| why(&state, heard.as_ref(), now));
    let ends = heard.as_ref().and_then(|heard| i64::try_from(heard.status.certificate_ends).ok());
    let seen_at = heard.as_ref().map(|heard| heard.seen_at);
    let status = heard.map(|heard| heard.status);
    ShownMember {
        member,
        state,
        expected: expected.to_string(),
        applied: applied.map(|applied| applied.to_string()),
        applied_at: status.as_ref().map(|status| status.applied_at),
        lags,
        lags_since: applied.filter(|_| lags).and_then(|applied| seen.newer_since(applied)),
        why,
        findings: status.as_ref().map(|status| status.findings.clone()).unwrap_or_default(),
        certificate_ends: ends.or(known.and_then(|known| known.certificate_ends)),
        seen_at,
        version: status.as_ref().map(|status| status.version.clone()),
        tunnels: status.map(|status| status.tunnels).unwrap_or_default(),
    }
}

/// Why a member does not run what it ought to, the nearest reason.
fn why(state: &str, heard: Option<&Heard>, now: i64) -> String {
    match (state, heard) {
        ("new", None) => "it is not enrolled, and no code was made for it".to_owned(),
        ("invited", None) => "it is not enrolled, its code was not used".to_owned(),
        (_, None) => "it was not heard since it was enrolled".to_owned(),
        (_, Some(Heard { seen_at, .. })) if now - seen_at > SILENT => format!("it was not heard for {} s", now - seen_at),
        (_, Some(Heard { status, .. })) => match &status.refused {
            Some(refused) => format!("it refused generation {}: {}", refused.generation, refused.problems.join("; ")),
            None => "it has not put it in force yet".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use cmg_api::control::RefusedGeneration;

    use super::*;

    const EXPECTED: GenerationId = GenerationId { epoch: 1, number: 7 };

    fn member(status: Option<(u64, Option<&str>, i64)>) -> ShownMember {
        let heard = status.map(|(number, refused, seen_at)| {
            let refused = refused.map(|problem| RefusedGeneration { generation: EXPECTED, problems: vec![problem.to_owned()] });
            let status = MemberStatus {
                applied: GenerationId { epoch: 1, number },
                applied_at: 1,
                refused,
                version: "0".to_owned(),
                certificate_ends: 1,
                findings: Vec::new(),
                tunnels: BTreeMap::new(),
                wanted_keys: Vec::new(),
                said_at: 0,
            };
            Heard { status, seen_at }
        });
        let seen = Seen::default();
        for (number, at) in [(5, 50), (6, 60), (7, 70)] {
            seen.note(GenerationId { epoch: 1, number }, WallTime(at));
        }
        shown("gateway/gw-1".to_owned(), None, heard, EXPECTED, &seen, 100)
    }

    #[test]
    fn who_runs_what_is_in_force_does_not_lag() {
        let member = member(Some((7, None, 99)));

        assert!(!member.lags && member.why.is_none() && member.lags_since.is_none());
    }

    #[test]
    fn who_lags_does_so_since_the_first_generation_that_it_misses() {
        let member = member(Some((5, None, 99)));

        assert_eq!(member.lags_since, Some(60));
        assert_eq!(member.why.as_deref(), Some("it has not put it in force yet"));
    }

    #[test]
    fn why_it_lags_is_told() {
        assert_eq!(member(Some((6, Some("trust: none"), 99))).why.as_deref(), Some("it refused generation 1.7: trust: none"));
        assert_eq!(member(Some((6, None, 60))).why.as_deref(), Some("it was not heard for 40 s"));
        assert_eq!(member(None).why.as_deref(), Some("it is not enrolled, and no code was made for it"));
    }
}
