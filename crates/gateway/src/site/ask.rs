//! Questions to connection points, as `cmg_api::control` has them.
use std::time::Duration;

use cmg_api::bytes::Sha256;
use cmg_api::control::{Enrolled, GatewayNews, GenerationId, LARGEST_MESSAGE, RenewRequest, Signed};
use cmg_core::ids::ConnectionPointId;
use cmg_tunnel::gateway::Hub;
use cmg_tunnel::{Answer, AskError, Question};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// How long a connection point that has no news is asked to hold the question, in seconds.
const HOLD: u64 = 20;

/// Longest time for a question and its answer, beyond the time that it is held.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// Longest time for a part, which may be large.
const PART_TIME: Duration = Duration::from_secs(300);

/// Longest time for a renewal: the connection point asks the site.
const RENEWAL_TIME: Duration = Duration::from_secs(60);

/// Why a connection point has not answered as it should.
#[derive(Debug, Error)]
pub(super) enum NoAnswer {
    #[error(transparent)]
    Asking(#[from] AskError),
    #[error("the connection point answered {0}")]
    Status(u16),
    #[error("the connection point answered with what is no such answer")]
    Malformed,
}

/// One connection point, to be asked.
#[derive(Clone, Copy)]
pub(super) struct Asked<'h> {
    pub(super) hub: &'h Hub,
    pub(super) connection_point: &'h ConnectionPointId,
}

impl Asked<'_> {
    /// Anything newer than `after`? Held until there is.
    pub(super) async fn news(&self, after: GenerationId) -> Result<GatewayNews, NoAnswer> {
        let target = format!("/news?after={after}&wait={HOLD}");
        let within = Duration::from_secs(HOLD) + ANSWER_TIME;
        json(&self.put("GET", &target, b"", LARGEST_MESSAGE, within).await?)
    }

    /// The bytes of a part, which has `size` of them.
    pub(super) async fn part(&self, digest: &Sha256, size: u64) -> Result<Vec<u8>, NoAnswer> {
        let limit = usize::try_from(size).unwrap_or(usize::MAX);
        Ok(self.put("GET", &format!("/part/{digest}"), b"", limit, PART_TIME).await?.body)
    }

    /// Tells the site how this gateway is.
    pub(super) async fn report(&self, status: &Signed) -> Result<(), NoAnswer> {
        self.put("POST", "/status", &written(status), LARGEST_MESSAGE, ANSWER_TIME).await.map(drop)
    }

    /// Asks the site for a new certificate.
    pub(super) async fn renew(&self, request: &RenewRequest) -> Result<Enrolled, NoAnswer> {
        json(&self.put("POST", "/renew", &written(request), LARGEST_MESSAGE, RENEWAL_TIME).await?)
    }

    async fn put(&self, method: &str, target: &str, body: &[u8], limit: usize, within: Duration) -> Result<Answer, NoAnswer> {
        let answer = self.hub.ask(self.connection_point, Question { method, target, body, limit, within }).await?;
        if matches!(answer.status, 200 | 204) { Ok(answer) } else { Err(NoAnswer::Status(answer.status)) }
    }
}

fn written(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("messages have text keys only")
}

fn json<T: DeserializeOwned>(answer: &Answer) -> Result<T, NoAnswer> {
    serde_json::from_slice(&answer.body).map_err(|_| NoAnswer::Malformed)
}
