//! Every reason not to serve a request: one table.
//!
//! A client learns the status and the phrase; the log and the metrics learn the label. Several labels share a phrase where the
//! difference would tell a stranger something. `CMGService_*` is said by the gateway, `CMGConnector_*` by the connection point;
//! ConfigMgr clients show these phrases to administrators.

/// Why a request is not served. Its number travels in the tunnel: once released, a number keeps its meaning, and new refusals come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Refusal {
    /// The head breaks HTTP/1.1 or could be read in two ways.
    Malformed = 1,
    /// The target has dot segments, encoded slashes, backslashes or control characters.
    AmbiguousTarget,
    /// The head is larger than allowed.
    HeadTooLarge,
    /// The head did not arrive in time.
    HeadTimeout,
    /// An expectation other than 100-continue.
    UnknownExpectation,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    UnknownVersion,
    /// The Host differs from the TLS server name, and their trust policies differ.
    Misdirected,
    /// Nothing is published there.
    NotPublished,
    /// Published, but not for this method.
    MethodNotAllowed,
    /// Published, but without protocol upgrades.
    UpgradeNotAllowed,
    /// The body is larger than the endpoint allows.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body breaks its own framing.
    BodyMalformed,
    /// More requests in a second than one client may send.
    TooManyRequests,
    /// More requests at once than one client may have.
    TooManyConcurrent,
    /// A client certificate is required and none was shown.
    CertificateMissing,
    /// A certificate that cannot be read.
    CertificateMalformed,
    /// No certificate of the issuer is configured or was sent: an intermediate is missing.
    CertificateIssuerNotFound,
    /// The chain ends in an authority that is not trusted here.
    CertificateForeign,
    /// Its validity has ended.
    CertificateExpired,
    /// Its validity has not begun.
    CertificateNotYetValid,
    /// The authority has revoked it.
    CertificateRevoked,
    /// No revocation list covers it.
    CertificateRevocationUnknown,
    /// The revocation list that covers it is out of date.
    CertificateListStale,
    /// The administrator has blocked it.
    CertificateBlocked,
    /// It is not meant for client authentication.
    CertificatePurpose,
    /// It breaks a constraint of its chain.
    CertificateConstraint,
    /// A token is required and none was sent.
    TokenMissing,
    /// More than one token was sent.
    TokenAmbiguous,
    /// A token that cannot be read, or that is too long.
    TokenMalformed,
    /// It names no configured key.
    TokenUnknownKey,
    /// It asks for an algorithm that its key does not use.
    TokenAlgorithm,
    /// Its signature is wrong.
    TokenSignature,
    /// Its issuer is not the key's.
    TokenIssuer,
    /// Its audience is not the endpoint's.
    TokenAudience,
    /// Its validity has ended.
    TokenExpired,
    /// Its validity has not begun.
    TokenNotYetValid,
    /// A claim that must be there is missing, doubled or of the wrong type.
    TokenClaim,
    /// The endpoint does not accept this kind of token.
    TokenKindRefused,
    /// The administrator has blocked it.
    TokenBlocked,
    /// No live connection point serves the endpoint.
    NoConnectionPoint,
    /// The gateway holds as much as it can.
    Overloaded,
    /// The tunnel ended while the request was under way.
    ConnectionPointLost,
    /// The connection point broke the tunnel's protocol.
    ConnectionPointMisbehaved,
    /// The endpoint's deadline passed at the gateway.
    Deadline,
    /// The connection point does not publish this endpoint.
    ConnectorNotPublished,
    /// The connection point's own copy refuses what the gateway let pass.
    ConnectorRefused,
    /// The server could not be reached.
    ServerUnreachable,
    /// The server's certificate is not trusted.
    ServerUntrusted,
    /// The server's answer breaks HTTP/1.1.
    ServerMalformed,
    /// The server ended the connection before a whole answer.
    ServerClosed,
    /// The server did not answer in time.
    ServerTimeout,
    /// The server's answer names a host that is not published.
    ServerNamesInternalHost,
    /// The connection point is going away.
    ConnectorDraining,
    /// The connection point holds as much as it can.
    ConnectorOverloaded,
    /// The Entra ID tenant that a device asks about is not configured, or disabled.
    TenantUnknown,
    /// It is bound (`cnf`) to something that nobody here can prove.
    TokenConfirmation,
    /// It is bound to no key, and the endpoint or the client's own word (`Authorization: DPoP`) wants that.
    TokenUnbound,
    /// The token is bound to a key, and no proof of possession came with it.
    ProofMissing,
    /// The token is bound to a certificate that this connection has not shown.
    ProofCertificate,
    /// More than one proof was sent.
    ProofAmbiguous,
    /// A proof that cannot be read, or with a key that is no public key of a kind used here.
    ProofMalformed,
    /// It is signed with an algorithm that does not count here.
    ProofAlgorithm,
    /// Its signature is not by the key in it.
    ProofSignature,
    /// It is for another method.
    ProofMethod,
    /// It is for another URL.
    ProofUrl,
    /// It was not made about now.
    ProofTime,
    /// It is for another token, or for none.
    ProofToken,
    /// It has no nonce of this gateway instance, or an old one.
    ProofNonce,
    /// It is by another key than the token's.
    ProofKey,
    /// It has been used before.
    ProofReplayed,
    /// One key made more proofs than are remembered of one.
    ProofTooMany,
    /// One key made more proofs than the connection point remembers of one.
    ConnectorProofTooMany,
}

/// What a refusal means to each reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// HTTP status.
    pub status: u16,
    /// HTTP/1.1 reason phrase: one word, no blanks.
    pub phrase: &'static str,
    /// Label for log and metric.
    pub label: &'static str,
}

impl Refusal {
    /// Every refusal, in order of its number.
    pub const ALL: [Self; 73] = {
        use Refusal::*;
        [
            Malformed,
            AmbiguousTarget,
            HeadTooLarge,
            HeadTimeout,
            UnknownExpectation,
            UnknownVersion,
            Misdirected,
            NotPublished,
            MethodNotAllowed,
            UpgradeNotAllowed,
            BodyTooLarge,
            BodyTimeout,
            BodyMalformed,
            TooManyRequests,
            TooManyConcurrent,
            CertificateMissing,
            CertificateMalformed,
            CertificateIssuerNotFound,
            CertificateForeign,
            CertificateExpired,
            CertificateNotYetValid,
            CertificateRevoked,
            CertificateRevocationUnknown,
            CertificateListStale,
            CertificateBlocked,
            CertificatePurpose,
            CertificateConstraint,
            TokenMissing,
            TokenAmbiguous,
            TokenMalformed,
            TokenUnknownKey,
            TokenAlgorithm,
            TokenSignature,
            TokenIssuer,
            TokenAudience,
            TokenExpired,
            TokenNotYetValid,
            TokenClaim,
            TokenKindRefused,
            TokenBlocked,
            NoConnectionPoint,
            Overloaded,
            ConnectionPointLost,
            ConnectionPointMisbehaved,
            Deadline,
            ConnectorNotPublished,
            ConnectorRefused,
            ServerUnreachable,
            ServerUntrusted,
            ServerMalformed,
            ServerClosed,
            ServerTimeout,
            ServerNamesInternalHost,
            ConnectorDraining,
            ConnectorOverloaded,
            TenantUnknown,
            TokenConfirmation,
            TokenUnbound,
            ProofMissing,
            ProofCertificate,
            ProofAmbiguous,
            ProofMalformed,
            ProofAlgorithm,
            ProofSignature,
            ProofMethod,
            ProofUrl,
            ProofTime,
            ProofToken,
            ProofNonce,
            ProofKey,
            ProofReplayed,
            ProofTooMany,
            ConnectorProofTooMany,
        ]
    };

    /// The number that travels in the tunnel.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The refusal with this number.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Whether a later try may succeed without the client changing anything: answered with `Retry-After`.
    pub fn is_temporary(self) -> bool {
        matches!(self.row().status, 429 | 503)
    }

    /// Status, phrase and label.
    #[rustfmt::skip]
    pub fn row(self) -> Row {
        let (status, phrase, label) = match self {
            Self::Malformed                    => (400, "CMGService_Bad_Request", "malformed"),
            Self::AmbiguousTarget              => (400, "CMGService_Bad_Target", "ambiguous_target"),
            Self::HeadTooLarge                 => (431, "CMGService_Head_Too_Large", "head_too_large"),
            Self::HeadTimeout                  => (408, "CMGService_Request_Timeout", "head_timeout"),
            Self::UnknownExpectation           => (417, "CMGService_Expectation_Failed", "unknown_expectation"),
            Self::UnknownVersion               => (505, "CMGService_Version_Not_Supported", "unknown_version"),
            Self::Misdirected                  => (421, "CMGService_Misdirected_Request", "misdirected"),
            Self::NotPublished                 => (404, "CMGService_Not_Published", "not_published"),
            Self::MethodNotAllowed             => (405, "CMGService_Method_Not_Allowed", "method_not_allowed"),
            Self::UpgradeNotAllowed            => (403, "CMGService_Upgrade_Not_Allowed", "upgrade_not_allowed"),
            Self::BodyTooLarge                 => (413, "CMGService_Body_Too_Large", "body_too_large"),
            Self::BodyTimeout                  => (408, "CMGService_Request_Timeout", "body_timeout"),
            Self::BodyMalformed                => (400, "CMGService_Bad_Request", "body_malformed"),
            Self::TooManyRequests              => (429, "CMGService_Too_Many_Requests", "too_many_requests"),
            Self::TooManyConcurrent            => (429, "CMGService_Too_Many_Requests", "too_many_concurrent"),
            Self::CertificateMissing           => (403, "CMGService_Client_Certificate_Required", "certificate_missing"),
            Self::CertificateMalformed         => (403, "CMGService_Client_Certificate_Refused", "certificate_malformed"),
            Self::CertificateIssuerNotFound    => (403, "CMGService_Client_Certificate_Refused", "certificate_issuer_not_found"),
            Self::CertificateForeign           => (403, "CMGService_Client_Certificate_Refused", "certificate_foreign"),
            Self::CertificateExpired           => (403, "CMGService_Client_Certificate_Refused", "certificate_expired"),
            Self::CertificateNotYetValid       => (403, "CMGService_Client_Certificate_Refused", "certificate_not_yet_valid"),
            Self::CertificateRevoked           => (403, "CMGService_Client_Certificate_Refused", "certificate_revoked"),
            Self::CertificateRevocationUnknown => (403, "CMGService_Client_Certificate_Refused", "certificate_revocation_unknown"),
            Self::CertificateListStale         => (403, "CMGService_Client_Certificate_Refused", "certificate_list_stale"),
            Self::CertificateBlocked           => (403, "CMGService_Client_Certificate_Refused", "certificate_blocked"),
            Self::CertificatePurpose           => (403, "CMGService_Client_Certificate_Refused", "certificate_purpose"),
            Self::CertificateConstraint        => (403, "CMGService_Client_Certificate_Refused", "certificate_constraint"),
            Self::TokenMissing                 => (401, "CMGService_Token_Required", "token_missing"),
            Self::TokenAmbiguous               => (401, "CMGService_Invalid_Token", "token_ambiguous"),
            Self::TokenMalformed               => (401, "CMGService_Invalid_Token", "token_malformed"),
            Self::TokenUnknownKey              => (401, "CMGService_Invalid_Token", "token_unknown_key"),
            Self::TokenAlgorithm               => (401, "CMGService_Invalid_Token", "token_algorithm"),
            Self::TokenSignature               => (401, "CMGService_Invalid_Token", "token_signature"),
            Self::TokenIssuer                  => (401, "CMGService_Invalid_Token", "token_issuer"),
            Self::TokenAudience                => (401, "CMGService_Invalid_Token", "token_audience"),
            Self::TokenExpired                 => (401, "CMGService_Invalid_Token", "token_expired"),
            Self::TokenNotYetValid             => (401, "CMGService_Invalid_Token", "token_not_yet_valid"),
            Self::TokenClaim                   => (401, "CMGService_Invalid_Token", "token_claim"),
            Self::TokenKindRefused             => (403, "CMGService_Token_Not_Accepted", "token_kind_refused"),
            Self::TokenBlocked                 => (401, "CMGService_Invalid_Token", "token_blocked"),
            Self::NoConnectionPoint            => (503, "CMGService_No_Connection_Point", "no_connection_point"),
            Self::Overloaded                   => (503, "CMGService_Overloaded", "overloaded"),
            Self::ConnectionPointLost          => (502, "CMGService_Connection_Point_Lost", "connection_point_lost"),
            Self::ConnectionPointMisbehaved    => (502, "CMGService_Bad_Gateway", "connection_point_misbehaved"),
            Self::Deadline                     => (504, "CMGService_Timeout", "deadline"),
            Self::ConnectorNotPublished        => (502, "CMGConnector_Not_Published", "connector_not_published"),
            Self::ConnectorRefused             => (502, "CMGConnector_Refused", "connector_refused"),
            Self::ServerUnreachable            => (502, "CMGConnector_Server_Unreachable", "server_unreachable"),
            Self::ServerUntrusted              => (502, "CMGConnector_Server_Unreachable", "server_untrusted"),
            Self::ServerMalformed              => (502, "CMGConnector_Bad_Answer", "server_malformed"),
            Self::ServerClosed                 => (502, "CMGConnector_Bad_Answer", "server_closed"),
            Self::ServerTimeout                => (504, "CMGConnector_Timeout", "server_timeout"),
            Self::ServerNamesInternalHost      => (502, "CMGConnector_Bad_Answer", "server_names_internal_host"),
            Self::ConnectorDraining            => (503, "CMGConnector_Draining", "connector_draining"),
            Self::ConnectorOverloaded          => (503, "CMGConnector_Overloaded", "connector_overloaded"),
            Self::TenantUnknown                => (404, "CMGService_Unknown_Tenant", "tenant_unknown"),
            Self::TokenConfirmation            => (401, "CMGService_Invalid_Token", "token_confirmation"),
            Self::TokenUnbound                 => (401, "CMGService_Invalid_Token", "token_unbound"),
            Self::ProofMissing                 => (401, "CMGService_Proof_Required", "proof_missing"),
            Self::ProofCertificate             => (401, "CMGService_Proof_Required", "proof_certificate"),
            Self::ProofAmbiguous               => (401, "CMGService_Invalid_Proof", "proof_ambiguous"),
            Self::ProofMalformed               => (401, "CMGService_Invalid_Proof", "proof_malformed"),
            Self::ProofAlgorithm               => (401, "CMGService_Invalid_Proof", "proof_algorithm"),
            Self::ProofSignature               => (401, "CMGService_Invalid_Proof", "proof_signature"),
            Self::ProofMethod                  => (401, "CMGService_Invalid_Proof", "proof_method"),
            Self::ProofUrl                     => (401, "CMGService_Invalid_Proof", "proof_url"),
            Self::ProofTime                    => (401, "CMGService_Invalid_Proof", "proof_time"),
            Self::ProofToken                   => (401, "CMGService_Invalid_Proof", "proof_token"),
            Self::ProofNonce                   => (401, "CMGService_Proof_Nonce", "proof_nonce"),
            Self::ProofKey                     => (401, "CMGService_Invalid_Proof", "proof_key"),
            Self::ProofReplayed                => (401, "CMGService_Invalid_Proof", "proof_replayed"),
            Self::ProofTooMany                 => (429, "CMGService_Too_Many_Requests", "proof_too_many"),
            Self::ConnectorProofTooMany        => (429, "CMGConnector_Too_Many_Requests", "connector_proof_too_many"),
        };
        Row { status, phrase, label }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn every_number_reads_back() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::from_code(refusal.code()), Some(refusal));
        }
        assert_eq!(Refusal::from_code(0), None);
        assert_eq!(Refusal::from_code(Refusal::ALL.len() as u16 + 1), None);
    }

    #[test]
    fn every_label_is_its_own() {
        let labels: BTreeSet<_> = Refusal::ALL.iter().map(|refusal| refusal.row().label).collect();

        assert_eq!(labels.len(), Refusal::ALL.len());
    }

    #[test]
    fn phrases_say_which_side_refused_and_hold_no_blank() {
        for refusal in Refusal::ALL {
            let phrase = refusal.row().phrase;

            assert!(phrase.starts_with("CMGService_") || phrase.starts_with("CMGConnector_"), "{phrase}");
            assert!(phrase.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{phrase}");
        }
    }
}
