//! Addresses in configuration files.
use std::net::SocketAddr;

use crate::Reading;

/// An address and port to listen at; nothing, and the problem noted, where it is none.
pub fn socket(key: &str, text: &str, such_as: &str, reading: &mut Reading) -> Option<SocketAddr> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        reading.problem(key, format!("\"{text}\" is no address with a port"), format!("write ADDRESS:PORT such as {such_as}"));
    }
    parsed
}

/// Where the metrics are told. Nobody logs in there, so that other machines reach it only where that is said too.
pub fn metrics(text: &str, public: bool, such_as: &str, reading: &mut Reading) -> Option<SocketAddr> {
    let key = "metrics_listen";
    let address = socket(key, text, such_as, reading)?;
    if !public && !address.ip().is_loopback() {
        let what = format!("other machines reach {address}, and nobody logs in there");
        reading.problem(key, what, format!("write {such_as}, or add metrics_public = true"));
    }
    Some(address)
}
