//! Fields that belong to one connection and are not forwarded.

use crate::bytes::members;
use crate::{Field, Known};

/// The options that Connection names, in the spelling of the sender; compare them with
/// [`eq_ignore_case`](crate::eq_ignore_case). A forwarder drops the fields with these names. It writes Host and framing
/// itself, so naming those takes nothing away.
pub fn connection_options<'a>(fields: &'a [Field], buf: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(|field| field.known == Known::Connection).flat_map(|field| members(field.value.of(buf)))
}

/// Whether a forwarder drops this field even if Connection does not name it (RFC 9110, 7.6.1, and what it grew from).
#[must_use]
pub fn is_hop_by_hop(known: Known) -> bool {
    match known {
        // Says of this connection whether it goes on, and which other fields belong to it.
        Known::Connection
        // Limits of this connection, from RFC 2068.
        | Known::KeepAlive
        // A mistake of old clients: Connection, meant for a proxy.
        | Known::ProxyConnection
        // Challenge and log-in between a client and its own proxy; not for the server behind.
        | Known::ProxyAuthenticate
        | Known::ProxyAuthorization
        // What the next hop can read. The forwarder writes `TE: trailers` again where it holds.
        | Known::Te
        // Announces trailers in chunks, and chunks are made anew for each hop.
        | Known::Trailer
        // The framing of this hop.
        | Known::TransferEncoding
        // An offer on this connection. The forwarder writes it again when it takes part.
        | Known::Upgrade => true,
        Known::Host
        | Known::ContentLength
        | Known::Expect
        | Known::Authorization
        | Known::CmgAuthorization
        | Known::Dpop
        | Known::Location
        | Known::ContentLocation
        | Known::SetCookie
        | Known::Link
        | Known::Refresh
        | Known::AltSvc
        | Known::Date
        | Known::Server
        | Known::Via
        | Known::Forwarded
        | Known::Other => false,
    }
}
