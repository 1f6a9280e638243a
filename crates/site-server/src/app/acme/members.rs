//! Which gateway instances have a challenge in force.

use std::collections::BTreeMap;
use std::time::Duration;

use cmg_api::control::{GenerationId, MemberStatus};
use cmg_api::resource::AcmeChallengeKind;
use tokio::time::{Instant, sleep};

use super::Failed;
use crate::site::Site;

/// How long instances are waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(250);

/// An instance that has not been heard for so many seconds holds nobody up.
const SILENT: i64 = 600;

/// What an instance says of HTTP-01 that it cannot answer begins so.
const NO_HTTP: &str = "acme_listen:";

/// A status, and when it came.
type Heard = (MemberStatus, i64);

/// The enrolled instances that show a certificate, with what they said last.
async fn instances(site: &Site, certificate: &str) -> Result<BTreeMap<String, Option<Heard>>, Failed> {
    let in_force = site.in_force();
    let shows = in_force.model.gateways.values().filter(|gateway| gateway.certificates.iter().any(|name| name == certificate));
    let names = shows.flat_map(|gateway| &gateway.instances).map(|instance| format!("gateway/{}", instance.name));
    let mut instances: BTreeMap<String, Option<Heard>> =
        names.filter(|member| in_force.ground.sealing_keys.contains_key(member)).map(|member| (member, None)).collect();
    for said in site.store.member_statuses().await? {
        if let (Some(heard), Ok(status)) = (instances.get_mut(&format!("{}/{}", said.kind, said.name)), serde_json::from_str(&said.body)) {
            *heard = Some((status, said.seen_at));
        }
    }
    Ok(instances)
}

fn is_silent(heard: Option<&Heard>, now: i64) -> bool {
    heard.is_none_or(|(_, seen_at)| now - seen_at > SILENT)
}

/// Why nobody could answer an ACME server that asks for the names of a certificate.
pub(super) async fn missing(site: &Site, certificate: &str) -> Result<Option<String>, Failed> {
    let (instances, now) = (instances(site, certificate).await?, site.now().0 as i64);
    let reason = match instances.values().any(|heard| !is_silent(heard.as_ref(), now)) {
        true => return Ok(None),
        false if instances.is_empty() => "an enrolled instance of a gateway that names it in `certificates`",
        false => "a word of the instances that show it, all of which are silent",
    };
    Ok(Some(reason.to_owned()))
}

/// Waits until every instance that shows a certificate has this generation in force; gives those that are silent.
pub(super) async fn have(site: &Site, certificate: &str, kind: AcmeChallengeKind, generation: GenerationId) -> Result<Vec<String>, Failed> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (instances, now) = (instances(site, certificate).await?, site.now().0 as i64);
        let standing = Standing::of(&instances, kind, generation, now)?;
        if let Some(end) = standing.end(Instant::now() >= deadline) {
            return end;
        }
        sleep(LOOK).await;
    }
}

/// How it stands with the instances.
#[derive(Debug, Default, PartialEq, Eq)]
struct Standing {
    lagging: Vec<String>,
    silent: Vec<String>,
}

impl Standing {
    fn of(
        instances: &BTreeMap<String, Option<Heard>>,
        kind: AcmeChallengeKind,
        generation: GenerationId,
        now: i64,
    ) -> Result<Self, Failed> {
        let mut standing = Self::default();
        for (member, heard) in instances {
            let Some((status, _)) = heard.as_ref().filter(|_| !is_silent(heard.as_ref(), now)) else {
                standing.silent.push(member.clone());
                continue;
            };
            if let Some(refused) = status.refused.as_ref().filter(|refused| refused.generation >= generation) {
                return Err(Failed::Said(format!("{member} refused the challenge: {}", refused.problems.join("; "))));
            }
            if status.applied < generation {
                standing.lagging.push(member.clone());
            } else if let (AcmeChallengeKind::Http01, Some(finding)) = (kind, status.findings.iter().find(|line| line.starts_with(NO_HTTP)))
            {
                return Err(Failed::Said(format!("{member}: {finding}")));
            }
        }
        Ok(standing)
    }

    /// How the wait ends: with those that are silent, or, where it has lasted too long, with those that lag; none: it goes on.
    fn end(self, is_over: bool) -> Option<Result<Vec<String>, Failed>> {
        if self.lagging.is_empty() {
            return Some(Ok(self.silent));
        }
        let lagging = self.lagging.join(", ");
        is_over.then(|| Err(Failed::Said(format!("{lagging} has not put the challenge in force within {} s", PATIENCE.as_secs()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: GenerationId = GenerationId { epoch: 1, number: 7 };

    fn heard(number: u64, findings: &[&str], seen_at: i64) -> Option<Heard> {
        let status = MemberStatus {
            applied: GenerationId { epoch: 1, number },
            applied_at: 1,
            refused: None,
            version: "0".to_owned(),
            certificate_ends: 1,
            findings: findings.iter().map(|&line| line.to_owned()).collect(),
            tunnels: BTreeMap::new(),
            wanted_keys: Default::default(),
            said_at: 0,
        };
        Some((status, seen_at))
    }

    fn standing(instances: [Option<Heard>; 3], kind: AcmeChallengeKind) -> Result<Standing, String> {
        let names = ["gateway/a", "gateway/b", "gateway/c"].map(str::to_owned);
        let standing = Standing::of(&names.into_iter().zip(instances).collect(), kind, WANTED, 10_000);
        standing.map_err(|failed| failed.to_string())
    }

    #[test]
    fn whoever_lags_is_waited_for_and_whoever_is_silent_is_not() {
        let standing = standing([heard(8, &[], 9_990), heard(6, &[], 9_990), heard(6, &[], 9_000)], AcmeChallengeKind::TlsAlpn01).unwrap();

        assert_eq!(standing, Standing { lagging: vec!["gateway/b".to_owned()], silent: vec!["gateway/c".to_owned()] });
    }

    #[test]
    fn whoever_lags_to_the_end_ends_the_try_by_name() {
        let instances = || [heard(7, &[], 9_990), heard(6, &[], 9_990), None];
        let lagging = || standing(instances(), AcmeChallengeKind::TlsAlpn01).unwrap();
        let all = standing([heard(7, &[], 9_990), heard(8, &[], 9_990), None], AcmeChallengeKind::TlsAlpn01).unwrap();

        assert!(lagging().end(false).is_none(), "it is waited for");
        let failed = lagging().end(true).unwrap().unwrap_err().to_string();
        assert_eq!(failed, "gateway/b has not put the challenge in force within 120 s");
        assert_eq!(all.end(true).unwrap().unwrap(), ["gateway/c"], "who has it in force at the last moment is in time");
    }

    #[test]
    fn whoever_refuses_the_challenge_ends_the_try() {
        let mut refusing = heard(6, &[], 9_990);
        let refused = cmg_api::control::RefusedGeneration { generation: WANTED, problems: vec!["acme_challenge: unknown".to_owned()] };
        refusing.as_mut().unwrap().0.refused = Some(refused);

        let failed = standing([heard(7, &[], 9_990), refusing, None], AcmeChallengeKind::TlsAlpn01).unwrap_err();

        assert_eq!(failed, "gateway/b refused the challenge: acme_challenge: unknown");
    }

    #[test]
    fn http_wants_a_port_on_every_instance() {
        let closed = || [heard(7, &[], 9_990), heard(7, &["acme_listen: no address is opened"], 9_990), None];

        assert_eq!(standing(closed(), AcmeChallengeKind::Http01).unwrap_err(), "gateway/b: acme_listen: no address is opened");
        assert!(standing(closed(), AcmeChallengeKind::TlsAlpn01).is_ok());
    }
}
