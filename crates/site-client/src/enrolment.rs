//! How a program inside becomes a member: with its code it asks a site server whose chain holds the root that the code pins.
//!
//! It goes on asking until it is told yes. The code file is read anew each time, so that a new code needs no restart.
use std::path::Path;
use std::time::Duration;

use cmg_api::EnrolmentCode;
use cmg_core::problem::Problem;
use cmg_credentials::tls::pinned_site_client;
use cmg_enrolled::{Applicant, ApplyError, CodeError, DataError, DataFolder, EnrolError, Identity, read_code};
use cmg_process::dice;
use cmg_process::log::chain;
use thiserror::Error;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::client::{SiteClient, SiteError};
use crate::member::keep_site_servers;
use crate::now;
use crate::servers::Servers;
use crate::trouble::Trouble;

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Why this attempt made nobody a member.
#[derive(Debug, Error)]
enum Attempt {
    #[error("{0}")]
    Code(Problem),
    #[error("the enrolment code is for a {0}; name the file that the site wrote for this {1}")]
    OtherKind(String, &'static str),
    #[error(transparent)]
    Unusable(#[from] CodeError),
    #[error(transparent)]
    Unkept(#[from] ApplyError),
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

/// A program that applies to become a member.
pub struct Applying<'a> {
    /// What it wants to be: `connection-point` or `management-point`.
    pub kind: &'static str,
    /// The file with its code, where one is named.
    pub code: Option<&'a Path>,
    /// What is wrong where none is.
    pub no_code: fn() -> Problem,
}

/// Asks until this machine is a member; `obstacle` hears why it is not.
pub async fn enrol(applying: &Applying<'_>, folder: &DataFolder, obstacle: impl Fn(String)) -> Identity {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let (mut trouble, mut applicant) = (Trouble::default(), None);
    loop {
        match attempt(applying, folder, &mut applicant).await {
            Ok(identity) => {
                info!(member = identity.member(), "Enrolled");
                return identity;
            }
            Err(error) => {
                let text = chain(&error);
                if trouble.is_news(&text) {
                    warn!(error = text, "Not enrolled");
                }
                obstacle(format!("not enrolled: {text}"));
                let asked = match &error {
                    Attempt::Client(error) | Attempt::Refused(error) => error.retry_after(),
                    _ => None,
                };
                sleep(backoff.failed(asked, dice::draw())).await;
            }
        }
    }
}

impl Applying<'_> {
    /// The code that counts at the moment.
    pub fn read(&self) -> Result<EnrolmentCode, Problem> {
        self.code.ok_or_else(self.no_code).and_then(|path| read_code("site.enrolment", path))
    }
}

/// Asks once. `applicant` asks again with the same keys while the code is the same, after a restart too: if an answer gets lost, the site
/// tells it once more.
async fn attempt(
    applying: &Applying<'_>,
    folder: &DataFolder,
    applicant: &mut Option<(EnrolmentCode, Applicant)>,
) -> Result<Identity, Attempt> {
    let code = applying.read().map_err(Attempt::Code)?;
    if code.kind != applying.kind {
        return Err(Attempt::OtherKind(code.kind, applying.kind));
    }
    let kept = applicant.take().filter(|(of, _)| *of == code);
    let (code, applicant) = match kept {
        Some(kept) => applicant.insert(kept),
        None => {
            let new = Applicant::kept(&code, folder)?;
            applicant.insert((code, new))
        }
    };
    let client = SiteClient::new(applying.kind, code.site_servers.clone(), pinned_site_client(applicant.root())).map_err(Attempt::Tls)?;
    let answer = client.enrol(&applicant.request(&[])?).await.map_err(|error| match error.status() {
        Some(403) => Attempt::Refused(error),
        Some(_) | None => Attempt::Client(error),
    })?;
    // First: a folder with a certificate in it is a whole one.
    keep_site_servers(folder, &Servers::of_code(&code.site_servers))?;
    Ok(applicant.accept(&answer, folder, now())?)
}
