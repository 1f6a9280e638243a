//! How TLS is spoken on the public ports, and what stands in front of it.

mod addresses;
mod certificates;
mod resumption;
pub(crate) mod tunnels;
mod versions;
