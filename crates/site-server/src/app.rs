//! What the site server decides: `http` translates for it, the store keeps for it.

pub mod blocks;
pub mod model;
mod networks;
pub mod publish;
mod templates;
