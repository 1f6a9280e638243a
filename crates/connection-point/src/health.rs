//! Probes: which servers can be asked at all. Gateways are told of endpoints that nobody can serve, and ask elsewhere.
use std::sync::Arc;
use std::time::Duration;

use cmg_core::server::Health;
use cmg_http1::{HeadLimits, RequestKind, parse_response, push_field};
use cmg_process::log::chain;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::pool::connect;
use crate::servers::Server;
use crate::state::{Point, State};

/// Longest time for one probe.
const PROBE_TIME: Duration = Duration::from_secs(5);

const LIMITS: HeadLimits = HeadLimits { bytes: 16 * 1024, fields: 100 };

/// Probes every server of `state` that has a probe, until dropped. `tell` is called after each change.
pub(crate) fn start(state: &Arc<State>, point: &Arc<Point>, tell: impl Fn() + Clone + Send + 'static) -> JoinSet<()> {
    let mut probes = JoinSet::new();
    for service in state.services.values() {
        let Some(health) = &service.delivery.health else { continue };
        for server in service.servers() {
            probes.spawn(watch(Arc::clone(server), health.clone(), Arc::clone(point), tell.clone()));
        }
    }
    probes
}

async fn watch(server: Arc<Server>, health: Health, point: Arc<Point>, tell: impl Fn()) {
    loop {
        let found = timeout(PROBE_TIME, probe(&server, &health)).await.unwrap_or(Err("no answer in time".to_owned()));
        if server.found(found.is_ok()) {
            point.events.health_changes.inc();
            match found {
                Ok(()) => info!(server = server.authority, "Server is healthy"),
                Err(reason) => warn!(server = server.authority, reason, "Server is not healthy"),
            }
            tell();
        }
        sleep(health.interval).await;
    }
}

/// Asks once; the error says in a few words what is wrong.
async fn probe(server: &Server, health: &Health) -> Result<(), String> {
    let mut connection = connect(server, PROBE_TIME).await.map_err(|unreachable| chain(unreachable.error.as_ref()))?;
    let mut request = format!("{} {} HTTP/1.1\r\n", health.method, health.path).into_bytes();
    push_field(b"Host", server.authority.as_bytes(), &mut request);
    push_field(b"Connection", b"close", &mut request);
    request.extend_from_slice(b"\r\n");
    connection.stream.write_all(&request).await.map_err(|error| chain(&error))?;
    loop {
        let kind = if health.method == "HEAD" { RequestKind::Head } else { RequestKind::Other };
        match parse_response(&connection.input, &LIMITS, kind, Vec::new()) {
            Ok(Some(head)) if health.expect.contains(&head.status) => return Ok(()),
            Ok(Some(head)) => return Err(format!("answered {}", head.status)),
            Err(fault) => return Err(fault.reason().to_owned()),
            Ok(None) => match connection.stream.fill(&mut connection.input).await {
                Ok(0) => return Err("closed without an answer".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(chain(&error)),
            },
        }
    }
}
