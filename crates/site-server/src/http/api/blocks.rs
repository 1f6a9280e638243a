//! Blocks: list, show, new (one or many), remove.

use axum::http::StatusCode;
use cmg_core::problem::Problem;
use cmg_store::Block;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BASE;
use super::answer::Answer;
use super::asked::Asked;
use super::page::Page;
use super::resources::DRY_RUN;
use super::route::{Method, Parameter, Route};
use crate::app::blocking::{self, Added, BlockRequest, MOST};
use crate::app::change::ChangeRefused;
use crate::app::roles::Needs;
use crate::http::problem::Refused;

const LIST: &[Parameter] = &[
    Parameter("search", "string", "Only those whose value or note contains this, in either case."),
    Parameter("after", "string", "Only those after this id: `next` of the page before."),
    Parameter("limit", "integer", "How many at most, 1 to 500. Default 100."),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::Get, "/blocks", Needs::Read, "Lists blocks", list).query(LIST).gives::<BlockPage>(),
        Route::new(
            Method::Post,
            "/blocks",
            Needs::Infrastructure,
            "Blocks a certificate, token or client; what is blocked already is answered with 200",
            create,
        )
        .query(DRY_RUN)
        .once()
        .takes::<BlockRequest>()
        .gives::<ShownBlock>(),
        Route::new(Method::Post, "/blocks/bulk", Needs::Infrastructure, "Blocks up to 10000 at once, in one generation", create_many)
            .query(DRY_RUN)
            .status(200)
            .takes::<ManyBlocks>()
            .gives::<MadeBlocks>(),
        Route::new(Method::Get, "/blocks/{id}", Needs::Read, "Shows a block", show).gives::<ShownBlock>(),
        Route::new(Method::Delete, "/blocks/{id}", Needs::Infrastructure, "Lifts a block, and those that came with it", remove)
            .query(DRY_RUN),
    ]
}

/// Many blocks.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ManyBlocks {
    /// At most 10000.
    blocks: Vec<BlockRequest>,
}

/// What became of many blocks.
#[derive(Serialize, ToSchema)]
struct MadeBlocks {
    /// How many are new.
    added: usize,
    /// How many were there.
    existed: usize,
    /// Their ids, in the order of the request.
    ids: Vec<String>,
}

/// A block, as it is shown.
#[derive(Serialize, ToSchema)]
struct ShownBlock {
    /// Its id.
    id: String,
    /// `thumbprint`, `serial`, `token`, `client` or `identity`.
    kind: String,
    /// What is blocked.
    value: String,
    /// The issuer of a serial number; none: any.
    issuer: Option<String>,
    /// Why.
    note: String,
    /// Who added it.
    created_by: String,
    /// When, in seconds since 1970.
    created_at: i64,
    /// The number of the generation that added it.
    generation: u64,
}

/// A page of blocks.
#[derive(Serialize, ToSchema)]
struct BlockPage {
    /// By id.
    items: Vec<ShownBlock>,
    /// What to send as `after` to get the next page; none: this is the last one.
    next: Option<String>,
    /// How many blocks there are, whatever is searched for.
    total: u64,
}

impl From<Block> for ShownBlock {
    fn from(block: Block) -> Self {
        Self {
            id: block.id,
            kind: block.kind.word().to_owned(),
            value: block.value,
            issuer: block.issuer,
            note: block.note,
            created_by: block.created_by,
            created_at: block.created_at,
            generation: block.generation_number,
        }
    }
}

async fn list(asked: Asked) -> Result<Answer, Refused> {
    let page = Page::of(&asked)?;
    let mut view = asked.site().store.view().await?;
    let mut blocks = view.block_page(asked.text("after"), asked.text("search"), page.rows()).await?;
    let next = page.cut(&mut blocks, |block| block.id.clone());
    let total = view.count_blocks().await?;
    Ok(Answer::ok(&BlockPage { items: blocks.into_iter().map(ShownBlock::from).collect(), next, total }))
}

async fn show(asked: Asked) -> Result<Answer, Refused> {
    let id = asked.part("id");
    let block = asked.site().store.block(id).await?.filter(|block| block.removed_generation.is_none());
    let block = block.ok_or_else(|| ChangeRefused::NotFound { kind: blocking::KIND, name: id.to_owned() })?;
    Ok(Answer::ok(&ShownBlock::from(block)))
}

async fn create(asked: Asked) -> Result<Answer, Refused> {
    let (once, dry_run) = (asked.once()?, asked.flag("dry_run")?);
    let request: BlockRequest = asked.body()?;
    let judged = blocking::judge(&[request], |_, key| key.to_owned()).map_err(Refused::invalid)?;
    let mut draft = asked.draft().await?;
    if let Some(answer) = asked.earlier(once.as_ref(), &mut draft).await? {
        return Ok(answer);
    }
    let mut added = blocking::add(&mut draft, judged).await?;
    let Added { block, existed } = added.pop().ok_or(cmg_store::Error::NotFound)?;
    let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
    let location = format!("{BASE}/blocks/{}", block.id);
    let mut answer = Answer::new(status, &ShownBlock::from(block)).location(location);
    if !dry_run {
        if !existed {
            answer = answer.generation(draft.generation().await?);
        }
        asked.keep(once.as_ref(), &mut draft, &answer).await?;
        draft.commit().await?;
    }
    Ok(answer)
}

async fn create_many(asked: Asked) -> Result<Answer, Refused> {
    let dry_run = asked.flag("dry_run")?;
    let ManyBlocks { blocks } = asked.body()?;
    if blocks.len() > MOST {
        let what = format!("it has {} blocks", blocks.len());
        return Err(Refused::invalid(vec![Problem::new("blocks", what, format!("send at most {MOST} at once"))]));
    }
    let key = |place, key: &str| match key {
        "" => format!("blocks[{place}]"),
        key => format!("blocks[{place}].{key}"),
    };
    let judged = tokio::task::spawn_blocking(move || blocking::judge(&blocks, key)).await;
    let judged = judged.map_err(|error| Refused::failed(&error))?.map_err(Refused::invalid)?;
    let mut draft = asked.draft().await?;
    let added = blocking::add(&mut draft, judged).await?;
    let existed = added.iter().filter(|added| added.existed).count();
    let ids = added.iter().map(|added| added.block.id.clone()).collect();
    let answer = Answer::ok(&MadeBlocks { added: added.len() - existed, existed, ids });
    if dry_run {
        return Ok(answer);
    }
    let generation = draft.commit().await?;
    Ok(answer.generation(generation))
}

async fn remove(asked: Asked) -> Result<Answer, Refused> {
    let dry_run = asked.flag("dry_run")?;
    let mut draft = asked.draft().await?;
    blocking::remove(&mut draft, asked.part("id")).await?;
    if dry_run {
        return Ok(Answer::nothing());
    }
    let generation = draft.commit().await?;
    Ok(Answer::nothing().generation(generation))
}
