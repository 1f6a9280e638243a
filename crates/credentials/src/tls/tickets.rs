//! Session tickets: one set of keys for each public port, so that a ticket of one port is worth nothing at another.
//!
//! rustls itself refuses a ticket under another server name than the one it was given for.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::Error;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;
use rustls::ticketer::TicketRotator;

/// How long one key makes tickets, in seconds. It opens them for as long again, so a ticket lives 3 to 6 hours.
const KEY_LIFETIME: u32 = 3 * 60 * 60;
/// Largest session put into a ticket: a client chain is in it, and its length has 16 bits on the wire.
const LARGEST_SESSION: usize = 16 << 10;

/// Ticket keys by port.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    ports: Mutex<HashMap<u16, Arc<dyn ProducesTickets>>>,
}

impl Tickets {
    /// The ticket maker of `port`; fails only where the system has no randomness.
    pub(super) fn of_port(&self, port: u16) -> Result<Arc<dyn ProducesTickets>, Error> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = ports.get(&port) {
            return Ok(Arc::clone(known));
        }
        let made: Arc<dyn ProducesTickets> = Arc::new(TicketRotator::new(KEY_LIFETIME, || Ok(Box::new(Bounded::new()?)))?);
        ports.insert(port, Arc::clone(&made));
        Ok(made)
    }
}

/// One key, making tickets of bounded size.
#[derive(Debug)]
struct Bounded(Arc<dyn ProducesTickets>);

impl Bounded {
    fn new() -> Result<Self, rustls::crypto::GetRandomFailed> {
        Ticketer::new().map(Self).map_err(|_| rustls::crypto::GetRandomFailed)
    }
}

impl ProducesTickets for Bounded {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() > LARGEST_SESSION { None } else { self.0.encrypt(plain) }
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}
