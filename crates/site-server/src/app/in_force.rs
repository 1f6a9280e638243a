//! What is in force, in memory: read from the database when somebody else changed it, replaced by every change of one's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use cmg_api::TokenKeyFile;
use cmg_api::control::{GenerationId, MANIFEST_CONTEXT, Signed};
use cmg_api::text::Duration;
use cmg_authority::{TokenSigner, VaultKey};
use cmg_core::identity::TokenKind;
use cmg_core::problem::Problem;
use cmg_store::{BlockKind, View};

use super::blocks::{BlockLine, Blocks};
use super::keys::Keys;
use super::model::Model;
use super::publish::{Ground, Judged, Publication, PublishedTokenKey, publication};

/// One generation.
pub struct InForce {
    /// What administrators wrote.
    pub model: Model,
    /// What is published besides.
    pub ground: Ground,
    /// What members run by.
    pub publication: Publication,
    /// The manifests, signed, by member.
    pub signed: BTreeMap<String, Signed>,
    /// The keys of the site.
    pub(crate) keys: Arc<Keys>,
}

/// Why what is in the database cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum NotInForce {
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] cmg_store::Error),
    /// A resource is of a form that this program does not know.
    #[error("{kind} \"{name}\" in the database cannot be read: start the version that wrote it")]
    Resource {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The model has problems.
    #[error("the configuration in the database has problems: {}", lines(.0))]
    Problems(Vec<Problem>),
    /// The keys cannot be opened.
    #[error(transparent)]
    Keys(#[from] super::keys::KeysRefused),
    /// Nothing can be signed.
    #[error(transparent)]
    Crypto(#[from] cmg_authority::CryptoFailed),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl InForce {
    /// Whether the member is in the model and has a certificate that counts.
    pub fn is_member(&self, member: &str) -> bool {
        let in_model = member.split_once('/').is_some_and(|(kind, name)| self.model.has_member(kind, name));
        in_model && self.ground.sealing_keys.contains_key(member)
    }

    /// The generation that this is.
    pub fn generation(&self) -> GenerationId {
        self.publication.generation
    }

    /// Makes a generation out of its parts, or tells what is wrong with them.
    pub(crate) fn new(
        model: Model,
        mut ground: Ground,
        keys: Arc<Keys>,
        judged: &Judged,
        generation: GenerationId,
    ) -> Result<Self, NotInForce> {
        ground.roots = keys.roots();
        ground.token_keys = keys.of_tokens().flat_map(token_keys).collect();
        let publication = publication(&model, &ground, judged, generation).map_err(NotInForce::Problems)?;
        let mut signed = BTreeMap::new();
        for (member, manifest) in &publication.manifests {
            let payload = serde_json::to_string(manifest).expect("a manifest is texts and numbers");
            signed.insert(member.clone(), keys.snapshots.sign(MANIFEST_CONTEXT, payload)?);
        }
        Ok(Self { model, ground, publication, signed, keys })
    }

    /// Reads everything.
    pub(crate) async fn read(view: &mut View, vault: &Arc<VaultKey>, judged: &Judged, own_site: &str) -> Result<Self, NotInForce> {
        let generation = id(view.generation().await?);
        let model = read_model(view, own_site).await?;
        let keys = Arc::new(Keys::open(Arc::clone(vault), view).await?);
        let mut ground = read_ground(view, &keys).await?;
        ground.acme.retain(|name, _| model.is_ordered(name));
        ground.policies = super::policies::read(view, &model).await?;
        super::change::read_sealed(view, &model, &mut ground).await?;
        Self::new(model, ground, keys, judged, generation)
    }
}

/// Under which name the revocation lists of the site's own authority for clients are stored. No trust can be called so.
pub(crate) const SITE_CLIENTS: &str = "site/clients";

/// The same in the words of the wire.
pub(crate) fn id(generation: cmg_store::Generation) -> GenerationId {
    GenerationId { epoch: generation.epoch, number: generation.number }
}

async fn read_model(view: &mut View, own_site: &str) -> Result<Model, NotInForce> {
    let mut model = Model { own_site: own_site.to_owned(), ..Model::default() };
    for document in view.all_documents().await? {
        model.take(&document.kind, &document.body).map_err(|source| NotInForce::Resource {
            kind: document.kind,
            name: document.name,
            source,
        })?;
    }
    Ok(model)
}

async fn read_ground(view: &mut View, keys: &Keys) -> Result<Ground, NotInForce> {
    let mut ground = Ground { site_clients: Some(keys.site_clients(Vec::new())), ..Ground::default() };
    let mut blocks = Blocks::default();
    for block in view.live_blocks().await? {
        if let Some(line) = block_line(block.kind, &block.value, block.issuer.as_deref()) {
            blocks.insert(&block.id, line);
        }
    }
    ground.blocks = blocks;
    for crl in view.crls().await? {
        let Some(der) = crl.der else { continue };
        if crl.trust == SITE_CLIENTS {
            ground.site_clients.iter_mut().for_each(|clients| clients.lists.push(der.clone()));
        } else {
            ground.fetched_lists.entry(crl.trust).or_default().push(Arc::from(der));
        }
    }
    ground.site_servers = super::addresses::read(view, &keys.vault).await?;
    ground.revoked_members = super::issued_certificates::revoked_members(view).await?;
    ground.issuer_keys = super::token_issuers::stored_keys(view).await?;
    ground.acme = super::acme::stored_challenges(view).await?;
    for member in view.members(None).await? {
        if let Some(sealing_key) = member.sealing_key {
            ground.sealing_keys.insert(format!("{}/{}", member.kind, member.name), sealing_key);
        }
    }
    Ok(ground)
}

/// How a block is published; none: it counts at the site alone.
pub(crate) fn block_line(kind: BlockKind, value: &str, issuer: Option<&str>) -> Option<BlockLine> {
    Some(match kind {
        BlockKind::Thumbprint => BlockLine::Thumbprint(value.to_owned()),
        BlockKind::Serial => BlockLine::Serial { serial: value.to_owned(), issuer: issuer.map(str::to_owned) },
        BlockKind::Token => BlockLine::Token(value.to_owned()),
        BlockKind::Client => BlockLine::Client(value.to_owned()),
        BlockKind::Identity => return None,
    })
}

/// How far clocks may be apart for the site's own tokens, in seconds.
const LEEWAY: u32 = 60;

/// The site's own keys, one entry for each kind of token that a key signs.
fn token_keys(signer: &TokenSigner) -> Vec<PublishedTokenKey> {
    let Ok(pem) = signer.public_key_pem() else { return Vec::new() };
    let entry = |(kind, name): (TokenKind, cmg_api::TokenKind)| {
        let key = signer.token_key(kind, u64::from(LEEWAY))?;
        let file = TokenKeyFile {
            id: key.id,
            issuer: key.issuer,
            algorithms: vec![match signer.algorithm() {
                cmg_authority::SigningAlgorithm::Rs256 => cmg_api::Algorithm::Rs256,
                cmg_authority::SigningAlgorithm::Es256 => cmg_api::Algorithm::Es256,
            }],
            key: "".into(),
            kind: name,
            leeway: Duration::seconds(u64::from(LEEWAY)),
        };
        Some(PublishedTokenKey { file, pem: pem.clone() })
    };
    [(TokenKind::Site, cmg_api::TokenKind::Site), (TokenKind::Ccm, cmg_api::TokenKind::Ccm), (TokenKind::Bulk, cmg_api::TokenKind::Bulk)]
        .into_iter()
        .filter_map(entry)
        .collect()
}
