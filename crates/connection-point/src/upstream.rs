//! The request as a server sees it: made anew, from parts that were checked.
use cmg_core::server::HostHeader;
use cmg_http1::{Known, is_hop_by_hop, push_field};
use cmg_tunnel::{BodyLength, Claim, ClaimedCredential, RequestFrame};

use cmg_core::endpoint::Endpoint;

use crate::claim::Asker;
use crate::identity;
use crate::servers::{Server, Service};

/// A request that is allowed, and what its server is told.
pub(crate) struct Upstream<'a> {
    pub(crate) request: &'a RequestFrame,
    /// Bytes of the target that are the external prefix.
    pub(crate) prefix_len: usize,
    pub(crate) claim: Option<&'a Claim>,
    pub(crate) asker: &'a Asker,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) service: &'a Service,
}

impl Upstream<'_> {
    /// Writes the request's head for `server`.
    pub(crate) fn push_head(&self, server: &Server, out: &mut Vec<u8>) {
        let head = self.request.get();
        let delivery = &self.service.delivery;
        out.extend_from_slice(head.method);
        out.push(b' ');
        server.url.push_target(head.target.get(self.prefix_len..).unwrap_or_default(), out);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let external = self.endpoint.external(head.authority);
        let host = match &delivery.host_header {
            HostHeader::Internal => &server.authority,
            HostHeader::External => external,
            HostHeader::Given(name) => name,
        };
        push_field(b"Host", host.as_bytes(), out);
        let has_authorization = push_client_fields(self, out);
        for (name, field) in &delivery.identity_headers {
            identity::push_identity(name, field, self.asker, out);
        }
        // At an open endpoint nobody verified what the gateway claims.
        if let (Some(claim), Asker::Certificate(_) | Asker::Token(_)) = (self.claim, self.asker) {
            push_credential(self, claim, has_authorization, out);
        }
        identity::push_forwarded(delivery.forwarded, head.client, external.as_bytes(), out);
        if delivery.original_url {
            identity::push_original_url(external, head.target, out);
        }
        if let Some(name) = &delivery.request_id_header {
            push_field(name.as_bytes(), &head.id.to_hex(), out);
        }
        push_framing(head.body, head.upgrade, head.trailers, head.expects_continue, out);
        out.extend_from_slice(b"\r\n");
    }
}

/// Passes the client's fields on, without those that servers believe about identity, in any spelling. True: `Authorization` is among them.
fn push_client_fields(upstream: &Upstream<'_>, out: &mut Vec<u8>) -> bool {
    let Upstream { request, service, asker, endpoint, .. } = upstream;
    let mut has_authorization = false;
    for (name, value) in request.fields() {
        let known = Known::of(name);
        let ours = match known {
            Known::Trailer => false,
            Known::Upgrade => !request.get().upgrade,
            // The proof goes where its token goes.
            Known::Dpop => asker.is_bound_to_a_key() && !endpoint.forward_token,
            Known::Host | Known::ContentLength | Known::Expect => true,
            _ => is_hop_by_hop(known),
        };
        if !ours && !service.reserved.contain(name) {
            has_authorization |= known == Known::Authorization;
            push_field(name, value, out);
        }
    }
    has_authorization
}

/// Shows the server the client's credential where the endpoint says so.
fn push_credential(upstream: &Upstream<'_>, claim: &Claim, has_authorization: bool, out: &mut Vec<u8>) {
    let Upstream { asker, endpoint, service, .. } = upstream;
    if service.delivery.client_cert_header {
        identity::push_client_cert(&claim.credential, out);
    }
    if let (ClaimedCredential::Token(token), true) = (&claim.credential, endpoint.forward_token) {
        let name: &[u8] = if has_authorization { b"Cmg-Authorization" } else { b"Authorization" };
        let scheme: &[u8] = if asker.is_bound_to_a_key() { b"DPoP " } else { b"Bearer " };
        push_field(name, &[scheme, token.as_slice()].concat(), out);
    }
}

fn push_framing(body: BodyLength, upgrade: bool, trailers: bool, expects_continue: bool, out: &mut Vec<u8>) {
    match body {
        BodyLength::None => {}
        BodyLength::Exact(length) => push_field(b"Content-Length", itoa::Buffer::new().format(length).as_bytes(), out),
        BodyLength::Unknown => push_field(b"Transfer-Encoding", b"chunked", out),
    }
    if expects_continue {
        push_field(b"Expect", b"100-continue", out);
    }
    match (upgrade, trailers) {
        (true, _) => push_field(b"Connection", b"Upgrade", out),
        (false, true) => {
            push_field(b"TE", b"trailers", out);
            push_field(b"Connection", b"TE", out);
        }
        (false, false) => {}
    }
}
