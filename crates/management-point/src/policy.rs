//! The policy of clients: told from memory, so that many can ask at once, and nobody asks the site.
//!
//! The site has signed it, and the manifest names it by its digest; so it is passed on as it is, and clients verify it. What the
//! management point reads in it is under which addresses clients come.

use std::path::Path;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cmg_api::control::Signed;
use cmg_api::policy::Policy;
use cmg_core::boundary::Boundaries;
use cmg_core::problem::Problem;
use cmg_credentials::load::Files;

use crate::addresses::Addresses;
use crate::location::boundaries;
use crate::point::Point;
use crate::refused::Refused;

/// The policy in force.
pub(crate) struct Held {
    /// As it is sent.
    text: Bytes,
    etag: HeaderValue,
    pub(crate) policy: Policy,
    pub(crate) addresses: Addresses,
    pub(crate) boundaries: Boundaries,
}

impl Held {
    /// Reads the part `path` for the management point `me`.
    pub(crate) fn read(path: &Path, me: &str, files: &dyn Files) -> Result<Self, Problem> {
        let unreadable = |why: String| {
            let what = format!("the policy of clients cannot be read: {why}");
            Problem::new("policy", what, "run the version of the site server here")
        };
        let text = files.read("policy", path)?;
        let signed: Signed = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        let policy: Policy = serde_json::from_str(&signed.payload).map_err(|error| unreadable(error.to_string()))?;
        let etag = HeaderValue::try_from(format!("\"{}\"", policy.generation)).map_err(|error| unreadable(error.to_string()))?;
        Ok(Self::of(policy, me, text.into(), etag))
    }

    fn of(policy: Policy, me: &str, text: Bytes, etag: HeaderValue) -> Self {
        Self { text, etag, addresses: Addresses::of(&policy, me), boundaries: boundaries(&policy), policy }
    }

    /// Whether a client has it already.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut tags = known.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|tag| tag.as_bytes() == self.etag.as_bytes())
    }
}

/// Tells a device its policy.
pub(crate) async fn policy(State(point): State<Arc<Point>>, headers: HeaderMap) -> Result<Response, Refused> {
    let state = point.state();
    let held = state.as_ref().as_ref().and_then(|state| state.policy.as_ref()).ok_or_else(none_yet)?;
    let fields = [(header::ETAG, held.etag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))];
    if held.is_known(&headers) {
        return Ok((StatusCode::NOT_MODIFIED, fields).into_response());
    }
    Ok((fields, [(header::CONTENT_TYPE, "application/json")], held.text.clone()).into_response())
}

/// Nothing can be said while there is no policy.
pub(crate) fn none_yet() -> Refused {
    Refused::unavailable("no policy of clients has come from the site yet: ask again later")
}

#[cfg(test)]
pub(crate) mod tests {
    use cmg_api::control::GenerationId;
    use cmg_api::policy::{ClientSettingsPolicy, InternetService, IntranetManagementPoint, ServiceKind};

    use super::*;

    /// Held by the management point mp1.
    pub(crate) fn held(policy: Policy) -> Held {
        Held::of(policy, "mp1", Bytes::new(), HeaderValue::from_static("\"1.7\""))
    }

    pub(crate) fn a_policy() -> Policy {
        let service = |name: &str, kind, url: &str| InternetService {
            name: name.to_owned(),
            kind,
            weight: 1,
            authorities: Vec::new(),
            management_points: vec![url.to_owned()],
            servers: [].into(),
        };
        let point = |name: &str| IntranetManagementPoint { name: name.to_owned(), url: format!("https://{name}.corp.example:8446") };
        Policy {
            site_name: "lab".to_owned(),
            site: "LAB".to_owned(),
            generation: GenerationId { epoch: 1, number: 7 },
            made_at: 0,
            roots: Vec::new(),
            management_points: vec![point("mp1"), point("mp2")],
            services: vec![
                service("main", ServiceKind::Cmg, "https://cmg.example.com"),
                service("dmz", ServiceKind::Ibcm, "https://ibcm.example.com/inside/"),
            ],
            servers: Vec::new(),
            boundary_groups: Vec::new(),
            client: ClientSettingsPolicy::default(),
            agents: [].into(),
        }
    }

    #[test]
    fn a_client_that_has_it_is_known_by_its_tag() {
        let held = held(a_policy());
        let known = |value: &'static str| held.is_known(&[(header::IF_NONE_MATCH, HeaderValue::from_static(value))].into_iter().collect());

        assert!(known("\"1.7\"") && known("W/\"1.7\"") && known("\"1.6\", \"1.7\""));
        assert!(!known("\"1.70\"") && !known("1.7") && !held.is_known(&HeaderMap::new()));
    }
}
