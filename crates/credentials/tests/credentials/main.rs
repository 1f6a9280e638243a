//! Credentials as strangers and administrators hand them in: real certificates, lists, tokens, files and handshakes.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod certificates;
mod dpop;
mod files;
mod issuers;
mod jwk;
mod lab;
mod management_point;
mod replay_proof;
mod revocation;
mod site;
mod tls;
mod tokens;
mod verifier;
