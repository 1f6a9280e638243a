//! The policy of clients: made of the model, signed when its content changes, and kept as it was signed.
//!
//! Signing the same again gives other bytes, and every other text costs every device a download. So what was signed is kept in the
//! database, and every site server publishes the same. It is signed anew where the content is another, where another key signs, and after
//! a restore, so that clients that have seen later generations take it.

mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cmg_api::bytes::Base64;
use cmg_api::control::{GenerationId, Signed};
use cmg_api::policy::{ClientSettingsPolicy, IntranetManagementPoint, LARGEST_POLICY, POLICY_CONTEXT, Policy, PolicyBoundaryGroup};
use cmg_core::problem::Problem;
use cmg_store::{Change, View};
use tracing::info;

use super::change::{Actor, ChangeRefused};
use super::in_force::InForce;
use super::keys::Keys;
use super::model::Model;
use super::publish::Ground;
use crate::site::Site;

/// Policies as they were signed, by the code of their site: a [`Signed`] in JSON.
pub type Policies = BTreeMap<String, Arc<[u8]>>;

/// Where the policy of a site is kept.
fn place(site: &str) -> String {
    format!("policy/{site}")
}

/// Reads those that are kept.
pub(crate) async fn read(view: &mut View, model: &Model) -> Result<Policies, cmg_store::Error> {
    let mut policies = Policies::new();
    for site in sites(model) {
        if let Some(text) = view.secret(&place(site)).await? {
            policies.insert(site.to_owned(), text.into());
        }
    }
    Ok(policies)
}

/// Signs what has another content than before, as of `generation`, and keeps it.
pub(crate) async fn keep(
    change: &mut Change,
    model: &Model,
    ground: &mut Ground,
    keys: &Keys,
    generation: GenerationId,
    now: i64,
) -> Result<(), ChangeRefused> {
    let mut policies = Policies::new();
    for site in sites(model) {
        let wanted = content(model, ground, keys, site);
        let text = match ground.policies.get(site).filter(|known| is_current(known, &wanted, keys, generation.epoch)) {
            Some(known) => Arc::clone(known),
            None => {
                let made_at = u64::try_from(now).unwrap_or_default();
                let text = sign(Policy { generation, made_at, ..wanted }, keys)?;
                change.put_secret(&place(site), &text).await?;
                text
            }
        };
        policies.insert(site.to_owned(), text);
    }
    for gone in ground.policies.keys().filter(|site| !policies.contains_key(*site)) {
        change.remove_secret(&place(gone)).await?;
    }
    ground.policies = policies;
    Ok(())
}

/// Publishes anew where a policy is not what it should be: after a restore, and after an update from a version that made none.
pub(crate) async fn refresh(site: &Site) -> Result<(), ChangeRefused> {
    let is_due = |in_force: &InForce| {
        let InForce { model, ground, keys, .. } = in_force;
        let epoch = in_force.generation().epoch;
        sites(model).into_iter().any(|site| {
            let wanted = content(model, ground, keys, site);
            ground.policies.get(site).is_none_or(|known| !is_current(known, &wanted, keys, epoch))
        })
    };
    if !is_due(&site.in_force()) {
        return Ok(());
    }
    let mut draft = site.draft(&Actor { account: "site".to_owned(), ..Actor::default() }).await?;
    // Another site server may have done it.
    if is_due(&draft.before) {
        draft.publish();
        let generation = draft.commit().await?;
        info!(%generation, "The policy of clients was signed anew");
    }
    Ok(())
}

/// Codes of the sites that have management points.
fn sites(model: &Model) -> BTreeSet<&str> {
    model.management_points.values().map(|point| model.site_of(&point.site)).collect()
}

/// Whether what was signed says what it should, with the key that signs and in this epoch.
fn is_current(text: &[u8], wanted: &Policy, keys: &Keys, epoch: u64) -> bool {
    let Ok(signed) = serde_json::from_slice::<Signed>(text) else { return false };
    let Ok(said) = serde_json::from_str::<Policy>(&signed.payload) else { return false };
    let is_by_key = signed.chain.iter().map(|der| &der.0).eq(keys.snapshots.chain());
    let (generation, made_at) = (said.generation, said.made_at);
    is_by_key && generation.epoch == epoch && said == Policy { generation, made_at, ..wanted.clone() }
}

fn sign(policy: Policy, keys: &Keys) -> Result<Arc<[u8]>, ChangeRefused> {
    let failed = |error| ChangeRefused::Failed(error);
    let payload = serde_json::to_string(&policy).map_err(|error| failed(error.into()))?;
    let signed = keys.snapshots.sign(POLICY_CONTEXT, payload).map_err(|error| failed(error.into()))?;
    let text = serde_json::to_vec(&signed).map_err(|error| failed(error.into()))?;
    if text.len() > LARGEST_POLICY {
        let what = format!("the policy of clients would have {} bytes, more than {LARGEST_POLICY}", text.len());
        let instead = "remove site systems, boundary groups or settings for agents that no client needs";
        return Err(ChangeRefused::Problems(vec![Problem::new("client-settings", what, instead)]));
    }
    Ok(text.into())
}

/// What clients of a site are told, without when.
fn content(model: &Model, ground: &Ground, keys: &Keys, site: &str) -> Policy {
    let settings = model.client_settings.values().next();
    let published = services::Published::new(model, ground, site);
    Policy {
        site_name: keys.infrastructure.site().to_owned(),
        site: site.to_owned(),
        generation: GenerationId::default(),
        made_at: 0,
        roots: keys.roots().into_iter().map(Base64).collect(),
        management_points: services::management_points(model, ground, site)
            .map(|point| IntranetManagementPoint { name: point.name.clone(), url: format!("https://{}:{}", point.host, point.port) })
            .collect(),
        services: published.services(),
        servers: published.servers,
        boundary_groups: boundary_groups(model),
        client: settings.map_or_else(ClientSettingsPolicy::default, |settings| (&**settings).into()),
        agents: settings.map(|settings| settings.agents.clone()).unwrap_or_default(),
    }
}

fn boundary_groups(model: &Model) -> Vec<PolicyBoundaryGroup> {
    let groups = model.boundary_groups.values().map(|group| PolicyBoundaryGroup {
        name: group.name.clone(),
        networks: group.networks.iter().map(|network| network.0.clone()).collect(),
        site_systems: group.site_systems.clone(),
        services: group.gateways.iter().chain(&group.internet_servers).cloned().collect(),
        fallback: group.fallback.clone(),
        prefer_cloud: group.prefer_cloud_based_sources,
    });
    groups.collect()
}
