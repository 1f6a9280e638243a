//! Audit records: who changed what, from where, before and after. They can be read, and nothing else.

use cmg_store::{AuditFilter, AuditRecord};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Parameter, Route};
use crate::app::roles::Needs;
use crate::http::problem::Refused;

const QUERY: &[Parameter] = &[
    Parameter("account", "string", "Only what this account did."),
    Parameter("kind", "string", "Only what was done to this kind, such as endpoint."),
    Parameter("name", "string", "Only what was done to the thing of this name."),
    Parameter("since", "integer", "Only what was done at this time or later, in seconds since 1970."),
    Parameter("before", "integer", "Only records before the one of this id: `next` of the page before."),
    Parameter("limit", "integer", "How many at most, 1 to 500. Default 100."),
];

pub(super) fn routes() -> Vec<Route> {
    vec![Route::new(Method::Get, "/audit", Needs::Read, "Lists audit records, newest first", list).query(QUERY).gives::<AuditPage>()]
}

/// A page of audit records.
#[derive(Serialize, ToSchema)]
struct AuditPage {
    /// Newest first.
    items: Vec<ShownRecord>,
    /// What to send as `before` to get the next page; none: this is the last one.
    next: Option<i64>,
    /// How many there are on all pages.
    total: u64,
}

/// An audit record.
#[derive(Serialize, ToSchema)]
struct ShownRecord {
    /// 1, 2, 3, in the order of happening.
    id: i64,
    /// When, in seconds since 1970.
    at: i64,
    /// Who.
    account: String,
    /// In which role.
    role: String,
    /// From which address.
    address: String,
    /// What was done, such as `new`, `set` or `remove`.
    action: String,
    /// To what kind of thing.
    kind: String,
    /// To which.
    name: String,
    /// How it was.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// How it is.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
    /// The request.
    request_id: String,
}

async fn list(asked: Asked) -> Result<Answer, Refused> {
    let limit = asked.number("limit", 1, 500)?.unwrap_or(100) as usize;
    let before = asked.number("before", 0, i64::MAX)?;
    let filter = AuditFilter {
        account: asked.text("account"),
        kind: asked.text("kind"),
        name: asked.text("name"),
        since: asked.number("since", 0, i64::MAX)?,
    };
    let mut view = asked.site().store.view().await?;
    let mut records = view.audit_page(filter, before, limit as u32 + 1).await?;
    let total = view.count_audit(filter).await?;
    let next = (records.len() > limit).then(|| records[limit - 1].id);
    records.truncate(limit);
    Ok(Answer::ok(&AuditPage { items: records.into_iter().map(ShownRecord::from).collect(), next, total }))
}

impl From<AuditRecord> for ShownRecord {
    fn from(AuditRecord { id, at, record }: AuditRecord) -> Self {
        let json = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
        Self {
            id,
            at,
            account: record.account,
            role: record.role,
            address: record.address,
            action: record.action,
            kind: record.kind,
            name: record.name,
            before: json(record.before),
            after: json(record.after),
            request_id: record.request_id,
        }
    }
}
