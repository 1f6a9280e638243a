//! What stands between the provider's word and a port of somebody's machine: a question to the person at the browser.
//!
//! A code that goes to a loopback port counts for whoever began the sign-in, and on a machine that several people use that need not be
//! whoever sits at the browser: somebody else may begin one at a port of his own and lure an administrator to the provider's address, where
//! a session that is open signs in without a click. So the site says who would be signed in and where, and goes on only if that person
//! types the words that `cmg login` has shown to whoever began. They are the site's choice, so nobody can have them be like another's, and
//! the page does not show them: who was lured has nothing to type. The answer is bound to the browser by a cookie, counts once, and a
//! wrong word ends the sign-in.

use std::net::IpAddr;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::redirect::Redirect;
use super::{OF_ANSWER, OF_CODE, Proven, ReturnRefused, keep, take};
use crate::app::change::{Actor, ChangeRefused};
use crate::app::sign_in;
use crate::app::text::sha256;
use crate::site::Site;
use cmg_authority::passwords::{NewSecret, new_session};

/// How long somebody may take to type the words, in seconds.
const PATIENCE: i64 = 300;

/// Letters that no word is made of by chance and that nobody takes for another (RFC 8628, section 6.1): 20^8 words.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LENGTH: usize = 8;

/// A sign-in that waits for the person at the browser.
#[derive(Serialize, Deserialize)]
struct Asked {
    redirect: String,
    words: String,
    /// SHA-256 of the cookie.
    browser: [u8; 32],
    proven: Proven,
}

/// What the person at the browser is asked.
pub(crate) struct Question {
    /// What the answer names.
    pub(crate) ticket: NewSecret,
    /// What the browser keeps.
    pub(crate) cookie: NewSecret,
    /// Who would be signed in.
    pub(crate) account: String,
    /// The address and port that would get the code.
    pub(crate) place: String,
    /// From which address the sign-in was begun.
    pub(crate) begun_from: String,
    /// How long the answer counts, in seconds.
    pub(crate) patience: i64,
}

/// Words that a person compares and types: `WDJB-MJHT`.
pub(super) fn words() -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let (random, mut words) = (SystemRandom::new(), String::with_capacity(LENGTH + 1));
    while words.len() <= LENGTH {
        let mut byte = [0];
        random.fill(&mut byte).map_err(|_| "this machine has no random numbers")?;
        // 240 is a multiple of 20, so that no letter is likelier.
        if byte[0] >= 240 {
            continue;
        }
        if words.len() == LENGTH / 2 {
            words.push('-');
        }
        words.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
    }
    Ok(words)
}

/// Keeps what was proven until the person at the browser has answered.
pub(super) async fn ask(
    site: &Site,
    redirect: &Redirect,
    place: String,
    words: String,
    begun_from: String,
    proven: Proven,
) -> Result<Question, ReturnRefused> {
    let secret = || new_session().map_err(|error| ChangeRefused::Failed(Box::new(error)));
    let (ticket, cookie, account) = (secret()?, secret()?, proven.account.clone());
    let browser = sha256(cookie.text.as_bytes());
    let asked = Asked { redirect: redirect.as_str().to_owned(), words, browser, proven };
    keep(site, OF_ANSWER, &ticket.digest, &asked, PATIENCE).await?;
    Ok(Question { ticket, cookie, account, place, begun_from, patience: PATIENCE })
}

/// Takes in the answer of the person at the browser, and gives where that goes on to.
pub(crate) async fn answered(site: &Site, actor: &Actor, ticket: &str, cookie: Option<&str>, typed: &str) -> Result<String, ReturnRefused> {
    let asked: Asked = take(site, OF_ANSWER, ticket).await?.ok_or(ReturnRefused::State)?;
    let is_browser = cookie.is_some_and(|cookie| sha256(cookie.as_bytes()) == asked.browser);
    let refused = match (is_browser, plain(typed) == plain(&asked.words)) {
        (true, true) => None,
        (false, _) => Some(ReturnRefused::OtherBrowser),
        (true, false) => Some(ReturnRefused::Words),
    };
    if let Some(refused) = refused {
        let about = serde_json::json!({ "provider": asked.proven.provider, "why": refused.to_string() });
        sign_in::record_failure(site, actor, Some(&asked.proven.account), &about).await?;
        return Err(refused);
    }
    let redirect = Redirect::parse(&asked.redirect).ok_or(ReturnRefused::State)?;
    let code = new_session().map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    keep(site, OF_CODE, &code.digest, &asked.proven, super::CODE).await?;
    Ok(redirect.with_code(&code.text))
}

/// What counts of words that a person has typed.
fn plain(words: &str) -> String {
    words.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_uppercase()).take(LENGTH + 1).collect()
}

/// The address and port of this machine's that a redirect names; none: it is a page of the site.
pub(super) fn place(redirect: &Redirect) -> Option<String> {
    let url = reqwest::Url::parse(redirect.as_str()).ok()?;
    let host = url.host_str()?;
    host.trim_matches(['[', ']']).parse::<IpAddr>().ok()?;
    Some(format!("{host}:{}", url.port()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_typed_in_any_case_and_with_or_without_the_hyphen() {
        let words = words().unwrap();

        assert_eq!((words.len(), words.chars().nth(4)), (9, Some('-')));
        assert_eq!(plain(&words.to_lowercase().replace('-', " ")), plain(&words));
        assert_ne!(plain(&format!("{words}B")), plain(&words));
        assert_ne!(plain(""), plain(&words));
    }

    #[test]
    fn only_a_port_of_this_machine_is_asked_about() {
        let place = |text| place(&Redirect::parse(text).unwrap());

        assert_eq!(place("http://127.0.0.1:4000/x").as_deref(), Some("127.0.0.1:4000"));
        assert_eq!(place("http://[::1]:4000/x").as_deref(), Some("[::1]:4000"));
        assert_eq!(place("/console"), None);
    }
}
