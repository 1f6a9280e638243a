//! What is issued verifies with the parts that members and gateways verify with; what is not in order is refused.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod enrolment;
mod handshakes;
mod openssl;
mod passwords;
mod site;
mod status;
mod tokens;
mod vault;
