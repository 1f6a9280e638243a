//! Programs killed, frozen and cut off under load.
