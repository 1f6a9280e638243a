//! What an ACME server may ask a gateway for, judged alike by the gateway and by the site that publishes it.

use cmg_api::AcmeChallenge;
use cmg_api::bytes::Sha256;

use crate::Reading;

/// How a challenge is answered.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'c> {
    /// By a certificate for this name with this digest (TLS-ALPN-01).
    Certificate {
        /// The DNS name.
        name: &'c str,
        /// Of the key authorization.
        digest: &'c Sha256,
    },
    /// By a text over HTTP (HTTP-01).
    Text {
        /// What is asked for.
        token: &'c str,
        /// What is answered.
        text: &'c str,
    },
}

/// How these are answered. What is wrong is noted in `reading` under `acme_challenge[PLACE]`, and left out.
pub fn answers<'c>(challenges: &'c [AcmeChallenge], reading: &mut Reading) -> Vec<Answer<'c>> {
    let mut answers = Vec::new();
    for (place, challenge) in challenges.iter().enumerate() {
        let key = format!("acme_challenge[{place}]");
        match challenge {
            AcmeChallenge { name, .. } if !is_dns_name(name) => reading.problem(key, format!("{name:?} is no DNS name"), "name a DNS name"),
            AcmeChallenge { name, digest: Some(digest), token: None, key_authorization: None } => {
                answers.push(Answer::Certificate { name, digest });
            }
            AcmeChallenge { digest: None, token: Some(token), key_authorization: Some(text), .. } => {
                answers.push(Answer::Text { token, text });
            }
            _ => reading.problem(key, "it mixes two ways", "write either digest, or token and key_authorization"),
        }
    }
    answers
}

fn is_dns_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    name.len() <= 253
        && name.split('.').all(|label| (1..=63).contains(&label.len()) && !label.starts_with('-') && label.bytes().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_for_a_dns_name_and_of_one_kind() {
        let of = |name: &str, digest, token: Option<&str>| {
            let text = token.map(str::to_owned);
            let challenge = AcmeChallenge { name: name.to_owned(), digest, token: text.clone(), key_authorization: text };
            let (mut reading, _) = Reading::open::<()>(std::path::Path::new("/dev/null"));
            answers(&[challenge], &mut reading).len()
        };
        let digest = || Some(Sha256([0; 32]));

        assert_eq!([of("cmg.example", digest(), None), of("cmg.example", None, Some("a"))], [1, 1]);
        assert_eq!([of("cmg.example", digest(), Some("a")), of("cmg.example", None, None)], [0, 0]);
        for wrong in ["\u{fc}", "", "a..b", "-option", "a b", "a\n"] {
            assert_eq!(of(wrong, digest(), None), 0, "{wrong}");
        }
    }
}
