//! A site: what owns site systems, connection points and clients.

use serde::{Deserialize, Serialize};

/// A site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The site code, such as `LAB`: 1 to 8 letters and digits.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
}
