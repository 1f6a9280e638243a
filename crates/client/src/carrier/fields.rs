//! Header fields on their way: what stays on the device, and what is named anew.

use http::HeaderMap;
use http::header::{CONTENT_LOCATION, HeaderName, HeaderValue, LOCATION};

use super::book::Route;
use crate::origin::Origin;

/// Fields that are between two neighbours only, or that say who the device is, which an agent on it does not.
const NOT_CARRIED: [&str; 8] =
    ["keep-alive", "proxy-connection", "proxy-authorization", "te", "transfer-encoding", "dpop", "cmg-authorization", "host"];

/// Leaves what is between an agent and the client alone there. A wish for another protocol stays.
pub(super) fn without_neighbours(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all("connection")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name: &HeaderName| name != "upgrade")
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in NOT_CARRIED {
        headers.remove(name);
    }
    headers.remove("connection");
    if headers.contains_key("upgrade") {
        headers.insert("connection", HeaderValue::from_static("Upgrade"));
    }
}

/// Where a response names the service's address, the agent on the device gets to see the server's own.
pub(super) fn name_inside(headers: &mut HeaderMap, route: &Route, origin: &Origin) {
    let outside = route.base.to_string();
    for name in [LOCATION, CONTENT_LOCATION] {
        let Some(text) = headers.get(&name).and_then(|value| value.to_str().ok()) else { continue };
        let below = text.strip_prefix(&outside).or_else(|| text.strip_prefix(&route.base.path).filter(|_| text.starts_with('/')));
        let Some(below) = below.filter(|below| below.is_empty() || below.starts_with(['/', '?', '#'])) else { continue };
        let inside = format!("{origin}{}{below}", route.path.trim_end_matches('/'));
        if let Ok(value) = HeaderValue::from_str(&inside) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use cmg_api::policy::RouteCredential;

    use super::*;
    use crate::origin::Base;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_is_between_neighbours_stays_there() {
        let mut carried = headers(&[
            ("connection", "X-Own, close"),
            ("x-own", "1"),
            ("proxy-authorization", "Basic x"),
            ("dpop", "forged"),
            ("accept", "a"),
            ("authorization", "Basic y"),
        ]);

        without_neighbours(&mut carried);

        assert_eq!(carried, headers(&[("accept", "a"), ("authorization", "Basic y")]));
    }

    #[test]
    fn a_wish_for_another_protocol_is_carried() {
        let mut carried = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);

        without_neighbours(&mut carried);

        assert_eq!(carried, headers(&[("connection", "Upgrade"), ("upgrade", "websocket")]));
    }

    #[test]
    fn a_location_is_named_as_the_agent_knows_it() {
        let (base, origin) = (Base::parse("https://cmg.example.com/wiki"), Origin::parse("https://wiki.corp.example:8443"));
        let route = Route { path: "/".to_owned(), base: base.unwrap(), credential: RouteCredential::Token };
        let origin = origin.unwrap();
        for (said, named) in [
            ("https://cmg.example.com/wiki/a?b", "https://wiki.corp.example:8443/a?b"),
            ("/wiki/a", "https://wiki.corp.example:8443/a"),
            ("https://cmg.example.com/wikipedia", "https://cmg.example.com/wikipedia"),
            ("https://other.example/wiki/a", "https://other.example/wiki/a"),
            ("a/b", "a/b"),
        ] {
            let mut answered = headers(&[]);
            answered.insert(LOCATION, HeaderValue::from_str(said).unwrap());

            name_inside(&mut answered, &route, &origin);

            assert_eq!(answered[LOCATION], named, "{said}");
        }
    }
}
