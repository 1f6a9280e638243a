//! A device on the internet that registers with a bulk registration token, as a client does: its key stays with it, and every request
//! that shows its own token carries a proof by that key (`docs/reference.md`, "Client protocol").

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::error::LabError;
use crate::lab::Lab;
use crate::proof::ProofKey;

/// How long the site may need to publish where devices register.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// A registered device.
pub struct Device {
    client: Client,
    key: ProofKey,
    /// Its id, which the site has given it.
    pub id: String,
    token: String,
}

impl Device {
    /// Registers a new device under the service's address; waits until devices can.
    pub fn register(lab: &Lab, name: &str, bulk_token: &str) -> Result<Self, LabError> {
        // A nonce counts at the instance that gave it, so a device stays at one; others keep their connection.
        let gateway = lab.gateways.first().ok_or_else(|| refused("a gateway", &"the laboratory has none"))?;
        let client = Client::new(&lab.servers.certificate_pem(), None).map_err(|error| refused("a client", &error))?;
        let client = client.at((gateway.address, gateway.port).into());
        let key = ProofKey::new()?;
        let (url, body) = (lab.service_url() + "/cmg/v1/register", json!({ "name": name }).to_string());
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = ask(&client, &key, "POST", &url, bulk_token, body.as_bytes())?;
            match answer.status {
                201 => {
                    let registered: Value = serde_json::from_slice(&answer.body).map_err(|error| refused(&url, &error))?;
                    let text = |field: &str| registered[field].as_str().map(str::to_owned).ok_or_else(|| refused(&url, &registered));
                    return Ok(Self { id: text("client_id")?, token: text("token")?, client, key });
                }
                404 | 503 if Instant::now() < until => std::thread::sleep(PAUSE),
                status => return Err(refused(&url, &format!("{status} {} {}", answer.reason, answer.text()))),
            }
        }
    }

    /// Asks for something with its own token.
    pub fn get(&self, url: &str) -> Result<Answer, LabError> {
        ask(&self.client, &self.key, "GET", url, &self.token, b"")
    }
}

/// Asks with a token and a proof; once more with the nonce where one is asked for.
fn ask(client: &Client, key: &ProofKey, method: &str, url: &str, token: &str, body: &[u8]) -> Result<Answer, LabError> {
    let send = |nonce: Option<&str>| {
        let proof = key.proof(method, url, token, nonce)?;
        let bearer = format!("Bearer {token}");
        let fields = [("Authorization", bearer.as_str()), ("DPoP", proof.as_str()), ("Content-Type", "application/json")];
        client.request(method, url, &fields, body).map_err(|error| refused(url, &error))
    };
    let answer = send(None)?;
    match answer.field("DPoP-Nonce") {
        Some(nonce) if answer.status == 401 => send(Some(nonce)),
        _ => Ok(answer),
    }
}

fn refused(asked: &str, answer: &dyn std::fmt::Display) -> LabError {
    LabError::Site { asked: asked.to_owned(), answer: answer.to_string() }
}
