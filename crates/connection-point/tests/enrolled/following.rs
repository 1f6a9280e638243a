//! What the site says is in force here, and what it has not said is not.
use cmg_api::control::GenerationId;

use crate::fake_gateway::FakeGateway;
use crate::fake_site::{FakeSite, Keys};
use crate::point::Point;
use crate::until;

/// This connection point, as the site calls it.
pub(crate) const CP: &str = "connection-point/cp-1";

/// A document with these gateways.
pub(crate) fn document(gateways: &[(&str, &FakeGateway)]) -> String {
    let mut text = "connections = 1\nlanes = 0\n".to_owned();
    for (name, gateway) in gateways {
        text += &format!("[[gateway]]\nname = \"{name}\"\naddress = \"{}\"\n", gateway.address);
    }
    text
}

/// The same, told from another by its number of lanes.
fn numbered(lanes: u32) -> String {
    format!("connections = 1\nlanes = {lanes}\n")
}

async fn is_applied(site: &FakeSite, generation: GenerationId) {
    until(async || site.applied(CP) == Some(generation)).await;
}

/// Whether its log says so, which tells even what lasted no longer than a moment.
fn was_in_force(point: &Point, generation: GenerationId) -> bool {
    point.log().contains(&format!("\"generation\":\"{generation}\""))
}

#[tokio::test]
async fn gateways_come_and_go_as_the_site_says() {
    let site = FakeSite::start().await;
    let (one, two) = (FakeGateway::start(&site.keys, "gw-1").await, FakeGateway::start(&site.keys, "gw-2").await);
    site.publish(&[(CP, &document(&[("gw-1", &one)]))]);
    let point = Point::start(&site);
    one.has(1).await;
    point.is_ready_or_says("200").await;

    site.publish(&[(CP, &document(&[("gw-1", &one), ("gw-2", &two)]))]);
    two.has(1).await;
    let generation = site.publish(&[(CP, &document(&[("gw-2", &two)]))]);

    one.has(0).await;
    is_applied(&site, generation).await;
    until(async || site.look(|table| table.statuses[CP].tunnels.get("gw-2") == Some(&1) && table.statuses[CP].tunnels.len() == 1)).await;
    assert_eq!(two.hub.live().1, 1);
}

#[tokio::test]
async fn before_the_first_configuration_it_says_why_it_is_not_ready() {
    let site = FakeSite::start().await;

    let point = Point::start(&site);

    point.is_ready_or_says("no configuration has come from the site yet").await;
}

#[tokio::test]
async fn what_others_have_signed_is_not_followed() {
    let site = FakeSite::start().await;
    site.publish(&[(CP, &numbered(0))]);
    let point = Point::start(&site);
    is_applied(&site, GenerationId { epoch: 1, number: 1 }).await;

    site.publish_at(GenerationId { epoch: 1, number: 2 }, &[(CP, &numbered(1))], &Keys::new());
    point.says("the site has not signed it").await;
    let good = GenerationId { epoch: 1, number: 3 };
    site.publish_at(good, &[(CP, &numbered(2))], &site.keys);

    is_applied(&site, good).await;
    assert!(was_in_force(&point, good) && !was_in_force(&point, GenerationId { epoch: 1, number: 2 }));
}

#[tokio::test]
async fn an_older_generation_is_passed_over_and_a_later_epoch_wins() {
    let site = FakeSite::start().await;
    let in_force = GenerationId { epoch: 1, number: 5 };
    site.publish_at(in_force, &[(CP, &numbered(0))], &site.keys);
    let point = Point::start(&site);
    is_applied(&site, in_force).await;

    site.publish_at(GenerationId { epoch: 1, number: 4 }, &[(CP, &numbered(1))], &site.keys);
    let asked = site.look(|table| table.asked.len());
    until(async || site.look(|table| table.asked[asked..].iter().filter(|asked| *asked == "GET news").count() > 1)).await;
    let restored = GenerationId { epoch: 2, number: 1 };
    site.publish_at(restored, &[(CP, &numbered(2))], &site.keys);

    is_applied(&site, restored).await;
    assert!(was_in_force(&point, in_force) && !was_in_force(&point, GenerationId { epoch: 1, number: 4 }));
}

#[tokio::test]
async fn what_cannot_be_in_force_is_told_to_the_site_and_the_one_before_stays() {
    let site = FakeSite::start().await;
    let first = site.publish(&[(CP, &numbered(0))]);
    let _point = Point::start(&site);
    is_applied(&site, first).await;

    let second = site.publish(&[(CP, "connections = 99\nlanes = 0\nname = \"x\"\n")]);

    until(async || site.look(|table| table.statuses[CP].refused.as_ref().is_some_and(|refused| refused.generation == second))).await;
    let status = site.look(|table| table.statuses[CP].clone());
    let problems = status.refused.unwrap().problems;
    assert_eq!(status.applied, first);
    assert!(problems.len() == 2 && problems[0].starts_with("name:") && problems[1].starts_with("tunnel.connections:"), "{problems:?}");

    let third = site.publish(&[(CP, &numbered(1))]);
    is_applied(&site, third).await;
    until(async || site.look(|table| table.statuses[CP].refused.is_none())).await;
}

#[tokio::test]
async fn a_part_that_is_not_what_its_name_says_is_not_taken() {
    let site = FakeSite::start().await;
    site.publish(&[(CP, &numbered(0))]);
    let right = site.change(|table| std::mem::take(&mut table.parts));
    site.change(|table| table.parts = right.keys().map(|digest| (*digest, b"connections = 9\nlanes = 9\n".to_vec())).collect());

    let point = Point::start(&site);
    point.says("is damaged").await;
    assert_eq!(site.applied(CP), Some(GenerationId::default()));
    site.change(|table| table.parts = right);

    is_applied(&site, GenerationId { epoch: 1, number: 1 }).await;
}

#[tokio::test]
async fn the_file_is_read_again_and_what_belongs_to_the_site_is_refused_there() {
    let site = FakeSite::start().await;
    site.publish(&[(CP, &numbered(0))]);
    let point = Point::start(&site);
    point.is_ready_or_says("200").await;
    let text = std::fs::read_to_string(point.file()).unwrap();

    std::fs::write(point.file(), format!("name = \"cp-1\"\n{text}")).unwrap();
    // What nobody has asked to be read stands in no snapshot's way.
    let second = site.publish(&[(CP, &numbered(1))]);
    is_applied(&site, second).await;
    point.reload();
    point.says("belongs to the site").await;
    std::fs::write(point.file(), text).unwrap();
    point.reload();

    until(async || point.get("/metrics").await.contains("cmg_connection_point_reloads_total{result=\"applied\"} 1")).await;
    assert!(point.get("/metrics").await.contains("cmg_connection_point_snapshot_number 2\n"));
    assert!(cmg_connection_point::config::check(&point.file()).unwrap().is_empty());
}
