//! Where in the model a key of a document comes from, so that a problem is told by the name of the resource that has it.

use cmg_core::problem::Problem;

/// Which resource each list item of a document was made from.
#[derive(Default)]
pub(super) struct Origins {
    /// For each `[[endpoint]]`, its resource: `endpoints/mp1` or `site-systems/mp1`.
    pub(super) endpoints: Vec<String>,
    /// For each `[[token_key]]`, its resource.
    pub(super) token_keys: Vec<String>,
    /// For each `[[certificate]]`, its resource.
    pub(super) certificates: Vec<String>,
}

impl Origins {
    /// The problem with the resource's name in place of the document's key.
    pub(super) fn told(&self, problem: Problem) -> Problem {
        let key = self.key(&problem.key).unwrap_or_else(|| problem.key.clone());
        Problem { key, ..problem }
    }

    fn key(&self, key: &str) -> Option<String> {
        if let Some(rest) = key.strip_prefix("trust.") {
            return Some(format!("trusts/{rest}"));
        }
        for (list, resources) in [("endpoint[", &self.endpoints), ("token_key[", &self.token_keys), ("certificate[", &self.certificates)] {
            if let Some((place, rest)) = key.strip_prefix(list).and_then(|rest| rest.split_once(']')) {
                let resource = resources.get(place.parse::<usize>().ok()?)?;
                return Some(format!("{resource}{}", without_id(rest)));
            }
        }
        None
    }
}

/// Problems of an endpoint repeat its id in brackets behind its place: `endpoint[0] (mp1).host`.
fn without_id(rest: &str) -> &str {
    match rest.strip_prefix(" (").and_then(|rest| rest.split_once(')')) {
        Some((_, field)) => field,
        None => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_by_the_name_of_its_resource() {
        let origins = Origins { endpoints: vec!["endpoints/a".to_owned(), "site-systems/mp1".to_owned()], ..Origins::default() };

        for (key, told) in [
            ("endpoint[1] (mp1-ccm_sts).host", "site-systems/mp1.host"),
            ("endpoint[0].servers[2]", "endpoints/a.servers[2]"),
            ("trust.devices.crls[0]", "trusts/devices.crls[0]"),
            ("endpoint[7].host", "endpoint[7].host"),
            ("limits.burst", "limits.burst"),
        ] {
            assert_eq!(origins.told(Problem::new(key, "", "")).key, told);
        }
    }
}
