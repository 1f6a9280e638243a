//! Why a sign-in by a provider does not begin, and why it ends without a session.

use cmg_core::problem::Problem;

use crate::app::change::ChangeRefused;
use crate::app::sign_in::SignInRefused;

/// Why no sign-in begins.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BeginRefused {
    /// What was sent does not hold.
    #[error("the sign-in cannot begin")]
    Problems(Vec<Problem>),
    /// The provider cannot be asked.
    #[error("the provider cannot be asked: {0}")]
    Provider(String),
    /// There are too many.
    #[error("too many sign-ins are under way: try again in a few minutes, or sign in by a password")]
    TooMany,
    /// Too many tries, or the database refused.
    #[error(transparent)]
    SignIn(#[from] SignInRefused),
    /// Something that must not happen.
    #[error("the sign-in could not be kept")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why somebody whom the provider sent back is not let in. The words are for that person.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReturnRefused {
    /// The state is unknown.
    #[error("This sign-in is not known here, was used already, or took longer than ten minutes. Begin it again: cmg login --provider NAME")]
    State,
    /// The provider said no.
    #[error("The provider did not sign you in: it says \"{0}\". Begin again, or ask whoever runs it.")]
    Denied(String),
    /// The answer came from elsewhere.
    #[error("The answer is of another provider than the one that was asked, and does not count. Begin the sign-in again.")]
    Issuer,
    /// It came to the address of another provider.
    #[error(
        "The answer came by the provider \"{came_by}\", and this sign-in was begun at \"{begun_at}\": it does not count. Begin again; if it happens \
         again, tell a full administrator, since one provider may be passing you off on another, or \"{begun_at}\" has the wrong redirect URI \
         registered."
    )]
    OtherProvider {
        /// Whose address it came to.
        came_by: String,
        /// Where the sign-in was begun.
        begun_at: String,
    },
    /// There is no code.
    #[error("The provider sent you back without a code. Begin the sign-in again.")]
    NoCode,
    /// The provider was changed or disabled.
    #[error("The sign-in provider was changed or disabled meanwhile. Begin the sign-in again, or ask a full administrator.")]
    Gone,
    /// The provider cannot be asked.
    #[error("The provider could not be asked who you are: {0}. Try again; if it stays so, tell a full administrator.")]
    Provider(String),
    /// Its ID token does not count.
    #[error("What the provider says about you does not count: {0}. Begin again; if it stays so, tell a full administrator.")]
    IdToken(String),
    /// Nobody is tied to that subject.
    #[error(
        "No account here is tied to you. Ask a full administrator to do so: cmg account set NAME --provider {provider} --subject '{subject}'"
    )]
    Unknown {
        /// The provider.
        provider: String,
        /// What it calls the person.
        subject: String,
    },
    /// The answer came from another browser than the question went to.
    #[error(
        "The answer did not come from the browser that was asked, and the sign-in has ended. Allow cookies for this site, and begin again."
    )]
    OtherBrowser,
    /// Other words were typed.
    #[error(
        "These are not the letters that `cmg login` shows, and the sign-in has ended. If you have begun one yourself, begin it again. If you \
         have not, somebody wanted to be signed in as you: tell a full administrator."
    )]
    Words,
    /// The account is disabled.
    #[error("Your account is disabled. Ask a full administrator.")]
    Disabled,
    /// The database refused.
    #[error("The site server could not keep the sign-in: {0}. Try again.")]
    Change(#[from] ChangeRefused),
}

impl From<cmg_store::Error> for ReturnRefused {
    fn from(error: cmg_store::Error) -> Self {
        Self::Change(error.into())
    }
}

impl From<cmg_store::Error> for BeginRefused {
    fn from(error: cmg_store::Error) -> Self {
        Self::SignIn(error.into())
    }
}
