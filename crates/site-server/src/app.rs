//! What the site server decides: `http` translates for it, the store keeps for it.

pub mod accounts;
pub mod api_tokens;
pub mod apply;
pub mod blocks;
mod certificates;
pub mod change;
pub mod enrol;
pub mod founding;
pub(crate) mod idempotency;
pub mod in_force;
pub mod keys;
pub mod model;
mod networks;
pub mod passwords;
pub mod publish;
pub mod resources;
pub mod roles;
pub mod sessions;
pub mod setup;
pub mod sign_in;
pub mod status;
mod templates;
