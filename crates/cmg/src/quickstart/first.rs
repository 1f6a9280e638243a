//! The first requests of a client: one with a certificate and one with a token through the ConfigMgr form, and one
//! with a certificate through the plain form, for each published server; and one of a device that has just registered with the bulk
//! token.

use std::time::Duration;

use cmg_lab::lab::Endpoint;
use cmg_lab::{Answer, Client, Device, Lab, System};
use cmg_process::log::chain;

/// A first request and what became of it.
pub(super) struct FirstRequest {
    /// How the client proved who it is.
    pub(super) credential: &'static str,
    pub(super) url: String,
    /// Whether the server is our own origin, which says 200 to all.
    own_origin: bool,
    /// The answer, or why there is none.
    pub(super) result: Result<Answer, String>,
}

impl FirstRequest {
    /// Whether the published server answered: any status of its own will do for somebody's server, but a refusal of
    /// the gateway or the connection point will not.
    pub(super) fn worked(&self) -> bool {
        let Ok(answer) = &self.result else { return false };
        let refused = REFUSALS.iter().any(|phrase| answer.reason.starts_with(phrase));
        !refused && (answer.status == 200 || !self.own_origin)
    }

    /// From the first packet to the end of the answer.
    pub(super) fn took(&self) -> Duration {
        self.result.as_ref().map_or(Duration::ZERO, |answer| answer.connect + answer.handshake + answer.exchange)
    }
}

/// Sends every first request in turn and reports each.
pub(super) async fn send(system: &System, own_origin: bool, mut report: impl FnMut(&FirstRequest)) -> Vec<FirstRequest> {
    let lab = &system.lab;
    let mut requests = Vec::new();
    for endpoint in &lab.endpoints {
        for (credential, url) in wanted(lab, endpoint) {
            let result = exchange(lab, credential, url.clone()).await;
            let request = FirstRequest { credential, url, own_origin, result };
            report(&request);
            requests.push(request);
        }
    }
    if let (Some(endpoint), Some(managed)) = (lab.endpoints.iter().find(|endpoint| !endpoint.published.open), &system.managed) {
        let url = lab.server_url(endpoint) + "/";
        let result = tokio::task::block_in_place(|| registered(lab, &managed.bulk_token, &url));
        let request = FirstRequest { credential: REGISTERED, url, own_origin, result };
        report(&request);
        requests.push(request);
    }
    requests
}

/// Registers a device with the bulk token, and asks for something with the token that it was given.
fn registered(lab: &Lab, bulk_token: &str, url: &str) -> Result<Answer, String> {
    let device = Device::register(lab, "quickstart-device", bulk_token).map_err(|error| chain(&error))?;
    device.get(url).map_err(|error| chain(&error))
}

/// How the reason phrases of our own refusals begin, at the gateway and at the connection point.
const REFUSALS: [&str; 2] = ["CMGService_", "CMGConnector_"];
const CERTIFICATE: &str = "certificate";
const TOKEN: &str = "token";
const REGISTERED: &str = "registered";
const NONE: &str = "none (open)";

/// Credential and URL of each request to an endpoint.
fn wanted(lab: &Lab, endpoint: &Endpoint) -> Vec<(&'static str, String)> {
    let (mutual, server) = (lab.mutual_url(endpoint) + "/", lab.server_url(endpoint) + "/");
    let root = endpoint.root_url() + "/";
    if endpoint.published.open {
        return vec![(NONE, mutual), (NONE, root)];
    }
    vec![(CERTIFICATE, mutual), (TOKEN, server), (CERTIFICATE, root)]
}

async fn exchange(lab: &Lab, credential: &str, url: String) -> Result<Answer, String> {
    let certificate = (credential == CERTIFICATE).then_some(&lab.client);
    let client = Client::new(&lab.servers.certificate_pem(), certificate).map_err(|error| error.to_string())?;
    let authorization = (credential == TOKEN).then(|| format!("Bearer {}", lab.token));

    let sent = tokio::task::spawn_blocking(move || match &authorization {
        Some(value) => client.get(&url, &[("Authorization", value)]),
        None => client.get(&url, &[]),
    });
    sent.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_answer_of_somebodys_server_will_do() {
        assert!(request(404, "Not Found", false).worked());
    }

    #[test]
    fn our_own_origin_must_say_200() {
        assert!(!request(404, "Not Found", true).worked());
    }

    #[test]
    fn a_refusal_of_our_own_is_a_failure() {
        for reason in ["CMGService_No_Connection_Point", "CMGConnector_Bad_Gateway"] {
            assert!(!request(502, reason, false).worked(), "{reason}");
        }
    }

    #[test]
    fn no_answer_is_a_failure() {
        let unanswered = FirstRequest { result: Err("connection refused".to_owned()), ..request(200, "OK", false) };

        assert!(!unanswered.worked());
    }

    fn request(status: u16, reason: &str, own_origin: bool) -> FirstRequest {
        let answer = Answer {
            status,
            reason: reason.to_owned(),
            fields: Vec::new(),
            body: Vec::new(),
            connect: Duration::ZERO,
            handshake: Duration::ZERO,
            exchange: Duration::ZERO,
        };
        FirstRequest { credential: CERTIFICATE, url: String::new(), own_origin, result: Ok(answer) }
    }
}
