//! The board: devices that hold a request for notifications, what each shall do, and who came and went.
//!
//! A device has a seat from its first request until a while after its last: it asks again as soon as it was answered, and does not go and
//! come each time. It holds one request at a time; a second one ends the first, whose answer nobody may be waiting for any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cmg_api::control::GenerationId;
use cmg_api::device::{ClientTask, OnlineDevice, Presence, Task, Through};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Requests that are held at once: a process may have 20,000 files open.
pub(crate) const HELD: usize = 19_000;

/// How long a device that holds no request counts as online.
const GRACE: Duration = Duration::from_secs(20);

/// How long a task is kept here: as long as the site keeps it.
const TASK_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// How long a policy that was told is not told again: a device that cannot take it would ask without end.
const TOLD: Duration = Duration::from_secs(60);

/// Who is here, and what is to be done.
pub(crate) struct Board {
    places: Arc<Semaphore>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    seats: HashMap<Arc<str>, Seat>,
    tasks: BTreeMap<Arc<str>, Vec<(Task, Instant)>>,
    /// The last number that the site has told.
    newest: u64,
    /// Who came, or came through something else, since the site was told.
    came: BTreeSet<Arc<str>>,
}

struct Seat {
    through: Through,
    since: u64,
    /// Which request holds it.
    turn: u64,
    /// Since when no request holds it.
    left: Option<Instant>,
    wake: Arc<Notify>,
    /// The policy that was told last.
    told: Option<(GenerationId, Instant)>,
}

/// A request that holds a seat; it is left when this is dropped.
pub(crate) struct Seated {
    board: Arc<Board>,
    client: Arc<str>,
    turn: u64,
    pub(crate) wake: Arc<Notify>,
    _place: OwnedSemaphorePermit,
}

/// What there is for a device.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Tasks, and what to ask with next time.
    Tasks(Vec<Task>, u64),
    /// Nothing.
    Nothing(u64),
    /// Another request of this device holds the seat.
    Replaced,
}

impl Default for Board {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(HELD)), inner: Mutex::default() }
    }
}

impl Board {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a device its seat; none: there is no more room. `now` is in seconds since 1970.
    pub(crate) fn sit(self: &Arc<Self>, client: &Arc<str>, through: &Through, now: u64) -> Option<Seated> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut inner = self.inner();
        let is_new = !inner.seats.contains_key(client);
        let new = || Seat { through: through.clone(), since: now, turn: 0, left: None, wake: Arc::default(), told: None };
        let seat = inner.seats.entry(Arc::clone(client)).or_insert_with(new);
        let has_moved = seat.through != *through;
        if has_moved {
            (seat.through, seat.since) = (through.clone(), now);
        }
        seat.turn += 1;
        seat.left = None;
        seat.wake.notify_waiters();
        let (turn, wake) = (seat.turn, Arc::clone(&seat.wake));
        if is_new || has_moved {
            inner.came.insert(Arc::clone(client));
        }
        Some(Seated { board: Arc::clone(self), client: Arc::clone(client), turn, wake, _place: place })
    }

    /// Takes in what the site has told.
    pub(crate) fn take(&self, newest: u64, tasks: Vec<ClientTask>) {
        let mut inner = self.inner();
        let now = Instant::now();
        if newest < inner.newest {
            // The site's database is another one.
            inner.tasks.clear();
        }
        inner.newest = newest;
        inner.tasks.retain(|_, tasks| {
            tasks.retain(|(_, at)| now.duration_since(*at) < TASK_KEPT);
            !tasks.is_empty()
        });
        for ClientTask { client, task } in tasks {
            let client: Arc<str> = client.into();
            let own = inner.tasks.entry(Arc::clone(&client)).or_default();
            own.retain(|(known, _)| known.kind != task.kind);
            own.push((task, now));
            if let Some(seat) = inner.seats.get(&client) {
                seat.wake.notify_waiters();
            }
        }
    }

    /// What the site has told last.
    pub(crate) fn newest(&self) -> u64 {
        self.inner().newest
    }

    /// Who came and went since this was asked for; `whole`: everybody.
    pub(crate) fn presence(&self, whole: bool) -> Presence {
        let mut inner = self.inner();
        let now = Instant::now();
        let mut offline = Vec::new();
        inner.seats.retain(|client, seat| {
            let is_gone = seat.left.is_some_and(|left| now.duration_since(left) >= GRACE);
            if is_gone {
                offline.push(client.to_string());
            }
            !is_gone
        });
        let came = std::mem::take(&mut inner.came);
        let online =
            |client: &Arc<str>, seat: &Seat| OnlineDevice { client: client.to_string(), through: seat.through.clone(), since: seat.since };
        let online = match whole {
            true => inner.seats.iter().map(|(client, seat)| online(client, seat)).collect(),
            false => came.iter().filter_map(|client| Some(online(client, inner.seats.get(client)?))).collect(),
        };
        Presence { whole, online, offline: if whole { Vec::new() } else { offline } }
    }

    /// How many requests are held.
    pub(crate) fn held(&self) -> usize {
        HELD - self.places.available_permits()
    }
}

impl Seated {
    /// What there is for the device that knows tasks up to `after`.
    pub(crate) fn news(&self, after: u64) -> News {
        let inner = self.board.inner();
        if inner.seats.get(&self.client).is_none_or(|seat| seat.turn != self.turn) {
            return News::Replaced;
        }
        // A number that was never given is of another database of the site.
        let after = if after > inner.newest { 0 } else { after };
        let own = inner.tasks.get(&self.client).into_iter().flatten();
        let mut tasks: Vec<Task> = own.map(|(task, _)| task.clone()).filter(|task| task.number > after).collect();
        tasks.sort_by_key(|task| task.number);
        match tasks.is_empty() {
            true => News::Nothing(inner.newest),
            false => News::Tasks(tasks, inner.newest),
        }
    }

    /// Whether the device is to be told of a policy that it does not have.
    pub(crate) fn may_tell(&self, policy: GenerationId) -> bool {
        let mut inner = self.board.inner();
        let Some(seat) = inner.seats.get_mut(&self.client) else { return false };
        let now = Instant::now();
        if seat.told.is_some_and(|(told, at)| told == policy && now.duration_since(at) < TOLD) {
            return false;
        }
        seat.told = Some((policy, now));
        true
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let mut inner = self.board.inner();
        if let Some(seat) = inner.seats.get_mut(&self.client).filter(|seat| seat.turn == self.turn) {
            seat.left = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use cmg_api::device::TaskKind;

    use super::*;

    fn board() -> (Arc<Board>, Arc<str>) {
        (Arc::default(), "pc1".into())
    }

    fn task(client: &str, number: u64, kind: TaskKind) -> ClientTask {
        ClientTask { client: client.to_owned(), task: Task { number, kind } }
    }

    fn cmg() -> Through {
        Through::Cmg("main".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_asks_again_has_not_gone_and_one_that_does_not_has() {
        let (board, pc1) = board();
        let seat = board.sit(&pc1, &cmg(), 5).unwrap();
        assert_eq!(board.presence(false).online, [OnlineDevice { client: "pc1".to_owned(), through: cmg(), since: 5 }]);
        drop(seat);
        tokio::time::advance(GRACE - Duration::from_secs(1)).await;
        let seat = board.sit(&pc1, &cmg(), 30).unwrap();
        tokio::time::advance(GRACE * 9).await;
        assert_eq!(board.presence(false), Presence::default());
        assert_eq!(board.presence(true).online[0].since, 5);

        drop(seat);
        assert_eq!(board.presence(false), Presence::default());
        tokio::time::advance(GRACE).await;

        assert_eq!(board.presence(false).offline, ["pc1"]);
        assert_eq!(board.presence(true), Presence { whole: true, ..Presence::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_roams_is_told_with_what_it_came_through_last() {
        let (board, pc1) = board();
        let first = board.sit(&pc1, &cmg(), 5).unwrap();
        board.presence(false);

        let second = board.sit(&pc1, &Through::Intranet, 9).unwrap();

        assert_eq!(first.news(0), News::Replaced);
        drop(first);
        let online = OnlineDevice { client: "pc1".to_owned(), through: Through::Intranet, since: 9 };
        assert_eq!(board.presence(false).online, [online]);
        tokio::time::advance(GRACE * 2).await;
        assert_eq!(board.presence(false).offline, [""; 0], "the one that was replaced has not left");
        assert_eq!(second.news(0), News::Nothing(0));
    }

    #[tokio::test]
    async fn a_task_wakes_its_device_and_no_other() {
        let (board, pc1) = board();
        let (one, other) = (board.sit(&pc1, &cmg(), 5).unwrap(), board.sit(&"pc2".into(), &cmg(), 5).unwrap());
        let (woken, not_woken) = (one.wake.notified(), other.wake.notified());
        let (mut woken, mut not_woken) = (std::pin::pin!(woken), std::pin::pin!(not_woken));
        woken.as_mut().enable();
        not_woken.as_mut().enable();

        board.take(7, vec![task("pc1", 6, TaskKind::Policy), task("pc1", 7, TaskKind::Ping)]);

        woken.await;
        assert!(!not_woken.as_mut().enable());
        let both = vec![Task { number: 6, kind: TaskKind::Policy }, Task { number: 7, kind: TaskKind::Ping }];
        assert_eq!((one.news(0), one.news(6)), (News::Tasks(both.clone(), 7), News::Tasks(both[1..].to_vec(), 7)));
        assert_eq!((one.news(7), other.news(0)), (News::Nothing(7), News::Nothing(7)));
        assert_eq!(one.news(8), News::Tasks(both, 7), "a number that was never given");
        board.take(9, vec![task("pc1", 9, TaskKind::Ping)]);
        assert_eq!(one.news(6), News::Tasks(vec![Task { number: 9, kind: TaskKind::Ping }], 9), "the latest of a kind");
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_that_a_device_does_not_take_is_not_told_without_end() {
        let (board, pc1) = board();
        let seat = board.sit(&pc1, &cmg(), 5).unwrap();
        let generation = |number| GenerationId { epoch: 1, number };

        assert!(seat.may_tell(generation(1)) && !seat.may_tell(generation(1)) && seat.may_tell(generation(2)));
        tokio::time::advance(TOLD).await;
        assert!(seat.may_tell(generation(2)));
    }

    #[test]
    fn so_many_are_held_and_no_more() {
        let board: Arc<Board> = Arc::default();
        let seats: Vec<_> = (0..HELD).map(|number| board.sit(&number.to_string().into(), &cmg(), 5).unwrap()).collect();

        assert!(board.sit(&"one more".into(), &cmg(), 5).is_none());
        assert_eq!(board.held(), seats.len());
        drop(seats);
        assert!(board.sit(&"one more".into(), &cmg(), 5).is_some());
    }
}
