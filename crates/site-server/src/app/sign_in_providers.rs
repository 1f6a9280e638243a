//! Sign-in providers: what must hold of one, and its client secret in the vault.

use std::net::IpAddr;

use cmg_api::resource::{SignInProvider, SignInProviderUpload};
use cmg_authority::Secret;
use cmg_core::problem::Problem;
use cmg_store::Change;
use reqwest::Url;

use super::fetching::Fetcher;
use super::model::Model;
use super::oidc::identity;
use super::own_roots;
use super::resources::{Accepted, Nothing, Written};
use super::roles::Needs;
use super::text::{hex, sha256};

/// The shortest client secret, in bytes: a part of its digest is shown, which must not help to guess it.
const SHORTEST_SECRET: usize = 16;

/// The longest client secret and client id, in bytes.
const LONGEST: usize = 1024;

/// Most scopes.
const MOST_SCOPES: usize = 20;

impl Written for SignInProvider {
    type Body = SignInProviderUpload;
    type Read = SignInProviderUpload;
    type Beside = Nothing;

    const NEEDS: Needs = Needs::Full;

    fn read(mut body: SignInProviderUpload) -> Result<SignInProviderUpload, Vec<Problem>> {
        body.client_secret = body.client_secret.map(|secret| secret.trim_end_matches(['\r', '\n']).to_owned());
        let problems = problems(&body);
        if problems.is_empty() { Ok(body) } else { Err(problems) }
    }

    fn named(read: &SignInProviderUpload) -> &str {
        &read.name
    }

    fn accept(read: SignInProviderUpload, present: Option<&Self>, _model: &Model) -> Result<Accepted<Self>, Vec<Problem>> {
        let (client_secret_id, secret) = match read.client_secret {
            Some(secret) => (secret_id(&read.name, &secret), Some(Secret::new(secret.into_bytes()))),
            None if read.client_secret_id.is_empty() => (String::new(), None),
            None if present.is_some_and(|present| present.client_secret_id == read.client_secret_id) => (read.client_secret_id, None),
            None => {
                let what = "the site has no client secret of this id";
                return Err(vec![Problem::new("client_secret_id", what, "send client_secret, or leave both out for a public client")]);
            }
        };
        let resource = Self {
            name: read.name,
            description: read.description,
            issuer: read.issuer,
            client_id: read.client_id,
            client_secret_id,
            scopes: read.scopes,
            site_url: read.site_url,
            enabled: read.enabled,
            allow_private_addresses: read.allow_private_addresses,
            authorities: read.authorities,
        };
        Ok(Accepted { secret, ..Accepted::plain(resource) })
    }

    fn secret_of(name: &str) -> Option<String> {
        Some(format!("sign-in-provider/{name}/client-secret"))
    }
}

/// Ends the sessions of the accounts that are tied to a provider which is believed no more: disabled, removed, or of another issuer.
///
/// Their API tokens stay: programs run by them, and they are revoked one by one.
pub(crate) async fn end_sessions(change: &mut Change, before: &Model, after: &Model) -> Result<(), cmg_store::Error> {
    let is_believed = |provider: &SignInProvider| {
        let now = after.sign_in_providers.get(&provider.name).filter(|now| now.enabled);
        now.is_some_and(|now| now.issuer == provider.issuer)
    };
    let ended: Vec<_> = before.sign_in_providers.values().filter(|provider| provider.enabled && !is_believed(provider)).cloned().collect();
    if ended.is_empty() {
        return Ok(());
    }
    let accounts = change.accounts().await?;
    for account in accounts {
        let Some(stored) = account.fields.oidc_subject else { continue };
        if ended.iter().any(|provider| identity::is_of(&stored, provider)) {
            change.end_sessions_of(&account.name).await?;
        }
    }
    Ok(())
}

/// The same for the same secret, so that sending it again changes nothing.
fn secret_id(name: &str, secret: &str) -> String {
    hex(&sha256(&[name.as_bytes(), b"\0", secret.as_bytes()].concat())[..8])
}

fn problems(provider: &SignInProviderUpload) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut problem = |key: &str, what: &str, instead: &str| problems.push(Problem::new(key, what, instead));
    if let Err(refused) = Fetcher::judge_url(&provider.issuer, true) {
        problem("issuer", &refused.to_string(), "write the provider's address as its tokens say it, such as https://login.example.com");
    } else if provider.issuer.contains([' ', '?', '#']) {
        problem("issuer", "an issuer has neither blanks nor a query", "write it as the provider's tokens say it");
    }
    let is_text = |text: &str| (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if !is_text(&provider.client_id) {
        problem("client_id", "it is empty, too long, or not printable", "write the id that the provider has given the site");
    }
    if let Some(secret) = &provider.client_secret
        && (secret.len() < SHORTEST_SECRET || !is_text(secret))
    {
        problem("client_secret", "it is too short, too long, or not printable", "have the provider make one of 16 to 1024 characters");
    }
    let is_scope = |scope: &String| (1..=64).contains(&scope.len()) && scope.bytes().all(|byte| byte.is_ascii_graphic());
    if !provider.scopes.iter().all(is_scope) || provider.scopes.len() > MOST_SCOPES {
        problem("scopes", "there are too many, or one has characters that do not belong there", "write such as [\"openid\"]");
    } else if !provider.scopes.iter().any(|scope| scope == "openid") {
        problem("scopes", "openid is missing, and without it nobody is told who signed in", "add it");
    }
    if !is_site_url(&provider.site_url) {
        let what = "it is no address of the site server's API";
        problem("site_url", what, "write https://HOST:PORT without a path; http:// only with a loopback address such as 127.0.0.1");
    }
    problems.extend(own_roots::problems("authorities", &provider.authorities));
    problems
}

/// `https` and a host, or plain on loopback, where the API is before it has a certificate; and nothing else.
fn is_site_url(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let is_loopback =
        url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok()).is_some_and(|ip| ip.is_loopback());
    let is_plain_origin = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && !text.ends_with('/');
    let has_nobody = url.username().is_empty() && url.password().is_none();
    is_plain_origin && has_nobody && (url.scheme() == "https" || (url.scheme() == "http" && is_loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_reached_over_tls_or_on_loopback() {
        for good in ["https://site.corp.example:8444", "https://site.corp.example", "http://127.0.0.1:8444", "http://[::1]:8444"] {
            assert!(is_site_url(good), "{good}");
        }
        for wrong in
            ["http://site.corp.example", "http://localhost:1", "https://a/", "https://a/b", "https://a?x", "https://u@a", "ftp://a", ""]
        {
            assert!(!is_site_url(wrong), "{wrong}");
        }
    }
}
