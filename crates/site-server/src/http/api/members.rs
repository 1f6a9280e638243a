//! Enrolment codes of gateway instances, connection points and management points.

use axum::http::StatusCode;
use cmg_authority::MemberKind;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Route};
use crate::app::change::ChangeRefused;
use crate::app::enrol::{self, EnrolRefused};
use crate::app::roles::Needs;
use crate::http::problem::Refused;

pub(super) fn routes() -> Vec<Route> {
    let words = "Makes a one-time enrolment code of";
    vec![
        Route::new(
            Method::Post,
            "/gateways/{gateway}/instances/{name}/enrolment-code",
            Needs::Infrastructure,
            format!("{words} a gateway instance"),
            of_gateway,
        )
        .gives::<MadeCode>(),
        Route::new(
            Method::Post,
            "/connection-points/{name}/enrolment-code",
            Needs::Infrastructure,
            format!("{words} a connection point"),
            of_connection_point,
        )
        .gives::<MadeCode>(),
        Route::new(
            Method::Post,
            "/management-points/{name}/enrolment-code",
            Needs::Infrastructure,
            format!("{words} a management point"),
            of_management_point,
        )
        .gives::<MadeCode>(),
    ]
}

/// A code that was made; one that was made before counts no more.
#[derive(Serialize, ToSchema)]
struct MadeCode {
    /// What to write into the file that the program's `site.enrolment` names, mode 0600. It is shown this once.
    file: String,
    /// When it stops counting, in seconds since 1970.
    ends: u64,
}

async fn of_gateway(asked: Asked) -> Result<Answer, Refused> {
    let (gateway, name) = (asked.part("gateway"), asked.part("name"));
    let in_force = asked.site().in_force();
    let known = in_force.model.gateways.get(gateway).is_some_and(|gateway| gateway.instances.iter().any(|instance| instance.name == name));
    if !known {
        return Err(ChangeRefused::NotFound { kind: "gateway instance", name: format!("{gateway}/{name}") }.into());
    }
    made(&asked, MemberKind::Gateway).await
}

async fn of_connection_point(asked: Asked) -> Result<Answer, Refused> {
    made(&asked, MemberKind::ConnectionPoint).await
}

async fn of_management_point(asked: Asked) -> Result<Answer, Refused> {
    made(&asked, MemberKind::ManagementPoint).await
}

async fn made(asked: &Asked, kind: MemberKind) -> Result<Answer, Refused> {
    let code = enrol::offer_code(asked.site(), &asked.actor(), kind, asked.part("name")).await.map_err(Refused::from)?;
    let file = toml::to_string(&code).map_err(|error| Refused::failed(&error))?;
    Ok(Answer::new(StatusCode::CREATED, &MadeCode { file, ends: code.ends }))
}

impl From<EnrolRefused> for Refused {
    fn from(refused: EnrolRefused) -> Self {
        match refused {
            EnrolRefused::NoMember { name, .. } => ChangeRefused::NotFound { kind: "member", name }.into(),
            EnrolRefused::Change(refused) => refused.into(),
            refused => Self::failed(&refused),
        }
    }
}
