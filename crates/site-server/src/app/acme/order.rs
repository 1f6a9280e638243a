//! The conversation with an ACME server: account, order, challenges, certificate.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cmg_api::resource::{Acme, AcmeChallengeKind};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, ExternalAccountKey, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use serde::{Deserialize, Serialize};

use super::wire::Wire;
use super::{Challenge, Failed, account_place, external_key_place};
use crate::app::change::ChangeRefused;
use crate::app::text::{hex, sha256};
use crate::site::Site;

/// How long the server may take to look, and to issue.
const PATIENCE: RetryPolicy = RetryPolicy::new().initial_delay(Duration::from_millis(500)).backoff(1.5).timeout(Duration::from_secs(180));

/// The longest token that is taken, in bytes; servers send 43.
const LONGEST_TOKEN: usize = 128;

/// An account as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptAccount {
    /// What it was made of; another is another account.
    of: String,
    credentials: AccountCredentials,
}

/// Orders a certificate. The account is made where there is none yet, or where the server has forgotten it.
pub(super) async fn begin(site: &Site, certificate: &str, acme: &Acme) -> Result<(Account, Order), Failed> {
    let identifiers: Vec<Identifier> = acme.names.iter().map(|name| Identifier::Dns(name.to_lowercase())).collect();
    if let Some(account) = known_account(site, certificate, acme).await? {
        match account.new_order(&NewOrder::new(&identifiers)).await {
            Err(Error::Api(problem)) if problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist") => {}
            order => return Ok((account, order?)),
        }
    }
    let account = new_account(site, certificate, acme).await?;
    let order = account.new_order(&NewOrder::new(&identifiers)).await?;
    Ok((account, order))
}

async fn known_account(site: &Site, certificate: &str, acme: &Acme) -> Result<Option<Account>, Failed> {
    let Some(text) = secret(site, &account_place(certificate)).await? else { return Ok(None) };
    let Ok(kept) = serde_json::from_slice::<KeptAccount>(&text) else { return Ok(None) };
    if kept.of != origin(acme) {
        return Ok(None);
    }
    let builder = Account::builder_with_http(Box::new(Wire::new(acme)?));
    Ok(Some(builder.from_credentials(kept.credentials).await?))
}

async fn new_account(site: &Site, certificate: &str, acme: &Acme) -> Result<Account, Failed> {
    let contact: Vec<String> = acme.contact.iter().map(|address| format!("mailto:{address}")).collect();
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let wanted = NewAccount { contact: &contact, terms_of_service_agreed: acme.terms_agreed, only_return_existing: false };
    let external = match &acme.external_account {
        Some(external) => {
            let key = secret(site, &external_key_place(certificate)).await?;
            let key =
                key.ok_or_else(|| Failed::Said("the key of the external account is not there: send it again as hmac_key".to_owned()))?;
            Some(ExternalAccountKey::new(external.key_id.clone(), &key))
        }
        None => None,
    };
    let builder = Account::builder_with_http(Box::new(Wire::new(acme)?));
    let (account, credentials) = builder.create(&wanted, acme.directory.clone(), external.as_ref()).await?;
    let text = serde_json::to_vec(&KeptAccount { of: origin(acme), credentials }).map_err(Error::Json)?;
    let place = account_place(certificate);
    let sealed = site.keys().vault.seal(&place, &text).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    let mut change = site.store.begin(site.now().0 as i64).await?;
    change.put_secret(&place, &sealed).await?;
    change.commit().await?;
    Ok(account)
}

/// What tells one account from another.
fn origin(acme: &Acme) -> String {
    let external = acme.external_account.as_ref().map(|external| &external.key_id);
    let text = serde_json::json!([acme.directory, acme.contact, external]).to_string();
    hex(&sha256(text.as_bytes()))
}

/// A secret out of the vault.
async fn secret(site: &Site, place: &str) -> Result<Option<Vec<u8>>, Failed> {
    let Some(stored) = site.store.secret(place).await? else { return Ok(None) };
    let opened = site.keys().vault.open(place, &stored).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    Ok(Some(opened.expose().to_vec()))
}

fn of_server(kind: AcmeChallengeKind) -> (ChallengeType, &'static str) {
    match kind {
        AcmeChallengeKind::TlsAlpn01 => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
        AcmeChallengeKind::Dns01 => (ChallengeType::Dns01, "dns-01"),
        AcmeChallengeKind::Http01 => (ChallengeType::Http01, "http-01"),
    }
}

/// What the server wants proven; nothing where it has seen enough before.
pub(super) async fn challenges(order: &mut Order, acme: &Acme) -> Result<Vec<Challenge>, Failed> {
    demand_few(order, acme)?;
    let (wanted, word) = of_server(acme.challenge);
    let mut ordered: BTreeSet<String> = acme.names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let mut challenges = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let name = strike(&mut ordered, &authorization.identifier().to_string())?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let offers = format!("{:?}", authorization.challenges.iter().map(|challenge| &challenge.r#type).collect::<Vec<_>>());
        let none = || Failed::Said(format!("the ACME server does not let {name} be proven by {word}, but by {offers}"));
        let challenge = authorization.challenge(wanted.clone()).ok_or_else(none)?;
        if !is_token(&challenge.token) {
            return Err(Failed::Said("the ACME server sends a token that is none".to_owned()));
        }
        challenges.push(Challenge {
            name: name.strip_prefix("*.").unwrap_or(&name).to_owned(),
            kind: acme.challenge,
            token: challenge.token.clone(),
            key_authorization: challenge.key_authorization().as_str().to_owned(),
            hook: acme.hook.clone(),
        });
    }
    Ok(challenges)
}

/// Every name is one request and one answer: there are no more than were ordered.
fn demand_few(order: &mut Order, acme: &Acme) -> Result<(), Failed> {
    let (asked, most) = (order.state().authorizations.len(), acme.names.len());
    let what = || Failed::Said(format!("the ACME server wants {asked} names proven, and {most} were ordered"));
    (asked <= most).then_some(()).ok_or_else(what)
}

/// Strikes a name that is to be proven from those ordered: names go to hooks and to gateways, so the server chooses none.
fn strike(ordered: &mut BTreeSet<String>, name: &str) -> Result<String, Failed> {
    let name = name.to_ascii_lowercase();
    let what = || Failed::Said(format!("the ACME server wants {name:?} proven, which was not ordered, or wants it twice"));
    if ordered.remove(&name) { Ok(name) } else { Err(what()) }
}

fn is_token(token: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !token.is_empty() && token.len() <= LONGEST_TOKEN && token.bytes().all(is_base64url)
}

/// The TXT record of a challenge.
pub(super) fn dns_value(challenge: &Challenge) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(sha256(challenge.key_authorization.as_bytes()))
}

/// Tells the server to look, and waits until it has seen everything.
pub(super) async fn ask_to_look(order: &mut Order, acme: &Acme) -> Result<(), Failed> {
    let (wanted, _) = of_server(acme.challenge);
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        if let Some(mut challenge) = authorization.challenge(wanted.clone()) {
            challenge.set_ready().await?;
        }
    }
    match order.poll_ready(&PATIENCE).await {
        Ok(OrderStatus::Ready) => Ok(()),
        Ok(_) => Err(refused(order, acme, None).await),
        // Which name it is about stands with the name only.
        Err(Error::Api(problem)) => Err(refused(order, acme, Some(problem.into())).await),
        Err(error) => Err(error.into()),
    }
}

/// Why the server refuses an order, in its own words.
async fn refused(order: &mut Order, acme: &Acme, said: Option<Error>) -> Failed {
    if let Err(failed) = demand_few(order, acme) {
        return failed;
    }
    let mut words = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let Ok(mut authorization) = authorization else { continue };
        if authorization.refresh().await.is_err() {
            continue;
        }
        let name = authorization.identifier().to_string();
        words.extend(
            authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref()).map(|error| format!("{name}: {error}")),
        );
    }
    match (words.is_empty(), said) {
        (false, _) => Failed::Said(format!("the ACME server was not convinced: {}", words.join("; "))),
        (true, Some(said)) => said.into(),
        (true, None) => Failed::Said("the ACME server refuses the order and does not say why".to_owned()),
    }
}

/// The certificate with its issuers and its key, PEM.
pub(super) async fn finish(order: &mut Order) -> Result<(String, String), Failed> {
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    Ok((chain, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_proven_only_if_it_was_ordered_and_once() {
        let mut ordered: BTreeSet<String> = ["*.example.com", "example.com"].map(str::to_owned).into();

        assert_eq!(strike(&mut ordered, "Example.com").unwrap(), "example.com");
        for other in ["example.com", "--option", "\u{fc}.example.com", "other.example.com", ""] {
            assert!(strike(&mut ordered, other).is_err(), "{other}");
        }
        assert_eq!(strike(&mut ordered, "*.example.com").unwrap(), "*.example.com");
    }
}
