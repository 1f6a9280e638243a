//! Credentials: what proves who somebody is, and every use of cryptography outside the handshake itself.
//!
//! `load` reads files, `facts` reads certificates, `chain` and `token` verify, `dpop`, `jwk`,
//! `proofs` and `nonce` check that a token's holder has its key, `verifier` joins them with the block list and a
//! bounded memory of what was verified, `tls` builds every rustls configuration, `members` proves roles and what the site has signed,
//! `sealed` keeps secrets from everybody on the way.
//! Absent on purpose: a clock (time is an argument), the network (lists and keys are handed in), the operating system's trust
//! store (only configured authorities count), and any decision about endpoints (that is `cmg-core`).

mod blocks;
pub mod chain;
pub mod dpop;
pub mod facts;
mod files;
pub mod jwk;
mod lists;
pub mod load;
pub mod members;
mod memo;
mod nonce;
mod object;
mod proofs;
pub mod sealed;
mod signed;
mod text;
pub mod tls;
pub mod token;
mod validity;
pub mod verifier;
mod wanted_keys;

pub use chain::ClientTrust;
pub use jwk::{Jwk, jwk_thumbprint};
pub use lists::overdue;
pub use load::{RoleIdentity, ServerIdentity};
pub use nonce::{Nonce, Nonces};
pub use proofs::Proofs;
pub use token::TokenVerifier;
pub use validity::Verified;
pub use verifier::Verifier;
