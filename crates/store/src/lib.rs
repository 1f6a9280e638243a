//! The site server's database: SQLite or PostgreSQL, by the same statements.
//!
//! [`Store::open`] makes or upgrades the schema. Whatever changes goes through one [`Change`], which is one transaction; changes are
//! serialised among all site servers by a lock on the one row of table `site`, so nothing here needs a retry and a generation is never given
//! twice. Reads go through [`Store`], or through a [`View`] where several must agree.
//!
//! The `Any` driver of sqlx carries it: numbers are BIGINT, text is TEXT, bytes are BLOB, placeholders are `$1`, and both engines take all of
//! that, NULL included. Two things it cannot say are said as statements: SQLite's pragmas and PostgreSQL's timeouts (`place.rs`).
//!
//! SQLite runs with a write-ahead log and `synchronous = FULL`: a commit that was answered is on disk, and a kill at any point loses none.
//! PostgreSQL promises the same by `synchronous_commit`, which is set on every connection.
//!
//! Absent on purpose: a clock (times are arguments, seconds since 1970), dice (ids and secrets are arguments), meaning (bodies are JSON as
//! text, never looked into), and encryption (what is secret arrives encrypted or hashed).

mod accounts;
mod api_tokens;
mod audit;
mod blocks;
mod bulk_tokens;
mod change;
mod client_tokens;
mod clients;
mod crls;
mod devices;
mod documents;
mod dump;
mod error;
#[cfg(feature = "faults")]
mod faults;
mod hidden;
mod idempotency;
mod issued_certificates;
mod leases;
mod member_status;
mod members;
mod messages;
mod place;
mod presence;
mod row;
mod schema;
mod secrets;
mod sessions;
mod sign_in_failures;
mod sign_ins;
mod site;
mod statement;
mod store;
mod tasks;
mod view;
mod warnings;

pub use accounts::{Account, AccountFields};
pub use api_tokens::ApiToken;
pub use audit::{AuditFilter, AuditRecord, NewAuditRecord};
pub use blocks::{Block, BlockKind, NewBlock};
pub use bulk_tokens::{BulkRefusal, BulkToken};
pub use change::Change;
pub use client_tokens::ClientToken;
pub use clients::{Client, ClientCounts, ClientState};
pub use crls::Crl;
pub use devices::{Device, DeviceFilter, Online};
pub use documents::{Document, DocumentPage};
pub use error::Error;
pub use hidden::Hidden;
pub use idempotency::IdempotentAnswer;
pub use issued_certificates::{CertificateFilter, IssuedCertificate};
pub use leases::Lease;
pub use member_status::MemberStatus;
pub use members::{Member, MemberCertificate};
pub use messages::{Message, NewMessage, Sender};
pub use place::Place;
pub use presence::Present;
pub use schema::SCHEMA;
pub use sessions::Session;
pub use sign_in_failures::SignInFailures;
pub use site::{Generation, Site};
pub use store::Store;
pub use tasks::Task;
pub use view::View;
pub use warnings::Warning;
