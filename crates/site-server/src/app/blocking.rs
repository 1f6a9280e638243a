//! Blocking: certificates, tokens and clients are refused everywhere from the generation on that a block is added with.
//!
//! A block is judged when it is added, by the code and in the words of the configuration files, because members refuse a block list in
//! which one line could never match. What is blocked already is answered with its block. A blocked client is refused by its id, so that a
//! token or certificate of the site counts no more whether the site knows of it or not. What it came by is blocked where that is said: a
//! user or a bulk registration token may stand for other devices too.

use std::collections::BTreeMap;

use cmg_api::BlockFile;
use cmg_core::problem::Problem;
use cmg_core::trust;
use cmg_process::dice;
use cmg_standalone::Reading;
use cmg_store::{Block, BlockKind, ClientState, NewBlock, View};
use serde::Deserialize;
use utoipa::ToSchema;

use super::change::{ChangeRefused, Draft};
use super::clients::{self, IdentityKind};
use super::in_force::block_line;
use super::issued_certificates::CLIENTS;
use super::publish::judging::blocks_of;
use super::text::{hex, line_problem, note_problem, sha256};

/// The kind, as it is audited.
pub const KIND: &str = "block";

/// The most blocks of one request.
pub const MOST: usize = 10_000;

/// What is to be blocked: one of `thumbprint`, `serial`, `token` and `client`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlockRequest {
    /// A certificate by its SHA-1 or SHA-256, hexadecimal: 40 or 64 digits.
    pub thumbprint: Option<String>,
    /// A certificate by its serial number, hexadecimal.
    pub serial: Option<String>,
    /// Issuer of that serial number, as a distinguished name. Default any.
    pub issuer: Option<String>,
    /// A token by its id: `jti`, or `UniqueId` of one that the site has issued.
    pub token: Option<String>,
    /// A client by its id, with its certificates and tokens.
    pub client: Option<String>,
    /// Whoever would register as this, with whatever key: `KIND/NAME`, as `identity` of a client.
    pub identity: Option<String>,
    /// Why, in your words. Default empty.
    pub note: String,
}

/// A block that was judged and found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    kind: BlockKind,
    value: String,
    issuer: Option<String>,
    note: String,
}

/// What [`add`] did with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The block.
    pub block: Block,
    /// Whether it was there already.
    pub existed: bool,
}

/// Judges what is to be blocked, or tells everything that is wrong with it, under the keys `key(0)`, `key(1)` and so on.
pub fn judge(requests: &[BlockRequest], key: impl Fn(usize, &str) -> String) -> Result<Vec<Judged>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut files = Vec::new();
    for (place, request) in requests.iter().enumerate() {
        problems.extend(request.problems().into_iter().map(|problem| Problem { key: key(place, &problem.key), ..problem }));
        files.push(request.file());
    }
    let mut reading = Reading::of_files(super::publish::judging::no_files());
    let judged = blocks_of(files, &mut reading);
    if let Err(found) = reading.finish(Some(())) {
        problems.extend(found.into_iter().map(|problem| told(problem, &key)));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut lines = judged.into_iter();
    Ok(requests.iter().filter_map(|request| request.judged(&mut lines)).collect())
}

impl BlockRequest {
    /// What the reader of configuration files does not ask.
    fn problems(&self) -> Vec<Problem> {
        let named = [&self.thumbprint, &self.serial, &self.token, &self.client, &self.identity].into_iter().flatten().count();
        let mut problems = Vec::new();
        match named {
            1 => {}
            0 => problems.push(Problem::new("", "it names nothing to block", "write thumbprint, serial, token, client or identity")),
            _ => problems.push(Problem::new("", "it names more than one thing", "write a block for each")),
        }
        for (key, value) in [("issuer", &self.issuer), ("token", &self.token), ("client", &self.client)] {
            problems.extend(value.as_deref().and_then(|value| line_problem(key, value)));
        }
        problems.extend(self.identity.as_deref().and_then(identity_problem));
        problems.extend(note_problem(&self.note));
        problems
    }

    /// The same as a table of a configuration file; empty where it has none or problems of its own.
    fn file(&self) -> Option<BlockFile> {
        if !self.problems().is_empty() || self.identity.is_some() {
            return None;
        }
        let Self { thumbprint, serial, issuer, token, client, .. } = self.clone();
        Some(BlockFile { thumbprint, serial, issuer, token, client })
    }

    fn judged(&self, lines: &mut impl Iterator<Item = trust::Block>) -> Option<Judged> {
        let note = self.note.clone();
        if let Some(identity) = &self.identity {
            return Some(Judged { kind: BlockKind::Identity, value: identity.clone(), issuer: None, note });
        }
        let (kind, value, issuer) = match lines.next()? {
            trust::Block::Sha1(thumbprint) => (BlockKind::Thumbprint, hex(&thumbprint), None),
            trust::Block::Sha256(thumbprint) => (BlockKind::Thumbprint, hex(&thumbprint), None),
            trust::Block::Serial { serial, issuer } => (BlockKind::Serial, serial, issuer),
            trust::Block::TokenId(id) => (BlockKind::Token, id, None),
            trust::Block::Client(id) => (BlockKind::Client, id, None),
        };
        Some(Judged { kind, value, issuer, note })
    }
}

fn identity_problem(identity: &str) -> Option<Problem> {
    if let Some(problem) = line_problem("identity", identity) {
        return Some(problem);
    }
    let kinds = [IdentityKind::Certificate, IdentityKind::EntraDevice, IdentityKind::OidcUser].map(IdentityKind::word);
    let is_known = identity.split_once('/').is_some_and(|(kind, name)| kinds.contains(&kind) && !name.is_empty());
    let instead = format!("write KIND/NAME as `cmg device show` has it; KIND is one of {}", kinds.join(", "));
    (!is_known).then(|| Problem::new("identity", format!("\"{identity}\" cannot be blocked"), instead))
}

/// `block[3].serial` is told as the request calls it.
fn told(problem: Problem, key: &impl Fn(usize, &str) -> String) -> Problem {
    let inside = problem.key.strip_prefix("block[").and_then(|rest| rest.split_once(']'));
    let Some((place, field)) = inside.and_then(|(place, field)| Some((place.parse().ok()?, field))) else { return problem };
    Problem { key: key(place, field.trim_start_matches('.')), ..problem }
}

/// Blocks what was judged, in one generation.
pub async fn add(draft: &mut Draft<'_>, judged: Vec<Judged>) -> Result<Vec<Added>, ChangeRefused> {
    let mut all: Vec<Added> = Vec::with_capacity(judged.len());
    let (mut fresh, mut places) = (Vec::new(), BTreeMap::new());
    for block in judged {
        let same = (block.kind.word(), block.value.clone(), block.issuer.clone());
        if let Some(place) = places.get(&same) {
            let again: &Added = &all[*place];
            all.push(Added { existed: true, ..again.clone() });
            continue;
        }
        let found = live(&mut draft.change, block.kind, &block.value, block.issuer.as_deref()).await?;
        places.insert(same, all.len());
        match found {
            Some(block) => all.push(Added { block, existed: true }),
            None => {
                all.push(Added { block: insert(draft, &block).await?, existed: false });
                fresh.push(block);
            }
        }
    }
    let rows: Vec<NewBlock> = all.iter().filter(|added| !added.existed).map(|added| as_new(&added.block)).collect();
    put(draft, &rows).await?;
    if !fresh.is_empty() {
        audit(draft, "new", &fresh).await?;
    }
    Ok(all)
}

/// Makes a block.
async fn insert(draft: &mut Draft<'_>, block: &Judged) -> Result<Block, ChangeRefused> {
    let generation = draft.generation().await?;
    let NewBlock { id, kind, value, issuer, note, created_by } = block.row(&draft.actor().account);
    if kind == BlockKind::Client {
        clients::set_state(draft, &value, ClientState::Blocked).await?;
    }
    let (created_at, generation_number) = (draft.now, generation.number);
    Ok(Block { id, kind, value, issuer, note, created_by, created_at, generation_number, removed_generation: None })
}

/// Stores and publishes blocks.
async fn put(draft: &mut Draft<'_>, rows: &[NewBlock]) -> Result<(), ChangeRefused> {
    draft.change.add_blocks(rows).await?;
    for row in rows {
        if let Some(line) = block_line(row.kind, &row.value, row.issuer.as_deref()) {
            draft.ground.blocks.insert(&row.id, line);
        }
    }
    let tokens = rows.iter().filter(|row| row.kind == BlockKind::Token).map(|row| row.value.as_str());
    note_tokens(draft, tokens, true).await
}

fn as_new(block: &Block) -> NewBlock {
    let Block { id, kind, value, issuer, note, created_by, .. } = block.clone();
    NewBlock { id, kind, value, issuer, note, created_by }
}

impl Judged {
    /// What is blocked, as it is audited and told.
    pub(crate) fn name(&self) -> String {
        let of = self.issuer.as_ref().map(|issuer| format!(" of {issuer}")).unwrap_or_default();
        format!("{} {}{of}", self.kind.word(), self.value)
    }

    fn row(&self, created_by: &str) -> NewBlock {
        let Self { kind, value, issuer, note } = self.clone();
        let id = format!("{}{:08x}", prefix(kind, &value, issuer.as_deref()), dice::draw() as u32);
        NewBlock { id, kind, value, issuer, note, created_by: created_by.to_owned() }
    }
}

/// Ids of blocks of the same thing begin alike, so that the live one is found without a search.
fn prefix(kind: BlockKind, value: &str, issuer: Option<&str>) -> String {
    let text = format!("{}\n{value}\n{}", kind.word(), issuer.unwrap_or_default());
    format!("{}-", hex(&sha256(text.as_bytes())[..16]))
}

/// The live block of a thing.
pub async fn live(view: &mut View, kind: BlockKind, value: &str, issuer: Option<&str>) -> Result<Option<Block>, cmg_store::Error> {
    let prefix = prefix(kind, value, issuer);
    let next = view.block_page(Some(&prefix), None, 1).await?;
    Ok(next.into_iter().find(|block| block.id.starts_with(&prefix)))
}

/// Lifts a block; with that of a client, what it came by if that was blocked with it.
pub async fn remove(draft: &mut Draft<'_>, id: &str) -> Result<(), ChangeRefused> {
    let found = draft.change.block(id).await?.filter(|block| block.removed_generation.is_none());
    let Some(block) = found else { return Err(ChangeRefused::NotFound { kind: KIND, name: id.to_owned() }) };
    let mut lifted = vec![block];
    if lifted[0].kind == BlockKind::Client {
        let client = lifted[0].value.clone();
        clients::set_state(draft, &client, ClientState::Approved).await?;
        if let Some(origin) = origin_of(draft, &client).await? {
            let with = live(&mut draft.change, origin.kind, &origin.value, None).await?;
            // What was blocked for itself stays blocked.
            lifted.extend(with.filter(|with| with.note == origin.note));
        }
    }
    draft.generation().await?;
    for block in &lifted {
        draft.change.remove_block(&block.id).await?;
        draft.ground.blocks.remove(&block.id);
    }
    let tokens = lifted.iter().filter(|block| block.kind == BlockKind::Token).map(|block| block.value.as_str());
    note_tokens(draft, tokens, false).await?;
    audit(draft, "remove", &lifted.into_iter().map(Judged::from).collect::<Vec<_>>()).await
}

impl From<Block> for Judged {
    fn from(block: Block) -> Self {
        Self { kind: block.kind, value: block.value, issuer: block.issuer, note: block.note }
    }
}

/// Blocks a thing by its kind and value.
pub async fn block(draft: &mut Draft<'_>, kind: BlockKind, value: &str, note: &str) -> Result<Added, ChangeRefused> {
    let judged = Judged { kind, value: value.to_owned(), issuer: None, note: note.to_owned() };
    let mut added = add(draft, vec![judged]).await?;
    added.pop().ok_or_else(|| cmg_store::Error::NotFound.into())
}

/// Lifts the block of a thing, and says whether there was one.
pub async fn unblock(draft: &mut Draft<'_>, kind: BlockKind, value: &str) -> Result<bool, ChangeRefused> {
    match live(&mut draft.change, kind, value, None).await? {
        Some(block) => remove(draft, &block.id).await.map(|()| true),
        None => Ok(false),
    }
}

/// Blocks a client, and what it came by, so that it does not come back with another key.
pub(crate) async fn with_origin(draft: &mut Draft<'_>, client: &str, note: &str) -> Result<(), ChangeRefused> {
    let own = Judged { kind: BlockKind::Client, value: client.to_owned(), issuer: None, note: note.to_owned() };
    let blocks = std::iter::once(own).chain(origin_of(draft, client).await?).collect();
    add(draft, blocks).await.map(|_| ())
}

/// What a client came by, as a block that comes with its own; none: it is nothing that another key could come by.
async fn origin_of(draft: &mut Draft<'_>, client: &str) -> Result<Option<Judged>, ChangeRefused> {
    let Some(identity) = draft.change.client(client).await?.map(|client| client.identity) else { return Ok(None) };
    let note = format!("with client {client}");
    Ok(match identity.split_once('/') {
        Some((kind, token)) if kind == IdentityKind::BulkToken.word() => {
            Some(Judged { kind: BlockKind::Token, value: token.to_owned(), issuer: None, note })
        }
        Some((kind, _)) if kind != IdentityKind::Key.word() => {
            Some(Judged { kind: BlockKind::Identity, value: identity, issuer: None, note })
        }
        _ => None,
    })
}

/// Whether the site has issued something to a client that still counts.
pub(crate) async fn has_credentials(draft: &mut Draft<'_>, client: &str) -> Result<bool, ChangeRefused> {
    let now = draft.now;
    let has_token = draft.change.client_tokens_of(client).await?.iter().any(|token| token.expires_at > now);
    Ok(has_token || draft.change.certificates_since(CLIENTS, &clients::subject(client), 0).await? > 0)
}

/// A bulk registration token is counted by the site, so its own row says too whether it is blocked.
async fn note_tokens<'t>(draft: &mut Draft<'_>, tokens: impl Iterator<Item = &'t str>, blocked: bool) -> Result<(), ChangeRefused> {
    for token in tokens {
        if draft.change.bulk_token(token).await?.is_none() {
            continue;
        }
        match blocked {
            true => draft.change.block_bulk_token(token).await?,
            false => draft.change.unblock_bulk_token(token).await?,
        }
    }
    Ok(())
}

/// One record, however many blocks.
async fn audit(draft: &mut Draft<'_>, action: &str, blocks: &[Judged]) -> Result<(), ChangeRefused> {
    let shown: Vec<_> = blocks
        .iter()
        .map(|block| serde_json::json!({ block.kind.word(): block.value, "issuer": block.issuer, "note": block.note }))
        .collect();
    let name = match blocks {
        [one] => one.name(),
        [one, ..] if one.kind == BlockKind::Client && blocks.len() == 2 => format!("{}, and what it came by", one.name()),
        _ => format!("{} blocks", blocks.len()),
    };
    let body = Some(serde_json::Value::from(shown).to_string());
    let (before, after) = if action == "remove" { (body, None) } else { (None, body) };
    draft.record(action, KIND, &name, before, after).await
}
