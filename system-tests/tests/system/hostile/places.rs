//! A gateway that asks for what is not published: refused from the connection point's own copy, and no server hears of it.

use super::claims::{Asked, MUTUAL, ask, refused};
use super::half::FalseGateway;

const CONNECTOR_NOT_PUBLISHED: u16 = 46;
const CONNECTOR_REFUSED: u16 = 47;

#[test]
fn what_is_not_published_here_is_refused_whatever_the_gateway_lets_pass() {
    let liar = FalseGateway::start(|setup| setup.inside("app", "body_limit = \"1KiB\"\nupgrade = false"));
    let prefix = MUTUAL;
    let good = Asked { target: prefix.to_owned(), ..Asked::with_certificate(&liar) };
    let at = |target: &str| Asked { target: target.to_owned(), ..good.clone() };
    let cases = [
        (Asked { endpoint: "nothing".to_owned(), ..good.clone() }, CONNECTOR_NOT_PUBLISHED),
        (at("/"), CONNECTOR_NOT_PUBLISHED),
        (at("/CCM_Proxy_MutualAuth/72057594037927938/app/x"), CONNECTOR_NOT_PUBLISHED),
        (at(&format!("{prefix}lication")), CONNECTOR_NOT_PUBLISHED),
        (at(&format!("{prefix}/../../x")), CONNECTOR_REFUSED),
        (at(&format!("{prefix}/%2e%2e/x")), CONNECTOR_REFUSED),
        (at(&format!("{prefix}/a%2fb")), CONNECTOR_REFUSED),
        (at(&format!("{prefix}/a%5cb")), CONNECTOR_REFUSED),
        (at(&format!("{prefix}/a\\b")), CONNECTOR_REFUSED),
        (at(&format!("{prefix}/%00")), CONNECTOR_REFUSED),
        (at("*"), CONNECTOR_REFUSED),
        (at(&format!("https://localhost{prefix}/x")), CONNECTOR_REFUSED),
        (Asked { method: "TRACE".to_owned(), ..good.clone() }, CONNECTOR_REFUSED),
        (Asked { method: "get".to_owned(), ..good.clone() }, CONNECTOR_REFUSED),
        (Asked { length: Some(1025), ..good.clone() }, CONNECTOR_REFUSED),
        (Asked { upgrade: true, ..good.clone() }, CONNECTOR_REFUSED),
    ];

    for (asked, code) in &cases {
        assert_eq!(refused(&liar, asked), Some(*code), "{asked:?}");
    }

    assert_eq!(liar.setup.origin.requests(), 0);
    assert_eq!(ask(&liar, &good), 200, "what is published is served");
    assert_eq!(liar.setup.origin.requests(), 1);
}
