//! Client trusts: what must hold of one before it is stored, whether or not an endpoint names it yet.

use cmg_api::resource::ClientTrust;
use cmg_core::problem::Problem;

use super::crls::uploaded_problems;
use super::fetching::Fetcher;
use super::model::Model;
use super::publish::{Ground, everything};
use super::resources::{Accepted, Nothing, Written};

/// The most addresses of lists.
const MOST_URLS: usize = 100;

impl Written for ClientTrust {
    type Body = Self;
    type Read = Self;
    type Beside = Nothing;

    fn read(body: Self) -> Result<Self, Vec<Problem>> {
        let problems = problems(&body);
        if problems.is_empty() { Ok(body) } else { Err(problems) }
    }

    fn named(read: &Self) -> &str {
        &read.name
    }

    fn accept(read: Self, _present: Option<&Self>, _model: &Model) -> Result<Accepted<Self>, Vec<Problem>> {
        Ok(Accepted::plain(read))
    }
}

fn problems(trust: &ClientTrust) -> Vec<Problem> {
    let mut problems = Vec::new();
    if trust.authorities.is_empty() && !trust.site_clients {
        problems.push(Problem::new("authorities", "no authority is named", "write at least one root certificate, or set site_clients"));
    }
    if trust.crl_urls.len() > MOST_URLS {
        problems.push(Problem::new("crl_urls", "there are too many", format!("write at most {MOST_URLS}")));
    }
    for (place, url) in trust.crl_urls.iter().enumerate() {
        let key = format!("crl_urls[{place}]");
        if trust.crl_urls[..place].contains(url) {
            problems.push(Problem::new(key, "it stands twice", "write each address once"));
        } else if let Err(refused) = Fetcher::judge_url(url, false) {
            problems.push(Problem::new(key, refused.to_string(), "write an http or https address such as http://pki.example/ca.crl"));
        }
    }
    let own = ClientTrust { crls: Vec::new(), ..trust.clone() };
    let prefix = format!("trust.{}.", trust.name);
    // The name itself is judged with the whole.
    let of_field = |problem: Problem| Some(Problem { key: problem.key.strip_prefix(&prefix)?.to_owned(), ..problem });
    match everything::trust(&own, &Ground::default()) {
        Err(found) => problems.extend(found.into_iter().filter_map(of_field)),
        Ok(parts) if !trust.authorities.is_empty() => {
            let found = parts.trusts.first().and_then(|trust| cmg_credentials::ClientTrust::new(trust).err()).unwrap_or_default();
            problems.extend(found.into_iter().filter_map(of_field));
            if problems.is_empty() {
                problems.extend(uploaded_problems(trust, now()));
            }
        }
        Ok(_) => {}
    }
    problems
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}
