//! The site's keys: made when the site is founded, kept in the vault, opened at the start.

use std::sync::Arc;

use cmg_api::bytes::Base64;
use cmg_authority::vault::OpenRefused;
use cmg_authority::{ClientIssuer, InfrastructureIssuer, NewSite, Secret, SnapshotSigner, TokenSigner, VaultKey};
use cmg_core::time::WallTime;

use super::issuers::{EarlierClients, earlier_from_secret};
use super::publish::SiteClients;
use super::rollover::{Purpose, Rollover};
use super::roots::{OtherRoots, Pair};

/// Names in the vault.
pub(crate) const INFRASTRUCTURE_ROOT: &str = "authority/infrastructure-root";
pub(crate) const CLIENT_ROOT: &str = "authority/client-root";
/// The revocation list of that root, which was signed while its key was at hand.
pub(crate) const CLIENT_ROOT_LIST: &str = "authority/client-root-list";
/// The roots beside those that issue.
pub(crate) const OTHER_ROOTS: &str = "authority/other-roots";
pub(crate) const INFRASTRUCTURE: &str = "authority/infrastructure";
pub(crate) const CLIENTS: &str = "authority/clients";
/// Those that issued to clients before, and still sign revocation lists.
pub(crate) const EARLIER_CLIENTS: &str = "authority/clients-earlier";
pub(crate) const SNAPSHOTS: &str = "signing/snapshots";
pub(crate) const TOKENS_RS256: &str = "signing/tokens-rs256";
pub(crate) const TOKENS_ES256: &str = "signing/tokens-es256";

/// Every key of the site but the roots', which are in their export file only.
pub struct Keys {
    /// Encrypts what stands in the database.
    pub vault: Arc<VaultKey>,
    /// The root of the infrastructure authority, DER.
    pub infrastructure_root: Vec<u8>,
    /// The root of the authority for clients, DER.
    pub client_root: Vec<u8>,
    /// Its revocation list, DER; none: the site is older than such lists, and gets one with its next issuing key.
    pub(crate) client_root_list: Option<Vec<u8>>,
    /// The roots beside these.
    pub(crate) other_roots: OtherRoots,
    /// Issues role certificates.
    pub infrastructure: InfrastructureIssuer,
    /// Issues client certificates.
    pub clients: ClientIssuer,
    /// Issued certificates to clients before, some of which count still: the oldest first.
    pub(crate) earlier_clients: Vec<EarlierClients>,
    /// Signs snapshots.
    pub snapshots: SnapshotSigner,
    /// Sign tokens; the first signs new ones.
    pub tokens: Vec<TokenSigner>,
    /// What becomes of each of them, in the same order.
    pub(crate) rollovers: Vec<Rollover>,
}

/// Why the keys cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum KeysRefused {
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] cmg_store::Error),
    /// One is missing.
    #[error("the database holds no secret \"{0}\": restore the site from a backup")]
    Missing(&'static str),
    /// One does not open.
    #[error(
        "the secret \"{name}\" in the database does not open with this vault.key: copy the file from the site server that founded the \
         site, or from the backup"
    )]
    Sealed {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: OpenRefused,
    },
    /// One opens and is something else.
    #[error("the secret \"{0}\" is of a form that this program does not know: start a newer version")]
    Unknown(&'static str),
    /// One cannot be encrypted.
    #[error(transparent)]
    Crypto(#[from] cmg_authority::CryptoFailed),
}

impl Keys {
    /// Puts the keys of a new site into the vault.
    pub(crate) async fn found(new: &NewSite, vault: &VaultKey, change: &mut cmg_store::Change) -> Result<(), KeysRefused> {
        let certificate = |der: &[u8]| Secret::new(der.to_vec());
        for (name, secret) in [
            (INFRASTRUCTURE_ROOT, certificate(new.roots.infrastructure_certificate())),
            (CLIENT_ROOT, certificate(new.roots.client_certificate())),
            (CLIENT_ROOT_LIST, certificate(&new.client_root_list)),
            (INFRASTRUCTURE, new.infrastructure.to_secret()),
            (CLIENTS, new.clients.to_secret()),
            (SNAPSHOTS, new.snapshots.to_secret()),
            (TOKENS_RS256, new.rs256.to_secret()),
            (TOKENS_ES256, new.es256.to_secret()),
        ] {
            change.put_secret(name, &vault.seal(name, secret.expose())?).await?;
        }
        Ok(())
    }

    /// Opens the keys of a site that stands.
    pub(crate) async fn open(vault: Arc<VaultKey>, view: &mut cmg_store::View) -> Result<Self, KeysRefused> {
        let mut drawer = Drawer { vault: &vault, view };
        let infrastructure_root = drawer.secret(INFRASTRUCTURE_ROOT).await?.expose().to_vec();
        let client_root = drawer.secret(CLIENT_ROOT).await?.expose().to_vec();
        let client_root_list = drawer.optional(CLIENT_ROOT_LIST, |list| Some(Some(list.expose().to_vec()))).await?;
        let other_roots = drawer.optional(OTHER_ROOTS, OtherRoots::from_secret).await?;
        let infrastructure = drawer.read(INFRASTRUCTURE, InfrastructureIssuer::from_secret).await?;
        let clients = drawer.read(CLIENTS, ClientIssuer::from_secret).await?;
        let earlier_clients = drawer.optional(EARLIER_CLIENTS, earlier_from_secret).await?;
        let snapshots = drawer.read(SNAPSHOTS, SnapshotSigner::from_secret).await?;
        let tokens =
            vec![drawer.read(TOKENS_RS256, TokenSigner::from_secret).await?, drawer.read(TOKENS_ES256, TokenSigner::from_secret).await?];
        let mut rollovers = Vec::new();
        for purpose in [Purpose::TokensRs256, Purpose::TokensEs256] {
            rollovers.push(drawer.optional(purpose.rollover(), Rollover::from_secret).await?);
        }
        Ok(Self {
            vault,
            infrastructure_root,
            client_root,
            client_root_list,
            other_roots,
            infrastructure,
            clients,
            earlier_clients,
            snapshots,
            tokens,
            rollovers,
        })
    }

    /// Every key that verifies tokens: those that sign, those that will, and those whose tokens have not all ended.
    pub fn of_tokens(&self) -> impl Iterator<Item = &TokenSigner> {
        self.tokens.iter().chain(self.rollovers.iter().flat_map(Rollover::signers))
    }

    /// Every key whose client certificates count, the one that issues first.
    pub fn client_issuers(&self) -> impl Iterator<Item = &ClientIssuer> {
        let next = self.other_roots.next.iter().map(|next| &next.clients);
        [&self.clients].into_iter().chain(self.earlier_clients.iter().map(|earlier| &earlier.issuer)).chain(next)
    }

    /// What is published of the authority for clients, with the `lists` of its issuing certificates.
    pub(crate) fn site_clients(&self, lists: Vec<Vec<u8>>) -> SiteClients {
        SiteClients {
            roots: [&self.client_root].into_iter().chain(self.other_roots.pairs().map(|pair| &pair.clients.0)).cloned().collect(),
            issuers: self.client_issuers().map(|issuer| issuer.certificate().to_vec()).collect(),
            root_lists: self.client_root_list.iter().chain(self.other_roots.pairs().map(|pair| &pair.client_list.0)).cloned().collect(),
            lists,
        }
    }

    /// Roots of the infrastructure authority that count, DER, the one that issues first.
    pub fn roots(&self) -> Vec<Vec<u8>> {
        [&self.infrastructure_root].into_iter().chain(self.other_roots.pairs().map(|pair| &pair.infrastructure.0)).cloned().collect()
    }

    /// The roots that issue.
    pub(crate) fn pair(&self) -> Pair {
        let [infrastructure, clients] = [&self.infrastructure_root, &self.client_root].map(|der| Base64(der.clone()));
        Pair { infrastructure, clients, client_list: Base64(self.client_root_list.clone().unwrap_or_default()) }
    }

    /// When each key's certificate ends.
    pub fn ends(&self) -> Vec<(&'static str, WallTime)> {
        let mut ends = vec![
            (INFRASTRUCTURE, self.infrastructure.not_after()),
            (CLIENTS, self.clients.not_after()),
            (SNAPSHOTS, self.snapshots.not_after()),
        ];
        ends.extend(self.tokens.iter().zip([TOKENS_RS256, TOKENS_ES256]).map(|(signer, name)| (name, signer.not_after())));
        ends
    }
}

/// Secrets by name, opened.
struct Drawer<'a> {
    vault: &'a VaultKey,
    view: &'a mut cmg_store::View,
}

impl Drawer<'_> {
    /// What is kept where one key has followed another; nothing where none has.
    async fn optional<T: Default>(&mut self, name: &'static str, from: fn(&Secret) -> Option<T>) -> Result<T, KeysRefused> {
        let Some(sealed) = self.view.secret(name).await? else { return Ok(T::default()) };
        let text = self.vault.open(name, &sealed).map_err(|source| KeysRefused::Sealed { name, source })?;
        from(&text).ok_or(KeysRefused::Unknown(name))
    }

    async fn secret(&mut self, name: &'static str) -> Result<Secret, KeysRefused> {
        let sealed = self.view.secret(name).await?.ok_or(KeysRefused::Missing(name))?;
        self.vault.open(name, &sealed).map_err(|source| KeysRefused::Sealed { name, source })
    }

    async fn read<T>(&mut self, name: &'static str, from: fn(&Secret) -> Option<T>) -> Result<T, KeysRefused> {
        from(&self.secret(name).await?).ok_or(KeysRefused::Unknown(name))
    }
}
