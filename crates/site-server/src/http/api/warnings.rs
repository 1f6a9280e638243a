//! Warnings that are open.

use cmg_store::Warning;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Route};
use crate::app::roles::Needs;
use crate::http::problem::Refused;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::new(Method::Get, "/warnings", Needs::Read, "Lists what somebody should see to", list).gives::<WarningList>()]
}

/// All open warnings.
#[derive(Serialize, ToSchema)]
struct WarningList {
    /// The oldest first.
    items: Vec<ShownWarning>,
}

/// A warning.
#[derive(Serialize, ToSchema)]
struct ShownWarning {
    /// The same trouble has the same id.
    id: String,
    /// With what kind of thing.
    kind: String,
    /// With which.
    subject: String,
    /// What it is, and what to do.
    what: String,
    /// Since when, in seconds since 1970.
    since: i64,
}

async fn list(asked: Asked) -> Result<Answer, Refused> {
    let warnings = asked.site().store.warnings().await?;
    let shown = |Warning { id, kind, subject, what, since, .. }| ShownWarning { id, kind, subject, what, since };
    Ok(Answer::ok(&WarningList { items: warnings.into_iter().map(shown).collect() }))
}
