//! Bulk registration tokens: list, show, new, block, unblock.

use axum::http::StatusCode;
use cmg_store::BulkToken;
use serde::Serialize;
use utoipa::ToSchema;

use super::BASE;
use super::answer::Answer;
use super::asked::Asked;
use super::page::Page;
use super::route::{Method, Parameter, Route};
use crate::app::bulk_tokens::{self, NewBulkToken};
use crate::app::change::ChangeRefused;
use crate::app::roles::Needs;
use crate::http::problem::Refused;

const LIST: &[Parameter] = &[
    Parameter("after", "string", "Only those after this id: `next` of the page before."),
    Parameter("limit", "integer", "How many at most, 1 to 500. Default 100."),
];

pub(super) fn routes() -> Vec<Route> {
    let all = "/bulk-tokens";
    vec![
        Route::new(Method::Get, all, Needs::Read, "Lists bulk registration tokens", list).query(LIST).gives::<BulkTokenPage>(),
        Route::new(Method::Post, all, Needs::Infrastructure, "Makes a bulk registration token, which is shown this once", create)
            .once()
            .takes::<NewBulkToken>()
            .gives::<MadeBulkToken>(),
        Route::new(Method::Get, "/bulk-tokens/{id}", Needs::Read, "Shows a bulk registration token by its id", show)
            .gives::<ShownBulkToken>(),
        Route::new(Method::Post, "/bulk-tokens/{id}/block", Needs::Infrastructure, "Blocks a bulk registration token everywhere", block)
            .status(200)
            .gives::<ShownBulkToken>(),
        Route::new(
            Method::Post,
            "/bulk-tokens/{id}/unblock",
            Needs::Infrastructure,
            "Lifts the block of a bulk registration token",
            unblock,
        )
        .status(200)
        .gives::<ShownBulkToken>(),
    ]
}

/// A bulk registration token that was made.
#[derive(Serialize, ToSchema)]
struct MadeBulkToken {
    /// Its id, by which it is listed and blocked.
    id: String,
    /// The token itself, which is shown this once.
    token: String,
    /// When it ends, in seconds since 1970.
    expires_at: i64,
}

/// A bulk registration token, as it is shown: never itself.
#[derive(Serialize, ToSchema)]
struct ShownBulkToken {
    /// Its id.
    id: String,
    /// When it was made, in seconds since 1970.
    created_at: i64,
    /// When it ends, in seconds since 1970.
    expires_at: i64,
    /// How many registrations it is good for; none: without limit.
    max_uses: Option<u64>,
    /// How many it was used for.
    uses: u64,
    /// From which network it is good; none: from any.
    network: Option<String>,
    /// What for.
    note: String,
    /// `active`, `blocked`, `expired` or `used-up`.
    state: String,
    /// Who made it.
    created_by: String,
}

/// A page of bulk registration tokens.
#[derive(Serialize, ToSchema)]
struct BulkTokenPage {
    /// By id.
    items: Vec<ShownBulkToken>,
    /// What to send as `after` to get the next page; none: this is the last one.
    next: Option<String>,
}

impl ShownBulkToken {
    fn of(token: BulkToken, now: i64) -> Self {
        Self {
            state: bulk_tokens::state(&token, now).to_owned(),
            id: token.id,
            created_at: token.created_at,
            expires_at: token.expires_at,
            max_uses: token.max_uses,
            uses: token.uses,
            network: token.network,
            note: token.note,
            created_by: token.created_by,
        }
    }
}

async fn list(asked: Asked) -> Result<Answer, Refused> {
    let page = Page::of(&asked)?;
    let mut tokens = asked.site().store.bulk_token_page(asked.text("after"), page.rows()).await?;
    let next = page.cut(&mut tokens, |token| token.id.clone());
    let now = asked.site().now().0 as i64;
    Ok(Answer::ok(&BulkTokenPage { items: tokens.into_iter().map(|token| ShownBulkToken::of(token, now)).collect(), next }))
}

async fn show(asked: Asked) -> Result<Answer, Refused> {
    let id = asked.part("id");
    let token = asked.site().store.bulk_token(id).await?;
    let token = token.ok_or_else(|| ChangeRefused::NotFound { kind: bulk_tokens::KIND, name: id.to_owned() })?;
    Ok(Answer::ok(&ShownBulkToken::of(token, asked.site().now().0 as i64)))
}

async fn create(asked: Asked) -> Result<Answer, Refused> {
    let once = asked.once()?;
    let new: NewBulkToken = asked.body()?;
    let mut draft = asked.draft().await?;
    if let Some(answer) = asked.earlier(once.as_ref(), &mut draft).await? {
        return Ok(answer);
    }
    let (issued, token) = bulk_tokens::add(asked.site(), &mut draft, &new).await?;
    let made = MadeBulkToken { id: issued.id, token: issued.token, expires_at: token.expires_at };
    let answer = Answer::new(StatusCode::CREATED, &made).location(format!("{BASE}/bulk-tokens/{}", made.id));
    asked.keep(once.as_ref(), &mut draft, &answer).await?;
    draft.commit().await?;
    Ok(answer)
}

async fn block(asked: Asked) -> Result<Answer, Refused> {
    let mut draft = asked.draft().await?;
    let token = bulk_tokens::block(&mut draft, asked.part("id")).await?;
    let answer = Answer::ok(&ShownBulkToken::of(token, draft.now));
    Ok(answer.generation(draft.commit().await?))
}

async fn unblock(asked: Asked) -> Result<Answer, Refused> {
    let mut draft = asked.draft().await?;
    let token = bulk_tokens::unblock(&mut draft, asked.part("id")).await?;
    let answer = Answer::ok(&ShownBulkToken::of(token, draft.now));
    Ok(answer.generation(draft.commit().await?))
}
