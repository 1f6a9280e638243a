//! What the clients of a fleet have experienced, as a table to read and as JSON to keep.

use serde_json::{Value, json};

use super::plan::{Tally, Times};

/// The figures of a tally.
pub(super) fn figures(tally: &Tally) -> Value {
    let times: serde_json::Map<_, _> = tally.times.iter().map(|(what, times)| (what.clone(), of_times(times))).collect();
    json!({
        "clients": tally.started,
        "registered": tally.registered,
        "working": tally.working,
        "holding_a_notification_channel": tally.held,
        "clients_of_service": tally.shares,
        "times_ms": times,
        "counts": tally.counts,
    })
}

fn of_times(times: &Times) -> Value {
    let at = |share| times.within(share);
    json!({ "count": times.count(), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": at(1.0) })
}

/// The same for people.
pub(super) fn table(tally: &Tally) -> String {
    let mut text = String::new();
    let mut line = |what: &str, figures: String| text += &format!("{what:<28}{figures}\n");
    line("clients", format!("{} started, {} registered, {} working", tally.started, tally.registered, tally.working));
    line("held notification channels", tally.held.to_string());
    for (service, share) in &tally.shares {
        line(&format!("clients of {service}"), share.to_string());
    }
    for (what, times) in &tally.times {
        let at = |share| times.within(share).unwrap_or_default();
        let figures = format!("p50 {} ms, p95 {} ms, p99 {} ms, max {} ms ({})", at(0.5), at(0.95), at(0.99), at(1.0), times.count());
        line(what, figures);
    }
    for (what, count) in &tally.counts {
        line(what, count.to_string());
    }
    text
}
