//! Authorities, certificates and lists for the tests.
use cmg_core::ids::TrustName;
use cmg_core::revocation::RevocationPolicy;
use cmg_core::time::WallTime;
use cmg_core::trust::Trust;
use pki_types::CertificateDer;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

/// 2026-06-15 12:00 UTC: the middle of what the laboratory's certificates and lists cover.
pub(crate) const NOW: WallTime = WallTime(1_781_524_800);
/// Half a day: lists and certificates begin and end at midnight.
pub(crate) const HALF_A_DAY: u64 = 12 * 3600;
/// Serial number of a client's certificate, unless a test says otherwise.
pub(crate) const SERIAL: u64 = 0x1001;

pub(crate) struct Authority {
    params: CertificateParams,
    pub(crate) key: KeyPair,
    pub(crate) der: CertificateDer<'static>,
}

pub(crate) struct Issued {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn root(name: &str) -> Self {
        Self::root_with(name, |_| {})
    }

    pub(crate) fn root_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (params, key) = authority_params(name, change);
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { params, key, der }
    }

    pub(crate) fn authority(&self, name: &str) -> Self {
        self.authority_with(name, |_| {})
    }

    pub(crate) fn authority_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (params, key) = authority_params(name, change);
        let der = params.signed_by(&key, &self.issuer()).unwrap().der().clone();
        Self { params, key, der }
    }

    pub(crate) fn client(&self, name: &str) -> Issued {
        self.client_with(name, |_| {})
    }

    pub(crate) fn client_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        self.leaf(name, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            change(params);
        })
    }

    /// A client certificate that the authority issued to its own name and key.
    pub(crate) fn client_of_itself(&self) -> CertificateDer<'static> {
        let mut params = self.params.clone();
        params.is_ca = IsCa::NoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from(SERIAL));
        params.signed_by(&self.key, &self.issuer()).unwrap().der().clone()
    }

    pub(crate) fn role(&self, uri: &str) -> Issued {
        self.leaf("role", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        })
    }

    pub(crate) fn server(&self, names: &[&str]) -> Issued {
        self.leaf("server", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect();
        })
    }

    pub(crate) fn leaf(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = named(name);
        params.serial_number = Some(SerialNumber::from(SERIAL));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer()).unwrap().der().clone();
        Issued { der, key }
    }

    /// A list of now that revokes `serials`.
    pub(crate) fn list(&self, serials: &[u64]) -> Vec<u8> {
        self.list_with(serials, |_| {})
    }

    /// A list whose next one is overdue.
    pub(crate) fn stale_list(&self, serials: &[u64]) -> Vec<u8> {
        self.list_with(serials, |params| params.next_update = date_time_ymd(2026, 6, 15))
    }

    pub(crate) fn list_with(&self, serials: &[u64], change: impl FnOnce(&mut CertificateRevocationListParams)) -> Vec<u8> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 6, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let mut params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 6, 1),
            next_update: date_time_ymd(2026, 6, 16),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut params);
        // rcgen would not sign without the key usage; the tests must be able to.
        let mut issuer = self.params.clone();
        issuer.key_usages.clear();
        params.signed_by(&Issuer::from_params(&issuer, &self.key)).unwrap().der().to_vec()
    }

    /// A certificate of this authority for the name and key of `other`.
    pub(crate) fn cross_sign(&self, other: &Self) -> CertificateDer<'static> {
        let mut params = other.params.clone();
        params.serial_number = Some(SerialNumber::from(78));
        params.signed_by(&other.key, &self.issuer()).unwrap().der().clone()
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

/// A trust policy that does not look at lists.
pub(crate) fn trust_of(roots: &[&Authority], intermediates: &[&Authority]) -> Trust {
    let ders = |all: &[&Authority]| all.iter().map(|authority| authority.der.to_vec()).collect();
    Trust {
        name: TrustName::new("devices"),
        authorities: ders(roots),
        intermediates: ders(intermediates),
        lists: Vec::new(),
        revocation: RevocationPolicy { check: false, ..RevocationPolicy::default() },
    }
}

pub(crate) fn chain(leaf: &Issued, above: &[&Authority]) -> Vec<CertificateDer<'static>> {
    std::iter::once(leaf.der.clone()).chain(above.iter().map(|authority| authority.der.clone())).collect()
}

fn authority_params(name: &str, change: impl FnOnce(&mut CertificateParams)) -> (CertificateParams, KeyPair) {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    change(&mut params);
    (params, KeyPair::generate().unwrap())
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    params
}
