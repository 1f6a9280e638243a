//! The one question that the gateway answers itself: what a device of an Entra ID tenant signs in with.
//!
//! It needs no tunnel and no credential; like everything that strangers may ask, it is counted for their address.
use cmg_core::entra::{METHODS, Tenants};
use cmg_core::ids::RequestId;
use cmg_core::refusal::Refusal;
use cmg_core::target::Target;

use crate::admission::Door;
use crate::answer::REQUEST_ID;
use crate::clients::Clients;
use crate::connection::Received;
use crate::credential::Known;
use crate::state::State;

/// What stands in the log in the place of an endpoint; no endpoint can be called so.
const NAME: &str = ":AADAuthInfo";

/// The answer to a request that asks this of the public port; none: it asks something else.
pub(crate) fn answer(
    received: &Received,
    door: Door<'_>,
    address: std::net::IpAddr,
    known: &mut Known,
    state: &State,
    clients: &Clients,
    endpoint: &mut String,
) -> Option<Result<String, Refusal>> {
    let Received { head, bytes, .. } = received;
    let target = Target::parse(head.target.of(bytes)).ok()?;
    if !Tenants::is_question(target.path()) || state.snapshot.endpoints.is_own_port(door.port) {
        return None;
    }
    NAME.clone_into(endpoint);
    let admission = clients.admit(known.anonymous(address, clients), state.limits.rate, state.limits.concurrent_requests);
    let query = target.query().strip_prefix(b"?").unwrap_or_default();
    Some(admission.and_then(|_counted| {
        let (id, tenant) = state.tenants.answer(head.method.of(bytes), query)?;
        Ok(serde_json::json!({ "tenant_id": id, "client_app_id": tenant.client_app_id, "resource_uri": tenant.resource_uri }).to_string())
    }))
}

/// The methods of an endpoint, or of this question.
pub(crate) fn methods(state: &State, endpoint: &str) -> Vec<String> {
    if endpoint == NAME {
        return METHODS.map(str::to_owned).to_vec();
    }
    state.snapshot.endpoints.by_id(endpoint).map(|endpoint| endpoint.methods.clone()).unwrap_or_default()
}

/// The fields of the answer, whose body has `length` bytes.
pub(crate) fn fields(id: RequestId, length: usize, mut push: impl FnMut(&[u8], &[u8])) {
    push(b"Content-Type", b"application/json");
    push(b"Content-Length", itoa::Buffer::new().format(length).as_bytes());
    push(b"Cache-Control", b"no-store");
    push(REQUEST_ID, &id.to_hex());
}
