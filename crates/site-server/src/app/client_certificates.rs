//! Certificates for clients, by the site's own authority: for where there is no other one.
//!
//! Whoever asks is an administrator, who says which client it is; the request for the certificate proves that somebody holds the key, and
//! nothing else that is written in it counts. Trusts with `site_clients` let such a client in.

use cmg_authority::{Issued, PublicKey};
use cmg_core::problem::Problem;
use cmg_core::time::WallTime;
use cmg_store::{BlockKind, CertificateFilter, ClientState, IssuedCertificate};
use pki_types::CertificateSigningRequestDer;
use pki_types::pem::PemObject;
use serde::Deserialize;
use utoipa::ToSchema;

use super::change::{ChangeRefused, Draft};
use super::issued_certificates::{self, CLIENTS};
use super::text::hex;
use super::{blocking, clients};

/// The longest that a certificate of a client lasts, in days, and how long it does unless told otherwise.
const MOST_DAYS: u32 = 90;

/// Certificates of a client that count at a time: one, and those that it replaces.
const MOST: usize = 20;

/// Rows of a page.
const PAGE: u32 = 500;

/// Seconds of a day.
const DAY: u64 = 86_400;

/// A certificate that is asked for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClientCertificate {
    /// A request for it (PKCS#10, PEM) by an ECDSA P-256 key: what it says besides the key does not count.
    pub csr: String,
    /// How many days it lasts, 1 to 90. Default 90.
    #[serde(default)]
    pub days: Option<u32>,
}

impl NewClientCertificate {
    /// The key and the lifetime in seconds, or everything that is wrong with it.
    fn judged(&self) -> Result<(PublicKey, u64), Vec<Problem>> {
        let mut problems = Vec::new();
        let days = self.days.unwrap_or(MOST_DAYS);
        if !(1..=MOST_DAYS).contains(&days) {
            problems.push(Problem::new("days", format!("{days} days are too few or too many"), format!("write 1 to {MOST_DAYS}")));
        }
        let der = CertificateSigningRequestDer::from_pem_slice(self.csr.as_bytes()).map_err(|_| "it holds no PEM of a request".to_owned());
        let key = der.and_then(|der| PublicKey::from_csr(&der).map_err(|refused| refused.to_string()));
        match key {
            Ok(key) if problems.is_empty() => return Ok((key, u64::from(days) * DAY)),
            Ok(_) => {}
            Err(what) => {
                let instead = "make one such as by `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=pc1`";
                problems.push(Problem::new("csr", what, instead));
            }
        }
        Err(problems)
    }
}

/// Issues a certificate to a client that counts.
pub async fn issue(draft: &mut Draft<'_>, client: &str, new: &NewClientCertificate) -> Result<Issued, ChangeRefused> {
    let (key, lifetime) = new.judged().map_err(ChangeRefused::Problems)?;
    demand_counts(draft, client).await?;
    let issued = draft.keys.clients.client(client, &key, lifetime, WallTime(draft.now as u64));
    let issued = issued.map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    let certificate = IssuedCertificate {
        serial: issued.serial.clone(),
        authority: CLIENTS.to_owned(),
        subject: clients::subject(client),
        purpose: "client".to_owned(),
        not_before: issued.not_before.0 as i64,
        not_after: issued.not_after.0 as i64,
        fingerprint: hex(&issued.fingerprint),
        revoked_at: None,
    };
    draft.change.add_certificate(&certificate).await?;
    let after = serde_json::json!({ "serial": issued.serial, "subject": certificate.subject, "not_after": certificate.not_after });
    draft.record("new", issued_certificates::KIND, &issued.serial, None, Some(after.to_string())).await?;
    Ok(issued)
}

async fn demand_counts(draft: &mut Draft<'_>, client: &str) -> Result<(), ChangeRefused> {
    let refused = |what: &str, instead: &str| Err(ChangeRefused::Problems(vec![Problem::new("id", what, instead)]));
    let state = clients::present(draft, client).await?.state;
    if state == ClientState::Blocked || blocking::live(&mut draft.change, BlockKind::Client, client, None).await?.is_some() {
        return refused("the client is blocked", "unblock it first");
    }
    if state == ClientState::Pending {
        return refused("the client waits for approval", "approve it first");
    }
    let now = draft.now;
    let counts = |certificate: &&IssuedCertificate| certificate.revoked_at.is_none() && certificate.not_after > now;
    if certificates_of(draft, client).await?.iter().filter(counts).count() >= MOST {
        return refused("it has 20 certificates that count", "revoke those that it does not use any more");
    }
    Ok(())
}

/// The certificates that the site has issued to a client: by their number they are few.
async fn certificates_of(draft: &mut Draft<'_>, client: &str) -> Result<Vec<IssuedCertificate>, ChangeRefused> {
    let subject = clients::subject(client);
    let filter = CertificateFilter { authority: Some(CLIENTS), search: Some(&subject) };
    let found = draft.change.certificate_page(filter, None, PAGE).await?;
    Ok(found.into_iter().filter(|certificate| certificate.subject == subject).collect())
}
