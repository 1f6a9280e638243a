//! What the site server decides: `http` translates for it, the store keeps for it.

pub mod blocks;
pub mod change;
pub mod enrol;
pub mod founding;
pub mod in_force;
pub mod keys;
pub mod model;
mod networks;
pub mod publish;
mod templates;
