//! What happens to a fleet, and what is expected of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::FleetArgs;
use super::crowd::Crowd;
use super::laboratory::Laboratory;
use super::plan::Tally;
use crate::Result;

/// How long gateways are away in an outage.
const AWAY: Duration = Duration::from_secs(20);
/// How long after a death nobody has noticed yet.
const NOTICE: Duration = Duration::from_secs(2);
/// The counter of answers that say that the management point, or the site behind it, was not there.
const UNAVAILABLE: &str = "cmg_management_point_requests_unavailable_total ";

/// Clients choose; then the first service dies.
pub(super) async fn shares(args: &FleetArgs, laboratory: &mut Laboratory, crowd: &Crowd) -> Result<Value> {
    let first = everybody_works(args, crowd).await?;
    let before = crowd.tally();
    laboratory.kill_gateway(0).await?;
    let died = Instant::now();
    let dead = laboratory.services().swap_remove(0).name;
    let left = |tally: &Tally| tally.shares.get(&dead).copied().unwrap_or_default() == 0;
    let patience = Duration::from_secs(args.patience);
    let all_left = crowd.until(patience, left).await;
    crowd.until(patience, |tally| left(tally) && works(tally, crowd)).await.ok_or("not all clients of the dead service work elsewhere")?;
    let elsewhere = died.elapsed();
    let after = crowd.tally();
    let fair = crowd.clients as f64 / (args.gateways.max(2) - 1) as f64;
    let most = after.shares.values().max().copied().unwrap_or_default();
    Ok(json!({
        "everybody_works_after_s": first.as_secs_f64(),
        "shares": before.shares,
        "standard_deviations_from_even": deviations(&before.shares, crowd.clients),
        "dead": dead,
        "dead_service_left_after_s": all_left.map(|time| time.as_secs_f64()),
        "everybody_works_elsewhere_after_s": elsewhere.as_secs_f64(),
        "shares_after": after.shares,
        "most_over_fair_share": most as f64 / fair,
    }))
}

/// How far each share is from an even one, in standard deviations of chance.
fn deviations(shares: &BTreeMap<String, i64>, clients: usize) -> BTreeMap<String, f64> {
    let even = 1.0 / shares.len().max(1) as f64;
    let deviation = (clients as f64 * even * (1.0 - even)).sqrt().max(1.0);
    shares.iter().map(|(name, share)| (name.clone(), (*share as f64 - clients as f64 * even) / deviation)).collect()
}

/// Every gateway dies, and comes back.
pub(super) async fn outage(args: &FleetArgs, laboratory: &mut Laboratory, crowd: &Crowd) -> Result<Value> {
    let first = everybody_works(args, crowd).await?;
    let unavailable = laboratory.of_management_point(UNAVAILABLE).await?;
    for place in 0..args.gateways {
        laboratory.kill_gateway(place).await?;
    }
    sleep(AWAY).await;
    let working_in_the_outage = crowd.tally().working;
    laboratory.start_gateways().await?;
    let back = Instant::now();
    let patience = Duration::from_secs(args.patience);
    let half = crowd.until(patience, |tally| tally.working * 2 >= crowd.clients as i64).await;
    crowd.until(patience, |tally| works(tally, crowd)).await.ok_or("not all clients have come back")?;
    Ok(json!({
        "everybody_works_after_s": first.as_secs_f64(),
        "working_in_the_outage": working_in_the_outage,
        "half_work_again_after_s": half.map(|time| time.as_secs_f64()),
        "everybody_works_again_after_s": back.elapsed().as_secs_f64(),
        "answers_5xx_of_the_management_point": laboratory.of_management_point(UNAVAILABLE).await? - unavailable,
    }))
}

/// Clients roam and lose their networks for a while.
pub(super) async fn life(args: &FleetArgs, crowd: &Crowd) -> Result<Value> {
    // At no moment does everybody work: some are without a network.
    let patience = args.arrive() + Duration::from_secs(args.patience);
    let registered = crowd.until(patience, |tally| tally.registered >= crowd.clients as u64).await;
    let first = registered.ok_or("not all clients are registered")?;
    sleep(Duration::from_secs(args.seconds)).await;
    let tally = crowd.tally();
    Ok(json!({
        "everybody_is_registered_after_s": first.as_secs_f64(),
        "networks_lost": tally.counted("network lost"),
        "networks_changed": tally.counted("network roamed"),
    }))
}

/// How often a second something is answered.
pub(super) async fn rate(args: &FleetArgs, laboratory: &Laboratory, crowd: &Crowd, what: &str) -> Result<Value> {
    // What the first clients meet is the start of everything.
    sleep(NOTICE).await;
    let (before, began) = (crowd.tally().counted(what), Instant::now());
    let mut best = 0;
    let mut last = before;
    for _ in 0..args.seconds {
        sleep(Duration::from_secs(1)).await;
        let counted = crowd.tally().counted(what);
        best = best.max(counted - last);
        last = counted;
        if counted > 0 && what.starts_with("register") && counted >= crowd.clients as u64 {
            break;
        }
    }
    Ok(json!({
        "answered": last - before,
        "a_second": (last - before) as f64 / began.elapsed().as_secs_f64(),
        "in_the_best_second": best,
        "answers_5xx_of_the_management_point": laboratory.of_management_point(UNAVAILABLE).await?,
    }))
}

fn works(tally: &Tally, crowd: &Crowd) -> bool {
    tally.working >= crowd.clients as i64
}

/// Waits until everybody works; how long that took.
async fn everybody_works(args: &FleetArgs, crowd: &Crowd) -> Result<Duration> {
    let patience = args.arrive() + Duration::from_secs(args.patience);
    match crowd.until(patience, |tally| works(tally, crowd)).await {
        Some(took) => Ok(took),
        None => Err(format!("only {} of {} clients work", crowd.tally().working, crowd.clients).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_share_deviates_by_nothing() {
        let shares = [("a", 2_500), ("b", 2_630)].map(|(name, share)| (name.to_owned(), share)).into();

        let told = deviations(&shares, 5_000);

        assert_eq!(told["a"], 0.0);
        assert!((3.6..3.8).contains(&told["b"]), "{}", told["b"]);
    }
}
