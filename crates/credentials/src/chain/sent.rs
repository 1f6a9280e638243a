//! Certificates that a client sends along: only those count that a configured authority vouches for, directly or through others.
//!
//! Path building tries every order of certificates with fitting names, so a stranger who sends nine forged ones of the same name
//! could make it check a hundred signatures. Here each is checked against each issuer of its name once, and forged ones are gone
//! before a path is built.
use pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::EndEntityCert;

use super::ClientTrust;
use crate::signed::Signed;

struct Issuer {
    subject: Vec<u8>,
    key: SubjectPublicKeyInfoDer<'static>,
}

impl ClientTrust {
    /// Those of `sent` that are vouched for and not configured already.
    pub(super) fn vouched<'a>(&self, sent: &'a [CertificateDer<'_>]) -> Vec<&'a CertificateDer<'a>> {
        let mut open: Vec<_> = sent.iter().filter(|der| !self.intermediates.iter().any(|known| known == *der)).collect();
        let mut vouched = Vec::new();
        let mut issuers = if open.is_empty() { Vec::new() } else { self.issuers() };
        while !issuers.is_empty() {
            let more: Vec<_> = open.extract_if(.., |der| issuers.iter().any(|issuer| issuer.issued(der))).collect();
            issuers = more.iter().filter_map(|der| Issuer::of(der)).collect();
            vouched.extend(more);
        }
        vouched
    }

    fn issuers(&self) -> Vec<Issuer> {
        let roots = self.anchors.iter().map(|anchor| Issuer {
            subject: anchor.subject.to_vec(),
            key: SubjectPublicKeyInfoDer::from(webpki::spki_for_anchor(anchor).to_vec()),
        });
        roots.chain(self.intermediates.iter().filter_map(Issuer::of)).collect()
    }
}

impl Issuer {
    fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = EndEntityCert::try_from(der).ok()?;
        Some(Self { subject: certificate.subject().to_vec(), key: certificate.subject_public_key_info() })
    }

    fn issued(&self, der: &CertificateDer<'_>) -> bool {
        EndEntityCert::try_from(der).is_ok_and(|certificate| certificate.issuer() == self.subject)
            && Signed::parse(der).is_some_and(|signed| signed.is_signed_by(&self.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cmg_core::ids::TrustName;
    use cmg_core::revocation::RevocationPolicy;
    use cmg_core::trust::Trust;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn named(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, KeyPair::generate().unwrap())
    }

    fn root() -> Authority {
        let (params, key) = named("root");
        Authority::self_signed(params, key).unwrap()
    }

    fn below(issuer: &Authority, name: &str) -> Authority {
        let (params, key) = named(name);
        Authority::signed_by(params, key, issuer).unwrap()
    }

    #[test]
    fn only_what_leads_to_a_root_by_signatures_is_used() {
        let (genuine, forged) = (root(), root());
        let upper = below(&genuine, "upper");
        let lower = below(&upper, "lower");
        let sent = [&lower, &forged, &below(&forged, "upper"), &upper, &genuine].map(|authority| authority.der().clone());
        let trust = ClientTrust::new(&Trust {
            name: TrustName::new("devices"),
            authorities: vec![genuine.der().to_vec()],
            intermediates: Vec::new(),
            lists: Vec::new(),
            revocation: RevocationPolicy::default(),
        });

        let vouched = trust.unwrap().vouched(&sent).into_iter().cloned().collect::<Vec<_>>();

        assert_eq!(vouched, [&upper, &genuine, &lower].map(|authority| authority.der().clone()));
    }
}
