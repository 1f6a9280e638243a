//! What the site does besides its configuration: blocks, tokens, clients, issued certificates, and the jobs that run by themselves.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../api/house.rs"]
#[allow(dead_code, reason = "the same house as in the tests of the interface, which use other rooms of it")]
mod house;

mod blocks;
mod bulk_tokens;
mod clients;
mod crls;
mod devices;
mod doctor;
mod enrolment;
mod entra;
mod growth;
mod issued_certificates;
mod issuers;
mod policies;
mod registration;
mod rollover;
mod roots;
mod seen;
mod serving;
mod sign_in;
mod token_issuers;
mod turns;
mod warnings;
