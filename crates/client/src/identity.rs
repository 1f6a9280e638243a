//! Who the device is to the site: what it was given when it registered, and what it registered by.

use std::path::PathBuf;

use cmg_api::bytes::Sha256;
use cmg_api::clients::{ClientProblem, ClientToken};
use serde::{Deserialize, Serialize};

use crate::carrier::{Answer, FirstContact, Token};
use crate::clock;
use crate::disk::{Disk, DiskError};

/// Its file in the client's folder.
const FILE: &str = "identity.json";

/// What the device registered by; this is also the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegisteredBy {
    /// A client certificate of the organisation's own PKI.
    Certificate,
    /// A token of an OpenID Connect provider, of the device or of a user.
    Oidc,
    /// A bulk registration token.
    BulkToken,
}

/// The files of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFiles {
    /// PEM: the certificate, then its issuers.
    pub certificate: PathBuf,
    /// PEM: its key.
    pub key: PathBuf,
}

/// The identity.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    /// The name that the device gave itself.
    pub name: String,
    /// What it registered by.
    pub registered_by: RegisteredBy,
    /// The site code that the installation named.
    #[serde(default)]
    pub site: Option<String>,
    /// How the site is reached while there is no policy.
    pub first_contact: FirstContact,
    /// The SHA-256 of the site's root that the first policy has to be signed under; none: whoever was reached first is believed.
    #[serde(default)]
    pub site_root: Option<Sha256>,
    /// The device's certificate, where it has one.
    #[serde(default)]
    pub certificate: Option<CertificateFiles>,
    /// What the site gave.
    pub given: ClientToken,
    /// When, in seconds since 1970 by the device's clock.
    pub given_at: u64,
}

impl Identity {
    /// The identity on disk; none: the device is not registered.
    pub fn load(disk: &Disk) -> Result<Option<Self>, DiskError> {
        disk.read_json(FILE)
    }

    /// Puts it onto the disk.
    pub fn save(&self, disk: &Disk) -> Result<(), DiskError> {
        disk.write_json(FILE, self)
    }

    /// The same with what the site has given since.
    #[must_use]
    pub fn with(&self, given: ClientToken) -> Self {
        Self { given, given_at: clock::now().0, ..self.clone() }
    }

    /// The token as it is shown.
    pub fn token(&self) -> Token {
        Token { text: self.given.token.clone(), by_key: self.given.token_type == "DPoP" }
    }
}

/// Reads what a management point answers to a registration or renewal; else says why not, and what to do.
pub fn given(answer: &Answer) -> Result<ClientToken, Refused> {
    if answer.status.is_success() {
        return serde_json::from_slice(&answer.body).map_err(|error| Refused {
            word: "unreadable".to_owned(),
            detail: format!("the answer is none of a management point of the site: {error}"),
            status: answer.status.as_u16(),
        });
    }
    let status = answer.status.as_u16();
    match serde_json::from_slice::<ClientProblem>(&answer.body) {
        Ok(problem) => {
            let word = problem.kind.rsplit('/').next().unwrap_or_default().to_owned();
            Err(Refused { word, detail: problem.detail, status })
        }
        Err(_) => Err(Refused { word: format!("status-{status}"), detail: format!("it answers {}", answer.status), status }),
    }
}

/// Why a management point gives no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail} ({word}){}", self.advice().map(|advice| format!("; {advice}")).unwrap_or_default())]
pub struct Refused {
    /// The word of the problem (`docs/reference.md`, "Client protocol").
    pub word: String,
    /// What is wrong.
    pub detail: String,
    /// The status.
    pub status: u16,
}

impl Refused {
    /// Whether asking again changes nothing.
    pub fn is_final(&self) -> bool {
        matches!(self.status, 400..=403 | 422) && self.word != "client-waits" && self.word != "not-published"
    }

    /// What whoever looks after the device can do.
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self.word.as_str() {
            "token-expired" => "run `cmg client repair` with a new token",
            "unknown-token" | "wrong-key" | "not-registered" | "token-blocked" | "token-used-up" => {
                "get another token, and run `cmg client repair --token-file FILE`"
            }
            "client-waits" => "an administrator approves it with `cmg device approve`; the client asks again by itself",
            "client-blocked" => "an administrator has blocked this device",
            "wrong-network" => "the token is not for this network",
            "proof" | "proof_time" => "set the device's clock",
            "status-401" | "status-403" => {
                "the credential does not count there; run `cmg client repair`, with a new token if that is refused"
            }
            "status-404" => {
                "the address is none where devices register: check it, and that the management point allows traffic of gateways"
            }
            _ => return None,
        })
    }
}
