//! A whole configuration at once.

use std::collections::{BTreeMap, BTreeSet};

use cmg_core::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::asked::Asked;
use super::body;
use super::resources::read;
use super::route::{Method, Parameter, Route};
use crate::app::accounts;
use crate::app::apply::accounts::WantedAccount;
use crate::app::apply::{self, Action, Difference, Step, Wanted, prune};
use crate::app::blocking::{self, BlockRequest, Judged, MOST};
use crate::app::change::Draft;
use crate::app::resources::{Written, for_kind, judge, kinds};
use crate::app::roles::Needs;
use crate::http::problem::{Kind, Refused};
use crate::site::Site;

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
    /// Resources of any kinds, accounts and blocks, in any order.
    resources: Vec<WantedResource>,
}

/// How a resource shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedResource {
    /// The kind, such as `endpoint`, or `account` or `block`.
    kind: String,
    /// The resource, as it is sent to be added; an account without a password.
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

/// A list that was read.
struct Plan {
    /// Resources and accounts, each with its place in the list.
    steps: Vec<(usize, Box<dyn Step>)>,
    /// Blocks.
    blocks: Vec<Judged>,
    /// What stands in the list, by kind.
    kept: BTreeMap<&'static str, BTreeSet<String>>,
}

async fn apply(asked: Asked) -> Result<Answer, Refused> {
    let dry_run = asked.flag("dry_run")?;
    let pruned = pruned(asked.text("prune"))?;
    let WantedList { resources } = asked.body()?;
    demand_role(&asked, pruned.iter().copied().chain(resources.iter().map(|wanted| wanted.kind.as_str()))).await?;
    let plan = plan(resources).await?;
    let mut draft = asked.draft().await?;
    let differences = carry_out(plan, &pruned, asked.site(), &mut draft).await?;
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

/// Takes every step in the draft, or tells everything that is wrong with any of them.
async fn carry_out(plan: Plan, pruned: &BTreeSet<&'static str>, site: &Site, draft: &mut Draft<'_>) -> Result<Vec<Difference>, Refused> {
    let Plan { steps, blocks, mut kept } = plan;
    let (mut differences, mut problems) = (Vec::new(), Vec::new());
    for (place, step) in steps {
        match step.take(site, draft).await {
            Ok(difference) => differences.push(difference),
            Err(refused) => problems.extend(in_place(place, refused.into())?),
        }
    }
    if !problems.is_empty() {
        return Err(Refused::invalid(problems));
    }
    differences.extend(apply::blocks::block(draft, blocks).await?);
    for kind in pruned {
        let kept = kept.remove(kind).unwrap_or_default();
        differences.extend(match *kind {
            accounts::KIND => apply::accounts::prune(draft, &kept).await?,
            blocking::KIND => apply::blocks::prune(draft, &kept).await?,
            kind => for_kind!(kind, prune(draft, &kept)).transpose()?.unwrap_or_default(),
        });
    }
    apply::accounts::judge(draft, &differences).await?;
    Ok(differences)
}

/// Some kinds want more than the route does.
async fn demand_role(asked: &Asked, kinds: impl Iterator<Item = &str>) -> Result<(), Refused> {
    for kind in kinds {
        let needs = if kind == accounts::KIND { Some(Needs::Full) } else { for_kind!(kind, needs()) };
        if needs.is_some_and(|needs| !needs.permits(asked.caller.as_ref().map(|caller| caller.role))) {
            return Err(Refused::new(Kind::NotPermitted, format!("only a full administrator changes a {kind}: leave it out")));
        }
    }
    Ok(())
}

async fn needs<T: Written>() -> Needs {
    T::NEEDS
}

/// Reads the list, or tells everything that is wrong with it. Accounts come last, since they name sign-in providers.
async fn plan(resources: Vec<WantedResource>) -> Result<Plan, Refused> {
    let (mut of_resources, mut of_accounts, mut of_blocks) = (Vec::new(), Vec::new(), Vec::new());
    let (mut kept, mut problems) = (BTreeMap::<_, BTreeSet<_>>::new(), Vec::new());
    for (place, WantedResource { kind, resource }) in resources.into_iter().enumerate() {
        let step = match kind.as_str() {
            accounts::KIND => account(resource),
            blocking::KIND => {
                match body::of_value::<BlockRequest>(toml::Value::Table(resource)) {
                    Ok(block) => of_blocks.push((place, block)),
                    Err(refused) => problems.extend(in_place(place, refused)?),
                }
                continue;
            }
            kind => for_kind!(kind, step(resource)).unwrap_or_else(|| Err(Refused::invalid(vec![unknown("kind", kind)]))),
        };
        match step {
            Ok(step) => {
                let (kind, name) = step.named();
                if !kept.entry(kind).or_default().insert(name) {
                    problems.push(twice(&format!("resources[{place}].resource.name")));
                }
                if kind == accounts::KIND { of_accounts.push((place, step)) } else { of_resources.push((place, step)) }
            }
            Err(refused) => problems.extend(in_place(place, refused)?),
        }
    }
    let blocks = match blocks(of_blocks).await {
        Ok(blocks) => blocks,
        Err(refused) => {
            problems.extend(refused.into_problems()?);
            Vec::new()
        }
    };
    if !problems.is_empty() {
        return Err(Refused::invalid(problems));
    }
    kept.insert(blocking::KIND, blocks.iter().map(Judged::name).collect());
    of_resources.extend(of_accounts);
    Ok(Plan { steps: of_resources, blocks, kept })
}

async fn step<T: Written>(mut resource: toml::Table) -> Result<Box<dyn Step>, Refused> {
    // What was shown can be sent back as it is.
    resource.remove("version");
    Ok(Box::new(Wanted::<T>(read::<T>(toml::Value::Table(resource)).await?)))
}

fn account(mut resource: toml::Table) -> Result<Box<dyn Step>, Refused> {
    if let Some(problem) = apply::accounts::tidy(&mut resource) {
        return Err(Refused::invalid(vec![problem]));
    }
    Ok(Box::new(WantedAccount(body::of_value(toml::Value::Table(resource))?)))
}

/// Judges blocks, which takes its time where there are many.
async fn blocks(requests: Vec<(usize, BlockRequest)>) -> Result<Vec<Judged>, Refused> {
    if requests.len() > MOST {
        let what = format!("{} blocks stand in the list", requests.len());
        return Err(Refused::invalid(vec![Problem::new("resources", what, format!("send at most {MOST} at once"))]));
    }
    let (places, requests): (Vec<usize>, Vec<BlockRequest>) = requests.into_iter().unzip();
    let key = move |request: usize, key: &str| format!("resources[{}].resource.{key}", places[request]).trim_end_matches('.').to_owned();
    let judged = tokio::task::spawn_blocking(move || blocking::judge(&requests, key)).await;
    judged.map_err(|error| Refused::failed(&error))?.map_err(Refused::invalid)
}

/// The problems of one resource of the list, by their place in the body.
fn in_place(place: usize, refused: Refused) -> Result<Vec<Problem>, Refused> {
    let key = |key: &str| if key == "kind" { format!("resources[{place}].kind") } else { format!("resources[{place}].resource.{key}") };
    refused.with_keys(key).into_problems()
}

fn pruned(text: Option<&str>) -> Result<BTreeSet<&'static str>, Refused> {
    let mut pruned = BTreeSet::new();
    for named in text.unwrap_or("").split(',').filter(|named| !named.is_empty()) {
        let kind = appliable().find(|kind| *kind == named).ok_or_else(|| Refused::invalid(vec![unknown("?prune", named)]))?;
        pruned.insert(kind);
    }
    Ok(pruned)
}

/// Every kind that may stand in a list.
fn appliable() -> impl Iterator<Item = &'static str> {
    kinds().into_iter().chain([accounts::KIND, blocking::KIND])
}

fn unknown(key: &str, kind: &str) -> Problem {
    let known: Vec<_> = appliable().collect();
    Problem::new(key, format!("`{kind}` is no kind"), format!("write one of {}", known.join(", ")))
}

fn twice(key: &str) -> Problem {
    Problem::new(key, "stands in the list twice", "write each resource once")
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
