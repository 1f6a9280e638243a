//! What the owner of a session's connection takes of the peer for one exchange, and how much.
//!
//! An exchange whose reader is slow is not looked at; whatever the peer sends for it meanwhile waits in its queue. So everything
//! that can be sent is counted here: bodies by the window, heads and ends by what an exchange may have of them, the rest by the
//! length of the queue. A peer that goes beyond is lying, since no client and no server can make an honest one do so.
use bytes::Bytes;
use cmg_core::refusal::Refusal;
use tokio::sync::mpsc;

use crate::driver::Ended;
use crate::exchange::{Event, FRAME_COST, Signal};
use crate::head::ResponseFrame;
use crate::lane::Lane;
use crate::outbox::WINDOW;

/// Signals that wait for one exchange at most. A whole window of the smallest frames is half of it; the rest are heads, credit
/// and ends.
const SIGNALS: usize = 2 * (WINDOW / FRAME_COST) as usize;

/// Heads of status 1xx that one answer may have. Connection points pass on fewer.
const INTERIMS: u32 = 64;

/// One exchange under way, as the owner of the connection knows it.
pub(crate) struct Slot {
    signals: mpsc::Sender<Signal>,
    /// Bytes of the body that the peer may still send.
    allowance: u32,
    interims: u32,
    answered: bool,
    ended: bool,
    moved: bool,
    /// A lane has come for it.
    has_lane: bool,
    /// The peer has given it up. What it had queued before may still come, and is dropped.
    reset: bool,
}

/// The queue between an exchange and the owner of its connection.
pub(crate) fn signals() -> (mpsc::Sender<Signal>, mpsc::Receiver<Signal>) {
    mpsc::channel(SIGNALS)
}

impl Slot {
    /// An exchange that begins. `ended`: the peer sends no body.
    pub(crate) fn new(signals: mpsc::Sender<Signal>, ended: bool) -> Self {
        Self { signals, allowance: WINDOW, interims: 0, answered: false, ended, moved: false, has_lane: false, reset: false }
    }

    /// A part of the body. `continues`: of a frame that has been counted.
    pub(crate) fn data(&mut self, payload: Bytes, ends: bool, continues: bool) -> Result<(), Ended> {
        if self.reset {
            return Ok(());
        }
        let length = payload.len() as u32;
        let cost = if continues { 0 } else { FRAME_COST };
        self.allowance = self.allowance.checked_sub(length).ok_or(Ended::Misbehaved("more data than it was granted"))?.saturating_sub(cost);
        if length > 0 {
            if self.ended {
                return Err(Ended::Misbehaved("data behind the end"));
            }
            self.tell(if continues { Signal::More(payload) } else { Signal::Event(Event::Data(payload)) })?;
        }
        if ends { self.end(Event::End) } else { Ok(()) }
    }

    /// Fields behind the body.
    pub(crate) fn trailers(&mut self, payload: Bytes) -> Result<(), Ended> {
        self.end(Event::Trailers(payload))
    }

    fn end(&mut self, event: Event) -> Result<(), Ended> {
        if self.reset {
            return Ok(());
        }
        if std::mem::replace(&mut self.ended, true) {
            return Err(Ended::Misbehaved("a direction ends twice"));
        }
        self.tell(Signal::Event(event))
    }

    /// A 1xx head.
    pub(crate) fn interim(&mut self, head: ResponseFrame) -> Result<(), Ended> {
        self.interims += 1;
        if self.answered || self.interims > INTERIMS {
            return Err(Ended::Misbehaved("a 1xx head too many"));
        }
        self.tell(Signal::Event(Event::Interim(head)))
    }

    /// The head of the answer.
    pub(crate) fn response(&mut self, head: ResponseFrame, ends: bool) -> Result<(), Ended> {
        self.answer()?;
        self.tell(Signal::Event(Event::Response(head)))?;
        if ends { self.end(Event::End) } else { Ok(()) }
    }

    /// There will be no answer.
    pub(crate) fn refused(&mut self, refusal: Refusal) -> Result<(), Ended> {
        self.answer()?;
        self.ended = true;
        self.tell(Signal::Event(Event::Refused(refusal)))
    }

    fn answer(&mut self) -> Result<(), Ended> {
        if std::mem::replace(&mut self.answered, true) { Err(Ended::Misbehaved("a second answer")) } else { Ok(()) }
    }

    /// More of the other direction may be sent.
    pub(crate) fn credit(&mut self, bytes: u32) -> Result<(), Ended> {
        self.tell(Signal::Credit(bytes))
    }

    /// The rest of the direction comes on a lane.
    pub(crate) fn moved(&mut self) -> Result<(), Ended> {
        if std::mem::replace(&mut self.moved, true) {
            return Err(Ended::Misbehaved("a direction moves twice"));
        }
        self.tell(Signal::Moved)
    }

    /// The connection that the rest of the direction comes on; given back where the exchange does not take it.
    pub(crate) fn lane(&mut self, lane: Box<Lane>) -> Option<Box<Lane>> {
        let first = !std::mem::replace(&mut self.has_lane, true);
        if !first || self.ended || self.reset {
            return Some(lane);
        }
        // An exchange whose queue is full gets no lane; the peer that filled it is dealt with where it sends.
        match self.signals.try_send(Signal::Lane(lane)) {
            Err(mpsc::error::TrySendError::Closed(Signal::Lane(lane)) | mpsc::error::TrySendError::Full(Signal::Lane(lane))) => Some(lane),
            Ok(()) | Err(_) => None,
        }
    }

    /// Whether a lane may still come for it.
    pub(crate) fn may_get_a_lane(&self) -> bool {
        !self.ended && !self.has_lane
    }

    /// The peer gives the exchange up.
    pub(crate) fn reset(&mut self) -> Result<(), Ended> {
        if std::mem::replace(&mut self.reset, true) { Ok(()) } else { self.signal(Signal::Event(Event::Reset)) }
    }

    /// This end grants more.
    pub(crate) fn grant(&mut self, bytes: u32) {
        self.allowance = self.allowance.saturating_add(bytes);
    }

    /// Passes on what needs no counting. What comes after a reset is dropped.
    fn tell(&mut self, signal: Signal) -> Result<(), Ended> {
        if self.reset { Ok(()) } else { self.signal(signal) }
    }

    /// An exchange that has just ended here takes nothing; that is no fault of the peer.
    fn signal(&mut self, signal: Signal) -> Result<(), Ended> {
        match self.signals.try_send(signal) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Ended::Misbehaved("a flood for one exchange")),
        }
    }

    /// The peer has closed the tunnel in an orderly way: what it had sent on a lane is still on its way.
    pub(crate) fn closed(self) {
        let _ = self.signals.try_send(Signal::Closed);
    }

    /// The tunnel is gone. Without room for this, the exchange learns it from the end of its queue.
    pub(crate) fn lost(self) {
        let _ = self.signals.try_send(Signal::Event(Event::Lost));
    }
}
