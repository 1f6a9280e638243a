//! The properties of an installation that people know from ccmsetup, with the names and forms that they have there.

use std::path::PathBuf;

use crate::origin::Base;

/// Properties that mean something elsewhere, and nothing to this client: the policy and the site say it all.
const PASSED_OVER: [&str; 7] = ["SMSMP", "AADTENANTID", "AADTENANTNAME", "AADCLIENTAPPID", "AADRESOURCEURI", "/USEPKICERT", "/NOCRLCHECK"];

/// What properties say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    /// `CCMHOSTNAME` or `/mp:`: where a management point is reached.
    pub(crate) url: Option<String>,
    /// `SMSSiteCode`; none for `AUTO`.
    pub(crate) site: Option<String>,
    /// `/regtoken:TOKEN`.
    pub(crate) token: Option<Hidden>,
    /// `/regtoken:@FILE`.
    pub(crate) token_file: Option<PathBuf>,
    /// `CCMALWAYSINF=1`.
    pub(crate) always_internet: bool,
    /// What the administrator should know.
    pub(crate) remarks: Vec<String>,
    /// What cannot be used.
    pub(crate) problems: Vec<String>,
}

/// A token that is not written into logs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hidden(pub(crate) String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("[token]")
    }
}

impl Properties {
    /// Reads them in order; a later one counts before an earlier one.
    pub(crate) fn read(words: &[String]) -> Self {
        let mut properties = Self::default();
        words.iter().for_each(|word| properties.take(word));
        properties
    }

    fn take(&mut self, word: &str) {
        let (name, value) = match word.strip_prefix('/') {
            Some(rest) => rest.split_once(':').map_or((word.to_owned(), ""), |(name, value)| (format!("/{name}"), value)),
            None => word.split_once('=').map_or((word.to_owned(), ""), |(name, value)| (name.to_owned(), value)),
        };
        match name.to_ascii_uppercase().as_str() {
            "CCMHOSTNAME" => self.address(word, &format!("https://{value}")),
            "/MP" if value.starts_with("https://") => self.address(word, value),
            "/MP" => self.problems.push(format!("{word}: write the whole address, /mp:https://...")),
            "SMSSITECODE" if value.eq_ignore_ascii_case("AUTO") => self.site = None,
            "SMSSITECODE" if value.len() == 3 && value.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                self.site = Some(value.to_ascii_uppercase());
            }
            "SMSSITECODE" => self.problems.push(format!("{word}: a site code has three letters or digits")),
            "/REGTOKEN" if value.is_empty() => self.problems.push(format!("{word}: write /regtoken:@FILE")),
            "/REGTOKEN" => self.registration_token(value),
            "CCMALWAYSINF" if matches!(value, "0" | "1") => self.always_internet = value == "1",
            "CCMALWAYSINF" => self.problems.push(format!("{word}: write 1 or 0")),
            "CCMHTTPSSTATE" if value.parse::<u32>().is_ok() => {}
            "CCMHTTPSSTATE" => {
                self.problems.push(format!("{word}: write a number, such as 31; this client speaks https alone in any case"));
            }
            known if PASSED_OVER.contains(&known) => self.remarks.push(format!("{name} means nothing to this client and is passed over")),
            _ => self.problems.push(format!("{name} is no property that this client knows")),
        }
    }

    /// What follows the host leads to ConfigMgr's own addresses; this client's are beside them.
    fn address(&mut self, word: &str, url: &str) {
        match Base::parse(url) {
            Some(mut base) => {
                if let Some(at) = base.path.to_ascii_uppercase().find("/CCM_PROXY_") {
                    base.path.truncate(at);
                }
                self.url = Some(base.to_string());
            }
            None => self.problems.push(format!("{word}: it names no host")),
        }
    }

    fn registration_token(&mut self, value: &str) {
        match value.strip_prefix('@') {
            Some(file) => self.token_file = Some(file.into()),
            None => {
                self.token = Some(Hidden(value.to_owned()));
                let remark = "others on this device may have read the token on the command line; write /regtoken:@FILE the next time";
                self.remarks.push(remark.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Properties {
        Properties::read(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_properties_that_people_know_are_read_in_any_spelling() {
        let read = read(&[
            "ccmhostname=CMG.example.com/CCM_Proxy_MutualAuth/72057594037927941",
            "SMSSiteCode=p01",
            "CCMALWAYSINF=1",
            "CCMHTTPSSTATE=31",
        ]);

        assert_eq!((read.url.as_deref(), read.site.as_deref(), read.always_internet), (Some("https://cmg.example.com"), Some("P01"), true));
        assert!(read.problems.is_empty() && read.remarks.is_empty(), "{read:?}");
    }

    #[test]
    fn a_management_point_is_a_whole_address() {
        assert_eq!(read(&["/mp:https://mp1.corp.example:8446"]).url.as_deref(), Some("https://mp1.corp.example:8446"));
        assert_eq!(read(&["/MP:mp1"]).problems.len(), 1);
    }

    #[test]
    fn a_token_on_the_command_line_is_remarked_and_one_in_a_file_is_not() {
        let on_the_line = read(&["/regtoken:abc"]);
        assert_eq!((on_the_line.token.is_some(), on_the_line.remarks.len()), (true, 1));
        assert!(!format!("{on_the_line:?}").contains("abc"));

        let in_a_file = read(&["/regtoken:@/root/token"]);
        assert_eq!((in_a_file.token_file, in_a_file.remarks.len()), (Some("/root/token".into()), 0));
    }

    #[test]
    fn what_is_not_known_is_named() {
        let read = read(&["SMSMP=https://mp", "FSP=fsp1", "/forceinstall", "SMSSITECODE=TOOLONG", "CCMALWAYSINF=yes"]);

        assert_eq!(read.remarks.len(), 1);
        assert_eq!(read.problems.len(), 4, "{:?}", read.problems);
        assert!(read.problems[0].starts_with("FSP ") && read.problems[1].starts_with("/forceinstall "), "{:?}", read.problems);
    }
}
