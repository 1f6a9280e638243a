//! What a gateway says about itself, signed: whoever carries it to the site cannot say something else.
use cmg_api::bytes::Base64;
use cmg_api::control::{MemberStatus, STATUS_CONTEXT, Signed};
use cmg_credentials::members::signed_bytes;
use rcgen::SigningKey;

use crate::application::CodeError;
use crate::identity::Identity;

impl Identity {
    /// Signs `status` with the key of the role certificate.
    ///
    /// # Errors
    ///
    /// The key does not sign.
    pub fn sign_status(&self, status: &MemberStatus) -> Result<Signed, CodeError> {
        let payload = serde_json::to_string(status).expect("a status has text keys only");
        let signature = self.key.sign(&signed_bytes(STATUS_CONTEXT, payload.as_bytes())).map_err(|_| CodeError::Keys)?;
        Ok(Signed { payload, chain: self.chain.iter().cloned().map(Base64).collect(), signature: Base64(signature) })
    }
}
