//! Signing in by an OpenID Connect provider: authorization code with PKCE (RFC 7636), for the command line (RFC 8252) and for pages of
//! the site.
//!
//! ```text
//!  command line            site server                    provider             browser
//!    begin: challenge A ──▶ state, nonce, verifier B
//!    ◀── provider's URL ───                                                    opens it
//!                                              signs somebody in ◀────────────────▶
//!                           callback: state, code ◀──────────────────────────────── is sent back
//!                           code, verifier B ─────────────▶ ID token
//!                           asks the person, if it goes to a port ──────────────▶ words are typed
//!    one-time code ◀─────────────────────────────────────────────────────────────── is sent on
//!    finish: code, verifier A ──▶ session
//! ```
//!
//! Two legs, each with a PKCE of its own: whoever reads the provider's code lacks verifier B, whoever reads the one-time code lacks verifier
//! A. So nothing that passes the browser is worth anything to others than whoever began. A sign-in that somebody was lured into must not
//! end at whoever began it either: a code that goes to the site's own pages does not reach him, and before one goes to a port of the
//! browser's machine, which others may use too, the person there is asked (`confirming`).
//! `state` and one-time code count once; their hashes are stored, and what belongs to them is sealed, so that any site server goes on.
//!
//! The crate `openidconnect` would do the provider's leg. It brings an HTTP stack, RSA and curves of its own beside those that are here,
//! and half of it is for what a gateway's site does not do; fetching, keys and verification are the same as for token issuers.

pub(crate) mod confirming;
mod id_token;
pub(crate) mod identity;
pub(crate) mod provider;
mod redirect;
mod refused;

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cmg_api::resource::{Resource, SignInProvider};
use cmg_authority::passwords::{NewSecret, new_session, secret_digest};
use cmg_core::problem::Problem;
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::accounts::{self, role_of};
use super::change::{Actor, ChangeRefused};
use super::model::Model;
use super::resources::Written;
use super::sessions::{self, NewSession};
use super::sign_in::{self, SignInRefused, Subject};
use super::text::sha256;
use crate::site::Site;
use confirming::Question;
use id_token::{Expected, IdTokenRefused};
use identity::Identity;
use provider::{Providers, Redeemed, printable};
use redirect::Redirect;
pub(crate) use refused::{BeginRefused, ReturnRefused};

/// Where providers send browsers back to, behind the address of the site and before the name of the provider.
///
/// Each has an address of its own: at a common one, a provider could have the code of another redeemed in a sign-in at itself (RFC 9700,
/// section 4.4).
pub(crate) const CALLBACK: &str = "/api/v1/sign-in/oidc/callback";

/// How long somebody may take at the provider, in seconds.
const AT_PROVIDER: i64 = 600;

/// How long the one-time code counts, in seconds.
const CODE: i64 = 120;

/// Sign-ins under way at once. Administrators are few, and each address begins few.
const MOST: u64 = 1_000;

/// What sealed texts belong to: one kind of secret never counts as the other.
const OF_STATE: &str = "sign-in/state";
const OF_CODE: &str = "sign-in/code";
const OF_ANSWER: &str = "sign-in/answer";

/// What whoever begins a sign-in says.
pub(crate) struct Beginning {
    /// The name of the provider.
    pub(crate) provider: String,
    /// Where the browser goes afterwards.
    pub(crate) redirect: String,
    /// SHA-256 of the verifier that whoever begins keeps to itself, in base64 for URLs.
    pub(crate) code_challenge: String,
}

/// What the provider says by the browser.
pub(crate) struct Returned {
    /// The provider whose address the browser was sent back to.
    pub(crate) provider: String,
    /// `state`.
    pub(crate) state: Option<String>,
    /// `code`.
    pub(crate) code: Option<String>,
    /// `iss` (RFC 9207).
    pub(crate) issuer: Option<String>,
    /// `error`.
    pub(crate) error: Option<String>,
}

/// A sign-in that waits for the provider.
#[derive(Serialize, Deserialize)]
struct Waiting {
    provider: String,
    redirect: String,
    code_challenge: String,
    nonce: String,
    verifier: String,
    /// What the person at the browser types before the code goes to a port; none: it goes to a page of the site.
    words: Option<String>,
    begun_from: String,
}

/// A sign-in that has begun.
pub(crate) struct Begun {
    /// The provider's address that the browser shall open.
    pub(crate) url: String,
    /// What whoever began it shows to the person at the browser.
    pub(crate) words: Option<String>,
}

/// Where a browser that the provider has sent back goes on to.
pub(crate) enum Onward {
    /// To this address.
    To(String),
    /// Nowhere before the person there has answered.
    Asked(Question),
}

/// A sign-in that waits for its session.
#[derive(Serialize, Deserialize)]
struct Proven {
    account: String,
    identity: String,
    provider: String,
    code_challenge: String,
}

/// Begins a sign-in.
pub(crate) async fn begin(site: &Site, providers: &Providers, actor: &Actor, beginning: Beginning) -> Result<Begun, BeginRefused> {
    let redirect = judged(&beginning).map_err(BeginRefused::Problems)?;
    sign_in::count(site, &[Subject::address(&actor.address)]).await?;
    let Some(provider) = enabled(site, &beginning.provider) else {
        let what = format!("there is no sign-in provider \"{}\" that is enabled", printable(&beginning.provider));
        return Err(BeginRefused::Problems(vec![Problem::new("provider", what, "ask a full administrator for its name")]));
    };
    let now = site.now().0 as i64;
    let known = providers.known(&provider, now).await.map_err(BeginRefused::Provider)?;
    let (state, nonce, verifier) = (secret()?, secret()?, secret()?);
    let words = confirming::place(&redirect).map(|_| confirming::words()).transpose().map_err(BeginRefused::Failed)?;
    let waiting = Waiting {
        provider: provider.name.clone(),
        redirect: redirect.as_str().to_owned(),
        code_challenge: beginning.code_challenge,
        nonce: nonce.text.to_string(),
        verifier: verifier.text.to_string(),
        words: words.clone(),
        begun_from: actor.address.clone(),
    };
    let sealed = sealed(site, OF_STATE, &waiting).map_err(BeginRefused::Failed)?;
    let mut change = site.store.begin(now).await?;
    change.remove_ended_sign_ins().await?;
    if change.count_sign_ins().await? >= MOST {
        return Err(BeginRefused::TooMany);
    }
    change.add_sign_in(&state.digest, &sealed, now + AT_PROVIDER).await?;
    change.commit().await?;
    let mut url = Url::parse(&known.discovery.authorization_endpoint).map_err(|error| BeginRefused::Provider(error.to_string()))?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &provider.client_id)
        .append_pair("redirect_uri", &callback(&provider))
        .append_pair("scope", &provider.scopes.join(" "))
        .append_pair("state", &state.text)
        .append_pair("nonce", &nonce.text)
        .append_pair("code_challenge", &challenge(&verifier.text))
        .append_pair("code_challenge_method", "S256");
    Ok(Begun { url: url.into(), words })
}

/// Takes in what the provider says by the browser, and gives where the browser goes on to.
pub(crate) async fn returned(site: &Site, providers: &Providers, actor: &Actor, returned: Returned) -> Result<Onward, ReturnRefused> {
    let Some(state) = &returned.state else { return Err(ReturnRefused::State) };
    let waiting: Waiting = take(site, OF_STATE, state).await?.ok_or(ReturnRefused::State)?;
    let name = waiting.provider.clone();
    match proven(site, providers, waiting, returned).await {
        Ok(onward) => Ok(onward),
        Err((refused, account)) => {
            let about = serde_json::json!({ "provider": name, "why": refused.to_string() });
            sign_in::record_failure(site, actor, account.as_deref(), &about).await?;
            Err(refused)
        }
    }
}

/// Proves who was signed in, and keeps that under a one-time code, or until the person at the browser has answered. A refusal comes with
/// the account that it is about.
async fn proven(
    site: &Site,
    providers: &Providers,
    waiting: Waiting,
    returned: Returned,
) -> Result<Onward, (ReturnRefused, Option<String>)> {
    let (provider, subject) = signed_in(site, providers, &waiting, returned).await.map_err(|refused| (refused, None))?;
    let of_store = |error: cmg_store::Error| (ReturnRefused::from(error), None);
    let identity = Identity::new(&provider.name, &provider.issuer, &subject);
    let account = site.store.account_by_subject(identity.as_str()).await.map_err(of_store)?;
    let account = account.ok_or((ReturnRefused::Unknown { provider: provider.name.clone(), subject }, None))?;
    if account.fields.disabled || role_of(&account).is_none() {
        return Err((ReturnRefused::Disabled, Some(account.name)));
    }
    let redirect = Redirect::parse(&waiting.redirect).ok_or((ReturnRefused::State, None))?;
    let proven = Proven {
        account: account.name,
        identity: identity.as_str().to_owned(),
        provider: provider.name.clone(),
        code_challenge: waiting.code_challenge,
    };
    if let Some(place) = confirming::place(&redirect) {
        let words = waiting.words.ok_or((ReturnRefused::State, None))?;
        let question = confirming::ask(site, &redirect, place, words, waiting.begun_from, proven).await;
        return question.map(Onward::Asked).map_err(|refused| (refused, None));
    }
    let code = new_session().map_err(|error| (ReturnRefused::Change(ChangeRefused::Failed(Box::new(error))), None))?;
    keep(site, OF_CODE, &code.digest, &proven, CODE).await.map_err(|refused| (refused, None))?;
    Ok(Onward::To(redirect.with_code(&code.text)))
}

/// The provider, and whom it says that it has signed in.
async fn signed_in(
    site: &Site,
    providers: &Providers,
    waiting: &Waiting,
    returned: Returned,
) -> Result<(Arc<SignInProvider>, String), ReturnRefused> {
    if returned.provider != waiting.provider {
        return Err(ReturnRefused::OtherProvider { came_by: printable(&returned.provider), begun_at: waiting.provider.clone() });
    }
    let provider = enabled(site, &waiting.provider).ok_or(ReturnRefused::Gone)?;
    let now = site.now();
    let mut known = providers.known(&provider, now.0 as i64).await.map_err(ReturnRefused::Provider)?;
    let is_from_it = match &returned.issuer {
        Some(issuer) => *issuer == provider.issuer,
        None => !known.discovery.says_issuer,
    };
    if !is_from_it {
        return Err(ReturnRefused::Issuer);
    }
    if let Some(error) = &returned.error {
        return Err(ReturnRefused::Denied(printable(error)));
    }
    let code = returned.code.as_deref().ok_or(ReturnRefused::NoCode)?;
    let secret = client_secret(site, &provider).await?;
    let redeemed = Redeemed {
        code,
        redirect_uri: &callback(&provider),
        verifier: &waiting.verifier,
        secret: secret.as_ref().and_then(|secret| std::str::from_utf8(secret.expose()).ok()),
    };
    let token = providers.redeem(&provider, &known, &redeemed).await.map_err(ReturnRefused::Provider)?;
    let expected = Expected { issuer: &provider.issuer, client_id: &provider.client_id, nonce: &waiting.nonce };
    let mut subject = id_token::subject(&token, &known.keys, &expected, now);
    if subject == Err(IdTokenRefused::UnknownKey) {
        known = providers.ask(&provider, now.0 as i64).await.map_err(ReturnRefused::Provider)?;
        subject = id_token::subject(&token, &known.keys, &expected, now);
    }
    Ok((provider, subject.map_err(|refused| ReturnRefused::IdToken(refused.to_string()))?))
}

/// Begins the session of whoever shows the one-time code and the verifier of the sign-in; gives it with the account.
pub(crate) async fn finish(site: &Site, actor: &Actor, code: &str, verifier: &str) -> Result<(NewSession, String), SignInRefused> {
    let proven: Option<Proven> = take(site, OF_CODE, code).await?;
    let Some(proven) = proven else { return Err(SignInRefused::Code) };
    let about = |why: &str| serde_json::json!({ "provider": proven.provider, "why": why });
    if challenge(verifier) != proven.code_challenge {
        sign_in::record_failure(site, actor, Some(&proven.account), &about("the verifier is wrong")).await?;
        return Err(SignInRefused::Code);
    }
    if !vouches(&site.in_force().model, &proven) {
        sign_in::record_failure(site, actor, Some(&proven.account), &about("the provider was changed or disabled meanwhile")).await?;
        return Err(SignInRefused::Code);
    }
    let account = site.store.account(&proven.account).await?;
    let is_same = |account: &cmg_store::Account| account.fields.oidc_subject.as_ref() == Some(&proven.identity) && !account.fields.disabled;
    let Some(role) = account.filter(is_same).as_ref().and_then(role_of) else {
        sign_in::record_failure(site, actor, Some(&proven.account), &about("the account was changed meanwhile")).await?;
        return Err(SignInRefused::Code);
    };
    let actor = Actor { account: proven.account.clone(), role: role.as_str().to_owned(), ..actor.clone() };
    let mut draft = site.draft(&actor).await?;
    // Account and provider may have changed before the turn came, by another site server too.
    if !draft.change.account(&proven.account).await?.as_ref().is_some_and(is_same) || !vouches(&draft.model, &proven) {
        return Err(SignInRefused::Code);
    }
    draft.change.clear_sign_in_failures(&Subject::address(&actor.address).key).await?;
    draft.change.note_sign_in(&proven.account).await?;
    let session = sessions::begin(&mut draft.change, &proven.account, draft.now).await?;
    let by = serde_json::json!({ "provider": proven.provider }).to_string();
    draft.record("sign-in", accounts::KIND, &proven.account, None, Some(by)).await?;
    draft.commit().await?;
    Ok((session, proven.account))
}

/// What is wrong with a beginning, or where its browser goes afterwards.
fn judged(beginning: &Beginning) -> Result<Redirect, Vec<Problem>> {
    let mut problems = Vec::new();
    let redirect = Redirect::parse(&beginning.redirect);
    if redirect.is_none() {
        let instead = "write http://127.0.0.1:PORT/PATH or http://[::1]:PORT/PATH, or a path of the site";
        problems.push(Problem::new("redirect", "browsers are not sent there with a code", instead));
    }
    let digest = BASE64_URL_SAFE_NO_PAD.decode(&beginning.code_challenge);
    if digest.map_or(0, |digest| digest.len()) != 32 {
        problems.push(Problem::new(
            "code_challenge",
            "it is no SHA-256 in base64 for URLs",
            "write S256 of the verifier, as RFC 7636 has it",
        ));
    }
    match redirect {
        Some(redirect) if problems.is_empty() => Ok(redirect),
        _ => Err(problems),
    }
}

fn enabled(site: &Site, name: &str) -> Option<Arc<SignInProvider>> {
    site.in_force().model.sign_in_providers.get(name).filter(|provider| provider.enabled).cloned()
}

/// Whether the provider that has proven somebody is still there, enabled, and of the same issuer.
fn vouches(model: &Model, proven: &Proven) -> bool {
    let provider = model.sign_in_providers.get(&proven.provider).filter(|provider| provider.enabled);
    provider.is_some_and(|provider| identity::is_of(&proven.identity, provider))
}

fn callback(provider: &SignInProvider) -> String {
    format!("{}{CALLBACK}/{}", provider.site_url, provider.name)
}

/// S256 of RFC 7636.
fn challenge(verifier: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()))
}

fn secret() -> Result<NewSecret, BeginRefused> {
    new_session().map_err(|error| BeginRefused::Failed(Box::new(error)))
}

async fn client_secret(site: &Site, provider: &SignInProvider) -> Result<Option<cmg_authority::Secret>, ReturnRefused> {
    let Some(place) = SignInProvider::secret_of(provider.name()).filter(|_| !provider.client_secret_id.is_empty()) else { return Ok(None) };
    let Some(sealed) = site.store.secret(&place).await? else { return Err(ReturnRefused::Gone) };
    let opened = site.keys().vault.open(&place, &sealed).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    Ok(Some(opened))
}

fn sealed(site: &Site, of: &str, what: &impl Serialize) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let text = serde_json::to_vec(what)?;
    Ok(site.keys().vault.seal(of, &text)?)
}

/// Keeps what belongs to a secret of this digest, for so many seconds.
async fn keep(site: &Site, of: &str, digest: &[u8], what: &impl Serialize, seconds: i64) -> Result<(), ReturnRefused> {
    let sealed = sealed(site, of, what).map_err(ChangeRefused::Failed)?;
    let now = site.now().0 as i64;
    let mut change = site.store.begin(now).await?;
    change.add_sign_in(digest, &sealed, now + seconds).await?;
    Ok(change.commit().await?)
}

/// Takes what belongs to a secret, which counts no more after that.
async fn take<T: DeserializeOwned>(site: &Site, of: &str, secret: &str) -> Result<Option<T>, cmg_store::Error> {
    let mut change = site.store.begin(site.now().0 as i64).await?;
    let Some(sealed) = change.take_sign_in(&secret_digest(secret)).await? else { return Ok(None) };
    change.commit().await?;
    let opened = site.keys().vault.open(of, &sealed).ok();
    Ok(opened.and_then(|text| serde_json::from_slice(text.expose()).ok()))
}
