//! Signing keys follow each other: made by the job before they end, or when an administrator says so.
//!
//! The key of snapshots needs no word to anybody: it proves itself by a certificate under the root that every member pins, so a member
//! that slept through any number of rollovers follows. It is replaced in one step.
//!
//! A key of tokens is told to every member before it signs: it is published, and signs when every member has the generation that
//! announced it, or after 30 days. The one before is published until the last token that it has signed is of no use to anybody.
//!
//! A key that somebody else has is withdrawn (`withdraw`): what it has signed counts no more.
//!
//! Each step is one transaction, and the next is decided from the database; so it does not matter where a site server dies.

mod withdrawal;

use cmg_api::bytes::Base64;
use cmg_api::control::{GenerationId, MemberStatus};
use cmg_authority::{Secret, SigningAlgorithm, TokenSigner};
use cmg_core::time::WallTime;
use cmg_credentials::facts::certificate_facts;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::change::{Actor, ChangeRefused, Draft};
use super::keys::{Keys, SNAPSHOTS, TOKENS_ES256, TOKENS_RS256};
use crate::site::Site;
pub use withdrawal::{earlier_of_snapshots, withdraw};
use withdrawal::{note, own_certificate};

/// The kind, as it is audited.
pub const KIND: &str = "key";

const DAY: i64 = 86_400;

/// How long before its end a key gets a successor, in seconds.
pub const BEFORE_ITS_END: i64 = 60 * DAY;

/// How often it is looked whether a key needs a successor, in seconds.
pub const OFTEN: i64 = 3_600;

/// How long a successor waits for members that do not say that they have it, in seconds.
pub const LONGEST_WAIT: i64 = 30 * DAY;

/// How long a key is published after it has signed its last token, in seconds: the longest life of a token, and a day for clocks.
pub const KEPT: i64 = 91 * DAY;

/// What a key that can be rolled is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Signs snapshots.
    Snapshots,
    /// Signs tokens with RS256.
    TokensRs256,
    /// Signs tokens with ES256.
    TokensEs256,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Snapshots, Self::TokensRs256, Self::TokensEs256];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshots => "snapshots",
            Self::TokensRs256 => "tokens-rs256",
            Self::TokensEs256 => "tokens-es256",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }

    /// Where the key that signs is in the vault.
    fn place(self) -> &'static str {
        match self {
            Self::Snapshots => SNAPSHOTS,
            Self::TokensRs256 => TOKENS_RS256,
            Self::TokensEs256 => TOKENS_ES256,
        }
    }

    /// Where its rollover is in the vault.
    pub(crate) fn rollover(self) -> &'static str {
        match self {
            Self::Snapshots => "rollover/snapshots",
            Self::TokensRs256 => "rollover/tokens-rs256",
            Self::TokensEs256 => "rollover/tokens-es256",
        }
    }

    fn of_tokens(self) -> Option<(usize, SigningAlgorithm)> {
        match self {
            Self::Snapshots => None,
            Self::TokensRs256 => Some((0, SigningAlgorithm::Rs256)),
            Self::TokensEs256 => Some((1, SigningAlgorithm::Es256)),
        }
    }
}

/// What stands beside a key that signs tokens.
#[derive(Default)]
pub(crate) struct Rollover {
    next: Option<Next>,
    earlier: Vec<Earlier>,
    /// Thumbprints of those that were withdrawn.
    withdrawn: Vec<String>,
}

struct Next {
    signer: TokenSigner,
    /// The generation that announced it.
    announced: GenerationId,
    /// When.
    since: i64,
}

struct Earlier {
    signer: TokenSigner,
    /// Until when it is published.
    until: i64,
}

/// The same in the vault.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    next: Option<KeptNext>,
    earlier: Vec<KeptEarlier>,
    #[serde(default)]
    withdrawn: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct KeptNext {
    key: Base64,
    announced: GenerationId,
    since: i64,
}

#[derive(Serialize, Deserialize)]
struct KeptEarlier {
    key: Base64,
    until: i64,
}

impl Rollover {
    /// Every key beside the one that signs.
    pub(crate) fn signers(&self) -> impl Iterator<Item = &TokenSigner> {
        self.next.iter().map(|next| &next.signer).chain(self.earlier.iter().map(|earlier| &earlier.signer))
    }

    /// Reads what [`Rollover::to_secret`] wrote; none: it is something else.
    pub(crate) fn from_secret(secret: &Secret) -> Option<Self> {
        let Kept { next, earlier, withdrawn } = serde_json::from_slice(secret.expose()).ok()?;
        let signer = |key: Base64| TokenSigner::from_secret(&Secret::new(key.0));
        let next = match next {
            Some(KeptNext { key, announced, since }) => Some(Next { signer: signer(key)?, announced, since }),
            None => None,
        };
        let earlier = earlier.into_iter().map(|KeptEarlier { key, until }| Some(Earlier { signer: signer(key)?, until }));
        Some(Self { next, earlier: earlier.collect::<Option<_>>()?, withdrawn })
    }

    fn to_secret(&self) -> Secret {
        let key = |signer: &TokenSigner| Base64(signer.to_secret().expose().to_vec());
        let next =
            self.next.as_ref().map(|Next { signer, announced, since }| KeptNext { key: key(signer), announced: *announced, since: *since });
        let earlier = self.earlier.iter().map(|Earlier { signer, until }| KeptEarlier { key: key(signer), until: *until }).collect();
        Secret::new(serde_json::to_vec(&Kept { next, earlier, withdrawn: self.withdrawn.clone() }).expect("keys are texts and numbers"))
    }
}

/// What is to be done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A successor is made.
    Make,
    /// The successor signs.
    Promote,
    /// An earlier key is published no more.
    Forget,
}

/// The step that is due at `now`; `everybody` says whether every member has this generation.
fn due(keys: &Keys, purpose: Purpose, now: i64, everybody: impl Fn(GenerationId) -> bool) -> Option<Step> {
    let Some((place, _)) = purpose.of_tokens() else {
        // It ends with its issuer at the latest, and so would a successor by the same issuer.
        let would_last = keys.infrastructure.not_after() > keys.snapshots.not_after();
        return (would_last && keys.snapshots.not_after().0 as i64 - BEFORE_ITS_END <= now).then_some(Step::Make);
    };
    let (signer, Rollover { next, earlier, .. }) = (&keys.tokens[place], &keys.rollovers[place]);
    match next {
        Some(next) if everybody(next.announced) || next.since + LONGEST_WAIT <= now => Some(Step::Promote),
        None if signer.not_after().0 as i64 - BEFORE_ITS_END <= now => Some(Step::Make),
        _ => earlier.iter().any(|earlier| earlier.until <= now).then_some(Step::Forget),
    }
}

/// Whether a successor waits for members, by an administrator's word or by the job's.
pub(crate) fn waits(site: &Site) -> bool {
    site.keys().rollovers.iter().any(|rollover| rollover.next.is_some())
}

/// Does with every key what is due at `now`, and says how many steps that were.
pub async fn keep(site: &Site, now: i64) -> Result<usize, ChangeRefused> {
    let mut steps = 0;
    for purpose in Purpose::ALL {
        let applied = applied(site).await?;
        let everybody = |generation| applied.iter().all(|applied| applied.is_some_and(|applied| applied >= generation));
        let Some(step) = due(&site.keys(), purpose, now, everybody) else { continue };
        let made = if step == Step::Make { make(site, purpose, now).await? } else { None };
        let actor = Actor { account: "site".to_owned(), ..Actor::default() };
        let mut draft = site.draft(&actor).await?;
        // Another site server may have done it meanwhile.
        if due(&draft.keys, purpose, now, everybody) != Some(step) {
            continue;
        }
        match step {
            Step::Make => install(&mut draft, purpose, made, now).await?,
            Step::Promote => promote(&mut draft, purpose, now).await?,
            Step::Forget => forget(&mut draft, purpose, now).await?,
        }
        draft.commit().await?;
        steps += 1;
    }
    Ok(steps)
}

/// Makes a successor of a key at once. One of tokens that waits already goes on waiting.
pub async fn roll(site: &Site, actor: &Actor, purpose: Purpose) -> Result<GenerationId, ChangeRefused> {
    let now = site.now().0 as i64;
    let made = make(site, purpose, now).await?;
    let mut draft = site.draft(actor).await?;
    let waits = purpose.of_tokens().is_some_and(|(place, _)| draft.keys.rollovers[place].next.is_some());
    if !waits {
        install(&mut draft, purpose, made, now).await?;
    }
    draft.commit().await
}

/// The generation that each enrolled member has in force; none: it has not said.
async fn applied(site: &Site) -> Result<Vec<Option<GenerationId>>, cmg_store::Error> {
    let statuses = site.store.member_statuses().await?;
    let of = |member: &String| {
        let (kind, name) = member.split_once('/')?;
        let status = statuses.iter().find(|status| status.kind == kind && status.name == name)?;
        serde_json::from_str::<MemberStatus>(&status.body).ok().map(|status| status.applied)
    };
    Ok(site.in_force().ground.sealing_keys.keys().map(of).collect())
}

/// A new key for tokens, made before the change, since an RSA key takes up to a second; none: its purpose needs none made ahead.
async fn make(site: &Site, purpose: Purpose, now: i64) -> Result<Option<TokenSigner>, ChangeRefused> {
    let Some((place, algorithm)) = purpose.of_tokens() else { return Ok(None) };
    let hierarchy = site.keys().tokens[place].hierarchy().to_owned();
    let made = tokio::task::spawn_blocking(move || TokenSigner::generate(algorithm, &hierarchy, wall(now)));
    let made = made.await.map_err(failed)?.map_err(failed)?;
    Ok(Some(made))
}

async fn install(draft: &mut Draft<'_>, purpose: Purpose, made: Option<TokenSigner>, now: i64) -> Result<(), ChangeRefused> {
    match (purpose.of_tokens(), made) {
        (Some((place, _)), Some(signer)) => {
            let announced = draft.generation().await?;
            let mut rollover = copy(&draft.keys, place)?;
            rollover.next = Some(Next { signer, announced, since: now });
            put(draft, purpose.rollover(), &rollover.to_secret()).await?;
            record(draft, "announce", purpose).await
        }
        _ => replace_snapshots(draft, now).await,
    }
}

/// Puts a new key of snapshots into the place of the one that signs, by the key that issues.
pub(super) async fn replace_snapshots(draft: &mut Draft<'_>, now: i64) -> Result<(), ChangeRefused> {
    note(draft).await?;
    // The number tells the keys apart; generations only rise.
    let number = u32::try_from(draft.generation().await?.number).unwrap_or(u32::MAX);
    let signer = draft.keys.infrastructure.snapshot_signer(number, wall(now)).map_err(failed)?;
    put(draft, Purpose::Snapshots.place(), &signer.to_secret()).await?;
    record(draft, "roll", Purpose::Snapshots).await
}

async fn promote(draft: &mut Draft<'_>, purpose: Purpose, now: i64) -> Result<(), ChangeRefused> {
    let Some((place, _)) = purpose.of_tokens() else { return Ok(()) };
    let mut rollover = copy(&draft.keys, place)?;
    let Some(Next { signer, .. }) = rollover.next.take() else { return Ok(()) };
    let before = TokenSigner::from_secret(&draft.keys.tokens[place].to_secret()).ok_or_else(unreadable)?;
    rollover.earlier.push(Earlier { signer: before, until: now + KEPT });
    put(draft, purpose.place(), &signer.to_secret()).await?;
    put(draft, purpose.rollover(), &rollover.to_secret()).await?;
    record(draft, "roll", purpose).await
}

async fn forget(draft: &mut Draft<'_>, purpose: Purpose, now: i64) -> Result<(), ChangeRefused> {
    let Some((place, _)) = purpose.of_tokens() else { return Ok(()) };
    let mut rollover = copy(&draft.keys, place)?;
    rollover.earlier.retain(|earlier| earlier.until > now);
    put(draft, purpose.rollover(), &rollover.to_secret()).await?;
    record(draft, "forget", purpose).await
}

fn copy(keys: &Keys, place: usize) -> Result<Rollover, ChangeRefused> {
    Rollover::from_secret(&keys.rollovers[place].to_secret()).ok_or_else(unreadable)
}

async fn put(draft: &mut Draft<'_>, name: &str, secret: &Secret) -> Result<(), ChangeRefused> {
    let sealed = draft.keys.vault.seal(name, secret.expose()).map_err(failed)?;
    Ok(draft.change.put_secret(name, &sealed).await?)
}

async fn record(draft: &mut Draft<'_>, action: &str, purpose: Purpose) -> Result<(), ChangeRefused> {
    draft.read_keys().await?;
    info!(action, key = purpose.name(), "A signing key follows another");
    draft.record(action, KIND, purpose.name(), None, None).await
}

fn wall(seconds: i64) -> WallTime {
    WallTime(u64::try_from(seconds).unwrap_or_default())
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> ChangeRefused {
    ChangeRefused::Failed(Box::new(error))
}

fn unreadable() -> ChangeRefused {
    ChangeRefused::Failed("a key of the site cannot be read back".into())
}

/// A key, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What it is for.
    pub purpose: &'static str,
    /// `signs`, `next` or `earlier`.
    pub state: &'static str,
    /// The thumbprint that tokens name; of a key of snapshots, SHA-256 of its certificate.
    pub thumbprint: Option<String>,
    /// Until when it signs, or, of an earlier one, is published.
    pub until: i64,
}

/// Every other signing key, and the roots above them.
pub fn list(site: &Site) -> Vec<Shown> {
    let keys = site.keys();
    let ends = keys.snapshots.not_after().0 as i64;
    let thumbprint = own_certificate(&keys.snapshots).map(|own| own.fingerprint);
    let mut all = vec![Shown { purpose: Purpose::Snapshots.name(), state: "signs", thumbprint, until: ends }];
    for purpose in Purpose::ALL {
        let Some((place, _)) = purpose.of_tokens() else { continue };
        let shown = |state, signer: &TokenSigner, until| Shown {
            purpose: purpose.name(),
            state,
            thumbprint: Some(signer.thumbprint().to_owned()),
            until,
        };
        let end = |signer: &TokenSigner| signer.not_after().0 as i64;
        let (signer, rollover) = (&keys.tokens[place], &keys.rollovers[place]);
        all.push(shown("signs", signer, end(signer)));
        all.extend(rollover.next.iter().map(|next| shown("next", &next.signer, end(&next.signer))));
        all.extend(rollover.earlier.iter().map(|earlier| shown("earlier", &earlier.signer, earlier.until)));
    }
    let root = |state, der: &[u8]| {
        let until = certificate_facts(der).map_or(0, |facts| facts.not_after.0 as i64);
        Shown { purpose: super::roots::PURPOSE, state, thumbprint: None, until }
    };
    let other = &keys.other_roots;
    all.push(root("signs", &keys.infrastructure_root));
    all.extend(other.next.iter().map(|next| root("next", &next.pair.infrastructure.0)));
    all.extend(other.earlier.iter().map(|earlier| root("earlier", &earlier.pair.infrastructure.0)));
    all
}
