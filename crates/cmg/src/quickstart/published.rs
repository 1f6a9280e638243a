//! What is published: what was asked for, or an origin of our own.

use std::path::{Path, PathBuf};

use cmg_lab::{LabError, Origin, Published};

use super::Options;

/// Where operating systems keep the authorities that they trust, for published `https` servers.
const SYSTEM_AUTHORITIES: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Everything that is published, with what its server is to be told and which authorities it is checked against.
pub(super) fn published(options: &Options, own: Option<&Origin>) -> Result<Vec<Published>, LabError> {
    let open = options.publish_open.iter().map(|published| published.clone().open());
    let mut all: Vec<_> = options.publish.iter().cloned().chain(open).collect();
    if let Some(origin) = own {
        let origin = Published::new("origin", &origin.url())?;
        all.push(origin.identity_header("X-Client-Verify", "verify").identity_header("X-Client-DN", "subject"));
    }
    for published in &mut all {
        published.identity_headers.extend(options.identity_header.iter().cloned());
        if published.internal_url.starts_with("https://") {
            published.server_authorities = server_authorities(options, &published.name)?;
        }
    }
    Ok(all)
}

fn server_authorities(options: &Options, name: &str) -> Result<Vec<PathBuf>, LabError> {
    let given: Result<Vec<_>, _> = options.server_ca.iter().map(|path| absolute(path)).collect();
    let mut authorities = given?;
    if authorities.is_empty() {
        authorities.extend(SYSTEM_AUTHORITIES.map(PathBuf::from).into_iter().find(|path| path.exists()));
    }
    if authorities.is_empty() {
        let problem = "no authority is known for its certificate; name one with --server-ca FILE";
        return Err(LabError::Published { name: name.to_owned(), problem });
    }
    Ok(authorities)
}

fn absolute(path: &Path) -> Result<PathBuf, LabError> {
    path.canonicalize().map_err(|source| LabError::File { path: path.to_owned(), source })
}
