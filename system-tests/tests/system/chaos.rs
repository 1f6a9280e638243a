//! Programs killed, frozen and cut off under load: what may be asked twice never fails, nothing else is ever carried twice, the
//! dead peer is noticed within its five seconds, and everything recovers by itself.

mod cable;
mod client;
mod gateway_faults;
mod ledger;
mod load;
mod point_faults;
mod restarts;
mod site;
mod stalled;
mod verdict;
