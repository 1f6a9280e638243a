//! A device registers: by the first of its credentials that counts, at the first address that answers.

use std::path::Path;
use std::time::Duration;

use cmg_api::clients::{ClientToken, REGISTER, RegisterRequest, TOKEN};
use cmg_api::device::POLICY;
use cmg_process::log::chain;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::carrier::{Answer, Carrier, Question, Token, Way};
use crate::clock;
use crate::identity::{Refused, RegisteredBy, given};
use crate::policy::{Keeper, LARGEST_ANSWER, PolicyRefused};
use crate::properties::Hidden;

/// How often one is asked again that waits for approval, or that cannot answer.
const AGAIN: Duration = Duration::from_secs(2);

/// What a device can show, in the order of preference: its certificate, a token of a provider, a bulk registration token.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) certificate: bool,
    pub(crate) oidc: Option<Hidden>,
    pub(crate) bulk: Option<Hidden>,
}

/// Why a device is not registered.
#[derive(Debug, Error)]
pub enum NotRegistered {
    /// Nobody was reached.
    #[error("the site was not reached: {0}")]
    Unreached(String),
    /// Every credential was refused.
    #[error("the site refuses: {}", lines(.0))]
    Refused(Vec<(RegisteredBy, Refused)>),
    /// There is nothing to show.
    #[error("there is nothing to register by: name --certificate and --key, --oidc-token-file or --token-file")]
    NoCredential,
}

fn lines(refused: &[(RegisteredBy, Refused)]) -> String {
    let words = |by: &RegisteredBy| match by {
        RegisteredBy::Certificate => "by certificate",
        RegisteredBy::Oidc => "by the provider's token",
        RegisteredBy::BulkToken => "by the registration token",
    };
    refused.iter().map(|(by, refused)| format!("{}: {refused}", words(by))).collect::<Vec<_>>().join("\n")
}

impl Credentials {
    fn in_order(&self) -> Vec<(RegisteredBy, Option<Token>)> {
        let shown = |token: &Hidden| Some(Token { text: token.0.clone(), by_key: false });
        let certificate = self.certificate.then_some((RegisteredBy::Certificate, None));
        let oidc = self.oidc.as_ref().map(|token| (RegisteredBy::Oidc, shown(token)));
        let bulk = self.bulk.as_ref().map(|token| (RegisteredBy::BulkToken, shown(token)));
        certificate.into_iter().chain(oidc).chain(bulk).collect()
    }
}

/// Registers under `name` by one of `ways`; asks again for so long where the site cannot answer, or somebody has to approve the device.
pub(crate) async fn register(
    carrier: &Carrier,
    ways: &[Way],
    name: &str,
    credentials: &Credentials,
    patience: Duration,
) -> Result<(RegisteredBy, ClientToken), NotRegistered> {
    let body = serde_json::to_vec(&RegisterRequest { name: name.to_owned() }).unwrap_or_default();
    let until = Instant::now() + patience;
    loop {
        let mut refusals = Vec::new();
        for (by, shows) in credentials.in_order() {
            let question = Question { shows, ..Question::post(REGISTER, Some(body.clone())) };
            match given(&ask(carrier, ways, &question).await.map_err(NotRegistered::Unreached)?) {
                Ok(given) => return Ok((by, given)),
                Err(refused) => refusals.push((by, refused)),
            }
        }
        if refusals.is_empty() {
            return Err(NotRegistered::NoCredential);
        }
        // Where a service has just been set up, its addresses come a moment later.
        let may_change = refusals.iter().any(|(_, refused)| !refused.is_final());
        if !may_change || Instant::now() + AGAIN > until {
            return Err(NotRegistered::Refused(refusals));
        }
        sleep(AGAIN).await;
    }
}

/// Asks for the next token by the one that the device has.
pub(crate) async fn renew(carrier: &Carrier, ways: &[Way]) -> Result<ClientToken, String> {
    given(&ask(carrier, ways, &Question::post(TOKEN, None)).await?).map_err(|refused| refused.to_string())
}

/// Fetches the policy and puts it in force; says what is in force after that.
pub(crate) async fn fetch_policy(carrier: &Carrier, ways: &[Way], keeper: &mut Keeper) -> Result<String, String> {
    let question = Question { largest: LARGEST_ANSWER, ..Question::get(POLICY) };
    let answer = ask(carrier, ways, &question).await?;
    if !answer.status.is_success() {
        return Err(format!("the site gives no policy yet: {}", answer.status));
    }
    match keeper.take(&answer.body, clock::now()) {
        Ok(_) | Err(PolicyRefused::Older { .. }) => {}
        Err(error) => return Err(format!("the policy is refused: {error}")),
    }
    let policy = keeper.held().ok_or("there is no policy")?;
    Ok(format!("policy generation {} of site {}, with {} services", policy.generation, policy.site, policy.services.len()))
}

/// Asks by one way after the other, until somebody answers.
async fn ask(carrier: &Carrier, ways: &[Way], question: &Question) -> Result<Answer, String> {
    let mut troubles = Vec::new();
    for way in ways {
        match carrier.try_by(way, question).await {
            Ok(answer) => return Ok(answer),
            Err(error) => troubles.push(format!("{way}: {}", chain(&error))),
        }
    }
    Err(troubles.join("; "))
}

/// A file with a token in its first line, closed to others.
pub(crate) fn read_token(key: &str, file: &Path) -> Result<Hidden, cmg_core::problem::Problem> {
    let secret = cmg_process::secret_file(key, file)?;
    match secret.expose_line().map(str::trim).filter(|line| !line.is_empty()) {
        Some(line) => Ok(Hidden(line.to_owned())),
        None => Err(cmg_core::problem::Problem::new(key, "the file holds no token", "write the token into its first line")),
    }
}
