//! What a gateway would judge credentials by if it published everything: for questions that are not about one gateway.

use std::sync::Arc;

use cmg_api::GatewayDocument;
use cmg_api::resource::{ClientTrust, PublishedEndpoint};
use cmg_core::problem::Problem;
use cmg_core::snapshot::Parts;
use cmg_credentials::load::Files;
use cmg_standalone::{Reading, gateway_parts};

use super::documents::{Papers, all_endpoints};
use super::judging::{PartFiles, gateway_file, nothing};
use super::{Desk, Ground, Publication};
use crate::app::model::Model;

/// Every trust, block and token key of the model, read by the code that gateways read theirs by.
pub(crate) fn credentials(model: &Model, ground: &Ground) -> Result<Parts, Vec<Problem>> {
    let mut desk = Desk { publication: Publication::default(), problems: Vec::new() };
    let document = Papers::new(model, ground, &mut desk).credentials();
    let mut reading = Reading::of_files(Arc::new(PartFiles(desk.publication.parts)) as Arc<dyn Files>);
    let file = cmg_api::GatewayFile { block_lists: document.block_lists.clone(), ..gateway_file(&document) };
    let parts = gateway_parts(&file, &mut reading);
    reading.finish(Some(parts))
}

/// One trust by itself, as members read it; problems stand under `trust.NAME`.
pub(crate) fn trust(trust: &ClientTrust, ground: &Ground) -> Result<Parts, Vec<Problem>> {
    let mut model = Model::default();
    model.trusts.insert(trust.name.clone(), Arc::new(trust.clone()));
    let ground = Ground { site_clients: ground.site_clients.clone(), fetched_lists: ground.fetched_lists.clone(), ..Ground::default() };
    credentials(&model, &ground)
}

/// The published endpoint of this name, whether it is a resource or comes from a site system.
pub(crate) fn endpoint(model: &Model, name: &str) -> Option<Arc<PublishedEndpoint>> {
    all_endpoints(model).map(|(_, endpoint)| endpoint).find(|endpoint| endpoint.name == name)
}

impl Papers<'_> {
    fn credentials(&self) -> GatewayDocument {
        GatewayDocument { trust: self.all_trusts(), block_lists: self.all_block_lists(), token_key: self.all_token_keys(), ..nothing() }
    }
}
