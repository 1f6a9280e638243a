//! The certificates of a trust: list, add, and remove by thumbprint.

use axum::http::StatusCode;
use cmg_api::resource::{ClientTrust, Resource};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Route};
use crate::app::authorities::{self, Authority};
use crate::app::change::ChangeRefused;
use crate::app::roles::Needs;
use crate::app::text::hex;
use crate::http::problem::Refused;

const ALL: &str = "/trusts/{name}/authorities";
const ONE: &str = "/trusts/{name}/authorities/{thumbprint}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::Get, ALL, Needs::Read, "Lists the certificates of a trust", list).gives::<Authorities>(),
        Route::new(Method::Post, ALL, Needs::Infrastructure, "Adds certificates to a trust", add)
            .takes::<NewAuthorities>()
            .status(200)
            .gives::<Authorities>(),
        Route::new(Method::Delete, ONE, Needs::Infrastructure, "Takes the certificate with this SHA-1 or SHA-256 out of a trust", remove),
    ]
}

/// Certificates to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAuthorities {
    /// PEM, any number.
    certificates: String,
    /// Whether they are issuing certificates that clients need not send. Default false: roots.
    #[serde(default)]
    intermediate: bool,
}

/// The certificates of a trust.
#[derive(Serialize, ToSchema)]
struct Authorities {
    /// Roots, then issuing certificates.
    items: Vec<ShownAuthority>,
}

/// A certificate of a trust.
#[derive(Serialize, ToSchema)]
struct ShownAuthority {
    /// `root` or `intermediate`.
    kind: &'static str,
    /// SHA-1, hexadecimal, as Windows shows it.
    thumbprint: String,
    /// SHA-256, hexadecimal.
    sha256: String,
    /// Whose it is.
    subject: String,
    /// Who issued it.
    issuer: String,
    /// Its serial number, hexadecimal.
    serial: String,
    /// Since when it counts, in seconds since 1970.
    not_before: u64,
    /// Until when it counts, in seconds since 1970.
    not_after: u64,
}

impl From<Authority> for ShownAuthority {
    fn from(Authority { is_root, facts }: Authority) -> Self {
        Self {
            kind: if is_root { "root" } else { "intermediate" },
            thumbprint: hex(&facts.thumbprint),
            sha256: hex(&facts.thumbprint_sha256),
            subject: facts.subject,
            issuer: facts.issuer,
            serial: facts.serial,
            not_before: facts.not_before.0,
            not_after: facts.not_after.0,
        }
    }
}

fn shown(trust: &ClientTrust) -> Authorities {
    Authorities { items: authorities::of(trust).into_iter().map(Into::into).collect() }
}

async fn list(asked: Asked) -> Result<Answer, Refused> {
    let name = asked.part("name");
    let found = asked.site().in_force().model.trusts.get(name).cloned();
    let trust = found.ok_or_else(|| ChangeRefused::NotFound { kind: ClientTrust::KIND, name: name.to_owned() })?;
    Ok(Answer::ok(&shown(&trust)))
}

async fn add(asked: Asked) -> Result<Answer, Refused> {
    let new: NewAuthorities = asked.body()?;
    let mut draft = asked.draft().await?;
    let trust = authorities::add(asked.site(), &mut draft, asked.part("name"), &new.certificates, !new.intermediate).await?;
    let generation = draft.commit().await?;
    Ok(Answer::new(StatusCode::OK, &shown(&trust)).generation(generation))
}

async fn remove(asked: Asked) -> Result<Answer, Refused> {
    let mut draft = asked.draft().await?;
    authorities::remove(asked.site(), &mut draft, asked.part("name"), asked.part("thumbprint")).await?;
    let generation = draft.commit().await?;
    Ok(Answer::nothing().generation(generation))
}
