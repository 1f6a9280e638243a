//! What a token is bound to: its claim `cnf`.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cmg_core::identity::Confirmation;
use cmg_core::refusal::Refusal;

use crate::object::Object;

/// Reads `cnf`. One that says something else than what is proven here is refused: its issuer has counted on it.
pub(super) fn read(payload: &Object) -> Result<Confirmation, Refusal> {
    let Some(cnf) = payload.members.get("cnf") else { return Ok(Confirmation::default()) };
    let members = cnf.as_object().filter(|members| !members.is_empty()).ok_or(Refusal::TokenConfirmation)?;
    let mut confirmation = Confirmation::default();
    for (name, value) in members {
        let text = value.as_str().ok_or(Refusal::TokenConfirmation)?;
        let digest = digest(text).ok_or(Refusal::TokenConfirmation)?;
        match name.as_str() {
            // One digest has one text, so that texts can be compared.
            "jkt" => confirmation.key = Some(text.to_owned()),
            "x5t#S256" => confirmation.certificate = Some(digest),
            _ => return Err(Refusal::TokenConfirmation),
        }
    }
    Ok(confirmation)
}

fn digest(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn of(payload: &Value) -> Result<Confirmation, Refusal> {
        read(&Object::parse(payload.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn a_token_is_bound_to_a_key_to_a_certificate_to_both_or_to_nothing() {
        let key = Some(ZEROS.to_owned());
        let certificate = Some([0; 32]);

        assert_eq!(of(&json!({})), Ok(Confirmation::default()));
        assert_eq!(of(&json!({ "cnf": { "jkt": ZEROS } })), Ok(Confirmation { key: key.clone(), certificate: None }));
        assert_eq!(of(&json!({ "cnf": { "x5t#S256": ZEROS } })), Ok(Confirmation { key: None, certificate }));
        assert_eq!(of(&json!({ "cnf": { "jkt": ZEROS, "x5t#S256": ZEROS } })), Ok(Confirmation { key, certificate }));
    }

    #[test]
    fn a_binding_that_nobody_here_can_prove_is_refused() {
        let spare_bits = format!("{}B", &ZEROS[1..]);
        for cnf in [
            json!({}),
            json!(null),
            json!(ZEROS),
            json!({ "kid": "key" }),
            json!({ "jkt": ZEROS, "kid": "key" }),
            json!({ "jwk": { "kty": "EC" } }),
            json!({ "jkt": "AAAA" }),
            json!({ "jkt": format!("{ZEROS}=") }),
            json!({ "jkt": spare_bits }),
            json!({ "x5t#S256": 1 }),
        ] {
            assert_eq!(of(&json!({ "cnf": cnf })), Err(Refusal::TokenConfirmation), "{cnf}");
        }
    }
}
