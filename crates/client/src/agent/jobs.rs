//! What the agent asks the site: each job asks once, and says what came of it.

use std::time::Duration;

use bytes::Bytes;
use cmg_api::clients::{ClientToken, TOKEN};
use cmg_api::control::GenerationId;
use cmg_api::device::{Kept, MESSAGES, Messages, NOTIFICATIONS, Notifications, POLICY};
use cmg_core::roaming::{ProbeId, Target};
use http::StatusCode;

use crate::carrier::{Answer, Carrier, Question};
use crate::identity::{self, Refused};
use crate::policy::LARGEST_ANSWER;
use crate::probe::{Found, probe};

/// How much later than promised an answer to a held question may come.
const LATE: Duration = Duration::from_secs(30);

/// What came of a job.
pub(crate) enum Done {
    /// Of a probe.
    Probed(ProbeId, Target, Found),
    /// Of the question for the policy: what came; nothing, where it is the one in force.
    Policy(Result<Option<Bytes>, Vain>),
    /// Of the question for the next token.
    Renewed(Result<ClientToken, Vain>),
    /// Of messages.
    Sent(Result<Kept, Vain>),
    /// Of the question for notifications, which was asked by this way; nothing: there were none.
    Notified(Result<Option<Notifications>, Vain>),
}

/// Why a job was in vain.
pub(crate) enum Vain {
    /// The site was not reached, or cannot answer at the moment; when it wants to be asked again, where it says so.
    Unreached(String, Option<Duration>),
    /// It refuses.
    Refused(Refused),
}

pub(crate) async fn probed(carrier: Carrier, id: ProbeId, target: Target, tag: Option<String>, within: Duration) -> Done {
    let found = probe(&carrier, &target, tag, within).await;
    Done::Probed(id, target, found)
}

pub(crate) async fn policy(carrier: Carrier, tag: Option<String>) -> Done {
    let question = Question { if_none_match: tag, largest: LARGEST_ANSWER, ..Question::get(POLICY) };
    Done::Policy(match ask(&carrier, &question).await {
        Ok(answer) if answer.status == StatusCode::NOT_MODIFIED => Ok(None),
        Ok(answer) => Ok(Some(answer.body)),
        Err(vain) => Err(vain),
    })
}

pub(crate) async fn renewed(carrier: Carrier) -> Done {
    let answered = carrier.ask(&Question::post(TOKEN, None)).await.map_err(|error| Vain::Unreached(error.to_string(), None));
    Done::Renewed(answered.and_then(|answer| {
        let retry_after = answer.retry_after();
        identity::given(&answer).map_err(|refused| match refused.status {
            500.. => Vain::Unreached(refused.to_string(), retry_after),
            _ => Vain::Refused(refused),
        })
    }))
}

pub(crate) async fn sent(carrier: Carrier, messages: Messages) -> Done {
    let body = serde_json::to_vec(&messages).unwrap_or_default();
    Done::Sent(ask(&carrier, &Question::post(MESSAGES, Some(body))).await.and_then(|answer| read(&answer)))
}

/// Asks for notifications; the question is held for `wait`.
pub(crate) async fn notified(carrier: Carrier, after: u64, policy: GenerationId, wait: Duration) -> Done {
    let path = format!("{NOTIFICATIONS}?after={after}&policy={policy}&wait={}", wait.as_secs());
    let question = Question { patience: wait + LATE, ..Question::get(path) };
    Done::Notified(match ask(&carrier, &question).await {
        Ok(answer) if answer.status == StatusCode::NO_CONTENT => Ok(None),
        Ok(answer) => read(&answer).map(Some),
        Err(vain) => Err(vain),
    })
}

async fn ask(carrier: &Carrier, question: &Question) -> Result<Answer, Vain> {
    let answer = carrier.ask(question).await.map_err(|error| Vain::Unreached(cmg_process::log::chain(&error), None))?;
    match answer.status.as_u16() {
        200..=299 | 304 => Ok(answer),
        429 | 500.. => Err(Vain::Unreached(format!("it answers {}", answer.status), answer.retry_after())),
        _ => match identity::given(&answer) {
            Err(refused) => Err(Vain::Refused(refused)),
            Ok(_) => Err(Vain::Unreached(format!("it answers {}", answer.status), None)),
        },
    }
}

fn read<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, Vain> {
    serde_json::from_slice(&answer.body).map_err(|error| Vain::Unreached(format!("its answer cannot be read: {error}"), None))
}
