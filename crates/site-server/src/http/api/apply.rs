//! A whole configuration at once.

use std::collections::{BTreeMap, BTreeSet};

use cmg_core::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::asked::Asked;
use super::resources::read;
use super::route::{Method, Parameter, Route};
use crate::app::apply::{Action, Difference, Step, Wanted, prune};
use crate::app::resources::{Written, for_kind, judge, kinds};
use crate::app::roles::Needs;
use crate::http::problem::{Kind, Refused};

const QUERY: &[Parameter] = &[
    Parameter("dry_run", "boolean", "Tells the difference and stores nothing. Default false."),
    Parameter("prune", "string", "Kinds, joined by commas: resources of these that are not in the list are removed. Default none."),
];

pub(super) fn routes() -> Vec<Route> {
    let summary = "Makes the configuration what the list says, in one change";
    vec![
        Route::new(Method::Post, "/apply", Needs::Infrastructure, summary, apply)
            .query(QUERY)
            .status(200)
            .takes::<WantedList>()
            .gives::<Applied>(),
    ]
}

/// How the configuration shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedList {
    /// Resources of any kinds, in any order.
    resources: Vec<WantedResource>,
}

/// How a resource shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedResource {
    /// The kind, such as `endpoint`.
    kind: String,
    /// The resource, as it is sent to be added.
    #[schema(value_type = Object)]
    resource: toml::Table,
}

/// What was done, or would be.
#[derive(Serialize, ToSchema)]
struct Applied {
    /// How many resources are added.
    created: usize,
    /// How many are changed.
    changed: usize,
    /// How many are removed.
    removed: usize,
    /// How many are as they were.
    unchanged: usize,
    /// Each of them.
    resources: Vec<Difference>,
}

async fn apply(asked: Asked) -> Result<Answer, Refused> {
    let dry_run = asked.flag("dry_run")?;
    let pruned = pruned(asked.text("prune"))?;
    let WantedList { resources } = asked.body()?;
    demand_role(&asked, pruned.iter().copied().chain(resources.iter().map(|wanted| wanted.kind.as_str()))).await?;
    let steps = steps(resources).await?;
    let mut draft = asked.draft().await?;
    let mut kept: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    let (mut differences, mut problems) = (Vec::new(), Vec::new());
    for (place, step) in steps.into_iter().enumerate() {
        let (kind, name) = step.named();
        kept.entry(kind).or_default().insert(name);
        match step.take(asked.site(), &mut draft).await {
            Ok(difference) => differences.push(difference),
            Err(refused) => problems.extend(in_place(place, refused.into())?),
        }
    }
    if !problems.is_empty() {
        return Err(Refused::invalid(problems));
    }
    for kind in pruned {
        let kept = kept.remove(kind).unwrap_or_default();
        if let Some(removed) = for_kind!(kind, prune(&mut draft, &kept)) {
            differences.extend(removed?);
        }
    }
    let changes = differences.iter().any(|difference| difference.action != Action::Unchanged);
    let answer = Answer::ok(&Applied::of(differences));
    if dry_run {
        judge(asked.site(), draft)?;
        return Ok(answer);
    }
    if !changes {
        return Ok(answer.generation(draft.before.generation()));
    }
    let generation = draft.commit().await?;
    Ok(answer.generation(generation))
}

/// Some kinds want more than the route does.
async fn demand_role(asked: &Asked, kinds: impl Iterator<Item = &str>) -> Result<(), Refused> {
    for kind in kinds {
        let needs = for_kind!(kind, needs());
        if needs.is_some_and(|needs| !needs.permits(asked.caller.as_ref().map(|caller| caller.role))) {
            return Err(Refused::new(Kind::NotPermitted, format!("only a full administrator changes a {kind}: leave it out")));
        }
    }
    Ok(())
}

async fn needs<T: Written>() -> Needs {
    T::NEEDS
}

/// Reads every resource of the list, or tells everything that is wrong with any of them.
async fn steps(resources: Vec<WantedResource>) -> Result<Vec<Box<dyn Step>>, Refused> {
    let (mut steps, mut problems, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (place, WantedResource { kind, resource }) in resources.into_iter().enumerate() {
        let Some(step) = for_kind!(kind.as_str(), step(resource)) else {
            let instead = format!("write one of {}", kinds().join(", "));
            problems.push(Problem::new(format!("resources[{place}].kind"), format!("`{kind}` is no kind"), instead));
            continue;
        };
        match step {
            Ok(step) if !seen.insert(step.named()) => {
                let key = format!("resources[{place}].resource.name");
                problems.push(Problem::new(key, "stands in the list twice", "write each resource once"));
            }
            Ok(step) => steps.push(step),
            Err(refused) => problems.extend(in_place(place, refused)?),
        }
    }
    if problems.is_empty() { Ok(steps) } else { Err(Refused::invalid(problems)) }
}

async fn step<T: Written>(mut resource: toml::Table) -> Result<Box<dyn Step>, Refused> {
    // What was shown can be sent back as it is.
    resource.remove("version");
    Ok(Box::new(Wanted::<T>(read::<T>(toml::Value::Table(resource)).await?)))
}

/// The problems of one resource of the list, by their place in the body.
fn in_place(place: usize, refused: Refused) -> Result<Vec<Problem>, Refused> {
    refused.with_keys(|key| format!("resources[{place}].resource.{key}")).into_problems()
}

fn pruned(text: Option<&str>) -> Result<BTreeSet<&'static str>, Refused> {
    let mut pruned = BTreeSet::new();
    for named in text.unwrap_or("").split(',').filter(|named| !named.is_empty()) {
        let Some(kind) = kinds().into_iter().find(|kind| *kind == named) else {
            let instead = format!("write some of {}", kinds().join(","));
            return Err(Refused::invalid(vec![Problem::new("?prune", format!("`{named}` is no kind"), instead)]));
        };
        pruned.insert(kind);
    }
    Ok(pruned)
}

impl Applied {
    fn of(resources: Vec<Difference>) -> Self {
        let count = |action| resources.iter().filter(|difference| difference.action == action).count();
        Self {
            created: count(Action::Created),
            changed: count(Action::Changed),
            removed: count(Action::Removed),
            unchanged: count(Action::Unchanged),
            resources,
        }
    }
}
