//! A site server manages the system: one change reaches every member, and members need nobody to go on.

mod absence;
mod acme;
mod changes;
mod entra;
mod issuers;
mod issuers_renewed;
mod kills;
mod membership;
mod proofs;
mod registration;
mod revocation;
mod several;
mod sign_in;
mod sites;
