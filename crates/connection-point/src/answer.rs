//! A server's answer on its way out: what concerns one connection stays, internal names are mapped back, refused or left out.
use cmg_core::refusal::Refusal;
use cmg_core::server::BackMap;
use cmg_http1::{Framing, Known, RequestKind, ResponseHead, connection_options, eq_ignore_case, is_hop_by_hop};
use cmg_tunnel::{BodyLength, Fields};

use crate::relay::LIMITS;
use crate::servers::Service;

/// A field whose value was changed, by its place among the fields; none: it is left out.
type Changed = Vec<(usize, Option<String>)>;

/// What is sent of an answer's fields.
pub(crate) struct Outgoing {
    changed: Changed,
}

impl Outgoing {
    /// Maps internal names back. An internal name that is not published refuses the whole answer where the answer is about it; hints
    /// that a client can do without are left out.
    pub(crate) fn new(head: &ResponseHead, bytes: &[u8], map: Option<&BackMap<'_>>) -> Result<Self, Refusal> {
        let Some(map) = map else { return Ok(Self { changed: Vec::new() }) };
        let mut changed = Vec::new();
        for (place, field) in head.fields.iter().enumerate() {
            let text = || std::str::from_utf8(field.value.of(bytes)).map_err(|_| Refusal::ServerMalformed);
            let mapped = match field.known {
                Known::Location | Known::ContentLocation => map.location(text()?)?.map(Some),
                Known::SetCookie => map.cookie(&String::from_utf8_lossy(field.value.of(bytes)))?.map(Some),
                Known::Link => hint(text().and_then(|text| map.links(text))),
                Known::Refresh => hint(text().and_then(|text| map.refresh(text))),
                _ => None,
            };
            changed.extend(mapped.map(|value| (place, value)));
        }
        // What has become longer still has to fit where a head fits.
        let longer: usize = changed.iter().filter_map(|(_, value)| value.as_ref()).map(String::len).sum();
        let shorter: usize = changed.iter().map(|(place, _)| head.fields[*place].value.of(bytes).len()).sum();
        if head.len + longer > LIMITS.bytes + shorter {
            return Err(Refusal::ServerMalformed);
        }
        Ok(Self { changed })
    }

    /// Writes the fields that go out.
    pub(crate) fn push(&self, head: &ResponseHead, bytes: &[u8], service: &Service, out: &mut Fields<'_>) {
        let has_options = head.fields.iter().any(|field| field.known == Known::Connection);
        for (place, field) in head.fields.iter().enumerate() {
            let name = field.name.of(bytes);
            let stays = match field.known {
                Known::Trailer => false,
                Known::Upgrade => !head.upgrade,
                // It would lead the client round the gateway.
                Known::ContentLength | Known::AltSvc => true,
                Known::Other if has_options && connection_options(&head.fields, bytes).any(|option| eq_ignore_case(option, name)) => true,
                known => is_hop_by_hop(known),
            };
            if stays || service.reserved.contain(name) {
                continue;
            }
            match self.changed.iter().find(|(changed, _)| *changed == place) {
                None => out.push(name, field.value.of(bytes)),
                Some((_, Some(value))) => out.push(name, value.as_bytes()),
                Some((_, None)) => {}
            }
        }
    }
}

/// What becomes of a field that a client can do without.
fn hint(mapped: Result<Option<String>, Refusal>) -> Option<Option<String>> {
    mapped.map_or(Some(None), |mapped| mapped.map(Some))
}

/// The length of the answer's body, as the client is told it. Of an answer without a body it is what the server said there would be.
pub(crate) fn body_length(head: &ResponseHead, bytes: &[u8]) -> BodyLength {
    match head.framing {
        Framing::Length(length) => BodyLength::Exact(length),
        Framing::Chunked | Framing::UntilClose => BodyLength::Unknown,
        Framing::None => {
            let said = head.fields.iter().find(|field| field.known == Known::ContentLength);
            let length = said.and_then(|field| std::str::from_utf8(field.value.of(bytes)).ok()?.parse().ok());
            length.map_or(BodyLength::None, BodyLength::Exact)
        }
    }
}

/// What kind of request it was, for reading its answer.
pub(crate) fn request_kind(method: &[u8]) -> RequestKind {
    if method == b"HEAD" { RequestKind::Head } else { RequestKind::Other }
}
