//! Sessions and API tokens, and who it is that shows one.
//!
//! Every request looks at the account as it is then: a role that changed, an account that was disabled or removed counts at once. A
//! session lasts 12 hours, and one hour without a request.

use cmg_authority::passwords::{API_TOKEN_PREFIX, NewSecret, new_session, secret_digest};
use cmg_process::log::chain;
use cmg_store::{Change, Error, View};

use super::accounts::role_of;
use super::api_tokens;
use super::change::ChangeRefused;
use super::roles::Role;
use crate::site::Site;

/// The longest that a session lasts, in seconds.
pub const LONGEST: i64 = 12 * 60 * 60;

/// The longest that a session lasts without a request, in seconds.
pub const IDLE: i64 = 60 * 60;

/// When a use is noted again, in seconds: not each request shall wait for a write.
const NOTED: i64 = 60;

/// A session that has begun.
pub struct NewSession {
    /// What its holder shows; nobody sees it again.
    pub secret: NewSecret,
    /// When it ends at the latest, in seconds since 1970.
    pub expires_at: i64,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account.
    pub account: String,
    /// In which role.
    pub role: Role,
    /// What was shown.
    pub by: By,
    /// When that ends, in seconds since 1970.
    pub expires_at: i64,
}

/// What somebody has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A session, by the hash of its secret.
    Session([u8; 32]),
    /// An API token, by its id.
    Token(String),
}

/// Begins a session.
pub(crate) async fn begin(change: &mut Change, account: &str, now: i64) -> Result<NewSession, ChangeRefused> {
    let secret = new_session().map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    let expires_at = now + LONGEST;
    change.remove_expired_sessions().await?;
    change.add_session(&secret.digest, account, expires_at).await?;
    Ok(NewSession { secret, expires_at })
}

/// Who shows this secret; none: it does not count, or does not count any more.
pub async fn who(site: &Site, secret: &str) -> Result<Option<Caller>, Error> {
    let now = site.now().0 as i64;
    let digest = secret_digest(secret);
    let mut view = site.store.view().await?;
    let found = if secret.starts_with(API_TOKEN_PREFIX) {
        by_token(&mut view, &digest, now).await?
    } else {
        by_session(&mut view, digest, now).await?
    };
    // Whoever writes must not hold a connection that another writer waits for.
    drop(view);
    let Some((caller, last_used_at)) = found else { return Ok(None) };
    if last_used_at.is_none_or(|at| now - at >= NOTED)
        && let Err(error) = note_use(site, &caller, now).await
    {
        // A database that is full or read-only can still be read.
        tracing::warn!(error = chain(&error), "The use of a session could not be noted");
    }
    Ok(Some(caller))
}

/// Ends a session.
pub async fn end(site: &Site, digest: &[u8]) -> Result<(), Error> {
    let mut change = site.store.begin(site.now().0 as i64).await?;
    change.end_session(digest).await?;
    change.commit().await
}

/// Ends everything that an account can show.
pub(crate) async fn end_all(change: &mut Change, account: &str) -> Result<(), Error> {
    change.end_sessions_of(account).await?;
    for token in change.api_tokens_of(account).await? {
        change.revoke_api_token(account, &token.id).await?;
    }
    Ok(())
}

/// Whether a session counts at `now`.
fn lasts(session: &cmg_store::Session, now: i64) -> bool {
    now < session.expires_at && now - session.last_used_at < IDLE
}

/// Who asks, and when it was noted last that it does.
type Found = Option<(Caller, Option<i64>)>;

async fn by_session(view: &mut View, digest: [u8; 32], now: i64) -> Result<Found, Error> {
    let Some(session) = view.session_by_hash(&digest).await?.filter(|session| lasts(session, now)) else { return Ok(None) };
    let Some(role) = present_role(view, &session.account).await? else { return Ok(None) };
    let caller = Caller { account: session.account, role, by: By::Session(digest), expires_at: session.expires_at };
    Ok(Some((caller, Some(session.last_used_at))))
}

async fn by_token(view: &mut View, digest: &[u8], now: i64) -> Result<Found, Error> {
    let found = view.api_token_by_hash(digest).await?;
    let Some(token) = found.filter(|token| token.revoked_at.is_none() && now < token.expires_at) else { return Ok(None) };
    let (Some(role), Some(most)) = (present_role(view, &token.account).await?, api_tokens::role_of(&token.id)) else { return Ok(None) };
    let caller = Caller { account: token.account, role: role.min(most), by: By::Token(token.id), expires_at: token.expires_at };
    Ok(Some((caller, token.last_used_at)))
}

async fn note_use(site: &Site, caller: &Caller, now: i64) -> Result<(), Error> {
    let mut change = site.store.begin(now).await?;
    match &caller.by {
        By::Session(digest) => change.touch_session(digest, caller.expires_at).await?,
        By::Token(id) => change.touch_api_token(id).await?,
    }
    change.commit().await
}

/// The role of an account that may sign in.
async fn present_role(view: &mut View, account: &str) -> Result<Option<Role>, Error> {
    Ok(view.account(account).await?.filter(|account| !account.fields.disabled).as_ref().and_then(role_of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_after_twelve_hours_and_after_an_hour_without_use() {
        let session = |last_used_at| cmg_store::Session {
            secret_hash: cmg_store::Hidden(Vec::new()),
            account: "a".to_owned(),
            created_at: 0,
            expires_at: LONGEST,
            last_used_at,
        };

        assert!(lasts(&session(0), IDLE - 1));
        assert!(!lasts(&session(0), IDLE));
        assert!(lasts(&session(LONGEST - 1), LONGEST - 1));
        assert!(!lasts(&session(LONGEST - 1), LONGEST));
    }
}
