//! Whether the client of a request under way would still be let in: who is revoked, blocked or out of time does not keep what it has,
//! be it a download of hours or a WebSocket.
//!
//! A request is decided when it comes. One that lasts is decided again every few seconds, by the same steps and by the configuration
//! in force. Most requests do not live to see it; for the others it is two comparisons, until something has changed.
use std::net::IpAddr;

use cmg_core::ids::EndpointId;
use cmg_core::refusal::Refusal;
use cmg_core::snapshot::Generation;
use cmg_core::time::WallTime;
use pki_types::CertificateDer;

use crate::admission::{Admitted, Door, Visitor, admit, find};
use crate::connection::Received;
use crate::credential::Known;
use crate::proof::Due;
use crate::state::{Gateway, State, now};

/// Leave to go on with a request, and what it rests on.
pub(crate) struct Standing<'a> {
    gateway: &'a Gateway,
    received: &'a Received,
    /// What the request was let in to. It gets no leave to go on with something else.
    endpoint: &'a EndpointId,
    basis: Basis,
}

/// What a decision rests on: it comes out the same until one of the two is over.
#[derive(Clone, Copy)]
pub(crate) struct Basis {
    generation: Generation,
    /// Last second at which the credential counts.
    good_until: WallTime,
}

/// Who has sent a request, as far as the connection knows.
pub(crate) struct Guest<'c> {
    pub(crate) door: Door<'c>,
    pub(crate) chain: Option<&'c [CertificateDer<'static>]>,
    pub(crate) address: IpAddr,
}

impl Basis {
    pub(crate) fn of(admitted: &Admitted<'_, '_>, state: &State) -> Self {
        Self { generation: state.generation(), good_until: admitted.good_until }
    }
}

impl<'a> Standing<'a> {
    pub(crate) fn new(gateway: &'a Gateway, received: &'a Received, endpoint: &'a EndpointId, basis: Basis) -> Self {
        Self { gateway, received, endpoint, basis }
    }

    /// Decides again where it could come out otherwise.
    pub(crate) fn look(&mut self, guest: &Guest<'_>) -> Result<(), Refusal> {
        let state = self.gateway.state();
        if state.generation() == self.basis.generation && now() <= self.basis.good_until {
            return Ok(());
        }
        let Received { head, bytes, .. } = self.received;
        let found = find(head, bytes, guest.door, &state)?;
        if found.endpoint.id != *self.endpoint {
            return Err(Refusal::NotPublished);
        }
        let visitor = Visitor { chain: guest.chain, known: &mut Known::default(), address: guest.address, due: Due::Done };
        let admitted = admit(found, self.received, visitor, &state, &self.gateway.clients)?;
        self.basis = Basis::of(&admitted, &state);
        Ok(())
    }
}
