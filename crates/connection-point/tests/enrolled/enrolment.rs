//! How a connection point and a gateway become members.
use std::sync::Arc;

use cmg_api::bytes::Sha256;
use cmg_authority::MemberKind;
use cmg_core::time::WallTime;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::fake_gateway::{FakeGateway, wait_for_certificate};
use crate::fake_site::{DAY, FakeSite, Keys};
use crate::following::{CP, document};
use crate::point::Point;
use crate::{now, soon, until};

#[tokio::test]
async fn a_connection_point_enrols_with_its_code_and_is_a_member_after_the_next_start_too() {
    let site = FakeSite::start().await;
    site.publish(&[(CP, &document(&[]))]);

    let mut point = Point::start(&site);
    until(async || site.applied(CP).is_some_and(|applied| applied.number == 1)).await;
    site.change(|table| table.statuses.clear());
    point.start_again();

    until(async || site.applied(CP).is_some_and(|applied| applied.number == 1)).await;
    assert_eq!(site.look(|table| table.asked.iter().filter(|asked| *asked == "POST enrol").count()), 1);
}

#[tokio::test]
async fn a_site_server_under_another_root_than_the_pinned_one_is_told_nothing() {
    let site = FakeSite::start().await;
    let mut code = site.code(MemberKind::ConnectionPoint, "cp-1");
    code.root = Sha256(Keys::new().roots.infrastructure_digest());

    let point = Point::with_code(&code);

    point.is_ready_or_says("no site server with the root in the enrolment code was reached").await;
    assert_eq!(site.look(|table| table.asked.clone()), [""; 0]);
}

#[tokio::test]
async fn a_code_that_is_refused_is_said_plainly_and_a_new_one_is_used_without_a_restart() {
    let site = FakeSite::start().await;
    let good = site.code(MemberKind::ConnectionPoint, "cp-1");
    site.publish(&[(CP, &document(&[]))]);
    let wrong = cmg_api::EnrolmentCode { code: "00".repeat(16), ..good.clone() };

    let point = Point::with_code(&wrong);
    point.is_ready_or_says("make a new one at the site").await;
    point.write_code(&good);

    until(async || site.applied(CP).is_some()).await;
}

#[tokio::test]
async fn a_site_server_that_does_not_answer_is_passed_over() {
    let site = FakeSite::start().await;
    site.publish(&[(CP, &document(&[]))]);
    let mut code = site.code(MemberKind::ConnectionPoint, "cp-1");
    code.site_servers.insert(0, "https://127.0.0.1:1".to_owned());

    let _point = Point::with_code(&code);

    until(async || site.applied(CP).is_some_and(|applied| applied.number == 1)).await;
}

#[tokio::test]
async fn a_certificate_that_is_due_is_renewed_while_sessions_stand() {
    let site = FakeSite::start().await;
    let gateway = FakeGateway::start(&site.keys, "gw-1").await;
    site.change(|table| table.issued_at = Some(WallTime(now().0 - 70 * DAY)));
    site.publish(&[(CP, &document(&[("gw-1", &gateway)]))]);

    let _point = Point::start(&site);

    until(async || site.look(|table| table.statuses.get(CP).is_some_and(|status| status.certificate_ends > now().0 + 80 * DAY))).await;
    assert_eq!(site.look(|table| table.asked.iter().filter(|asked| *asked == "POST renew").count()), 1);
    gateway.has(1).await;
    let sessions = gateway.hub.connection_points();
    site.publish(&[(CP, &document(&[("gw-1", &gateway)]).replace("connections = 1", "connections = 2"))]);
    gateway.has(2).await;
    assert_eq!(sessions.into_values().collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_gateway_enrols_through_a_connection_point() {
    let site = FakeSite::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let code = site.code(MemberKind::Gateway, "gw-1");
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data");
    let waiting = tokio::spawn(async move { wait_for_certificate(listener, code, &path).await });
    site.publish(&[(CP, &format!("connections = 1\nlanes = 0\n[[gateway]]\nname = \"gw-1\"\naddress = \"{address}\"\nenrols = true\n"))]);

    let _point = Point::start(&site);

    assert_eq!(soon(waiting).await.unwrap().member(), "gateway/gw-1");
}

#[tokio::test]
async fn a_gateway_that_is_another_than_the_site_says_is_not_enrolled() {
    let site = FakeSite::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let code = site.code(MemberKind::Gateway, "gw-2");
    let folder = Arc::new(TempDir::new().unwrap());
    let path = folder.path().join("data");
    let waiting = tokio::spawn(async move { wait_for_certificate(listener, code, &path).await });
    site.publish(&[(CP, &format!("connections = 1\nlanes = 0\n[[gateway]]\nname = \"gw-1\"\naddress = \"{address}\"\nenrols = true\n"))]);

    let point = Point::start(&site);

    point.says("correct the address, or use the right code there").await;
    assert!(!site.look(|table| table.asked.contains(&"POST gateway/enrol".to_owned())));
    waiting.abort();
}
