//! Signing in by name and password, with a back-off against guessing.
//!
//! Every try counts before the password is looked at, in the database that all site servers share: however many try at once, each takes
//! one. Counted are the address, and the account from that address, with a long wait; and the account whoever tries, with a short one:
//! it slows those down who guess from many addresses, and nobody can lock an account out by guessing. A success forgets them. An account
//! that does not exist is treated like one that does.

use cmg_core::ids::is_name;
use cmg_store::{NewAuditRecord, SignInFailures};

use super::accounts::{self, role_of};
use super::change::{Actor, ChangeRefused};
use super::passwords::{HashRefused, Hasher};
use super::sessions::{self, NewSession};
use crate::site::Site;

/// Tries that cost nothing: people mistype.
const FREE: u64 = 5;

/// The longest wait of whoever tried, in seconds.
const LONGEST: i64 = 15 * 60;

/// The longest wait for an account that others tried, in seconds.
const LONGEST_BY_OTHERS: i64 = 30;

/// How often a refusal of one account is audited at most, in seconds.
const AUDITED: i64 = 60;

/// Seconds after which tries are forgotten.
const FORGOTTEN: i64 = 24 * 60 * 60;

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum SignInRefused {
    /// Name or password is wrong, or the account is disabled; which, is not told.
    #[error("the name or the password is wrong, or the account is disabled")]
    Wrong,
    /// The one-time code of a sign-in by a provider does not count.
    #[error("the code does not count, or not any more: begin the sign-in again")]
    Code,
    /// Too many tries.
    #[error("there were too many tries: wait {0} s")]
    Wait(i64),
    /// The password could not be looked at.
    #[error(transparent)]
    Hash(#[from] HashRefused),
    /// The database refused.
    #[error(transparent)]
    Change(#[from] ChangeRefused),
}

impl From<cmg_store::Error> for SignInRefused {
    fn from(error: cmg_store::Error) -> Self {
        Self::Change(error.into())
    }
}

/// What tries are counted for.
pub(crate) struct Subject {
    /// Its key in the database.
    pub(crate) key: String,
    /// The longest wait, in seconds.
    longest: i64,
}

impl Subject {
    /// Whoever tries from this address.
    pub(crate) fn address(address: &str) -> Self {
        Self { key: format!("address/{}", network(address)), longest: LONGEST }
    }

    /// An account, from this address.
    fn account_from(name: &str, address: &str) -> Self {
        Self { key: format!("account/{name}/{}", network(address)), longest: LONGEST }
    }

    /// An account, whoever tries.
    fn account(name: &str) -> Self {
        Self { key: format!("account/{name}"), longest: LONGEST_BY_OTHERS }
    }

    /// The password of an account, through a session of it: no stranger gets here.
    pub(crate) fn own_password(name: &str) -> Self {
        Self { key: format!("own-password/{name}"), longest: LONGEST }
    }
}

/// How many seconds the next try has to wait at `now`: none after [`FREE`] tries, then 1, 2, 4 and so on up to `longest`.
fn wait(failures: Option<SignInFailures>, longest: i64, now: i64) -> i64 {
    let Some(SignInFailures { failures, last_at }) = failures else { return 0 };
    if failures < FREE || is_forgotten(last_at, now) {
        return 0;
    }
    let doublings = u32::try_from(failures - FREE).unwrap_or(u32::MAX);
    let pause = 1_i64.checked_shl(doublings.min(32)).map_or(longest, |pause| pause.min(longest));
    // A clock that was set back must not lock anybody out for longer.
    (last_at + pause - now).clamp(0, pause)
}

fn is_forgotten(last_at: i64, now: i64) -> bool {
    now - last_at > FORGOTTEN
}

/// Lets an account in by its password, from `actor.address`.
pub async fn sign_in(site: &Site, hasher: &Hasher, actor: &Actor, name: &str, password: String) -> Result<NewSession, SignInRefused> {
    let subjects = subjects(name, &actor.address);
    count(site, &subjects).await?;
    let account = if is_name(name) { site.store.account(name).await? } else { None };
    let hash = account.as_ref().and_then(|account| account.fields.password_hash.clone()).map(|hash| hash.0);
    let known = account.as_ref().map(|account| account.name.clone());
    let is_right = hasher.verify(password, hash.clone()).await?;
    let Some(account) = account.filter(|account| is_right && !account.fields.disabled) else {
        tracing::info!(address = actor.address, request_id = actor.request_id, "Sign-in refused");
        record_failure(site, actor, known.as_deref(), &serde_json::json!({ "by": "password" })).await?;
        return Err(SignInRefused::Wrong);
    };
    let actor = Actor { account: name.to_owned(), role: account.fields.role.clone(), ..actor.clone() };
    let mut draft = site.draft(&actor).await?;
    // The account may have changed while its password was looked at.
    let present = draft.change.account(name).await?;
    if present.is_none_or(|present| present.fields != account.fields || role_of(&present).is_none()) {
        return Err(SignInRefused::Wrong);
    }
    for subject in &subjects {
        draft.change.clear_sign_in_failures(&subject.key).await?;
    }
    draft.change.note_sign_in(name).await?;
    let session = sessions::begin(&mut draft.change, name, draft.now).await?;
    draft.record("sign-in", "account", name, None, None).await?;
    draft.commit().await?;
    Ok(session)
}

/// Writes into the audit log that somebody was not let in: once a minute for each account, and once for all names that are no account's,
/// since whoever guesses shall not fill the database. Names that are none are not written: people type passwords there.
///
/// It costs the same write whether or not there is a record, so that its time does not tell which accounts there are.
pub(crate) async fn record_failure(
    site: &Site,
    actor: &Actor,
    account: Option<&str>,
    about: &serde_json::Value,
) -> Result<(), cmg_store::Error> {
    let now = site.now().0 as i64;
    let name = account.unwrap_or_default();
    let mut change = site.store.begin(now).await?;
    if change.note_sign_in_failure(&format!("audited/{name}/{}", now.div_euclid(AUDITED))).await? == 1 {
        let record = NewAuditRecord {
            address: actor.address.clone(),
            action: "sign-in-refused".to_owned(),
            kind: accounts::KIND.to_owned(),
            name: name.to_owned(),
            after: Some(about.to_string()),
            request_id: actor.request_id.clone(),
            ..NewAuditRecord::default()
        };
        change.append_audit(&record).await?;
    }
    change.commit().await
}

/// Counts a try of these subjects, or says how long to wait.
pub(crate) async fn count(site: &Site, subjects: &[Subject]) -> Result<(), SignInRefused> {
    let now = site.now().0 as i64;
    let mut change = site.store.begin(now).await?;
    change.remove_sign_in_failures_before(now - FORGOTTEN).await?;
    let mut longest = 0;
    for subject in subjects {
        longest = longest.max(wait(change.sign_in_failures(&subject.key).await?, subject.longest, now));
    }
    if longest > 0 {
        return Err(SignInRefused::Wait(longest));
    }
    for subject in subjects {
        change.note_sign_in_failure(&subject.key).await?;
    }
    change.commit().await?;
    Ok(())
}

/// Forgets the tries of these subjects.
pub(crate) async fn forget(site: &Site, subjects: &[Subject]) -> Result<(), cmg_store::Error> {
    let mut change = site.store.begin(site.now().0 as i64).await?;
    for subject in subjects {
        change.clear_sign_in_failures(&subject.key).await?;
    }
    change.commit().await
}

/// What is counted: the account where the name can be one, and the address.
fn subjects(name: &str, address: &str) -> Vec<Subject> {
    let account = is_name(name).then(|| [Subject::account(name), Subject::account_from(name, address)]);
    account.into_iter().flatten().chain([Subject::address(address)]).collect()
}

/// An address as it is counted: of IPv6 the network, since one machine has as many addresses there as it likes.
pub(crate) fn network(address: &str) -> String {
    match address.parse() {
        Ok(std::net::IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            match address.to_ipv4_mapped() {
                Some(mapped) => mapped.to_string(),
                None => format!("{a:x}:{b:x}:{c:x}:{d:x}::/64"),
            }
        }
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(failures: u64, since: i64) -> i64 {
        wait(Some(SignInFailures { failures, last_at: 1_000_000 }), LONGEST, 1_000_000 + since)
    }

    #[test]
    fn five_tries_are_free() {
        assert_eq!(wait(None, LONGEST, 0), 0);
        for failures in 0..5 {
            assert_eq!(waits(failures, 0), 0);
        }
    }

    #[test]
    fn then_each_try_waits_twice_as_long_up_to_fifteen_minutes() {
        let pauses: Vec<i64> = (5..16).map(|failures| waits(failures, 0)).collect();

        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900]);
        for failures in [40, 64, 1_000, u64::MAX] {
            assert_eq!(waits(failures, 0), 900);
        }
    }

    #[test]
    fn a_wait_passes() {
        assert_eq!(waits(8, 7), 1);
        assert_eq!(waits(8, 8), 0);
        assert_eq!(waits(100, FORGOTTEN + 1), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        assert_eq!(waits(6, -100_000), 2);
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        assert_eq!(network("2001:db8:1:2:3::4"), network("2001:db8:1:2::9"));
        assert_ne!(network("2001:db8:1:3::4"), network("2001:db8:1:2::4"));
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
    }
}
