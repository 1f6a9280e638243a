//! `[[endpoint]]`: what is published, in both files.
use std::time::Duration;

use cmg_api::{EndpointFile, Face as FaceName, ProofDemand as ProofName};
use cmg_core::endpoint::{Endpoint, Face, Mount, ProofDemand};
use cmg_core::ids::{EndpointId, TrustName};

use crate::Reading;
use crate::trusts::token_kind;

pub(crate) fn read(files: &[EndpointFile], reading: &mut Reading) -> Vec<Endpoint> {
    files.iter().enumerate().map(|(place, file)| endpoint(place, file, reading)).collect()
}

fn endpoint(place: usize, file: &EndpointFile, reading: &mut Reading) -> Endpoint {
    let key = format!("endpoint[{place}]");
    if file.port == Some(0) {
        reading.problem(format!("{key}.port"), "0 is no port", "write 1 to 65535, or remove it for the public port");
    }
    if file.methods.is_empty() {
        reading.problem(
            format!("{key}.methods"),
            "it is empty, so nothing passes",
            "list methods such as GET, or remove it for the default",
        );
    }
    Endpoint {
        id: EndpointId::new(&file.id),
        host: file.host.clone(),
        port: file.port,
        mount: mount(&key, place, file, reading),
        face: face(file.face),
        trust: file.trust.as_deref().map(TrustName::new),
        token_kinds: file.token_kinds.iter().copied().map(token_kind).collect(),
        audiences: file.audiences.clone(),
        registration: file.registration,
        forward_token: file.forward_token,
        proof: proof(file.proof),
        methods: file.methods.clone(),
        body_limit: file.body_limit.get(),
        idle: not_zero(format!("{key}.idle"), file.idle.time(), "60s", reading),
        total: Some(file.total.time()).filter(|total| !total.is_zero()),
        upgrade: file.upgrade,
        h2: file.h2,
    }
}

/// Where it is mounted; a place that nobody else has, where the file does not say.
fn mount(key: &str, place: usize, file: &EndpointFile, reading: &mut Reading) -> Mount {
    match (&file.role_id, &file.name, &file.prefix) {
        (Some(role_id), Some(name), None) => {
            return Mount::ConfigMgr { role_id: role_id.clone(), name: name.to_ascii_lowercase() };
        }
        (None, None, Some(prefix)) if prefix.is_empty() => {
            reading.problem(format!("{key}.prefix"), "it is empty", "write \"/\" for the whole host name");
        }
        (None, None, Some(prefix)) => return Mount::Plain { prefix: without_final_slash(prefix).to_owned() },
        (None, None, None) => {
            let instead = "write role_id and name for the ConfigMgr form, or prefix for the plain form";
            reading.problem(key, "it is mounted nowhere", instead);
        }
        (Some(_), None, None) => {
            reading.problem(format!("{key}.name"), "is missing beside role_id", "write the last part of the path, such as ccm_system");
        }
        (None, Some(_), None) => {
            reading.problem(format!("{key}.role_id"), "is missing beside name", "write the site system's number in quotes");
        }
        (_, _, Some(_)) => {
            let what = "the ConfigMgr form (role_id, name) and the plain form (prefix) exclude each other";
            reading.problem(format!("{key}.prefix"), what, "remove prefix, or role_id and name");
        }
    }
    Mount::Plain { prefix: format!("/stand-in-for-endpoint-{place}") }
}

/// A prefix with doubled slashes stays as it is: it is refused as written.
fn without_final_slash(prefix: &str) -> &str {
    if prefix.contains("//") { prefix } else { prefix.strip_suffix('/').unwrap_or(prefix) }
}

fn face(name: FaceName) -> Face {
    match name {
        FaceName::Mutual => Face::Mutual,
        FaceName::Server => Face::Server,
        FaceName::Either => Face::Either,
        FaceName::Open => Face::Open,
    }
}

fn proof(name: ProofName) -> ProofDemand {
    match name {
        ProofName::IfBound => ProofDemand::IfBound,
        ProofName::Required => ProofDemand::Required,
    }
}

/// A time that ends something must leave some.
pub(crate) fn not_zero(key: String, time: Duration, such_as: &str, reading: &mut Reading) -> Duration {
    if time.is_zero() {
        reading.problem(key, "no time at all is left", format!("write a duration such as \"{such_as}\""));
    }
    time
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The endpoint with these keys, and the keys of its problems.
    fn endpoint_with(keys: &str) -> (Endpoint, Vec<String>) {
        let file = toml::from_str(&format!("id = 'a'\nhost = 'cmg.example'\nface = 'mutual'\n{keys}")).unwrap();
        let mut reading = Reading::in_folder(Path::new(""));
        let mut endpoints = read(&[file], &mut reading);
        (endpoints.remove(0), reading.keys().into_iter().map(str::to_owned).collect())
    }

    fn problems(keys: &str) -> Vec<String> {
        endpoint_with(keys).1
    }

    #[test]
    fn the_configmgr_form_has_a_lower_case_name() {
        let (endpoint, _) = endpoint_with("role_id = '72057594037927939'\nname = 'CCM_System'");

        assert_eq!(endpoint.mount, Mount::ConfigMgr { role_id: "72057594037927939".into(), name: "ccm_system".into() });
    }

    #[test]
    fn a_prefix_has_no_final_slash() {
        for (written, prefix) in [("/", ""), ("/a", "/a"), ("/a/", "/a"), ("/a/b/", "/a/b"), ("//", "//"), ("/a//", "/a//")] {
            let (endpoint, problems) = endpoint_with(&format!("prefix = '{written}'"));

            assert_eq!((endpoint.mount, problems), (Mount::Plain { prefix: prefix.into() }, vec![]), "{written}");
        }
    }

    #[test]
    fn an_endpoint_has_exactly_one_form() {
        assert_eq!(problems(""), ["endpoint[0]"]);
        assert_eq!(problems("role_id = '1'"), ["endpoint[0].name"]);
        assert_eq!(problems("name = 'x'"), ["endpoint[0].role_id"]);
        assert_eq!(problems("prefix = ''"), ["endpoint[0].prefix"]);
        for both in ["role_id = '1'\nname = 'x'", "role_id = '1'", "name = 'x'"] {
            assert_eq!(problems(&format!("{both}\nprefix = '/'")), ["endpoint[0].prefix"], "{both}");
        }
    }

    #[test]
    fn no_total_time_is_no_limit_and_no_idle_time_is_a_problem() {
        assert_eq!(endpoint_with("prefix = '/'\ntotal = '0s'").0.total, None);
        assert_eq!(endpoint_with("prefix = '/'").0.total, Some(Duration::from_secs(900)));
        assert_eq!(problems("prefix = '/'\nidle = '0s'"), ["endpoint[0].idle"]);
    }

    #[test]
    fn what_lets_nothing_pass_is_a_problem() {
        assert_eq!(problems("prefix = '/'\nport = 0\nmethods = []"), ["endpoint[0].port", "endpoint[0].methods"]);
    }
}
