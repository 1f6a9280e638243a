//! Certificate chains as a client shows them, or as a gateway claims that it did: nothing made up passes.

use cmg_core::ids::TrustName;
use cmg_core::revocation::{Lenience, RevocationPolicy};
use cmg_core::time::WallTime;
use cmg_core::trust::Trust;
use cmg_credentials::Verifier;
use pki_types::CertificateDer;
use std::sync::OnceLock;

/// A root made for this; its private key exists no more.
const ROOT: &[u8] = include_bytes!("root.der");

pub(crate) fn check(input: &[u8]) {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    let verifier = VERIFIER.get_or_init(|| {
        let trust = Trust {
            name: TrustName::new("devices"),
            authorities: vec![ROOT.to_vec()],
            intermediates: vec![],
            lists: vec![],
            revocation: RevocationPolicy { unknown: Lenience::Allow, ..RevocationPolicy::default() },
        };
        Verifier::new(&[trust], &[], &[]).map_err(|problems| problems.len()).expect("a good root")
    });
    let (leaf, rest) = input.split_at(input.len() / 2);
    for chain in [vec![CertificateDer::from(input)], vec![CertificateDer::from(leaf), CertificateDer::from(rest)]] {
        let verified = verifier.certificate(&TrustName::new("devices"), &chain, WallTime(1_800_000_000));
        assert!(verified.is_err() || input == ROOT);
        let _ = verifier.issuer_not_found(&TrustName::new("devices"), &chain);
        let _ = cmg_credentials::tls::role_of(&chain);
    }
}
