//! Who somebody is at a provider, as an account is tied to it.

use cmg_api::resource::SignInProvider;
use cmg_core::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::model::Model;

/// The longest subject, as OpenID Connect has it.
const LONGEST: usize = 255;

/// What an administrator writes: a sign-in provider, and what its ID tokens call somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcTie {
    /// The name of the sign-in provider.
    pub(crate) provider: String,
    /// `sub` of its ID tokens: never an e-mail address or a name, which others may be given later.
    pub(crate) subject: String,
    /// The issuer that knows the subject. Default the one that the provider has: whoever is named without an issuer is tied to that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<String>,
}

impl OidcTie {
    /// Whether it means this identity, which an account is tied to already. Where the provider is gone, there is no other to mean.
    pub(crate) fn means(&self, stored: &str, model: &Model) -> bool {
        let Some(Self { provider, subject, issuer }) = Identity::shown(stored) else { return false };
        let meant = self.issuer.as_deref().or_else(|| model.sign_in_providers.get(&self.provider).map(|provider| &*provider.issuer));
        self.provider == provider && self.subject == subject && meant.is_none_or(|meant| Some(meant) == issuer.as_deref())
    }
}

/// An identity, as it is stored with an account: provider, issuer and subject. A provider that names another issuer from here on says
/// nothing about those that the former one knew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity(String);

impl Identity {
    pub(crate) fn new(provider: &str, issuer: &str, subject: &str) -> Self {
        // Neither names nor issuers have blanks.
        Self(format!("{provider} {issuer} {subject}"))
    }

    /// The identity that an administrator means.
    pub(crate) fn of_tie(tie: &OidcTie, model: &Model) -> Result<Self, Problem> {
        let Some(provider) = model.sign_in_providers.get(&tie.provider) else {
            let what = format!("there is no sign-in-provider \"{}\"", tie.provider);
            return Err(Problem::new("oidc.provider", what, "name one of `cmg sign-in-provider list`"));
        };
        if !is_subject(&tie.subject) {
            let what = format!("it is empty, longer than {LONGEST} characters, or not printable ASCII");
            return Err(Problem::new("oidc.subject", what, "write `sub` as the provider's ID tokens have it"));
        }
        if let Some(issuer) = tie.issuer.as_ref().filter(|issuer| **issuer != provider.issuer) {
            let what = format!("\"{issuer}\" is not the issuer of the sign-in-provider \"{}\"", provider.name);
            return Err(Problem::new("oidc.issuer", what, format!("write \"{}\", or leave it out", provider.issuer)));
        }
        Ok(Self::new(&provider.name, &provider.issuer, &tie.subject))
    }

    /// As it is stored.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What is shown of one that was stored.
    pub(crate) fn shown(stored: &str) -> Option<OidcTie> {
        let mut parts = stored.splitn(3, ' ');
        let (provider, issuer, subject) = (parts.next()?, parts.next()?, parts.next()?);
        Some(OidcTie { provider: provider.to_owned(), subject: subject.to_owned(), issuer: Some(issuer.to_owned()) })
    }
}

/// Whether an identity that was stored is one of this provider and of the issuer that it has now.
pub(crate) fn is_of(stored: &str, provider: &SignInProvider) -> bool {
    stored.starts_with(Identity::new(&provider.name, &provider.issuer, "").as_str())
}

/// Whether a text can be a subject. Verified tokens have backslashes where a text was not printable, so none may be in it.
pub(crate) fn is_subject(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_shows_what_it_was_made_of() {
        let identity = Identity::new("corp", "https://login.example", "a b");

        let shown = Identity::shown(identity.as_str());

        let issuer = Some("https://login.example".to_owned());
        assert_eq!(shown, Some(OidcTie { provider: "corp".to_owned(), subject: "a b".to_owned(), issuer }));
        assert_ne!(identity, Identity::new("corp", "https://other.example", "a b"));
    }
}
