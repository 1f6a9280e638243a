//! A site server manages the system: one change reaches every member, and members need nobody to go on.

mod absence;
mod acme;
mod agent;
mod changes;
mod client_certificates;
mod devices;
mod entra;
mod issuers;
mod issuers_renewed;
mod kills;
mod membership;
mod policy;
mod proofs;
mod registration;
mod registration_by_provider;
mod revocation;
mod roots;
mod several;
mod sign_in;
mod sites;
mod token_keys;
