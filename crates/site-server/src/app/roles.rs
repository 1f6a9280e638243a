//! The roles of accounts, and what each permits.

use serde::{Deserialize, Serialize};

/// What an account may do; the later ones may everything that the earlier ones may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads everything but secrets.
    ReadOnlyAnalyst,
    /// Changes everything but accounts.
    InfrastructureAdministrator,
    /// Changes everything.
    FullAdministrator,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: anybody may ask.
    Nobody,
    /// Somebody who is signed in; what it does is to one's own account, or is decided further inside.
    SignedIn,
    /// Somebody who may read the site's configuration.
    Read,
    /// Somebody who may change the site's configuration.
    Infrastructure,
    /// Somebody who may change accounts.
    Full,
}

impl Role {
    /// The role as it is stored and written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnlyAnalyst => "read-only-analyst",
            Self::InfrastructureAdministrator => "infrastructure-administrator",
            Self::FullAdministrator => "full-administrator",
        }
    }

    /// Reads what [`Role::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::ReadOnlyAnalyst, Self::InfrastructureAdministrator, Self::FullAdministrator].into_iter().find(|role| role.as_str() == text)
    }
}

impl Needs {
    /// Whether somebody of this role may; none: nobody is signed in.
    pub fn permits(self, role: Option<Role>) -> bool {
        let least = match self {
            Self::Nobody => return true,
            Self::SignedIn | Self::Read => Role::ReadOnlyAnalyst,
            Self::Infrastructure => Role::InfrastructureAdministrator,
            Self::Full => Role::FullAdministrator,
        };
        role.is_some_and(|role| role >= least)
    }
}
