//! HTTP: what comes in is translated for `app`, and what it says is translated back.

pub mod api;
pub mod control;
pub mod listener;
mod places;
mod problem;
