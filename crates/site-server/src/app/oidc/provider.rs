//! What the site asks a sign-in provider: its discovery document, its keys, and an ID token for an authorization code.
//!
//! Document and keys are kept for a while, so that strangers who begin sign-ins have the provider asked seldom. Each provider has turns of
//! its own, so that one that is slow holds up nobody who signs in by another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cmg_api::resource::SignInProvider;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::fetching::{Basic, Fetcher, Reach};
use crate::app::key_sets::{IssuerKey, keys};
use crate::app::own_roots;

/// The largest document, key set or answer, in bytes.
const LARGEST: usize = 1 << 20;

/// How long document and keys are kept, in seconds.
const KEPT: i64 = 600;

/// Questions to one provider at once. Providers are as many as full administrators have written.
const AT_ONCE: usize = 4;

/// What the providers have said, as far as this site server remembers it.
#[derive(Default)]
pub(crate) struct Providers {
    known: Mutex<BTreeMap<String, Arc<Known>>>,
    turns: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

/// What a provider has said.
pub(crate) struct Known {
    /// As it was when the provider was asked; of a resource that was changed nothing is known.
    resource: SignInProvider,
    pub(crate) discovery: Discovery,
    pub(crate) keys: Vec<IssuerKey>,
    at: i64,
}

/// What the site needs of a discovery document (OpenID Connect Discovery, RFC 8414).
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Discovery {
    issuer: String,
    pub(crate) authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default = "basic")]
    token_endpoint_auth_methods_supported: Vec<String>,
    /// Whether the provider says who it is where it sends the browser back (RFC 9207).
    #[serde(default, rename = "authorization_response_iss_parameter_supported")]
    pub(crate) says_issuer: bool,
}

/// What is redeemed for an ID token.
pub(crate) struct Redeemed<'r> {
    pub(crate) code: &'r str,
    pub(crate) redirect_uri: &'r str,
    pub(crate) verifier: &'r str,
    pub(crate) secret: Option<&'r str>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
}

#[derive(Deserialize)]
struct TokenError {
    error: String,
}

fn basic() -> Vec<String> {
    vec!["client_secret_basic".to_owned()]
}

impl Providers {
    /// What a provider says, which was asked lately.
    pub(crate) async fn known(&self, provider: &SignInProvider, now: i64) -> Result<Arc<Known>, String> {
        let known = self.all().get(&provider.name).cloned();
        if let Some(known) = known.filter(|known| known.resource == *provider && (known.at..known.at + KEPT).contains(&now)) {
            return Ok(known);
        }
        self.ask(provider, now).await
    }

    /// What a provider says now.
    pub(crate) async fn ask(&self, provider: &SignInProvider, now: i64) -> Result<Arc<Known>, String> {
        let _turn = self.turn(&provider.name)?;
        let (discovery, keys) = fetched(provider).await?;
        let known = Arc::new(Known { resource: provider.clone(), discovery, keys, at: now });
        self.all().insert(provider.name.clone(), Arc::clone(&known));
        Ok(known)
    }

    /// The ID token for an authorization code.
    pub(crate) async fn redeem(&self, provider: &SignInProvider, known: &Known, redeemed: &Redeemed<'_>) -> Result<String, String> {
        let _turn = self.turn(&provider.name)?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", redeemed.code),
            ("redirect_uri", redeemed.redirect_uri),
            ("code_verifier", redeemed.verifier),
        ];
        let methods = &known.discovery.token_endpoint_auth_methods_supported;
        let in_form = methods.iter().any(|method| method == "client_secret_post") && !methods.contains(&basic()[0]);
        let basic = redeemed.secret.filter(|_| !in_form).map(|secret| Basic { name: &provider.client_id, secret });
        if basic.is_none() {
            form.push(("client_id", &provider.client_id));
            form.extend(redeemed.secret.map(|secret| ("client_secret", secret)));
        }
        let url = &known.discovery.token_endpoint;
        let answer = fetcher(provider).post_form(url, &form, basic, LARGEST, reach(provider)).await.map_err(|error| error.to_string())?;
        if answer.status != 200 {
            let said = serde_json::from_slice::<TokenError>(&answer.body).map(|error| error.error).unwrap_or_default();
            return Err(format!("{url} answered {} {}", answer.status, printable(&said)));
        }
        let tokens = serde_json::from_slice::<Tokens>(&answer.body).ok().and_then(|tokens| tokens.id_token);
        tokens.ok_or_else(|| format!("{url} answered without an ID token: the scope openid may not be permitted there"))
    }

    fn turn(&self, provider: &str) -> Result<OwnedSemaphorePermit, String> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody uses is as good as new, so a provider that is gone leaves nothing behind.
        turns.retain(|_, turns| Arc::strong_count(turns) > 1);
        let own = turns.entry(provider.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE)));
        Arc::clone(own).try_acquire_owned().map_err(|_| "too many sign-ins are under way at it: try again".to_owned())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A text of a stranger as it may be told: short, and nothing but printable ASCII.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|letter| (' '..='~').contains(letter)).take(100).collect()
}

async fn fetched(provider: &SignInProvider) -> Result<(Discovery, Vec<IssuerKey>), String> {
    let (fetcher, reach) = (fetcher(provider), reach(provider));
    let url = format!("{}/.well-known/openid-configuration", provider.issuer.trim_end_matches('/'));
    let document = fetcher.https(&url, LARGEST, reach).await.map_err(|error| error.to_string())?;
    let discovery: Discovery = serde_json::from_slice(&document).map_err(|error| format!("{url} is no discovery document: {error}"))?;
    if discovery.issuer != provider.issuer {
        return Err(format!("{url} is the document of another issuer: write exactly its issuer into the sign-in provider"));
    }
    // The browser is sent there, so it is asked for no less than what the site asks.
    Fetcher::judge_url(&discovery.authorization_endpoint, true).map_err(|error| error.to_string())?;
    let set = fetcher.https(&discovery.jwks_uri, LARGEST, reach).await.map_err(|error| error.to_string())?;
    let keys = keys(&set, &provider.issuer).map_err(|what| format!("{}: {what}", discovery.jwks_uri))?;
    Ok((discovery, keys))
}

fn fetcher(provider: &SignInProvider) -> Fetcher {
    Fetcher::of_system().and(own_roots::read(&provider.authorities))
}

/// The provider says where its other addresses are, which reach no further than its own.
fn reach(provider: &SignInProvider) -> Reach {
    Reach::of(provider.allow_private_addresses, &provider.issuer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_is_slow_holds_up_nobody_at_another() {
        let providers = Providers::default();

        let turns: Vec<_> = (0..AT_ONCE).map(|_| providers.turn("slow").unwrap()).collect();

        assert!(providers.turn("slow").is_err());
        assert!(providers.turn("other").is_ok());
        assert_eq!(providers.turns.lock().unwrap().len(), 2);
        drop(turns);
        assert!(providers.turn("slow").is_ok());
        assert_eq!(providers.turns.lock().unwrap().len(), 1, "turns that nobody uses are forgotten");
    }
}
