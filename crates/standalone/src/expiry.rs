//! Certificates that have run out, soon will, or do not count yet: findings, since a program that starts with them still serves
//! whatever does not depend on them.
use cmg_core::problem::Finding;
use cmg_core::snapshot::Parts;
use cmg_core::time::WallTime;
use cmg_credentials::facts::certificate_facts;

const DAY: u64 = 86_400;

/// Days before its end from which a certificate is a finding: time to order and install another.
const SOON: u64 = 30;

/// Findings about `certificates` (DER), which the file names at `key`. What cannot be read is none of them.
pub fn findings(key: &str, certificates: impl IntoIterator<Item = impl AsRef<[u8]>>, now: WallTime) -> Vec<Finding> {
    certificates.into_iter().filter_map(|der| finding(key, der.as_ref(), now)).collect()
}

/// Findings about the certificates of authorities for clients.
pub fn of_trusts(parts: &Parts, now: WallTime) -> Vec<Finding> {
    let of_trust = |trust: &cmg_core::trust::Trust| {
        let mut found = findings(&format!("trust.{}.authorities", trust.name), &trust.authorities, now);
        found.extend(findings(&format!("trust.{}.intermediates", trust.name), &trust.intermediates, now));
        found
    };
    parts.trusts.iter().flat_map(of_trust).collect()
}

fn finding(key: &str, der: &[u8], now: WallTime) -> Option<Finding> {
    let facts = certificate_facts(der).ok()?;
    let WallTime(now) = now;
    let when = if facts.not_after.0 < now {
        format!("expired {}", days(now - facts.not_after.0, "ago"))
    } else if now < facts.not_before.0 {
        format!("counts only {}", days(facts.not_before.0 - now, "from now"))
    } else if facts.not_after.0 - now <= SOON * DAY {
        format!("expires {}", days(facts.not_after.0 - now, "from now"))
    } else {
        return None;
    };
    Some(Finding::new(key, format!("the certificate of `{}` {when}", facts.subject)))
}

fn days(seconds: u64, direction: &str) -> String {
    match seconds / DAY {
        0 => format!("less than a day {direction}"),
        1 => format!("1 day {direction}"),
        days => format!("{days} days {direction}"),
    }
}
