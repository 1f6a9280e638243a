//! What a client is asked for that is not authorized: the challenges of RFC 6750 and RFC 9449.
use crate::refusal::Refusal;

/// What a client with status 401 is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token.
    Token,
    /// A token that is bound to what the client has shown.
    OtherToken,
    /// A token that is bound to the client's key.
    BoundToken,
    /// A proof of possession of the token's key.
    Proof,
    /// The same proof with the nonce that goes with the answer.
    Nonce,
}

impl Challenge {
    /// The value of `WWW-Authenticate` (RFC 6750, RFC 9449).
    pub fn value(self) -> &'static str {
        match self {
            Self::Token => "Bearer",
            Self::OtherToken => r#"Bearer error="invalid_token""#,
            Self::BoundToken => r#"DPoP error="invalid_token", algs="ES256 ES384 RS256 PS256 EdDSA""#,
            Self::Proof => r#"DPoP error="invalid_dpop_proof", algs="ES256 ES384 RS256 PS256 EdDSA""#,
            Self::Nonce => r#"DPoP error="use_dpop_nonce", algs="ES256 ES384 RS256 PS256 EdDSA""#,
        }
    }

    /// Whether a nonce is told beside it.
    pub fn has_nonce(self) -> bool {
        match self {
            Self::Token | Self::OtherToken => false,
            Self::BoundToken | Self::Proof | Self::Nonce => true,
        }
    }
}

impl Refusal {
    /// The challenge (`WWW-Authenticate`) that goes with status 401; none: another status. Where it is of the scheme `DPoP`, the client is
    /// told the nonce to use too.
    pub fn challenge(self) -> Option<Challenge> {
        match self {
            Self::ProofNonce => Some(Challenge::Nonce),
            Self::ProofKey | Self::TokenUnbound => Some(Challenge::BoundToken),
            Self::ProofCertificate => Some(Challenge::OtherToken),
            Self::ProofMissing
            | Self::ProofAmbiguous
            | Self::ProofMalformed
            | Self::ProofAlgorithm
            | Self::ProofSignature
            | Self::ProofMethod
            | Self::ProofUrl
            | Self::ProofTime
            | Self::ProofToken
            | Self::ProofReplayed => Some(Challenge::Proof),
            Self::TokenMissing
            | Self::TokenAmbiguous
            | Self::TokenMalformed
            | Self::TokenUnknownKey
            | Self::TokenAlgorithm
            | Self::TokenSignature
            | Self::TokenIssuer
            | Self::TokenAudience
            | Self::TokenExpired
            | Self::TokenNotYetValid
            | Self::TokenClaim
            | Self::TokenBlocked
            | Self::TokenConfirmation => Some(Challenge::Token),
            Self::Malformed
            | Self::AmbiguousTarget
            | Self::HeadTooLarge
            | Self::HeadTimeout
            | Self::UnknownExpectation
            | Self::UnknownVersion
            | Self::Misdirected
            | Self::NotPublished
            | Self::MethodNotAllowed
            | Self::UpgradeNotAllowed
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::BodyMalformed
            | Self::TooManyRequests
            | Self::TooManyConcurrent
            | Self::CertificateMissing
            | Self::CertificateMalformed
            | Self::CertificateIssuerNotFound
            | Self::CertificateForeign
            | Self::CertificateExpired
            | Self::CertificateNotYetValid
            | Self::CertificateRevoked
            | Self::CertificateRevocationUnknown
            | Self::CertificateListStale
            | Self::CertificateBlocked
            | Self::CertificatePurpose
            | Self::CertificateConstraint
            | Self::TokenKindRefused
            | Self::NoConnectionPoint
            | Self::Overloaded
            | Self::ConnectionPointLost
            | Self::ConnectionPointMisbehaved
            | Self::Deadline
            | Self::ConnectorNotPublished
            | Self::ConnectorRefused
            | Self::ServerUnreachable
            | Self::ServerUntrusted
            | Self::ServerMalformed
            | Self::ServerClosed
            | Self::ServerTimeout
            | Self::ServerNamesInternalHost
            | Self::ConnectorDraining
            | Self::ConnectorOverloaded
            | Self::TenantUnknown
            | Self::ProofTooMany
            | Self::ConnectorProofTooMany => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Algorithm;
    use alloc::vec::Vec;

    #[test]
    fn whoever_is_not_authorized_is_told_what_is_wanted_and_nobody_else_is() {
        for refusal in Refusal::ALL {
            assert_eq!(refusal.challenge().is_some(), refusal.row().status == 401, "{refusal:?}");
        }
    }

    #[test]
    fn the_algorithms_of_a_challenge_are_those_that_count() {
        let names: Vec<_> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
        let mut told: Vec<_> = Challenge::Proof.value().split('"').nth(3).expect("a list").split(' ').collect();
        told.sort_by_key(|name| names.iter().position(|known| known == name));

        assert_eq!(told, names);
    }
}
