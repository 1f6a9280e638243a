//! The administrator's block list, made for looking up.
use std::collections::{HashMap, HashSet};

use cmg_core::identity::{CertificateFacts, TokenFacts, TokenKind};
use cmg_core::trust::Block;

/// What is blocked.
#[derive(Default)]
pub(crate) struct Blocks {
    sha1: HashSet<[u8; 20]>,
    sha256: HashSet<[u8; 32]>,
    /// Serial number to the issuers it is blocked for; none: any issuer.
    serials: HashMap<String, Vec<Option<String>>>,
    token_ids: HashSet<String>,
    clients: HashSet<String>,
}

impl Blocks {
    pub(crate) fn new(blocks: &[Block]) -> Self {
        let mut all = Self::default();
        for block in blocks {
            match block {
                Block::Sha1(thumbprint) => _ = all.sha1.insert(*thumbprint),
                Block::Sha256(thumbprint) => _ = all.sha256.insert(*thumbprint),
                Block::Serial { serial, issuer } => {
                    let issuer = issuer.as_deref().map(comparable);
                    all.serials.entry(serial.clone()).or_default().push(issuer);
                }
                Block::TokenId(id) => _ = all.token_ids.insert(id.clone()),
                Block::Client(id) => _ = all.clients.insert(id.clone()),
            }
        }
        all
    }

    /// Whether any certificate is blocked by what an authority's could be: none is a client's.
    pub(crate) fn name_certificates(&self) -> bool {
        !(self.sha1.is_empty() && self.sha256.is_empty() && self.serials.is_empty())
    }

    pub(crate) fn block_certificate(&self, facts: &CertificateFacts) -> bool {
        self.sha1.contains(&facts.thumbprint)
            || self.sha256.contains(&facts.thumbprint_sha256)
            || self.serials.get(&facts.serial).is_some_and(|issuers| {
                issuers.iter().any(|blocked| blocked.as_ref().is_none_or(|blocked| *blocked == comparable(&facts.issuer)))
            })
            || facts.alternative_names.iter().filter_map(|name| client_named(name)).any(|client| self.clients.contains(client))
    }

    /// Whether a token is blocked: by its id, with the certificate that it is bound to, or with its client.
    pub(crate) fn block_token(&self, facts: &TokenFacts) -> bool {
        facts.id.as_ref().is_some_and(|id| self.token_ids.contains(id))
            || facts.confirmation.certificate.is_some_and(|thumbprint| self.sha256.contains(&thumbprint))
            || client_of(facts).is_some_and(|client| self.clients.contains(client))
    }
}

/// The client that a certificate of the site names, `spiffe://<site>/client/<id>`.
fn client_named(name: &str) -> Option<&str> {
    let (_, path) = name.strip_prefix("URI:spiffe://")?.split_once('/')?;
    path.strip_prefix("client/")
}

/// The client that a token of the site was issued to.
fn client_of(facts: &TokenFacts) -> Option<&str> {
    let subject = facts.subject.as_deref()?;
    match facts.kind {
        TokenKind::Site => Some(subject),
        TokenKind::Ccm => subject.strip_prefix("GUID:"),
        TokenKind::Bulk | TokenKind::OidcDevice | TokenKind::OidcUser => None,
    }
}

/// A distinguished name without what tools write differently: case, blanks around commas and equals signs, quotes and escapes,
/// slashes for commas, and the order of its parts.
fn comparable(name: &str) -> String {
    let lower = name.to_ascii_lowercase().replace(['"', '\\'], "");
    let separator = if lower.starts_with('/') { '/' } else { ',' };
    let parts = lower.split(separator).filter(|part| !part.trim().is_empty());
    let mut parts: Vec<String> = parts.map(|part| part.split('=').map(str::trim).collect::<Vec<_>>().join("=")).collect();
    parts.sort_unstable();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_may_be_written_as_any_tool_writes_it() {
        for written in ["o=Example,cn=lab ca", "O = Example, CN = Lab CA", "/O=Example/CN=Lab CA", "CN=\"Lab CA\",O=Example"] {
            assert_eq!(comparable("CN=Lab CA, O=Example"), comparable(written), "{written}");
        }
        assert_eq!(comparable("O=Example\\, Inc."), comparable("O = \"Example, Inc.\""));
        assert_ne!(comparable("CN=Lab CA, O=Example"), comparable("CN=Lab CA"));
    }
}
