//! Rules of the house that a compiler does not check: which crate may know which, what the documents must mention, and that the
//! feature checklist names tests that exist.

mod architecture;
mod checklist;
mod reference;
mod refusals;
mod tree;
