//! What the connection point does on the other side: identity, names, servers, and the way out.

mod identity;
mod names;
mod routes;
mod servers;
