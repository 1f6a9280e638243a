//! `[[certificate]]`: the certificates that the public port shows.
use cmg_api::CertificateFile;
use cmg_core::problem::Problem;
use cmg_credentials::ServerIdentity;
use cmg_credentials::load::{PairFiles, read_server_identity, read_server_identity_pfx};
use cmg_standalone::Reading;

pub(super) fn read(files: &[CertificateFile], reading: &mut Reading) -> Vec<ServerIdentity> {
    if files.is_empty() {
        reading.problem("certificate", "no server certificate is named", "name at least one [[certificate]]");
    }
    files.iter().enumerate().filter_map(|(place, file)| identity(&format!("certificate[{place}]"), file, reading)).collect()
}

fn identity(key: &str, file: &CertificateFile, reading: &mut Reading) -> Option<ServerIdentity> {
    let CertificateFile { chain, key: private_key, pfx, password_file } = file;
    let missing = |name: &str, beside: &str| {
        let what = format!("is missing beside {beside}");
        Err(Problem::new(format!("{key}.{name}"), what, format!("name the file for {name}")))
    };
    let identity = match (chain, private_key, pfx, password_file) {
        (Some(chain), Some(private_key), None, None) => {
            let pair = PairFiles {
                chain_key: &format!("{key}.chain"),
                chain: &reading.path(chain),
                private_key_key: &format!("{key}.key"),
                private_key: &reading.path(private_key),
            };
            read_server_identity(reading.files(), pair)
        }
        (None, None, Some(pfx), Some(password)) => {
            let (pfx_key, password_key) = (format!("{key}.pfx"), format!("{key}.password_file"));
            read_server_identity_pfx(reading.files(), &pfx_key, &reading.path(pfx), &password_key, &reading.path(password))
        }
        (Some(_), None, None, None) => missing("key", "chain"),
        (None, Some(_), None, None) => missing("chain", "key"),
        (None, None, Some(_), None) => missing("password_file", "pfx"),
        (None, None, None, Some(_)) => missing("pfx", "password_file"),
        (None, None, None, None) => Err(Problem::new(key, "it names no file", "write chain and key, or pfx and password_file")),
        _ => Err(Problem::new(key, "it mixes two ways", "write either chain and key, or pfx and password_file")),
    };
    reading.keep(identity)
}
