//! Certificates that the site's own authority issues to devices.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::client_certificates::{self, NewClientCertificate};
use crate::app::roles::Needs;
use crate::http::api::BASE;
use crate::http::api::answer::Answer;
use crate::http::api::asked::Asked;
use crate::http::api::route::{Method, Route};
use crate::http::problem::Refused;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::Post, "/devices/{id}/certificates", Needs::Infrastructure, "Issues a certificate to a device", certify)
            .once()
            .takes::<NewClientCertificate>()
            .gives::<NewCertificate>(),
    ]
}

/// A certificate that was issued.
#[derive(Serialize, ToSchema)]
struct NewCertificate {
    /// Its serial number, by which it is revoked.
    serial: String,
    /// The certificate and its issuer, PEM.
    chain: String,
    /// When it ends, in seconds since 1970.
    not_after: u64,
}

async fn certify(asked: Asked) -> Result<Answer, Refused> {
    let once = asked.once()?;
    let new: NewClientCertificate = asked.body()?;
    let mut draft = asked.draft().await?;
    if let Some(answer) = asked.earlier(once.as_ref(), &mut draft).await? {
        return Ok(answer);
    }
    let issued = client_certificates::issue(&mut draft, asked.part("id"), &new).await?;
    let location = format!("{BASE}/issued-certificates/{}", issued.serial);
    let (chain, not_after) = (issued.chain_pem(), issued.not_after.0);
    let answer = Answer::new(StatusCode::CREATED, &NewCertificate { serial: issued.serial, chain, not_after }).location(location);
    asked.keep(once.as_ref(), &mut draft, &answer).await?;
    draft.commit().await?;
    Ok(answer)
}
