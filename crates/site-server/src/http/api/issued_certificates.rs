//! Certificates that the site has issued: list, show, revoke.

use cmg_store::{CertificateFilter, IssuedCertificate};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::asked::Asked;
use super::page::Page;
use super::route::{Method, Parameter, Route};
use crate::app::change::ChangeRefused;
use crate::app::issued_certificates;
use crate::app::roles::Needs;
use crate::http::problem::Refused;

const LIST: &[Parameter] = &[
    Parameter("authority", "string", "Only those of this authority: `infrastructure` or `clients`."),
    Parameter("search", "string", "Only those whose subject contains this, in either case."),
    Parameter("after", "string", "Only those after this serial number: `next` of the page before."),
    Parameter("limit", "integer", "How many at most, 1 to 500. Default 100."),
];

pub(super) fn routes() -> Vec<Route> {
    let one = "/issued-certificates/{serial}";
    vec![
        Route::new(Method::Get, "/issued-certificates", Needs::Read, "Lists certificates that the site has issued", list)
            .query(LIST)
            .gives::<IssuedPage>(),
        Route::new(Method::Get, one, Needs::Read, "Shows a certificate that the site has issued", show).gives::<ShownIssued>(),
        Route::new(
            Method::Post,
            "/issued-certificates/{serial}/revoke",
            Needs::Infrastructure,
            "Revokes a certificate: a member enrols again, a client is refused",
            revoke,
        )
        .status(200)
        .gives::<ShownIssued>(),
    ]
}

/// A certificate, as it is shown.
#[derive(Serialize, ToSchema)]
struct ShownIssued {
    /// Its serial number, hexadecimal.
    serial: String,
    /// `infrastructure` or `clients`.
    authority: String,
    /// Whom it names, such as `gateway/gw-1`.
    subject: String,
    /// What it is for.
    purpose: String,
    /// When it begins to count, in seconds since 1970.
    not_before: i64,
    /// When it ends, in seconds since 1970.
    not_after: i64,
    /// Its SHA-256, hexadecimal.
    fingerprint: String,
    /// When it was revoked, in seconds since 1970.
    revoked_at: Option<i64>,
}

/// A page of certificates.
#[derive(Serialize, ToSchema)]
struct IssuedPage {
    /// By serial number.
    items: Vec<ShownIssued>,
    /// What to send as `after` to get the next page; none: this is the last one.
    next: Option<String>,
}

impl From<IssuedCertificate> for ShownIssued {
    fn from(certificate: IssuedCertificate) -> Self {
        Self {
            serial: certificate.serial,
            authority: certificate.authority,
            subject: certificate.subject,
            purpose: certificate.purpose,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            fingerprint: certificate.fingerprint,
            revoked_at: certificate.revoked_at,
        }
    }
}

async fn list(asked: Asked) -> Result<Answer, Refused> {
    let page = Page::of(&asked)?;
    let filter = CertificateFilter { authority: asked.text("authority"), search: asked.text("search") };
    let mut certificates = asked.site().store.certificate_page(filter, asked.text("after"), page.rows()).await?;
    let next = page.cut(&mut certificates, |certificate| certificate.serial.clone());
    Ok(Answer::ok(&IssuedPage { items: certificates.into_iter().map(ShownIssued::from).collect(), next }))
}

async fn show(asked: Asked) -> Result<Answer, Refused> {
    let serial = asked.part("serial");
    let certificate = asked.site().store.certificate(serial).await?;
    let certificate = certificate.ok_or_else(|| ChangeRefused::NotFound { kind: issued_certificates::KIND, name: serial.to_owned() })?;
    Ok(Answer::ok(&ShownIssued::from(certificate)))
}

async fn revoke(asked: Asked) -> Result<Answer, Refused> {
    let mut draft = asked.draft().await?;
    let certificate = issued_certificates::revoke(&mut draft, asked.part("serial")).await?;
    let answer = Answer::ok(&ShownIssued::from(certificate));
    Ok(answer.generation(draft.commit().await?))
}
