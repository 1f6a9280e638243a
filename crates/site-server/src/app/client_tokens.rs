//! Tokens of clients: issued, renewed, and those that end soon.
//!
//! A client renews its token whenever it likes before its end: it proves by its key that it is the one that the token was for. The token
//! before counts to its own end, so that a client whose answer was lost is not stranded. A client whose token has ended registers again.
//! Whether a token is blocked stands in the blocks only.

use cmg_api::resource::TokenAlgorithm;
use cmg_authority::{Confirmation, IssuedToken, SigningAlgorithm, TokenSigner};
use cmg_core::problem::Problem;
use cmg_store::{BlockKind, ClientState, ClientToken, View};

use super::change::{ChangeRefused, Draft};
use super::keys::Keys;
use super::{blocking, clients};
use crate::site::Site;

/// The kind, as it is audited.
pub const KIND: &str = "client-token";

/// The windows of the report, in days.
pub const WINDOWS: [i64; 3] = [30, 14, 7];

const DAY: i64 = 86_400;

/// What token a client gets.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What it is bound to.
    pub confirmation: &'a Confirmation,
    /// How it is signed.
    pub algorithm: TokenAlgorithm,
}

/// Issues a token to an approved client, bound to its key.
pub async fn issue(site: &Site, draft: &mut Draft<'_>, client: &str, wanted: &Wanted<'_>) -> Result<IssuedToken, ChangeRefused> {
    issue_as(site, draft, client, wanted, "new").await
}

/// Issues another token to the client that has shown the token of id `old` and proven its key.
pub async fn renew(site: &Site, draft: &mut Draft<'_>, client: &str, old: &str, wanted: &Wanted<'_>) -> Result<IssuedToken, ChangeRefused> {
    let not_found = || ChangeRefused::NotFound { kind: KIND, name: old.to_owned() };
    draft.change.client_token(old).await?.filter(|token| token.client == client && token.kind == "client").ok_or_else(not_found)?;
    if blocking::live(&mut draft.change, BlockKind::Token, old, None).await?.is_some() {
        return refused("token", "it is blocked", "have it unblocked, or register the client again");
    }
    issue_as(site, draft, client, wanted, "renew").await
}

async fn issue_as(
    site: &Site,
    draft: &mut Draft<'_>,
    client: &str,
    wanted: &Wanted<'_>,
    action: &str,
) -> Result<IssuedToken, ChangeRefused> {
    match clients::present(draft, client).await?.state {
        ClientState::Approved => {}
        ClientState::Pending => return refused("client", "it waits for approval", "approve it first"),
        ClientState::Blocked => return refused("client", "it is blocked", "unblock it first"),
    }
    let issued = signer(&draft.keys, wanted.algorithm)?
        .client(client, wanted.confirmation, site.now())
        .map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    note(draft, client, "client", &issued, action).await?;
    Ok(issued)
}

/// Issues a CCM token to the approved client that has shown another credential, and to the user at it where there is one.
pub async fn exchange(
    site: &Site,
    draft: &mut Draft<'_>,
    client: &str,
    user: Option<&str>,
    algorithm: TokenAlgorithm,
) -> Result<IssuedToken, ChangeRefused> {
    let device = format!("GUID:{client}");
    let issued = signer(&draft.keys, algorithm)?.ccm(&device, user, site.now()).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    note(draft, client, "ccm", &issued, "exchange").await?;
    Ok(issued)
}

fn signer(keys: &Keys, algorithm: TokenAlgorithm) -> Result<&TokenSigner, ChangeRefused> {
    let wanted = match algorithm {
        TokenAlgorithm::Rs256 => SigningAlgorithm::Rs256,
        TokenAlgorithm::Es256 => SigningAlgorithm::Es256,
    };
    let found = keys.tokens.iter().find(|signer| signer.algorithm() == wanted);
    found.ok_or_else(|| ChangeRefused::Failed("the site has no key for tokens".into()))
}

/// Keeps the id of a token that was issued, so that it is blocked with its client.
async fn note(draft: &mut Draft<'_>, client: &str, kind: &str, issued: &IssuedToken, action: &str) -> Result<(), ChangeRefused> {
    let token = ClientToken {
        id: issued.id.clone(),
        client: client.to_owned(),
        kind: kind.to_owned(),
        issued_at: draft.now,
        expires_at: issued.expires.0 as i64,
        blocked_at: None,
    };
    draft.change.add_client_token(&token).await?;
    let after = serde_json::json!({ "id": token.id, "kind": kind, "client": client, "expires_at": token.expires_at }).to_string();
    draft.record(action, KIND, &token.id, None, Some(after)).await
}

fn refused<T>(key: &str, what: &str, instead: &str) -> Result<T, ChangeRefused> {
    Err(ChangeRefused::Problems(vec![Problem::new(key, what, instead)]))
}

/// A token, and whether it is blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The token.
    pub token: ClientToken,
    /// Whether it is blocked.
    pub is_blocked: bool,
}

/// The tokens of a client, the latest first.
pub async fn of_client(site: &Site, client: &str) -> Result<Vec<Shown>, cmg_store::Error> {
    let mut view = site.store.view().await?;
    let mut shown = Vec::new();
    for token in view.client_tokens_of(client).await? {
        let is_blocked = is_blocked(&mut view, &token).await?;
        shown.push(Shown { token, is_blocked });
    }
    Ok(shown)
}

/// Tokens that end within so many days, of clients that have no later one; the first to end first.
pub async fn ending(site: &Site, now: i64, days: i64) -> Result<Vec<ClientToken>, cmg_store::Error> {
    let mut view = site.store.view().await?;
    let mut ending = Vec::new();
    for token in view.client_tokens_expiring(now, now + days * DAY).await? {
        let latest = view.client_tokens_of(&token.client).await?.iter().map(|token| token.expires_at).max();
        if latest == Some(token.expires_at) && !is_blocked(&mut view, &token).await? {
            ending.push(token);
        }
    }
    Ok(ending)
}

/// By itself, or with its client.
async fn is_blocked(view: &mut View, token: &ClientToken) -> Result<bool, cmg_store::Error> {
    let with_client = blocking::live(view, BlockKind::Client, &token.client, None).await?;
    Ok(with_client.is_some() || blocking::live(view, BlockKind::Token, &token.id, None).await?.is_some())
}

/// Forgets tokens that ended a day ago or earlier, whatever the clocks of others say, and tells how many.
pub async fn forget_ended(site: &Site, now: i64) -> Result<u64, cmg_store::Error> {
    let mut change = site.store.begin(now).await?;
    let forgotten = change.remove_client_tokens_before(now - DAY).await?;
    change.commit().await?;
    Ok(forgotten)
}
