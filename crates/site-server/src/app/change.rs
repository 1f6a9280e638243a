//! The one way in which anything changes: a draft is taken, changed, judged, and committed as one transaction.
//!
//! Whatever the draft holds is stored together with its audit records and, where members run by it, with the next generation. A draft
//! that has problems stores nothing. Drafts follow each other, on this site server by a lock and among several by the database's.

use std::sync::Arc;
use std::time::Duration;

use cmg_api::control::GenerationId;
use cmg_core::problem::Problem;
use cmg_store::{Change, NewAuditRecord};
use serde::Serialize;
use tokio::sync::MutexGuard;
use tokio::time::timeout;

use super::crls::leave_out_misfits;
use super::in_force::{InForce, NotInForce, id};
use super::issued_certificates::MEMBERS;
use super::keys::Keys;
use super::model::{Kept, Model};
use super::publish::{Ground, secrets_needed};
use super::{policies, text};
use crate::site::Site;

/// Who changes something.
#[derive(Clone, Debug, Default)]
pub struct Actor {
    /// The account, or what stands in its place, such as `connection-point/cp-1`.
    pub account: String,
    /// Its role.
    pub role: String,
    /// From which address.
    pub address: String,
    /// The request.
    pub request_id: String,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeRefused {
    /// What was asked for has problems.
    #[error("{} problems", .0.len())]
    Problems(Vec<Problem>),
    /// There is no such thing.
    #[error("there is no {kind} \"{name}\"")]
    NotFound {
        /// The kind.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// There is one already.
    #[error("there is a {kind} \"{name}\" already")]
    Exists {
        /// The kind.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Somebody else changed it since it was read.
    #[error("somebody else has changed it, it has version {present}: read it again, and change that")]
    Stale {
        /// The version that is there.
        present: u64,
    },
    /// The database refused.
    #[error(transparent)]
    Store(cmg_store::Error),
    /// Something that must not happen.
    #[error("the site server failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<cmg_store::Error> for ChangeRefused {
    fn from(error: cmg_store::Error) -> Self {
        match error {
            cmg_store::Error::Stale { present } => Self::Stale { present },
            error => Self::Store(error),
        }
    }
}

impl From<NotInForce> for ChangeRefused {
    fn from(error: NotInForce) -> Self {
        match error {
            NotInForce::Store(error) => error.into(),
            NotInForce::Keys(super::keys::KeysRefused::Store(error)) => error.into(),
            NotInForce::Problems(problems) => Self::Problems(problems),
            error => Self::Failed(Box::new(error)),
        }
    }
}

/// The longest that a change waits for the one before it on this site server.
const PATIENCE: Duration = Duration::from_secs(5);

/// A change in the making.
pub struct Draft<'s> {
    site: &'s Site,
    _turn: MutexGuard<'s, ()>,
    /// The transaction, for what is not part of the model.
    pub change: Change,
    /// What was in force when the draft was taken.
    pub before: Arc<InForce>,
    /// The configuration as it will be.
    pub model: Model,
    /// What will be published besides.
    pub ground: Ground,
    /// The keys of the site, as they will be.
    pub(crate) keys: Arc<Keys>,
    /// When.
    pub now: i64,
    publishes: bool,
    generation: Option<GenerationId>,
    actor: Actor,
}

impl Site {
    /// Takes a draft. Until it is committed or dropped, nobody else changes anything.
    pub async fn draft(&self, actor: &Actor) -> Result<Draft<'_>, ChangeRefused> {
        let waited = timeout(PATIENCE, self.turn().lock()).await;
        let turn = waited.map_err(|late| ChangeRefused::Store(cmg_store::Error::Busy(Box::new(late))))?;
        let now = self.now().0 as i64;
        let mut change = self.store.begin(now).await?;
        let mut before = self.in_force();
        if id(change.generation().await?) != before.generation() {
            // Another site server has changed something.
            before = Arc::new(InForce::read(&mut change, self.vault(), self.judged(), &self.code).await?);
        }
        Ok(Draft {
            site: self,
            _turn: turn,
            change,
            model: before.model.clone(),
            ground: before.ground.clone(),
            keys: Arc::clone(&before.keys),
            before,
            now,
            publishes: false,
            generation: None,
            actor: actor.clone(),
        })
    }
}

impl Draft<'_> {
    /// Adds a resource.
    pub async fn insert<T: Kept>(&mut self, resource: T) -> Result<(), ChangeRefused> {
        let name = resource.name().to_owned();
        let body = json(&resource);
        match self.change.insert_document(T::KIND, &name, &body).await {
            Ok(()) => {}
            Err(cmg_store::Error::Conflict) => return Err(ChangeRefused::Exists { kind: T::KIND, name }),
            Err(error) => return Err(error.into()),
        }
        T::of_mut(&mut self.model).insert(name.clone(), Arc::new(resource));
        self.publishes = true;
        self.record("new", T::KIND, &name, None, Some(body)).await
    }

    /// Puts a resource in the place of the one of its name that has this version.
    pub async fn replace<T: Kept>(&mut self, resource: T, expected: u64) -> Result<u64, ChangeRefused> {
        let name = resource.name().to_owned();
        let Some(before) = T::of(&self.model).get(&name).map(|before| json(&**before)) else {
            return Err(ChangeRefused::NotFound { kind: T::KIND, name });
        };
        let body = json(&resource);
        let version = self.change.replace_document(T::KIND, &name, &body, expected).await?;
        T::of_mut(&mut self.model).insert(name.clone(), Arc::new(resource));
        self.publishes = true;
        self.record("set", T::KIND, &name, Some(before), Some(body)).await?;
        Ok(version)
    }

    /// Takes a resource away.
    pub async fn remove<T: Kept>(&mut self, name: &str, expected: Option<u64>) -> Result<(), ChangeRefused> {
        let Some(before) = T::of(&self.model).get(name).map(|before| json(&**before)) else {
            return Err(ChangeRefused::NotFound { kind: T::KIND, name: name.to_owned() });
        };
        self.change.remove_document(T::KIND, name, expected).await?;
        T::of_mut(&mut self.model).remove(name);
        self.publishes = true;
        self.record("remove", T::KIND, name, Some(before), None).await
    }

    /// Makes the commit publish the next generation, whatever else it does.
    pub fn publish(&mut self) {
        self.publishes = true;
    }

    /// The generation that the commit will publish; it publishes one from here on. Blocks are stored under its number.
    pub async fn generation(&mut self) -> Result<GenerationId, ChangeRefused> {
        self.publishes = true;
        if let Some(generation) = self.generation {
            return Ok(generation);
        }
        let generation = id(self.change.next_generation().await?);
        self.generation = Some(generation);
        Ok(generation)
    }

    /// Raises the epoch, so that members follow whatever number they have seen; the commit publishes that.
    pub(crate) async fn raise_epoch(&mut self) -> Result<(), ChangeRefused> {
        self.publishes = true;
        self.generation = Some(id(self.change.raise_epoch().await?));
        Ok(())
    }

    /// Reads the keys of the site again, since this draft has changed them; the commit publishes that.
    pub(crate) async fn read_keys(&mut self) -> Result<(), ChangeRefused> {
        self.publishes = true;
        self.keys = Arc::new(Keys::open(Arc::clone(self.site.vault()), &mut self.change).await.map_err(NotInForce::from)?);
        if let Some(clients) = &mut self.ground.site_clients {
            *clients = self.keys.site_clients(std::mem::take(&mut clients.lists));
        }
        Ok(())
    }

    /// Who changes something.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Appends an audit record. The texts are JSON without secrets.
    pub async fn record(
        &mut self,
        action: &str,
        kind: &str,
        name: &str,
        before: Option<String>,
        after: Option<String>,
    ) -> Result<(), ChangeRefused> {
        let Actor { account, role, address, request_id } = self.actor.clone();
        let (action, kind, name) = (action.to_owned(), kind.to_owned(), name.to_owned());
        let record = NewAuditRecord { account, role, address, action, kind, name, before, after, request_id };
        self.change.append_audit(&record).await?;
        Ok(())
    }

    /// Judges the whole, stores it, and puts it in force. The generation that is in force then.
    pub async fn commit(mut self) -> Result<GenerationId, ChangeRefused> {
        if !self.publishes {
            self.change.commit().await?;
            return Ok(self.before.generation());
        }
        let generation = self.generation().await?;
        self.forget_members().await?;
        self.forget_misfits().await?;
        self.ground.revoked_members = super::issued_certificates::revoked_members(&mut self.change).await?;
        self.forget_challenges().await?;
        super::sign_in_providers::end_sessions(&mut self.change, &self.before.model, &self.model).await?;
        let Self { model, ground, .. } = &mut self;
        ground.issuer_keys.retain(|name, _| model.token_issuers.contains_key(name));
        seal_secrets(self.site, &mut self.change, &self.model, &mut self.ground).await?;
        policies::keep(&mut self.change, &self.model, &mut self.ground, &self.keys, generation, self.now).await?;
        let next = InForce::new(self.model, self.ground, self.keys, self.site.judged(), generation)?;
        self.change.commit().await?;
        self.site.put_in_force(next);
        Ok(generation)
    }
}

impl Draft<'_> {
    /// Fetched lists that do not go with the authorities any more.
    async fn forget_misfits(&mut self) -> Result<(), ChangeRefused> {
        for (trust, list) in leave_out_misfits(&self.before.model, &self.model, &mut self.ground) {
            for stored in self.change.crls_of(&trust).await? {
                if stored.der.as_deref() == Some(&*list) {
                    self.change.remove_crl(&trust, &stored.source).await?;
                }
            }
        }
        Ok(())
    }

    /// Challenges of certificates that no ACME server issues any more.
    async fn forget_challenges(&mut self) -> Result<(), ChangeRefused> {
        let ended: Vec<String> = self.ground.acme.keys().filter(|name| !self.model.is_ordered(name)).cloned().collect();
        for name in ended {
            self.ground.acme.remove(&name);
            self.change.remove_secret(&super::acme::challenges_place(&name)).await?;
        }
        Ok(())
    }

    /// Members that the model does not have any more lose their certificate, and whatever was kept for them.
    async fn forget_members(&mut self) -> Result<(), ChangeRefused> {
        for member in self.change.members(None).await? {
            let (kind, name) = (member.kind.as_str(), member.name.as_str());
            if self.model.has_member(kind, name) {
                continue;
            }
            let subject = format!("{kind}/{name}");
            self.ground.sealing_keys.remove(&subject);
            self.change.revoke_certificates_of(MEMBERS, &subject, None).await?;
            self.change.remove_member(kind, name).await?;
            self.change.remove_member_status(kind, name).await?;
            self.change.remove_secret(&super::enrol::answer_name(kind, name)).await?;
        }
        Ok(())
    }
}

/// Seals every private key that a member needs and that is not sealed to it yet.
///
/// What is sealed is kept, because sealing the same again gives other bytes: every site server publishes the same parts.
pub(crate) async fn seal_secrets(site: &Site, change: &mut Change, model: &Model, ground: &mut Ground) -> Result<(), ChangeRefused> {
    let mut sealed = std::collections::BTreeMap::new();
    for (member, certificate) in secrets_needed(model, ground) {
        let place = sealed_name(&member, &certificate, &model.certificates[&certificate].key_id, &ground.sealing_keys[&member]);
        let bytes = match change.secret(&place).await? {
            Some(bytes) => bytes,
            None => {
                let vault_name = private_key_name(&certificate);
                let Some(stored) = change.secret(&vault_name).await? else { continue };
                let key = site.keys().vault.open(&vault_name, &stored).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
                let bytes = cmg_credentials::sealed::seal(&ground.sealing_keys[&member], &member, &certificate, key.expose())
                    .map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
                change.put_secret(&place, &bytes).await?;
                bytes
            }
        };
        sealed.insert((member, certificate), Arc::from(bytes));
    }
    ground.sealed = sealed;
    Ok(())
}

/// Reads what is sealed already, here or by another site server.
pub(crate) async fn read_sealed(view: &mut cmg_store::View, model: &Model, ground: &mut Ground) -> Result<(), cmg_store::Error> {
    for (member, certificate) in secrets_needed(model, ground) {
        let place = sealed_name(&member, &certificate, &model.certificates[&certificate].key_id, &ground.sealing_keys[&member]);
        if let Some(bytes) = view.secret(&place).await? {
            ground.sealed.insert((member, certificate), Arc::from(bytes));
        }
    }
    Ok(())
}

/// Where the private key of a certificate resource is in the vault.
pub(crate) fn private_key_name(certificate: &str) -> String {
    format!("certificate/{certificate}")
}

/// Where a private key is kept that was sealed to a member: another key or another member's key is another place.
pub(super) fn sealed_name(member: &str, certificate: &str, key_id: &str, sealing_key: &[u8]) -> String {
    let to = text::hex(&text::sha256(sealing_key)[..8]);
    format!("sealed/{member}/{certificate}/{key_id}/{to}")
}

fn json<T: Serialize>(resource: &T) -> String {
    serde_json::to_string(resource).expect("a resource is texts, numbers and lists")
}
