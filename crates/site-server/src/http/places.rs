//! Places for connections: as many as there are, and on a port of members half of them for peers that have shown a certificate.
//!
//! Until the handshake is done everybody counts as a stranger of their address, of which there may be a few: or one machine that begins
//! handshakes and ends none would have all places. And since many machines may do so, there is a room for handshakes beside those places.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Connections of one address without a certificate.
const OF_ONE_ADDRESS: usize = 64;

/// How many strangers there are, and where they come from.
pub(super) struct Strangers {
    /// Places after the handshake.
    places: Arc<Semaphore>,
    from: Mutex<HashMap<IpAddr, usize>>,
}

impl Strangers {
    /// Strangers who may have `most` places in all.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { places: Arc::new(Semaphore::new(most)), from: Mutex::default() })
    }

    /// One more from an address; none: there are too many already.
    pub(super) fn one_from(self: &Arc<Self>, address: IpAddr) -> Option<Stranger> {
        let network = network(address);
        let mut from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        let count = from.entry(network).or_insert(0);
        if *count >= OF_ONE_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Stranger { among: Arc::clone(self), network, _place: None })
    }
}

/// Somebody who has shown no certificate, until dropped.
pub(super) struct Stranger {
    among: Arc<Strangers>,
    network: IpAddr,
    _place: Option<OwnedSemaphorePermit>,
}

impl Stranger {
    /// Stays after the handshake; none: strangers have all the places that they get.
    pub(super) fn stay(mut self) -> Option<Self> {
        self._place = Some(Arc::clone(&self.among.places).try_acquire_owned().ok()?);
        Some(self)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut from = self.among.from.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = from.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                from.remove(&self.network);
            }
        }
    }
}

/// Handshakes under way. Where there are as many as there may be, the oldest gives way: one that goes on takes a fraction of a second,
/// and those that somebody has begun without going on are the older ones.
pub(super) struct Handshakes {
    most: usize,
    under_way: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Handshakes {
    /// At most so many at one time.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, under_way: Mutex::default() })
    }

    /// One more.
    pub(super) fn begin(self: &Arc<Self>) -> Handshake {
        let (stays, gives_way) = oneshot::channel();
        let mut queue = self.queue();
        if queue.waiting.len() >= self.most {
            queue.waiting.pop_first();
        }
        let number = queue.next;
        queue.next += 1;
        queue.waiting.insert(number, stays);
        Handshake { among: Arc::clone(self), number, gives_way }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handshake under way, until dropped.
pub(super) struct Handshake {
    among: Arc<Handshakes>,
    number: u64,
    gives_way: oneshot::Receiver<()>,
}

impl Handshake {
    /// Waits until it must give way to a younger one.
    pub(super) async fn gives_way(&mut self) {
        let _ = (&mut self.gives_way).await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.among.queue().waiting.remove(&self.number);
    }
}

/// What is counted as one address: of IPv6 the first 64 bits, since one machine has as many addresses there as it likes.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn come(strangers: &Arc<Strangers>, address: &str) -> Option<Stranger> {
        strangers.one_from(address.parse().expect("an address"))
    }

    #[test]
    fn an_address_has_a_few_places_and_a_network_of_ipv6_is_one() {
        let strangers = Strangers::new(1_000);
        let mut all: Vec<_> = std::iter::from_fn(|| come(&strangers, "2001:db8::1")).collect();

        assert_eq!(all.len(), OF_ONE_ADDRESS);
        assert!(come(&strangers, "2001:db8::2").is_none());
        assert!(come(&strangers, "2001:db8:0:1::1").is_some() && come(&strangers, "192.0.2.1").is_some());
        all.pop();
        assert!(come(&strangers, "2001:db8::2").is_some());
        drop(all);
        assert!(strangers.from.lock().unwrap_or_else(PoisonError::into_inner).is_empty());
    }

    #[test]
    fn the_oldest_handshake_gives_way() {
        let handshakes = Handshakes::new(2);
        let (mut first, mut second) = (handshakes.begin(), handshakes.begin());

        let third = handshakes.begin();

        let gave_way = |handshake: &mut Handshake| !matches!(handshake.gives_way.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert!(gave_way(&mut first) && !gave_way(&mut second));
        drop(third);
        let _fourth = handshakes.begin();
        assert!(!gave_way(&mut second), "who is done leaves room");
    }

    #[test]
    fn strangers_of_many_addresses_leave_the_places_of_members_alone() {
        let strangers = Strangers::new(2);
        let stay = |address: &str| come(&strangers, address).and_then(Stranger::stay);
        let (first, second) = (stay("192.0.2.1"), stay("192.0.2.2"));

        assert!(first.is_some() && second.is_some());
        assert!(stay("192.0.2.3").is_none());
        assert!(come(&strangers, "192.0.2.3").is_some(), "whether it is a stranger is known after the handshake");
        drop(first);
        assert!(stay("192.0.2.3").is_some());
    }
}
