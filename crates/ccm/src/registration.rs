//! Registration: a client brings a certificate that it has signed itself, and gets its id.

use crate::signature::ClientKey;
use crate::xml::{attribute, escaped, find, of_hex, parse};
use crate::{Fault, utf16};

/// A registration whose signature is verified: the sender holds the key of the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationRequest {
    /// The id that it had before; empty for a new client. Only a wish.
    pub known_id: String,
    /// The certificate that it signs with, DER.
    pub signing_certificate: Vec<u8>,
    /// The certificate that secrets are encrypted for, DER.
    pub encryption_certificate: Vec<u8>,
    /// The name of the device, for people.
    pub name: String,
    /// The version of the client.
    pub version: String,
}

impl RegistrationRequest {
    /// Reads the body of a message to `MP_ClientRegistration`, and verifies its signature by the certificate in it.
    pub fn read(body: &str) -> Result<Self, Fault> {
        let document = parse(body)?;
        let data = find(document.root(), "Data").ok_or(Fault::Missing("Data"))?;
        let signature = find(document.root(), "SignatureValue").and_then(|node| node.text()).ok_or(Fault::Missing("SignatureValue"))?;
        let certificate = |name: &'static str| {
            let node = find(data, name).ok_or(Fault::Missing(name))?;
            node.text().and_then(|text| of_hex(text.trim())).ok_or(Fault::Malformed(name))
        };
        let signing_certificate = certificate("Signing")?;
        let key = ClientKey::of_certificate(&signing_certificate)?;
        // Signed is the text itself, with its white space.
        key.verify(&utf16::encode(&body[data.range()]), signature, "SignatureValue")?;
        let agent = find(data, "AgentInformation");
        let own = |name: &str| attribute(data, name).unwrap_or_default().to_owned();
        let properties = data.descendants().filter(|node| node.tag_name().name().eq_ignore_ascii_case("Property"));
        let netbios = properties.filter(|node| attribute(*node, "Name").is_some_and(|name| name.eq_ignore_ascii_case("Netbios Name")));
        Ok(Self {
            known_id: own("SMSID"),
            encryption_certificate: certificate("Encryption")?,
            name: netbios.filter_map(|node| attribute(node, "Value")).next().unwrap_or_default().to_owned(),
            version: agent.and_then(|agent| attribute(agent, "AgentVersion")).unwrap_or_default().to_owned(),
            signing_certificate,
        })
    }
}

/// How a registration went, with the protocol's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationStatus {
    /// The client is registered.
    Done = 0,
    /// It waits for an administrator.
    Pending = 1,
    /// It is to ask again.
    Retry = 2,
    /// It is refused.
    Rejected = 3,
}

/// The answer to a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationReply {
    /// How it went.
    pub status: RegistrationStatus,
    /// The client's id, a GUID without the word before it.
    pub client_id: String,
    /// Whether the client is approved.
    pub approved: bool,
    /// When, as the protocol writes it: `2026-01-02T03:04:05Z`.
    pub at: String,
}

impl RegistrationReply {
    /// The body of the answer.
    pub fn text(&self) -> String {
        format!(
            "<ClientRegistrationResponse ResponseType=\"Registration\" TimeStamp=\"{}\" Status=\"{}\" SMSID=\"GUID:{}\" ApprovalStatus=\"{}\"/>",
            escaped(&self.at),
            self.status as u8,
            escaped(&self.client_id.to_ascii_uppercase()),
            // 1: approved by hand or by rule; 0: not approved.
            u8::from(self.approved),
        )
    }
}
