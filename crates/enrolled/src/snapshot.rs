//! Snapshots: verified when they come, kept when they are in force, read again at a cold start, which needs nobody.
//!
//! A snapshot is a signed folder. Its document is written like the file of a program without a site; the files that it names are parts
//! by their digests and secrets under `sealed/`, and [`SnapshotFiles`] reads them.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cmg_api::bytes::Sha256;
use cmg_api::control::{FRESHNESS_CONTEXT, Freshness, GenerationId, LARGEST_PART, MANIFEST_CONTEXT, Manifest, Signed};
use cmg_core::problem::Problem;
use cmg_core::time::WallTime;
use cmg_credentials::load::Files;
use cmg_credentials::members::{MemberRefused, Statement};
use cmg_credentials::sealed::SealingKey;
use cmg_credentials::tls::{Believed, RevokedMembers};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::data::{DataError, DataFolder};
use crate::parts::{PartError, Parts};

/// The last good manifest.
const CURRENT: &str = "current.json";

/// Snapshots on their way whose parts are kept at a time. More come where each is refused, which may go on for as long as nobody mends it.
pub const MOST_COMING: usize = 8;

/// What the document calls a secret.
const SEALED: &str = "sealed";

/// How far the clock of the site may be ahead, in seconds.
const LEEWAY: u64 = 60;

/// Why a manifest, or a statement of freshness, does not count.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ManifestRefused {
    /// The site has not signed it.
    #[error("the site has not signed it: {0}")]
    Unsigned(#[from] MemberRefused),
    /// The site has signed it, but it cannot be read.
    #[error("it cannot be read; update this program")]
    Unreadable,
    /// It is for somebody else.
    #[error("it is for {0}")]
    OtherMember(String),
    /// It does not hold together.
    #[error("it names what it has not: {0}")]
    Incomplete(String),
    /// The clocks are apart. Such a statement would count as fresh for as long as it is ahead.
    #[error("it says that it was made {0} s from now; set the clocks of the site server and of this machine")]
    FromTheFuture(u64),
    /// It is not newer than what is in force.
    #[error("its generation {offered} is not newer than {known}")]
    Older {
        /// Its generation.
        offered: GenerationId,
        /// The one that is known.
        known: GenerationId,
    },
}

/// The manifest in `signed`, if the site of the `infrastructure` authority has made it for `member` (`gateway/gw-1`) and it is newer than `known`.
pub fn manifest<'a>(
    signed: &Signed,
    member: &str,
    known: GenerationId,
    infrastructure: impl Into<Believed<'a>>,
    now: WallTime,
) -> Result<Manifest, ManifestRefused> {
    judged(payload(signed, MANIFEST_CONTEXT, infrastructure.into(), now)?, member, known)
}

/// `manifest`, which the site has signed, if it is for `member`, newer than `known`, and holds together.
pub fn judged(manifest: Manifest, member: &str, known: GenerationId) -> Result<Manifest, ManifestRefused> {
    if manifest.member != member {
        return Err(ManifestRefused::OtherMember(manifest.member));
    }
    if manifest.generation <= known {
        return Err(ManifestRefused::Older { offered: manifest.generation, known });
    }
    let named = std::iter::once(&manifest.document).chain(manifest.sealed.values());
    if let Some(missing) = named.into_iter().find(|digest| !manifest.parts.contains_key(digest)) {
        return Err(ManifestRefused::Incomplete(missing.to_string()));
    }
    if let Some((large, _)) = manifest.parts.iter().find(|(_, size)| **size > LARGEST_PART as u64) {
        return Err(ManifestRefused::Incomplete(format!("{large} is larger than {LARGEST_PART} bytes")));
    }
    Ok(manifest)
}

/// The statement of freshness in `signed`, if the site of the `infrastructure` authority has made it, and not at a time that is still to come.
pub fn freshness<'a>(signed: &Signed, infrastructure: impl Into<Believed<'a>>, now: WallTime) -> Result<Freshness, ManifestRefused> {
    let said: Freshness = payload(signed, FRESHNESS_CONTEXT, infrastructure.into(), now)?;
    match said.at.saturating_sub(now.0) {
        ahead if ahead > LEEWAY => Err(ManifestRefused::FromTheFuture(ahead)),
        _ => Ok(said),
    }
}

fn payload<T: DeserializeOwned>(signed: &Signed, context: &str, infrastructure: Believed<'_>, now: WallTime) -> Result<T, ManifestRefused> {
    let chain: Vec<&[u8]> = signed.chain.iter().map(|der| der.0.as_slice()).collect();
    Statement { payload: signed.payload.as_bytes(), chain: &chain, signature: &signed.signature.0 }.verify(context, infrastructure, now)?;
    serde_json::from_str(&signed.payload).map_err(|_| ManifestRefused::Unreadable)
}

/// What is in `current.json`: verified again as of the time when it was accepted, since the signer's certificate may run out while the
/// site is away.
#[derive(Serialize, Deserialize)]
struct Current {
    accepted: u64,
    manifest: Signed,
}

/// The snapshots of one member on disk.
#[derive(Clone, Debug)]
pub struct Snapshots {
    folder: DataFolder,
    parts: Parts,
    /// Locked while parts are looked for or removed.
    needed: Arc<Mutex<Needed>>,
    /// What the snapshot in force says of certificates that count no more: keys that sign snapshots may be among them.
    revoked: Arc<Mutex<RevokedMembers>>,
}

/// Whose parts are spared.
#[derive(Debug, Default)]
struct Needed {
    /// Those of the last good snapshot; none: it has not been read, and nothing is removed.
    current: Option<BTreeSet<Sha256>>,
    /// Those of snapshots on their way: looked for, perhaps fetched, not yet in force.
    coming: BTreeMap<GenerationId, BTreeSet<Sha256>>,
}

impl Needed {
    fn parts(&self) -> BTreeSet<Sha256> {
        self.current.iter().chain(self.coming.values()).flatten().copied().collect()
    }
}

impl Snapshots {
    /// Opens the snapshots in `folder`.
    pub fn open(folder: &DataFolder) -> Result<Self, DataError> {
        Ok(Self { folder: folder.clone(), parts: Parts::open(folder)?, needed: Arc::default(), revoked: Arc::default() })
    }

    /// The parts.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Notes the certificates of the infrastructure authority that count no more by the snapshot in force.
    pub fn revoked(&self, members: RevokedMembers) {
        *self.revoked.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// Whom to believe of the infrastructure authority's, under its `roots` (DER): who signs what comes next.
    pub fn believed<'a>(&self, roots: &'a [Vec<u8>]) -> Believed<'a> {
        Believed { roots, revoked: self.revoked.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }

    /// The last good manifest of `member` under `roots` (DER); none: there was none yet.
    pub fn current(&self, member: &str, roots: &[Vec<u8>]) -> Result<Option<Manifest>, DataError> {
        let Some(bytes) = self.folder.read(CURRENT)? else {
            self.needed().current = Some(BTreeSet::new());
            return Ok(None);
        };
        let current: Current = serde_json::from_slice(&bytes).map_err(|error| self.folder.damaged(CURRENT, error.to_string()))?;
        let found = manifest(&current.manifest, member, GenerationId::default(), roots, WallTime(current.accepted));
        let found = found.map_err(|refused| self.folder.damaged(CURRENT, refused.to_string()))?;
        self.needed().current = Some(found.parts.keys().copied().collect());
        Ok(Some(found))
    }

    /// Parts of `manifest` that are not here, or damaged, with their sizes in bytes. From here on its parts are spared until it, or
    /// a newer one, is in force, or [`MOST_COMING`] newer ones were looked for, none of which was put in force.
    pub fn missing(&self, manifest: &Manifest) -> Vec<(Sha256, u64)> {
        let mut needed = self.needed();
        needed.coming.insert(manifest.generation, manifest.parts.keys().copied().collect());
        if needed.coming.len() > MOST_COMING {
            needed.coming.pop_first();
            // A part too much is no harm, and the next one tries again.
            if needed.current.is_some() {
                let _ = self.parts.keep_only(&needed.parts());
            }
        }
        manifest.parts.iter().filter(|(digest, _)| !self.parts.has(digest)).map(|(digest, size)| (*digest, *size)).collect()
    }

    /// The document of `manifest`, TOML.
    pub fn document(&self, manifest: &Manifest) -> Result<String, PartError> {
        let bytes = self.parts.read(&manifest.document)?;
        String::from_utf8(bytes).map_err(|_| PartError::Damaged(manifest.document))
    }

    /// The files of `manifest`; `sealing` opens its secrets.
    pub fn files(&self, manifest: Manifest, sealing: &SealingKey) -> Result<SnapshotFiles, PartError> {
        let sealing = SealingKey::from_private(sealing.private()).map_err(|_| PartError::Damaged(manifest.document))?;
        Ok(SnapshotFiles { parts: self.parts.clone(), manifest, sealing })
    }

    /// The snapshot is in force since `now`: keeps its manifest as the last good one, and removes the parts of those before it.
    pub fn keep(&self, signed: &Signed, manifest: &Manifest, now: WallTime) -> Result<(), DataError> {
        let current = Current { accepted: now.0, manifest: signed.clone() };
        let text = serde_json::to_vec(&current).map_err(|error| self.folder.damaged(CURRENT, error.to_string()))?;
        self.folder.write(CURRENT, &text)?;
        let mut needed = self.needed();
        needed.coming.retain(|generation, _| *generation > manifest.generation);
        needed.current = Some(manifest.parts.keys().copied().collect());
        self.parts.keep_only(&needed.parts())
    }

    fn needed(&self) -> MutexGuard<'_, Needed> {
        self.needed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files that the document of one snapshot names.
#[derive(Debug)]
pub struct SnapshotFiles {
    parts: Parts,
    manifest: Manifest,
    sealing: SealingKey,
}

impl SnapshotFiles {
    fn part(&self, key: &str, digest: &Sha256) -> Result<Vec<u8>, Problem> {
        if !self.manifest.parts.contains_key(digest) {
            return Err(Problem::new(
                key,
                format!("the snapshot has no part {digest}"),
                "change this key at the site, so that it is written anew",
            ));
        }
        self.parts.read(digest).map_err(|error| Problem::new(key, error.to_string(), "it is fetched again from a connection point"))
    }
}

impl Files for SnapshotFiles {
    fn read(&self, key: &str, path: &Path) -> Result<Vec<u8>, Problem> {
        let Some(digest) = Sha256::of_path(path) else {
            let what = format!("\"{}\" names no part of the snapshot", path.display());
            return Err(Problem::new(key, what, "change this key at the site, so that it is written anew"));
        };
        self.part(key, &digest)
    }

    fn read_secret(&self, key: &str, path: &Path) -> Result<Vec<u8>, Problem> {
        let name = path.strip_prefix(SEALED).ok().and_then(Path::to_str);
        let sealed = name.and_then(|name| Some((name, self.manifest.sealed.get(name)?)));
        let Some((name, digest)) = sealed else {
            let what = format!("\"{}\" names no secret that is sealed to this machine", path.display());
            return Err(Problem::new(key, what, "change this key at the site, so that it is written anew"));
        };
        let bytes = self.part(key, digest)?;
        self.sealing.open(&self.manifest.member, name, &bytes).map_err(|error| {
            let what = format!("the secret \"{name}\" cannot be opened: {error}");
            Problem::new(key, what, "the site seals it again when this machine is enrolled anew")
        })
    }
}
