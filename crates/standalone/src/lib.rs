//! Standalone mode: a snapshot built from a configuration file instead of from a signed one.
//!
//! The shapes of `cmg-api` become the parts of `cmg-core`, files become the certificates, lists and keys in them, and the parser of
//! snapshots and the verifier of credentials judge the whole, as they judge a signed snapshot. Nothing stops at the first problem:
//! each is noted in [`Reading`] with its key, and a stand-in takes the place of what could not be read, so that the rest is judged
//! in the same run. What only one program has (its certificates, its limits, its way out) is read by that program.

pub mod acme;
pub mod address;
mod at_start;
mod block_lists;
mod blocks;
mod deliveries;
mod endpoints;
pub mod expiry;
mod hex;
mod reading;
mod trusts;
pub mod tunnel;

use std::collections::BTreeMap;
use std::path::PathBuf;

use cmg_api::{BlockFile, ConnectionPointFile, EndpointFile, GatewayFile, ServedEndpointFile, TokenKeyFile, TrustFile};
use cmg_core::snapshot::Parts;
use cmg_core::trust::Block;

pub use at_start::AtStart;
pub use reading::Reading;

/// The parts of a gateway's snapshot. What is wrong is noted in `reading`; the parts are of use only if nothing is.
pub fn gateway_parts(file: &GatewayFile, reading: &mut Reading) -> Parts {
    Parts {
        trusts: trusts::trusts(&file.trust, reading),
        blocks: blocks(&file.block, &file.block_lists, reading),
        token_keys: trusts::token_keys(&file.token_key, reading),
        endpoints: endpoints::read(&file.endpoint, reading),
        deliveries: Vec::new(),
        open_acknowledged: acknowledged(&file.endpoint),
    }
}

/// The parts of a connection point's snapshot. What is wrong is noted in `reading`; the parts are of use only if nothing is.
pub fn connection_point_parts(file: &ConnectionPointFile, reading: &mut Reading) -> Parts {
    let published: Vec<_> = file.endpoint.iter().map(ServedEndpointFile::published).collect();
    Parts {
        trusts: trusts::trusts(&file.trust, reading),
        blocks: blocks(&file.block, &file.block_lists, reading),
        token_keys: trusts::token_keys(&file.token_key, reading),
        endpoints: endpoints::read(&published, reading),
        deliveries: deliveries::read(&file.endpoint, reading),
        open_acknowledged: acknowledged(&published),
    }
}

/// What verifies credentials, and nothing that is published: of a management point.
pub fn credential_parts(
    trust: &BTreeMap<String, TrustFile>,
    block_lists: &[PathBuf],
    token_key: &[TokenKeyFile],
    reading: &mut Reading,
) -> Parts {
    Parts {
        trusts: trusts::trusts(trust, reading),
        blocks: blocks(&[], block_lists, reading),
        token_keys: trusts::token_keys(token_key, reading),
        endpoints: Vec::new(),
        deliveries: Vec::new(),
        open_acknowledged: Vec::new(),
    }
}

fn blocks(tables: &[BlockFile], lists: &[PathBuf], reading: &mut Reading) -> Vec<Block> {
    let mut blocks = blocks::read(tables, reading);
    block_lists::read(lists, &mut blocks, reading);
    blocks
}

fn acknowledged(files: &[EndpointFile]) -> Vec<String> {
    files.iter().filter(|file| file.open_acknowledged).map(|file| file.id.clone()).collect()
}
