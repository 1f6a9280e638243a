//! Whether somebody is who it should be: a management point or service that is asked for the policy, and a captive portal.

use std::time::Duration;

use bytes::Bytes;
use cmg_api::control::Signed;
use cmg_api::device::POLICY;
use cmg_core::choice::Trouble;
use cmg_core::roaming::Target;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::carrier::{Answer, Carrier, Outcome, Question, Way, judged};
use crate::policy::LARGEST_ANSWER;

/// What a probe has found.
pub(crate) struct Found {
    /// Whether it has proven itself.
    pub(crate) outcome: Result<(), Trouble>,
    /// The policy, where it is another one.
    pub(crate) policy: Option<Bytes>,
    /// What there is to say about it.
    pub(crate) words: String,
}

impl Found {
    fn no(trouble: Trouble, words: impl Into<String>) -> Self {
        Self { outcome: Err(trouble), policy: None, words: words.into() }
    }

    fn yes(words: &str, policy: Option<Bytes>) -> Self {
        Self { outcome: Ok(()), policy, words: words.to_owned() }
    }
}

/// Asks `target` to prove itself, for so long at most. `tag` names the policy that is held.
pub(crate) async fn probe(carrier: &Carrier, target: &Target, tag: Option<String>, within: Duration) -> Found {
    let way = match target {
        Target::ManagementPoint(point) => Way::Intranet(point.as_str().to_owned()),
        Target::Service(service) => Way::Service(service.as_str().to_owned()),
        Target::Portal(service) => return portal(carrier, service.as_str(), within).await,
    };
    let question = Question { if_none_match: tag, largest: LARGEST_ANSWER, patience: within, ..Question::get(POLICY) };
    let answered = carrier.try_by(&way, &question).await;
    match (&answered, judged(&answered)) {
        (_, Outcome::Failed(trouble, words)) => Found::no(trouble, words),
        (Ok(answer), Outcome::Answered) => answered_by(answer),
        (Err(error), Outcome::Answered) => Found::no(Trouble::Broken, error.to_string()),
    }
}

/// What an answer proves. Whoever answers has shown the certificate that it should; what is left is whether it is the site that answers
/// behind it, and not a page in its place.
fn answered_by(answer: &Answer) -> Found {
    let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match answer.status {
        StatusCode::NOT_MODIFIED => Found::yes("it has the policy that is in force", None),
        StatusCode::OK if serde_json::from_slice::<Signed>(&answer.body).is_ok() => {
            Found::yes("it has a policy", Some(answer.body.clone()))
        }
        StatusCode::OK => Found::no(Trouble::Portal, "it answers with something else than a policy"),
        // It knows the site well enough to refuse in its name. Credentials are another matter, and told elsewhere.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
            Found::yes(&format!("it answers {}", answer.status), None)
        }
        status if kind.contains("html") => Found::no(Trouble::Portal, format!("it answers {status} with a page")),
        status => Found::no(Trouble::Broken, format!("it answers {status}")),
    }
}

/// Over plain `http` a service says nothing, or that it is to be asked by `https`. Whoever says more is in between.
async fn portal(carrier: &Carrier, service: &str, within: Duration) -> Found {
    match carrier.knock(service, within).await {
        None => Found::no(Trouble::Refused, "nobody answers over plain http"),
        Some((status, location)) if status.is_redirection() && location.as_deref().is_some_and(|to| carrier.is_of(service, to)) => {
            Found::no(Trouble::Refused, "plain http leads to the service itself")
        }
        Some((status, _)) => Found::no(Trouble::Portal, format!("somebody answers {status} over plain http")),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::HeaderValue;

    use super::*;

    fn outcome(status: u16, kind: &'static str, body: &'static str) -> Result<(), Trouble> {
        let headers: HeaderMap = [(CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
        answered_by(&Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::from_static(body.as_bytes()) }).outcome
    }

    #[test]
    fn a_page_in_the_place_of_the_policy_is_a_portal() {
        assert_eq!(outcome(200, "text/html", "<html>Welcome"), Err(Trouble::Portal));
        assert_eq!(outcome(200, "application/json", "{}"), Err(Trouble::Portal));
        assert_eq!(outcome(404, "text/html; charset=utf-8", ""), Err(Trouble::Portal));
    }

    #[test]
    fn the_site_answers_with_a_policy_or_refuses_in_its_name() {
        let signed = r#"{"payload":"{}","chain":[],"signature":""}"#;
        for (status, body) in [(200, signed), (304, ""), (401, "{}"), (403, "{}")] {
            assert_eq!(outcome(status, "application/json", body), Ok(()), "{status}");
        }
        assert_eq!(outcome(404, "application/problem+json", "{}"), Err(Trouble::Broken));
    }
}
