//! Configuration files: a value or problems, each with its key, and never both nothing.

use cmg_api::{ConnectionPointFile, GatewayFile};
use cmg_process::file;

pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    parse::<GatewayFile>(text);
    parse::<ConnectionPointFile>(text);
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) {
    let reading = file::parse::<T>(text);
    assert!(reading.value.is_some() || !reading.problems.is_empty(), "refused without a reason");
    for problem in &reading.problems.0 {
        assert!(!problem.what.is_empty() && !problem.instead.is_empty());
    }
}
