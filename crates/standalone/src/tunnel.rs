//! `[tunnel]`: the role certificate and the infrastructure authority, at either end.
use std::mem::discriminant;
use std::path::Path;

use cmg_core::ids::{Role, is_name};
use cmg_core::snapshot::Parts;
use cmg_credentials::load::{Disk, PairFiles, RoleIdentity, read_certificates, read_role_identity};

use crate::Reading;

/// Reads the certificate of a program that should have `role`, whose name is the file's `name`.
pub fn role(role: &Role, certificate: &Path, private_key: &Path, reading: &mut Reading) -> Option<RoleIdentity> {
    let files = PairFiles {
        chain_key: "tunnel.certificate",
        chain: &reading.local(certificate),
        private_key_key: "tunnel.key",
        private_key: &reading.local(private_key),
    };
    let name = role.name();
    if !is_name(name) {
        reading.problem("name", format!("\"{name}\" is no name"), "write 1 to 64 letters, digits, dots, hyphens or underscores");
    }
    let identity = reading.keep(read_role_identity(&Disk, files))?;
    let found = &identity.role;
    if discriminant(found) != discriminant(role) {
        let what = format!("it is the certificate of a {}", found.kind());
        reading.problem("tunnel.certificate", what, format!("name the certificate of this {}", role.kind()));
    } else if found != role {
        let what = format!("\"{name}\" is not the name in the role certificate, which is for \"{}\"", found.name());
        reading.problem("name", what, format!("write \"{}\", or name the certificate of \"{name}\"", found.name()));
    }
    Some(identity)
}

/// Reads the infrastructure authority. It must not be one for clients too: whoever may issue client certificates could then issue
/// gateways.
pub fn authority(file: &Path, parts: &Parts, reading: &mut Reading) -> Option<Vec<Vec<u8>>> {
    let infrastructure = reading.keep(read_certificates(&Disk, "tunnel.authority", &reading.local(file)))?;
    for trust in &parts.trusts {
        for (key, certificates) in [("authorities", &trust.authorities), ("intermediates", &trust.intermediates)] {
            if certificates.iter().any(|certificate| infrastructure.contains(certificate)) {
                let key = format!("trust.{}.{key}", trust.name);
                let what = "it has the infrastructure authority in it, which must issue no client certificates";
                reading.problem(key, what, "name other authorities for clients");
            }
        }
    }
    Some(infrastructure)
}
