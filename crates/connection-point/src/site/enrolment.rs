//! How this connection point becomes a member: with its code it asks a site server whose chain holds the root that the code pins.
//!
//! It goes on asking until it is told yes. The code file is read anew each time, so that a new code needs no restart.
use std::time::Duration;

use cmg_api::EnrolmentCode;
use cmg_core::problem::Problem;
use cmg_credentials::tls::pinned_site_client;
use cmg_enrolled::{Applicant, CodeError, DataError, DataFolder, EnrolError, Identity, read_code};
use cmg_process::dice;
use cmg_process::log::chain;
use thiserror::Error;
use tokio::time::sleep;
use tracing::{info, warn};

use super::backoff::Backoff;
use super::client::{SiteClient, SiteError};
use super::servers::Servers;
use super::store;
use super::trouble::Trouble;
use crate::config::enrolled::{Local, no_code};
use crate::running::Obstacle;
use crate::state::now;

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Why this attempt made nobody a member.
#[derive(Debug, Error)]
pub(crate) enum Attempt {
    #[error("{0}")]
    Code(Problem),
    #[error("the enrolment code is for a {0}; name the file that the site wrote for this connection point")]
    OtherKind(String),
    #[error(transparent)]
    Unusable(#[from] CodeError),
    #[error("no site server with the root in the enrolment code was reached")]
    Client(#[source] SiteError),
    #[error("TLS cannot be set up")]
    Tls(#[source] reqwest::Error),
    #[error("the site refused the enrolment code: it is wrong, spent or has run out; make a new one at the site, and put it in its file")]
    Refused(#[source] SiteError),
    #[error(transparent)]
    Answer(#[from] EnrolError),
    #[error(transparent)]
    Data(#[from] DataError),
}

/// Asks until this machine is a member; `obstacle` says why it is not.
pub(crate) async fn enrol(local: &Local, folder: &DataFolder, obstacle: &Obstacle) -> Identity {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let (mut trouble, mut applicant) = (Trouble::default(), None);
    loop {
        match attempt(local, folder, &mut applicant).await {
            Ok(identity) => {
                info!(member = identity.member(), "Enrolled");
                return identity;
            }
            Err(error) => {
                let text = chain(&error);
                if trouble.is_news(&text) {
                    warn!(error = text, "Not enrolled");
                }
                obstacle.set(Some(format!("not enrolled: {text}")));
                let asked = match &error {
                    Attempt::Client(error) | Attempt::Refused(error) => error.retry_after(),
                    _ => None,
                };
                sleep(backoff.failed(asked, dice::draw())).await;
            }
        }
    }
}

/// The code that `local` names.
pub(crate) fn code(local: &Local) -> Result<EnrolmentCode, Problem> {
    local.enrolment.as_ref().ok_or_else(no_code).and_then(|path| read_code("site.enrolment", path))
}

/// Asks once. `applicant` asks again with the same keys while the code is the same: if an answer gets lost, the site tells it once more.
async fn attempt(local: &Local, folder: &DataFolder, applicant: &mut Option<(EnrolmentCode, Applicant)>) -> Result<Identity, Attempt> {
    let code = code(local).map_err(Attempt::Code)?;
    if code.kind != "connection-point" {
        return Err(Attempt::OtherKind(code.kind));
    }
    let kept = applicant.take().filter(|(of, _)| *of == code);
    let (code, applicant) = match kept {
        Some(kept) => applicant.insert(kept),
        None => {
            let new = Applicant::new(&code)?;
            applicant.insert((code, new))
        }
    };
    let client = SiteClient::new(code.site_servers.clone(), pinned_site_client(applicant.root())).map_err(Attempt::Tls)?;
    let answer = client.enrol(&applicant.request(&[])?).await.map_err(|error| match error.status() {
        Some(403) => Attempt::Refused(error),
        Some(_) | None => Attempt::Client(error),
    })?;
    // First: a folder with a certificate in it is a whole one.
    store::keep_site_servers(folder, &Servers::of_code(&code.site_servers))?;
    Ok(applicant.accept(&answer, folder, now())?)
}
