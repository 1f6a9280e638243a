//! Why a chain leads to no configured root, in the terms an administrator can act on.
use cmg_core::refusal::Refusal;
use pki_types::CertificateDer;
use webpki::{EndEntityCert, Error};

use super::ClientTrust;
use crate::facts;

/// Where following issuer names leads.
enum End {
    /// To the name of a configured root.
    Anchored,
    /// To a certificate that signed itself and is not configured.
    Foreign,
    /// To a certificate whose issuer is neither configured nor sent.
    Missing {
        /// The issuer's name.
        issuer: String,
    },
}

impl ClientTrust {
    /// The issuer that is missing between `chain` and the configured roots, for the log.
    pub fn issuer_not_found(&self, chain: &[CertificateDer<'_>]) -> Option<String> {
        match self.follow_names(chain) {
            End::Missing { issuer } => Some(issuer),
            End::Anchored | End::Foreign => None,
        }
    }

    /// A chain that does not even lead to a root's name is told so first; anything else wrong with it does not matter.
    pub(super) fn reason(&self, chain: &[CertificateDer<'_>], error: &Error) -> Refusal {
        match self.follow_names(chain) {
            End::Anchored => of(error),
            End::Foreign => Refusal::CertificateForeign,
            End::Missing { .. } => Refusal::CertificateIssuerNotFound,
        }
    }

    fn follow_names(&self, chain: &[CertificateDer<'_>]) -> End {
        let Some((leaf, sent)) = chain.split_first() else {
            return End::Missing { issuer: String::new() };
        };
        let mut unseen: Vec<&CertificateDer<'_>> = self.intermediates.iter().chain(sent).collect();
        let mut open = vec![leaf];
        let mut end = End::Foreign;
        while let Some(der) = open.pop() {
            let Ok(certificate) = EndEntityCert::try_from(der) else {
                continue;
            };
            let issuer = certificate.issuer();
            if self.anchors.iter().any(|anchor| anchor.subject.as_ref() == issuer) {
                return End::Anchored;
            }
            if issuer == certificate.subject() {
                end = End::Foreign;
                continue;
            }
            let issuers =
                unseen.extract_if(.., |candidate| EndEntityCert::try_from(*candidate).is_ok_and(|candidate| candidate.subject() == issuer));
            let before = open.len();
            open.extend(issuers);
            if open.len() == before {
                end = End::Missing { issuer: issuer_name(der) };
            }
        }
        end
    }
}

fn issuer_name(der: &[u8]) -> String {
    facts::parse(der).and_then(|parsed| facts::name(parsed.issuer())).unwrap_or_default()
}

/// The refusal for what webpki says.
pub(super) fn of(error: &Error) -> Refusal {
    match error {
        Error::CertExpired { .. } => Refusal::CertificateExpired,
        Error::CertNotValidYet { .. } => Refusal::CertificateNotYetValid,
        Error::EmptyEkuExtension | Error::RequiredEkuNotFoundContext(_) => Refusal::CertificatePurpose,
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => Refusal::CertificateForeign,
        Error::CaUsedAsEndEntity
        | Error::CertDistrusted
        | Error::EndEntityUsedAsCa
        | Error::InvalidCertValidity
        | Error::InvalidNetworkMaskConstraint
        | Error::MalformedNameConstraint
        | Error::MaximumNameConstraintComparisonsExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded
        | Error::NameConstraintViolation
        | Error::PathLenConstraintViolated
        | Error::UnsupportedCriticalExtension
        | Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Refusal::CertificateConstraint,
        // webpki's enum is open: everything else is about how the certificate is written.
        _ => Refusal::CertificateMalformed,
    }
}
