//! A whole configuration at once: whatever differs from it is added, changed and removed, in one draft. The same again changes nothing.
//!
//! Accounts and blocks stand in it too, though no member is told of the former and the latter have no names. What is shown once and kept
//! by nobody (passwords, API tokens, bulk registration tokens, enrolment codes) does not: no file could say it again.

pub(crate) mod accounts;
pub(crate) mod blocks;

use std::collections::BTreeSet;
use std::pin::Pin;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::change::{ChangeRefused, Draft};
use super::resources::{self, Written};
use crate::site::Site;

/// What happens to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is added.
    Created,
    /// It is changed.
    Changed,
    /// It is as it was.
    Unchanged,
    /// It is removed.
    Removed,
}

/// How a resource differs from what was there.
#[derive(Debug, Serialize, ToSchema)]
pub struct Difference {
    /// The kind.
    pub kind: &'static str,
    /// The name; of a block, what is blocked.
    pub name: String,
    /// What happens to it.
    pub action: Action,
    /// Its fields that change.
    pub fields: Vec<FieldDifference>,
}

/// How a field differs.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct FieldDifference {
    /// The field.
    pub field: String,
    /// How it was.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// How it is.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
}

/// A step that was read, of whatever kind.
pub(crate) trait Step: Send {
    /// The kind and the name of the resource.
    fn named(&self) -> (&'static str, String);

    /// Takes the step in a draft.
    fn take<'a>(self: Box<Self>, site: &'a Site, draft: &'a mut Draft<'_>) -> Taken<'a>;
}

/// A step that is under way.
pub(crate) type Taken<'a> = Pin<Box<dyn Future<Output = Result<Difference, ChangeRefused>> + Send + 'a>>;

/// A resource shall be as it was read.
pub(crate) struct Wanted<T: Written>(pub(crate) T::Read);

impl<T: Written> Step for Wanted<T> {
    fn named(&self) -> (&'static str, String) {
        (T::KIND, T::named(&self.0).to_owned())
    }

    fn take<'a>(self: Box<Self>, site: &'a Site, draft: &'a mut Draft<'_>) -> Taken<'a> {
        Box::pin(async move {
            let name = T::named(&self.0).to_owned();
            let before = T::of(&draft.model).get(&name).map(|before| T::clone(before));
            let (action, after) = match &before {
                None => (Action::Created, resources::create::<T>(site, draft, self.0).await?),
                Some(_) => {
                    let (after, is_changed) = resources::set::<T>(site, draft, &name, self.0).await?;
                    (if is_changed { Action::Changed } else { Action::Unchanged }, after)
                }
            };
            Ok(Difference { kind: T::KIND, name, action, fields: differences(before.as_ref(), Some(&after)) })
        })
    }
}

/// Removes the resources of a kind that are not among `kept`.
pub(crate) async fn prune<T: Written>(draft: &mut Draft<'_>, kept: &BTreeSet<String>) -> Result<Vec<Difference>, ChangeRefused> {
    let gone: Vec<_> = T::of(&draft.model).iter().filter(|(name, _)| !kept.contains(*name)).map(|(name, _)| name.clone()).collect();
    let mut differences = Vec::new();
    for name in gone {
        resources::remove::<T>(draft, &name, None).await?;
        differences.push(Difference { kind: T::KIND, name, action: Action::Removed, fields: Vec::new() });
    }
    Ok(differences)
}

/// The fields that differ.
pub(crate) fn differences<T: Serialize>(before: Option<&T>, after: Option<&T>) -> Vec<FieldDifference> {
    let fields = |resource: Option<&T>| match resource.map(serde_json::to_value) {
        Some(Ok(Value::Object(fields))) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (fields(before), fields(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differ.map(|name| FieldDifference { field: name.clone(), before: before.get(name).cloned(), after: after.get(name).cloned() }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_differ_are_told() {
        let (before, after) = (json!({"a": 1, "b": 2, "d": 4}), json!({"a": 1, "b": 3, "c": null}));

        let told = differences(Some(&before), Some(&after));

        let told: Vec<_> = told.into_iter().map(|field| (field.field, field.before, field.after)).collect();
        assert_eq!(
            told,
            [
                ("b".to_owned(), Some(json!(2)), Some(json!(3))),
                ("c".to_owned(), None, Some(json!(null))),
                ("d".to_owned(), Some(json!(4)), None)
            ]
        );
    }
}
