//! The site server on a real PostgreSQL, several on one, and what it does while its database fails.
//!
//! Where PostgreSQL is not installed its half is skipped, except in CI.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../api/house.rs"]
#[allow(dead_code, reason = "the same house as in the tests of the interface, which use other rooms of it")]
mod house;
#[path = "../../../store/tests/store/postgres.rs"]
#[allow(dead_code, reason = "the same server as in the tests of the store")]
mod postgres;
#[path = "../jobs/seen.rs"]
#[allow(dead_code, reason = "the same eyes as in the tests of the jobs")]
mod seen;

mod failing_commit;
mod founding;
mod issuers;
mod postgres_gone;
mod restore;
mod sqlite_faults;
mod two_servers;
mod unknown_outcome;
mod watch;
