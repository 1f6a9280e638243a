//! Clients come in: they register, renew their tokens, and exchange a credential for a CCM token.
//!
//! A management point asks in a client's name, and is believed no more than it has to be: tokens and proofs are verified here by the
//! site's own keys. What only it and the connection point can know, they are believed: which address a client came from, which URL it
//! asked for, and that it holds the key of the certificate that it has shown.
//!
//! A client is its key. Whoever registers again with the same key is the same client, and costs its bulk registration token nothing, so
//! that an answer that was lost on the way is no harm. Whether a token of the site is blocked, and whether a bulk registration token has
//! uses left, is decided in the transaction that issues.

mod limits;
mod proving;

use std::sync::Arc;

use cmg_api::TokenKind as Kind;
use cmg_api::clients::{Asked, CcmToken, ClientToken};
use cmg_api::resource::Approval;
use cmg_authority::{Confirmation, IssuedToken};
use cmg_core::boundary::Network;
use cmg_core::identity::TokenKind;
use cmg_core::problem::Problem;
use cmg_core::refusal::Refusal;
use cmg_credentials::dpop::DpopRefused;
use cmg_store::{BlockKind, BulkRefusal, Client, ClientState};
use tracing::warn;

pub(crate) use limits::Limits;
use proving::{Asking, Credential};
pub(crate) use proving::{Verifiers, is_bounded};

use super::change::{Actor, ChangeRefused, Draft};
use super::client_tokens::Wanted;
use super::clients::{self, IdentityKind, NewClient};
use super::text::line_problem;
use super::{blocking, bulk_tokens, client_tokens};
use crate::site::Site;

/// After which part of its life a client asks for its next token: 60 of 90 days.
const RENEWED_AFTER: (u64, u64) = (2, 3);

/// Tokens that a client gets in a day at most: a CCM token lasts eight hours, one of the site 90 days.
const MOST_A_DAY: usize = 50;

/// A day, in seconds.
const DAY: i64 = 86_400;

/// Why a client gets nothing.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationRefused {
    /// Too many requests.
    #[error("there were too many requests {0}: wait a little, and ask again")]
    TooMany(&'static str),
    /// What the client says about itself has a problem.
    #[error("{0}")]
    Invalid(Problem),
    /// Nobody registers through this management point.
    #[error("this management point is not published: allow CMG traffic for it")]
    NotPublished,
    /// The token or the certificate does not count.
    #[error("the credential does not count: {}", .0.row().label)]
    Credential(Refusal),
    /// A token of a kind that does not count here.
    #[error("a token of kind {0} does not count here")]
    WrongKind(&'static str),
    /// A token for somebody else.
    #[error("the token is for another audience")]
    WrongAudience,
    /// There is no proof that the client holds a key.
    #[error("there is no proof of possession: send one in DPoP (RFC 9449), signed by the client's own key")]
    NoProof,
    /// The proof does not count.
    #[error("the proof of possession does not count: {0}")]
    Proof(DpopRefused),
    /// The proof is by another key than the token.
    #[error("the token is bound to another key than the one that the request is proven with")]
    WrongKey,
    /// The token is not one of the site's any more.
    #[error("the site does not know this token: register again with another credential")]
    UnknownToken,
    /// The token has ended.
    #[error("the token has ended: get another one")]
    Expired,
    /// The token is blocked.
    #[error("the token is blocked")]
    Blocked,
    /// The bulk registration token was used as often as it may be.
    #[error("the token was used as often as it may be: get another one")]
    UsedUp,
    /// The bulk registration token is good from another network.
    #[error("the token does not count from this address")]
    WrongNetwork,
    /// No client has this key.
    #[error("no client is registered with this key: register first")]
    NotRegistered,
    /// The client waits for an administrator.
    #[error("the client waits for an administrator's approval")]
    Waits,
    /// The client is blocked.
    #[error("the client is blocked")]
    ClientBlocked,
    /// The change was refused.
    #[error(transparent)]
    Change(#[from] ChangeRefused),
}

impl From<cmg_store::Error> for RegistrationRefused {
    fn from(error: cmg_store::Error) -> Self {
        Self::Change(error.into())
    }
}

impl From<Refusal> for RegistrationRefused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TokenExpired => Self::Expired,
            Refusal::TokenBlocked => Self::Blocked,
            refusal => Self::Credential(refusal),
        }
    }
}

impl From<BulkRefusal> for RegistrationRefused {
    fn from(refusal: BulkRefusal) -> Self {
        match refusal {
            BulkRefusal::Unknown => Self::UnknownToken,
            BulkRefusal::Expired => Self::Expired,
            BulkRefusal::Blocked => Self::Blocked,
            BulkRefusal::UsedUp => Self::UsedUp,
        }
    }
}

/// Registers a client, or finds it again by its key, and gives it a token.
pub async fn register(site: &Arc<Site>, point: &str, asked: &Asked) -> Result<ClientToken, RegistrationRefused> {
    let name = asked.register.as_ref().map_or("", |register| register.name.as_str());
    if let Some(problem) = line_problem("name", name) {
        return Err(RegistrationRefused::Invalid(problem));
    }
    let asking = proving::prove(site, point, asked, &[Kind::Bulk, Kind::OidcDevice, Kind::OidcUser]).await?;
    let mut draft = site.draft(&actor(point, asked)).await?;
    demand_identity(&mut draft, &asking).await?;
    let known = draft.change.clients_by_key(&asking.key).await?.into_iter().next();
    let client = match known {
        Some(client) => again(&mut draft, &asking, client, name, asked).await?,
        None => {
            let client = first(&mut draft, &asking, name, asked).await?;
            if client.state == ClientState::Pending {
                // What has come stays, for an administrator to see; the token was used for it once and for all.
                draft.commit().await?;
                return Err(RegistrationRefused::Waits);
            }
            client.id
        }
    };
    demand_few_tokens(&mut draft, &client).await?;
    let wanted = Wanted { confirmation: &asking.confirmation, algorithm: draft.model.token_algorithm(point) };
    let issued = client_tokens::issue(site, &mut draft, &client, &wanted).await?;
    draft.commit().await?;
    Ok(answer(site, client, issued, &asking.confirmation))
}

/// Gives a registered client its next token: by the one that it has and the key of that one, or by its certificate.
pub async fn renew(site: &Arc<Site>, point: &str, asked: &Asked) -> Result<ClientToken, RegistrationRefused> {
    let asking = proving::prove(site, point, asked, &[Kind::Site]).await?;
    let mut draft = site.draft(&actor(point, asked)).await?;
    let client = registered(&mut draft, &asking).await?.id;
    demand_few_tokens(&mut draft, &client).await?;
    let wanted = Wanted { confirmation: &asking.confirmation, algorithm: draft.model.token_algorithm(point) };
    let issued = match &asking.credential {
        Credential::Token(facts) => {
            let old = known_token(&mut draft, facts.id.as_deref(), &client).await?;
            client_tokens::renew(site, &mut draft, &client, &old, &wanted).await?
        }
        Credential::Certificate(_) => client_tokens::issue(site, &mut draft, &client, &wanted).await?,
    };
    draft.commit().await?;
    Ok(answer(site, client, issued, &asking.confirmation))
}

/// Gives a registered client a CCM token for its credential.
pub async fn exchange(site: &Arc<Site>, point: &str, asked: &Asked) -> Result<CcmToken, RegistrationRefused> {
    let asking = proving::prove(site, point, asked, &[Kind::Bulk, Kind::OidcDevice, Kind::OidcUser, Kind::Site]).await?;
    let mut draft = site.draft(&actor(point, asked)).await?;
    let client = registered(&mut draft, &asking).await?.id;
    demand_few_tokens(&mut draft, &client).await?;
    let mut user = None;
    if let Credential::Token(facts) = &asking.credential {
        match facts.kind {
            TokenKind::Site => _ = known_token(&mut draft, facts.id.as_deref(), &client).await?,
            TokenKind::Bulk => _ = good_bulk_token(&mut draft, &asking, asked).await?,
            TokenKind::OidcUser => user = facts.claims.get("oid").or(facts.subject.as_ref()).cloned(),
            TokenKind::OidcDevice | TokenKind::Ccm => {}
        }
    }
    let algorithm = draft.model.token_algorithm(point);
    let issued = client_tokens::exchange(site, &mut draft, &client, user.as_deref(), algorithm).await?;
    draft.commit().await?;
    let expires_in = issued.expires.0.saturating_sub(site.now().0);
    Ok(CcmToken { access_token: issued.token, token_type: "Bearer".to_owned(), expires_in })
}

fn actor(point: &str, asked: &Asked) -> Actor {
    let account = format!("management-point/{point}");
    Actor { account, role: "member".to_owned(), address: asked.address.clone(), request_id: asked.request_id.clone() }
}

fn answer(site: &Site, client_id: String, issued: IssuedToken, confirmation: &Confirmation) -> ClientToken {
    let (now, (part, of)) = (site.now().0, RENEWED_AFTER);
    let life = issued.expires.0.saturating_sub(now);
    let token_type = match confirmation {
        Confirmation::Key(_) => "DPoP",
        Confirmation::Certificate(_) => "mTLS",
    };
    ClientToken {
        client_id,
        token: issued.token,
        token_type: token_type.to_owned(),
        expires_at: issued.expires.0,
        renew_after: now + life * part / of,
    }
}

/// A client that nobody knew.
async fn first(draft: &mut Draft<'_>, asking: &Asking, name: &str, asked: &Asked) -> Result<Client, RegistrationRefused> {
    let (identity_kind, identity) = asking.identity();
    if identity_kind == IdentityKind::EntraDevice {
        // A blocked device does not come back with another key. A user may have several devices.
        for known in draft.change.clients_by_identity(&identity).await? {
            demand_not_blocked(draft, &known).await?;
        }
    }
    if identity_kind == IdentityKind::BulkToken {
        let id = good_bulk_token(draft, asking, asked).await?;
        let uses = draft.change.use_bulk_token(&id).await??;
        let after = serde_json::json!({ "uses": uses, "key_thumbprint": asking.key }).to_string();
        draft.record("use", bulk_tokens::KIND, &id, None, Some(after)).await?;
    }
    let approved = is_approved(draft, identity_kind);
    let new = NewClient { name: name.to_owned(), identity_kind, identity: Some(identity), key_thumbprint: asking.key.clone(), approved };
    let client = clients::add(draft, &new).await?;
    let namesakes = draft.change.namesakes(name, &client.id).await?;
    if !namesakes.is_empty() {
        warn!(client = client.id, name, others = namesakes.join(", "), "A device registered under a name that others have with other keys");
    }
    Ok(client)
}

/// Whether a new client counts at once. An authority that counts has looked at who gets a certificate; whoever has a token may be anybody.
fn is_approved(draft: &Draft<'_>, kind: IdentityKind) -> bool {
    let site = draft.model.sites.get(&draft.model.own_site);
    let by_hand = site.is_some_and(|site| site.approval == Approval::Manual);
    match kind {
        IdentityKind::Certificate | IdentityKind::Key => true,
        IdentityKind::BulkToken | IdentityKind::EntraDevice | IdentityKind::OidcUser => !by_hand,
    }
}

/// A client that has registered before: it stays what it is, under the name that it has today.
async fn again(draft: &mut Draft<'_>, asking: &Asking, client: Client, name: &str, asked: &Asked) -> Result<String, RegistrationRefused> {
    demand_approved(draft, &client).await?;
    if asking.identity().0 == IdentityKind::BulkToken {
        good_bulk_token(draft, asking, asked).await?;
    }
    if client.name != name {
        draft.change.replace_client(&Client { name: name.to_owned(), ..client.clone() }).await?;
        let told = |name: &str| Some(serde_json::json!({ "name": name }).to_string());
        draft.record("set", clients::KIND, &client.id, told(&client.name), told(name)).await?;
    }
    Ok(client.id)
}

/// The id of a bulk registration token that counts, whether or not it has uses left.
async fn good_bulk_token(draft: &mut Draft<'_>, asking: &Asking, asked: &Asked) -> Result<String, RegistrationRefused> {
    let id = asking.token_id().ok_or(RegistrationRefused::UnknownToken)?;
    let token = draft.change.bulk_token(id).await?.ok_or(RegistrationRefused::UnknownToken)?;
    if token.blocked_at.is_some() || blocking::live(&mut draft.change, BlockKind::Token, id, None).await?.is_some() {
        return Err(RegistrationRefused::Blocked);
    }
    if token.expires_at <= draft.now {
        return Err(RegistrationRefused::Expired);
    }
    match &token.network {
        Some(network) if !is_within(network, &asked.address) => Err(RegistrationRefused::WrongNetwork),
        _ => Ok(token.id),
    }
}

/// Whether an address is in a network. One that cannot be read is in none.
fn is_within(network: &str, address: &str) -> bool {
    network.parse().is_ok_and(|network: Network| address.parse().is_ok_and(|address| network.contains(address)))
}

/// The id of a token of the site that is this client's and not blocked.
async fn known_token(draft: &mut Draft<'_>, id: Option<&str>, client: &str) -> Result<String, RegistrationRefused> {
    let id = id.ok_or(RegistrationRefused::UnknownToken)?;
    let token = draft.change.client_token(id).await?.filter(|token| token.client == client);
    let token = token.ok_or(RegistrationRefused::UnknownToken)?;
    match blocking::live(&mut draft.change, BlockKind::Token, id, None).await? {
        Some(_) => Err(RegistrationRefused::Blocked),
        None => Ok(token.id),
    }
}

/// The client whose key is proven. A token of the site names its client, and that one it must be.
async fn registered(draft: &mut Draft<'_>, asking: &Asking) -> Result<Client, RegistrationRefused> {
    let mut of_key = draft.change.clients_by_key(&asking.key).await?.into_iter();
    let client = of_key.next().ok_or(RegistrationRefused::NotRegistered)?;
    if asking.subject_of_site().is_some_and(|subject| subject != client.id) {
        return Err(RegistrationRefused::WrongKey);
    }
    demand_identity(draft, asking).await?;
    demand_approved(draft, &client).await?;
    Ok(client)
}

/// Who is blocked by identity does not come in, whatever the key. A bulk registration token is blocked by its id, and looked at elsewhere.
async fn demand_identity(draft: &mut Draft<'_>, asking: &Asking) -> Result<(), RegistrationRefused> {
    let (kind, identity) = asking.identity();
    let identity = format!("{}/{identity}", kind.word());
    match blocking::live(&mut draft.change, BlockKind::Identity, &identity, None).await? {
        Some(_) => Err(RegistrationRefused::ClientBlocked),
        None => Ok(()),
    }
}

async fn demand_approved(draft: &mut Draft<'_>, client: &Client) -> Result<(), RegistrationRefused> {
    demand_not_blocked(draft, client).await?;
    match client.state {
        ClientState::Approved => Ok(()),
        ClientState::Pending => Err(RegistrationRefused::Waits),
        ClientState::Blocked => Err(RegistrationRefused::ClientBlocked),
    }
}

/// The block counts by itself: after a restore the client may be as it was before.
async fn demand_not_blocked(draft: &mut Draft<'_>, client: &Client) -> Result<(), RegistrationRefused> {
    let is_blocked =
        client.state == ClientState::Blocked || blocking::live(&mut draft.change, BlockKind::Client, &client.id, None).await?.is_some();
    if is_blocked { Err(RegistrationRefused::ClientBlocked) } else { Ok(()) }
}

/// A client that asks again and again would fill the database.
async fn demand_few_tokens(draft: &mut Draft<'_>, client: &str) -> Result<(), RegistrationRefused> {
    let since = draft.now - DAY;
    let issued = draft.change.client_tokens_of(client).await?.iter().filter(|token| token.issued_at > since).count();
    if issued < MOST_A_DAY { Ok(()) } else { Err(RegistrationRefused::TooMany("of this client today")) }
}
