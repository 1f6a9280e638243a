//! Identity and endpoint to permit or refusal. The only maker of a [`Permit`], and the tunnel opens an exchange for nothing else.
use crate::endpoint::{Endpoint, Face, ProofDemand};
use crate::identity::{CertificateFacts, Identity, TokenFacts, TokenKind};
use crate::refusal::Refusal;

/// Leave to carry one request to one endpoint.
#[derive(Debug)]
pub struct Permit<'e> {
    endpoint: &'e Endpoint,
}

impl<'e> Permit<'e> {
    /// The endpoint the request may go to.
    pub fn endpoint(&self) -> &'e Endpoint {
        self.endpoint
    }
}

/// Decides whether `identity`, verified under the endpoint's trust policy or by a token key, may use `endpoint`.
pub fn permit<'e>(identity: &Identity, endpoint: &'e Endpoint) -> Result<Permit<'e>, Refusal> {
    match identity {
        Identity::Certificate(facts) => permit_certificate(facts, endpoint),
        Identity::Token(facts) => permit_token(facts, endpoint),
        Identity::Anonymous => permit_anonymous(endpoint),
    }
}

/// Decides for the holder of a certificate that was verified under the endpoint's trust policy.
pub fn permit_certificate<'e>(_facts: &CertificateFacts, endpoint: &'e Endpoint) -> Result<Permit<'e>, Refusal> {
    match endpoint.face {
        Face::Mutual | Face::Either | Face::Open => Ok(Permit { endpoint }),
        Face::Server => Err(Refusal::TokenMissing),
    }
}

/// Decides for the bearer of a verified token.
pub fn permit_token<'e>(facts: &TokenFacts, endpoint: &'e Endpoint) -> Result<Permit<'e>, Refusal> {
    match endpoint.face {
        Face::Server | Face::Either => admit_token(facts, endpoint)?,
        Face::Open => {}
        Face::Mutual => return Err(Refusal::CertificateMissing),
    }
    Ok(Permit { endpoint })
}

/// Decides for somebody without a credential.
pub fn permit_anonymous(endpoint: &Endpoint) -> Result<Permit<'_>, Refusal> {
    match endpoint.face {
        Face::Open => Ok(Permit { endpoint }),
        Face::Server => Err(Refusal::TokenMissing),
        Face::Mutual | Face::Either => Err(Refusal::CertificateMissing),
    }
}

fn admit_token(token: &TokenFacts, endpoint: &Endpoint) -> Result<(), Refusal> {
    let bulk_elsewhere = token.kind == TokenKind::Bulk && !endpoint.registration;
    if bulk_elsewhere || !endpoint.token_kinds.contains(&token.kind) {
        return Err(Refusal::TokenKindRefused);
    }
    if !token.audiences.iter().any(|audience| endpoint.audiences.contains(audience)) {
        return Err(Refusal::TokenAudience);
    }
    if endpoint.proof == ProofDemand::Required && token.confirmation.key.is_none() {
        return Err(Refusal::TokenUnbound);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::tests::{an_endpoint, configmgr};
    use crate::identity::Confirmation;
    use crate::time::WallTime;
    use alloc::collections::BTreeMap;
    use alloc::string::ToString;
    use alloc::vec;

    fn a_token(kind: TokenKind, audience: &str) -> Identity {
        Identity::Token(TokenFacts {
            kind,
            issuer: "site".to_string(),
            audiences: vec![audience.to_string()],
            subject: None,
            id: None,
            not_before: None,
            expires: WallTime(10),
            confirmation: Confirmation::default(),
            claims: BTreeMap::new(),
        })
    }

    fn refused(identity: &Identity, endpoint: &Endpoint) -> Option<Refusal> {
        permit(identity, endpoint).err()
    }

    #[test]
    fn a_site_token_for_the_audience_is_permitted() {
        let endpoint = an_endpoint("mp", configmgr("ccm_system"));

        assert_eq!(refused(&a_token(TokenKind::Site, "urn:sccm:service"), &endpoint), None);
    }

    #[test]
    fn another_kind_or_audience_is_refused() {
        let endpoint = an_endpoint("mp", configmgr("ccm_system"));

        assert_eq!(refused(&a_token(TokenKind::OidcUser, "urn:sccm:service"), &endpoint), Some(Refusal::TokenKindRefused));
        assert_eq!(refused(&a_token(TokenKind::Site, "api://other"), &endpoint), Some(Refusal::TokenAudience));
    }

    #[test]
    fn a_bulk_token_counts_on_registration_endpoints_only() {
        let mut endpoint = an_endpoint("sts", configmgr("ccm_sts"));
        endpoint.token_kinds = vec![TokenKind::Bulk];
        let token = a_token(TokenKind::Bulk, "urn:sccm:service");

        assert_eq!(refused(&token, &endpoint), Some(Refusal::TokenKindRefused));
        endpoint.registration = true;
        assert_eq!(refused(&token, &endpoint), None);
    }

    #[test]
    fn a_token_that_is_bound_to_no_key_is_refused_where_proofs_are_required() {
        let mut endpoint = an_endpoint("mp", configmgr("ccm_system"));
        endpoint.proof = ProofDemand::Required;
        let bound = |confirmation: Confirmation| match a_token(TokenKind::Site, "urn:sccm:service") {
            Identity::Token(facts) => Identity::Token(TokenFacts { confirmation, ..facts }),
            other => other,
        };

        assert_eq!(refused(&bound(Confirmation::default()), &endpoint), Some(Refusal::TokenUnbound));
        let certificate = Confirmation { certificate: Some([7; 32]), key: None };
        assert_eq!(refused(&bound(certificate), &endpoint), Some(Refusal::TokenUnbound), "nobody inside sees the handshake");
        let key = Confirmation { certificate: None, key: Some("jkt".to_string()) };
        assert_eq!(refused(&bound(key), &endpoint), None);
    }

    #[test]
    fn nobody_gets_in_without_a_credential_unless_the_face_is_open() {
        let mut endpoint = an_endpoint("mp", configmgr("ccm_system"));
        for (face, expected) in [
            (Face::Mutual, Some(Refusal::CertificateMissing)),
            (Face::Server, Some(Refusal::TokenMissing)),
            (Face::Either, Some(Refusal::CertificateMissing)),
            (Face::Open, None),
        ] {
            endpoint.face = face;

            assert_eq!(refused(&Identity::Anonymous, &endpoint), expected);
        }
    }

    #[test]
    fn a_token_does_not_stand_in_for_a_certificate() {
        let mut endpoint = an_endpoint("mp", configmgr("ccm_system"));
        endpoint.face = Face::Mutual;

        assert_eq!(refused(&a_token(TokenKind::Site, "urn:sccm:service"), &endpoint), Some(Refusal::CertificateMissing));
    }
}
