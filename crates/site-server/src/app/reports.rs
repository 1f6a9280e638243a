//! What connection points say of the members they speak for, on its way into the database.
//!
//! A connection point that is out of hand can say as much as it likes, and each word costs a transaction, which all changes of the site
//! wait for. So each has one turn a second: what it says meanwhile is put together, and the newest word of each member is written. Who says
//! far too much is told so.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cmg_api::control;
use cmg_store::MemberStatus;
use tokio::time::{Instant, sleep_until};

/// The time between two turns of a connection point. Nobody sees a change of state later than that.
const BETWEEN: Duration = Duration::from_secs(1);

/// Reports of a connection point in that time. An honest one sends a few seconds apart, or at once where something changed.
const MOST: u32 = 20;

/// How long a connection point that says nothing is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);

/// A word that says nothing new is written after so many seconds, so that its member does not count as silent.
pub const REPEATED: i64 = 10;

/// How long the word of a gateway keeps out one that it says it has said before, in seconds: long enough that what several connection
/// points bring is put in order, short enough that a gateway whose clock was set back is heard again.
const ORDERED: i64 = 60;

/// Of `statuses` those that are newer than what is `known`, by the clock of the member that has said it.
pub(crate) fn newer(statuses: Vec<MemberStatus>, known: &[MemberStatus]) -> Vec<MemberStatus> {
    let is_older = |status: &MemberStatus| {
        let same = known.iter().find(|known| known.kind == status.kind && known.name == status.name);
        same.is_some_and(|known| status.seen_at - known.seen_at < ORDERED && said_at(status) < said_at(known))
    };
    statuses.into_iter().filter(|status| !is_older(status)).collect()
}

fn said_at(status: &MemberStatus) -> u64 {
    serde_json::from_str::<control::MemberStatus>(&status.body).map_or(0, |status| status.said_at)
}

/// There were too many reports in a second.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

/// What was said and not written yet, by connection point.
#[derive(Default)]
pub struct Reports(Mutex<HashMap<String, Said>>);

struct Said {
    /// Since when reports are counted, and how many came.
    counted: (Instant, u32),
    /// The newest word of each member.
    unwritten: BTreeMap<(String, String), MemberStatus>,
    /// When the next turn is.
    turn: Instant,
    /// Whether somebody waits for it.
    is_awaited: bool,
}

impl Reports {
    /// Takes in what a connection point says. Gives what is to be written, when it is its turn; none: whoever waits for the turn writes this
    /// too.
    pub async fn take(&self, point: &str, statuses: Vec<MemberStatus>) -> Result<Option<Vec<MemberStatus>>, TooMany> {
        let turn = {
            let mut all = self.all();
            let now = Instant::now();
            if !all.contains_key(point) {
                all.retain(|_, said| said.is_awaited || now < said.turn + REMEMBERED);
            }
            let new = || Said { counted: (now, 0), unwritten: BTreeMap::new(), turn: now, is_awaited: false };
            let said = all.entry(point.to_owned()).or_insert_with(new);
            said.count(now)?;
            let unwritten: Vec<_> = said.unwritten.values().cloned().collect();
            let statuses = newer(statuses, &unwritten);
            said.unwritten.extend(statuses.into_iter().map(|status| ((status.kind.clone(), status.name.clone()), status)));
            if std::mem::replace(&mut said.is_awaited, true) {
                return Ok(None);
            }
            said.turn
        };
        let awaited = Awaited { reports: self, point };
        sleep_until(turn).await;
        let mut all = self.all();
        let Some(said) = all.get_mut(point) else { return Ok(None) };
        said.turn = Instant::now() + BETWEEN;
        let unwritten = std::mem::take(&mut said.unwritten);
        drop(all);
        drop(awaited);
        Ok(Some(unwritten.into_values().collect()))
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    fn count(&mut self, now: Instant) -> Result<(), TooMany> {
        if now >= self.counted.0 + BETWEEN {
            self.counted = (now, 0);
        }
        self.counted.1 += 1;
        if self.counted.1 > MOST { Err(TooMany) } else { Ok(()) }
    }
}

/// Somebody waits for the turn of a connection point; if they go away, the next one does.
struct Awaited<'r> {
    reports: &'r Reports,
    point: &'r str,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if let Some(said) = self.reports.all().get_mut(self.point) {
            said.is_awaited = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn status(name: &str, number: u32) -> MemberStatus {
        MemberStatus { kind: "gateway".to_owned(), name: name.to_owned(), body: number.to_string(), seen_at: i64::from(number) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_a_few_writes_and_the_last_word_is_written() {
        let reports = Arc::new(Reports::default());
        let (mut turns, mut refused) = (tokio::task::JoinSet::new(), 0);
        // 100 a second for three seconds.
        for number in 0..300 {
            let reports = Arc::clone(&reports);
            turns.spawn(async move { reports.take("cp-1", vec![status("gw-1", number), status("gw-2", number)]).await });
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(BETWEEN).await;
        turns.spawn(async move { reports.take("cp-1", vec![status("gw-1", 999)]).await });

        let mut written = Vec::new();
        while let Some(turn) = turns.join_next().await {
            match turn.unwrap() {
                Ok(statuses) => written.extend(statuses),
                Err(TooMany) => refused += 1,
            }
        }

        assert!(written.len() <= 6 && refused >= 200, "{} {refused}", written.len());
        assert!(written.iter().all(|statuses| statuses.len() <= 2));
        assert!(written.iter().flatten().any(|status| status.body == "999"));
    }

    #[test]
    fn the_newest_word_of_a_gateway_counts_whoever_brings_it_last() {
        let word = |said_at: u64, seen_at| {
            let body = serde_json::json!({
                "applied": { "epoch": 1, "number": 1 }, "applied_at": 1, "refused": null, "version": "0", "certificate_ends": 1,
                "findings": [], "tunnels": {}, "said_at": said_at,
            });
            MemberStatus { seen_at, body: body.to_string(), ..status("gw-1", 0) }
        };
        let is_kept = |said_at, seen_at| newer(vec![word(said_at, seen_at)], &[word(5_000, 100)]).len() == 1;

        assert!(!is_kept(4_999, 101), "an older word by another way");
        assert!(is_kept(5_000, 115) && is_kept(5_001, 101));
        assert!(is_kept(1, 100 + ORDERED), "a clock that was set back");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_word_and_that_of_another_wait_for_nobody() {
        let reports = Reports::default();
        let started = Instant::now();

        assert_eq!(reports.take("cp-1", vec![status("gw-1", 1)]).await, Ok(Some(vec![status("gw-1", 1)])));
        assert_eq!(reports.take("cp-2", vec![status("gw-1", 2)]).await, Ok(Some(vec![status("gw-1", 2)])));
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(reports.take("cp-1", vec![status("gw-1", 3)]).await, Ok(Some(vec![status("gw-1", 3)])));
        assert_eq!(started.elapsed(), BETWEEN);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_leaves_the_turn_to_the_next() {
        let reports = Reports::default();
        reports.take("cp-1", vec![status("gw-1", 1)]).await.unwrap();

        let gone = tokio::time::timeout(BETWEEN / 2, reports.take("cp-1", vec![status("gw-1", 2), status("gw-2", 2)])).await;

        assert!(gone.is_err());
        let written = reports.take("cp-1", vec![status("gw-1", 3)]).await.unwrap().unwrap();
        assert_eq!(written, [status("gw-1", 3), status("gw-2", 2)]);
    }
}
