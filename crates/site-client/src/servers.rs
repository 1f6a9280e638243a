//! Where the site servers are: the addresses of the enrolment, and those that the site tells since.
//!
//! A wrong address in a configuration must strand nobody. So those of before are asked too until one of the new ones has answered, and
//! those of the enrolment always, last.
use serde::{Deserialize, Serialize};

/// Addresses of before that are kept, at most.
const MOST_BEFORE: usize = 32;

/// The addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Servers {
    /// Those of the enrolment.
    servers: Vec<String>,
    /// Those that the site has told last.
    #[serde(default)]
    told: Vec<String>,
    /// Those that were told before, until one that was told last has answered.
    #[serde(default)]
    before: Vec<String>,
}

impl Servers {
    /// Those of an enrolment.
    pub(crate) fn of_code(servers: &[String]) -> Self {
        Self { servers: servers.to_vec(), ..Self::default() }
    }

    /// All, in the order in which they are asked.
    pub(crate) fn all(&self) -> Vec<String> {
        let mut all = Vec::new();
        for server in self.told.iter().chain(&self.before).chain(&self.servers) {
            if !all.contains(server) {
                all.push(server.clone());
            }
        }
        all
    }

    /// What they are once the site has told `told`; `answered` is the one that answered last.
    pub(crate) fn after(&self, told: &[String], answered: Option<&str>) -> Self {
        let mut next = self.clone();
        if answered.is_some_and(|answered| self.told.iter().any(|server| server == answered)) {
            next.before.clear();
        }
        if !told.is_empty() && told != self.told {
            let before = std::mem::replace(&mut next.told, told.to_vec());
            next.before.splice(0..0, before);
            next.before.retain(|server| !told.contains(server));
            next.before.truncate(MOST_BEFORE);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_the_site_tells_is_asked_first_and_the_enrolments_last() {
        let enrolled = Servers::of_code(&names(&["a", "b"]));

        assert_eq!(enrolled.all(), names(&["a", "b"]));
        assert_eq!(enrolled.after(&names(&["c", "a"]), Some("b")).all(), names(&["c", "a", "b"]));
    }

    #[test]
    fn addresses_of_before_are_kept_until_a_new_one_has_answered() {
        let servers = Servers::of_code(&names(&["a"])).after(&names(&["b"]), Some("a"));

        let wrong = servers.after(&names(&["typo"]), Some("b"));
        assert_eq!(wrong.all(), names(&["typo", "b", "a"]));
        assert_eq!(wrong.after(&names(&["typo"]), Some("b")).all(), names(&["typo", "b", "a"]), "it has not answered");
        assert_eq!(wrong.after(&names(&["c"]), Some("b")).all(), names(&["c", "typo", "b", "a"]));
        assert_eq!(wrong.after(&names(&["typo"]), Some("typo")).all(), names(&["typo", "a"]));
    }

    #[test]
    fn a_site_that_tells_none_changes_nothing() {
        let servers = Servers::of_code(&names(&["a"])).after(&names(&["b"]), None);

        assert_eq!(servers.after(&[], None), servers);
    }
}
