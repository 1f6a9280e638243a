//! A member and its site: enrolment, renewal, and everything that must not be taken for the site's word.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod joining;
mod site;
mod snapshots;
