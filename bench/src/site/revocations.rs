//! How soon a blocked certificate is refused at every gateway instance, and its answers under way end.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cmg_lab::{Api, Lab};
use rustls::ClientConfig;
use serde_json::{Value, json};

use super::{PATIENCE, connect, path_of, percentiles, tls_of};
use crate::Result;

/// A device at one gateway instance: new requests of it, and one answer under way.
struct Device {
    refused: JoinHandle<Result<Instant>>,
    cut: JoinHandle<Result<Instant>>,
}

/// Blocks `times` devices, one after the other, each with an endless answer under way at every gateway instance.
pub(super) fn measure(api: &Api, lab: &Lab, times: usize) -> Result<Value> {
    let (mut refused_after, mut cut_after) = (Vec::new(), Vec::new());
    for number in 0..times {
        let certificate = lab.clients.client(&format!("stolen-{number}.lab"))?;
        let tls = tls_of(lab, &certificate)?;
        let devices = lab
            .gateways
            .iter()
            .map(|gateway| Device::at((gateway.address, gateway.port).into(), &tls, &path_of(lab)))
            .collect::<Result<Vec<_>>>()?;
        let asked = Instant::now();
        api.add("blocks", &json!({ "thumbprint": certificate.thumbprint_sha256() }))?;
        let (mut refused, mut cut) = (asked, asked);
        for device in devices {
            refused = refused.max(device.refused.join().map_err(|_| "a device panicked")??);
            cut = cut.max(device.cut.join().map_err(|_| "a device panicked")??);
        }
        refused_after.push((refused - asked).as_millis() as u64);
        cut_after.push((cut - asked).as_millis() as u64);
    }
    Ok(json!({
        "blocked_devices": times,
        "refused_everywhere_ms": percentiles(&mut refused_after),
        "answers_under_way_ended_everywhere_ms": percentiles(&mut cut_after),
    }))
}

impl Device {
    /// Returns when the answer is under way.
    fn at(address: SocketAddr, tls: &Arc<ClientConfig>, path: &str) -> Result<Self> {
        let mut stream = connect(address, tls)?;
        stream.write_all(format!("GET {path}/events?count=1000000&every=50 HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
        let mut buffer = [0; 4096];
        let first = stream.read(&mut buffer)?;
        if !buffer[..first].starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&buffer[..first]).into_owned().into());
        }
        let cut = std::thread::spawn(move || {
            while matches!(stream.read(&mut buffer), Ok(read) if read > 0) {}
            Ok(Instant::now())
        });
        let (tls, path) = (Arc::clone(tls), path.to_owned());
        let refused = std::thread::spawn(move || until_refused(address, &tls, &path));
        Ok(Self { refused, cut })
    }
}

/// Asks on new connections until one is refused.
fn until_refused(address: SocketAddr, tls: &Arc<ClientConfig>, path: &str) -> Result<Instant> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let mut connection = connect(address, tls)?;
        connection.write_all(format!("GET {path}/echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut head = [0; 12];
        connection.read_exact(&mut head)?;
        if head.ends_with(b"403") {
            return Ok(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("{address} still serves a blocked certificate").into())
}
