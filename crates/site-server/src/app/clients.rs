//! Clients that the site has registered: whether each counts, and what blocking and removing one means.

use cmg_core::problem::Problem;
use cmg_process::dice;
use cmg_store::{BlockKind, Client, ClientState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::blocking;
use super::change::{ChangeRefused, Draft};
use super::text::line_problem;

/// The kind, as it is audited.
pub const KIND: &str = "client";

/// The note of the block of a client that was removed while something that it can show counted.
pub(crate) const REMOVED: &str = "removed";

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityKind {
    /// By a key of its own, which an administrator has approved.
    Key,
    /// By a certificate of an authority that counts.
    Certificate,
    /// By a device identity of Entra ID.
    EntraDevice,
    /// By a user who has signed in with an identity provider.
    OidcUser,
    /// By a bulk registration token.
    BulkToken,
}

impl IdentityKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Key, Self::Certificate, Self::EntraDevice, Self::OidcUser, Self::BulkToken];

    /// The word in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Certificate => "certificate",
            Self::EntraDevice => "entra-device",
            Self::OidcUser => "oidc-user",
            Self::BulkToken => "bulk-token",
        }
    }
}

/// A client to be registered by an administrator.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClient {
    /// What it calls itself.
    pub name: String,
    /// How it proves who it is.
    pub identity_kind: IdentityKind,
    /// Who it is proven to be, in the words of that kind. Default its name.
    #[serde(default)]
    pub identity: Option<String>,
    /// SHA-256 thumbprint of its key (RFC 7638), base64 for URLs: 43 characters.
    pub key_thumbprint: String,
    /// Whether it counts at once. Default false: it waits for approval.
    #[serde(default)]
    pub approved: bool,
}

impl NewClient {
    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = line_problem("name", &self.name).into_iter().collect();
        problems.extend(self.identity.as_deref().and_then(|identity| line_problem("identity", identity)));
        let is_character = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.key_thumbprint.len() != 43 || !self.key_thumbprint.bytes().all(is_character) {
            let what = format!("\"{}\" is no thumbprint of a key", self.key_thumbprint);
            problems.push(Problem::new(
                "key_thumbprint",
                what,
                "write the SHA-256 thumbprint of RFC 7638: 43 characters of base64 for URLs",
            ));
        }
        problems
    }
}

/// Whom the certificates of a client name.
pub fn subject(client: &str) -> String {
    format!("client/{client}")
}

/// Registers a client.
pub async fn add(draft: &mut Draft<'_>, new: &NewClient) -> Result<Client, ChangeRefused> {
    let problems = new.problems();
    if !problems.is_empty() {
        return Err(ChangeRefused::Problems(problems));
    }
    let identity = new.identity.as_ref().unwrap_or(&new.name);
    let client = Client {
        id: guid(),
        name: new.name.clone(),
        identity: format!("{}/{identity}", new.identity_kind.word()),
        key_thumbprint: new.key_thumbprint.clone(),
        state: if new.approved { ClientState::Approved } else { ClientState::Pending },
        created_at: draft.now,
        last_seen_at: None,
        body: serde_json::json!({ "identity_kind": new.identity_kind.word() }).to_string(),
    };
    draft.change.add_client(&client).await?;
    draft.record("new", KIND, &client.id, None, Some(audited(&client))).await?;
    Ok(client)
}

/// An id that nobody has: not secret, so it need not be hard to guess.
fn guid() -> String {
    let (high, low) = (dice::draw(), dice::draw());
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0x0fff);
    format!("{a:08x}-{b:04x}-4{c:03x}-{:04x}-{:012x}", low >> 48 & 0x3fff | 0x8000, low & 0xffff_ffff_ffff)
}

/// Lets a client count that waits.
pub async fn approve(draft: &mut Draft<'_>, id: &str) -> Result<Client, ChangeRefused> {
    let client = present(draft, id).await?;
    match client.state {
        ClientState::Approved => Ok(client),
        ClientState::Pending => {
            draft.change.set_client_state(id, ClientState::Approved).await?;
            let approved = Client { state: ClientState::Approved, ..client.clone() };
            draft.record("approve", KIND, id, Some(audited(&client)), Some(audited(&approved))).await?;
            Ok(approved)
        }
        ClientState::Blocked => {
            Err(ChangeRefused::Problems(vec![Problem::new("state", "the client is blocked", "unblock it, which approves it too")]))
        }
    }
}

/// Blocks a client with everything that it can show, and, where that is said, what it came by.
pub async fn block(draft: &mut Draft<'_>, id: &str, note: &str, origin: bool) -> Result<Client, ChangeRefused> {
    present(draft, id).await?;
    if origin {
        blocking::with_origin(draft, id, note).await?;
    } else {
        blocking::block(draft, BlockKind::Client, id, note).await?;
    }
    present(draft, id).await
}

/// Lifts the block of a client.
pub async fn unblock(draft: &mut Draft<'_>, id: &str) -> Result<Client, ChangeRefused> {
    let client = present(draft, id).await?;
    if !blocking::unblock(draft, BlockKind::Client, id).await? && client.state == ClientState::Blocked {
        draft.change.set_client_state(id, ClientState::Approved).await?;
    }
    present(draft, id).await
}

/// Removes a client. Where something that it can show counts still, its id stays blocked: nothing else would refuse it.
pub async fn remove(draft: &mut Draft<'_>, id: &str) -> Result<(), ChangeRefused> {
    let client = present(draft, id).await?;
    if blocking::has_credentials(draft, id).await? {
        blocking::block(draft, BlockKind::Client, id, REMOVED).await?;
    }
    draft.change.remove_client(id).await?;
    draft.record("remove", KIND, id, Some(audited(&client)), None).await
}

/// A client, or that there is none.
pub async fn present(draft: &mut Draft<'_>, id: &str) -> Result<Client, ChangeRefused> {
    let client = draft.change.client(id).await?;
    client.ok_or_else(|| ChangeRefused::NotFound { kind: KIND, name: id.to_owned() })
}

/// Sets the state where there is such a client: one that is not registered can be blocked too.
pub(crate) async fn set_state(draft: &mut Draft<'_>, id: &str, state: ClientState) -> Result<(), ChangeRefused> {
    if draft.change.client(id).await?.is_some() {
        draft.change.set_client_state(id, state).await?;
        if state == ClientState::Blocked {
            draft.change.forget_presence(id).await?;
        }
    }
    Ok(())
}

fn audited(client: &Client) -> String {
    serde_json::json!({
        "id": client.id,
        "name": client.name,
        "identity": client.identity,
        "key_thumbprint": client.key_thumbprint,
        "state": client.state.word(),
    })
    .to_string()
}
