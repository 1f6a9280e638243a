//! What only a site server may do: issue certificates and tokens, sign snapshots, keep secrets.
//!
//! `root` makes a site's keys, `export` writes the root's away, `issuer` issues certificates, `enrolment` says to whom, `signing` signs
//! snapshots, `tokens` issues tokens, `passwords` keeps accounts, `vault` keeps all other secrets.
//!
//! Absent on purpose: a clock (time is an argument), the database (what is to be kept comes out as bytes and goes in as bytes), and
//! the network. So whether a code was spent or a certificate revoked is for the caller to know.
pub mod archive;
mod certificate;
pub mod enrolment;
pub mod export;
pub mod issuer;
pub mod key;
mod packed;
pub mod passwords;
mod revocation;
pub mod root;
pub mod secret;
pub mod signing;
pub mod status;
mod text;
pub mod token_signer;
pub mod tokens;
pub mod vault;

pub use certificate::{Issued, certificate_pem};
pub use enrolment::{MemberKind, check_enrolment, check_renewal, new_code};
pub use export::RootExport;
pub use issuer::{ClientIssuer, InfrastructureIssuer};
pub use key::{CryptoFailed, CsrRefused, PrivateKey, PublicKey};
pub use revocation::RevokedCertificate;
pub use root::{NewSite, Roots};
pub use secret::Secret;
pub use signing::SnapshotSigner;
pub use status::check_status;
pub use token_signer::{SigningAlgorithm, TokenSigner};
pub use tokens::{Confirmation, IssuedToken};
pub use vault::VaultKey;
