//! When a certificate is ordered: at once where what is wanted is not there, at two thirds of its lifetime, and after a failure with
//! pauses that no ACME server minds.

use std::collections::BTreeSet;

use cmg_api::resource::{Acme, Certificate};
use cmg_credentials::facts::certificate_facts;
use pki_types::CertificateDer;
use pki_types::pem::PemObject;

use super::{AcmeStatus, Failed, SELDOM};
use crate::app::text::{hex, sha256, time};

/// Seconds after each failure: the first may be a moment's trouble; public servers allow a handful of failures an hour.
const PAUSES: [i64; 8] = [60, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200];

/// Seconds between two tries that succeed, however short certificates live and whatever their times are.
const SHORTEST: i64 = 3_600;

/// The pause after that many failures in a row, in seconds.
pub(super) fn pause(failures: u32) -> i64 {
    let place = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    PAUSES.get(place).copied().unwrap_or(PAUSES[PAUSES.len() - 1])
}

/// When it is tried next, in seconds since 1970; long ago: at once.
pub(super) fn next(certificate: &Certificate, acme: &Acme, status: &AcmeStatus) -> i64 {
    let Some(tried_at) = status.tried_at else { return 0 };
    let is_other = status.wanted != fingerprint(acme);
    match &status.error {
        _ if status.is_asked => 0,
        _ if is_other => tried_at + SELDOM,
        Some(_) => tried_at + pause(status.failures),
        None if status.key_id != certificate.key_id => tried_at + SELDOM,
        None => renewal(certificate).unwrap_or(0).max(tried_at + SHORTEST),
    }
}

/// What tells one order from another.
pub(super) fn fingerprint(acme: &Acme) -> String {
    let text = serde_json::to_vec(acme).expect("it is texts and lists");
    hex(&sha256(&text))
}

/// When a certificate has lived two thirds of its time; none: there is none.
fn renewal(certificate: &Certificate) -> Option<i64> {
    let leaf = CertificateDer::from_pem_slice(certificate.chain.as_bytes()).ok()?;
    let facts = certificate_facts(&leaf).ok()?;
    let (begins, ends) = (facts.not_before.0 as i64, facts.not_after.0 as i64);
    Some(begins + (ends - begins) / 3 * 2)
}

/// A certificate for other names than those that were ordered is of no use, nor is one that does not count now.
pub(super) fn judge(chain: &str, names: &[String], now: i64) -> Result<(), Failed> {
    let said = |text: &str| Failed::Said(format!("the ACME server's certificate {text}"));
    let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).map_err(|_| said("cannot be read"))?;
    let facts = certificate_facts(&leaf).map_err(|_| said("cannot be read"))?;
    let has: BTreeSet<String> = facts.alternative_names.iter().map(|name| name.to_lowercase()).collect();
    let wanted: BTreeSet<String> = names.iter().map(|name| format!("dns:{}", name.to_lowercase())).collect();
    if has != wanted {
        return Err(said("is for other names than those ordered"));
    }
    let (begins, ends) = (facts.not_before.0 as i64, facts.not_after.0 as i64);
    if now < begins || now >= ends {
        let (from, until) = (time(begins), time(ends));
        return Err(said(&format!("counts from {from} to {until}, which is not now: compare the clocks of both")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme() -> Acme {
        serde_json::from_str(r#"{"directory":"https://a/dir","names":["a.example"],"terms_agreed":true}"#).unwrap()
    }

    fn certificate(chain: &str, key_id: &str) -> Certificate {
        Certificate {
            name: "web".to_owned(),
            description: String::new(),
            chain: chain.to_owned(),
            key_id: key_id.to_owned(),
            acme: Some(acme()),
        }
    }

    /// Of the first three months of 2026.
    fn chain() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2026, 4, 1));
        params.self_signed(&key).unwrap().pem()
    }

    fn tried() -> AcmeStatus {
        AcmeStatus { tried_at: Some(1_000), wanted: fingerprint(&acme()), ..AcmeStatus::default() }
    }

    #[test]
    fn what_was_never_tried_is_due_at_once() {
        assert_eq!(next(&certificate("", ""), &acme(), &AcmeStatus::default()), 0);
    }

    #[test]
    fn pauses_grow_and_an_hour_sees_a_handful_of_failures() {
        let failed = |failures| next(&certificate("", ""), &acme(), &AcmeStatus { failures, error: Some("no".to_owned()), ..tried() });

        assert_eq!([1, 2, 3, 8, 9, 100].map(failed), [1_060, 1_600, 2_800, 44_200, 44_200, 44_200]);
        assert!(PAUSES[..4].iter().sum::<i64>() > 3_600);
    }

    #[test]
    fn a_changed_order_is_tried_without_the_pause_of_the_one_before_but_once_a_minute() {
        let status = AcmeStatus { failures: 8, error: Some("no".to_owned()), wanted: "another".to_owned(), ..tried() };

        assert_eq!(next(&certificate("", ""), &acme(), &status), 1_060);
    }

    #[test]
    fn whoever_asks_does_not_wait() {
        let status = AcmeStatus { failures: 8, error: Some("no".to_owned()), is_asked: true, ..tried() };

        assert_eq!(next(&certificate("", ""), &acme(), &status), 0);
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_time() {
        let chain = chain();
        let status = AcmeStatus { key_id: "one".to_owned(), ..tried() };

        let next = |key_id| next(&certificate(&chain, key_id), &acme(), &status);

        let day = |month, day| rcgen::date_time_ymd(2026, month, day).unix_timestamp();
        assert_eq!(next("one"), day(3, 2));
        assert_eq!(next("uploaded"), 1_060, "what did not come from there is replaced");
    }

    #[test]
    fn a_certificate_of_before_is_no_reason_to_order_without_end() {
        let chain = chain();
        let tried_at = rcgen::date_time_ymd(2026, 6, 1).unix_timestamp();
        let status = AcmeStatus { key_id: "one".to_owned(), tried_at: Some(tried_at), ..tried() };

        assert_eq!(next(&certificate(&chain, "one"), &acme(), &status), tried_at + 3_600);
    }

    #[test]
    fn what_comes_is_for_the_names_that_were_ordered_and_counts_now() {
        let chain = chain();
        let judged = |names: &[&str], month, day| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            judge(&chain, &names, rcgen::date_time_ymd(2026, month, day).unix_timestamp()).is_ok()
        };

        assert!(judged(&["A.example"], 1, 1) && judged(&["a.example"], 3, 31));
        assert!(!judged(&["a.example", "b.example"], 2, 1));
        assert!(!judged(&["a.example"], 4, 1));
        assert!(judge(&chain, &["a.example".to_owned()], rcgen::date_time_ymd(2025, 12, 31).unix_timestamp()).is_err());
    }
}
