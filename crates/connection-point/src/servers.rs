//! The servers behind one endpoint: which of them gets a request.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cmg_core::server::{Delivery, ReservedNames, ServerUrl};
use rustls::ClientConfig;

/// How long a server that could not be reached is tried last.
const SHUNNED: Duration = Duration::from_secs(5);

/// One endpoint's servers and what is known about them.
pub(crate) struct Service {
    pub(crate) delivery: Delivery,
    pub(crate) reserved: ReservedNames,
    servers: Vec<Arc<Server>>,
    next: AtomicUsize,
}

/// One server.
pub(crate) struct Server {
    pub(crate) url: ServerUrl,
    /// As the Host header says it.
    pub(crate) authority: String,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    healthy: AtomicBool,
    /// The last attempt to connect failed.
    out_of_reach: AtomicBool,
    /// Milliseconds after `made` until which it is tried last.
    shunned_until: AtomicU64,
    made: Instant,
}

impl Service {
    /// Servers count as well until something else is known; what probes have found outlives the configuration of `before`.
    pub(crate) fn new(delivery: Delivery, tls: Option<Arc<ClientConfig>>, before: Option<&Self>) -> Self {
        let known = |url: &ServerUrl| before.filter(|_| delivery.health.is_some())?.servers.iter().find(|server| server.url == *url);
        let server = |url: &ServerUrl| {
            Arc::new(Server {
                url: url.clone(),
                authority: url.authority(),
                tls: tls.clone().filter(|_| url.https),
                healthy: AtomicBool::new(known(url).is_none_or(|server| server.healthy.load(Ordering::Relaxed))),
                out_of_reach: AtomicBool::new(false),
                shunned_until: AtomicU64::new(0),
                made: Instant::now(),
            })
        };
        Self {
            reserved: ReservedNames::of(&delivery),
            servers: delivery.servers.iter().map(server).collect(),
            next: AtomicUsize::new(0),
            delivery,
        }
    }

    /// The servers in the order in which they are tried: in turn, or beginning with the one that `client` always gets.
    pub(crate) fn order(&self, client: Option<u64>) -> impl Iterator<Item = &Arc<Server>> {
        let count = self.servers.len();
        let first = match client {
            Some(client) if self.delivery.sticky => (client % count as u64) as usize,
            _ => self.next.fetch_add(1, Ordering::Relaxed) % count,
        };
        let all = move || (0..count).map(move |step| &self.servers[(first + step) % count]);
        all().filter(|server| server.is_preferred()).chain(all().filter(|server| !server.is_preferred()))
    }

    /// Whether any server counts as healthy.
    pub(crate) fn is_healthy(&self) -> bool {
        self.servers.iter().any(|server| server.healthy.load(Ordering::Relaxed))
    }

    pub(crate) fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }
}

impl Server {
    fn is_preferred(&self) -> bool {
        let now = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.healthy.load(Ordering::Relaxed) && self.shunned_until.load(Ordering::Relaxed) <= now
    }

    /// It could not be reached; true: that is news.
    pub(crate) fn shun(&self) -> bool {
        let until = self.made.elapsed() + SHUNNED;
        self.shunned_until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        !self.out_of_reach.swap(true, Ordering::Relaxed)
    }

    /// It was reached; true: that is news.
    pub(crate) fn reached(&self) -> bool {
        self.out_of_reach.load(Ordering::Relaxed) && self.out_of_reach.swap(false, Ordering::Relaxed)
    }

    /// A probe has found it well or ill; true: that is news.
    pub(crate) fn found(&self, healthy: bool) -> bool {
        self.healthy.swap(healthy, Ordering::Relaxed) != healthy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cmg_core::ids::EndpointId;
    use cmg_core::server::{Forwarded, Health, HostHeader};

    fn a_service(sticky: bool) -> Service {
        let url = |name: &str| ServerUrl::parse(name).expect("a URL");
        let delivery = Delivery {
            endpoint: EndpointId::new("app"),
            servers: vec![url("http://a"), url("http://b"), url("http://c")],
            sticky,
            host_header: HostHeader::Internal,
            connect_time: Duration::from_secs(1),
            health: None,
            identity_headers: vec![],
            client_cert_header: false,
            forwarded: Forwarded::None,
            original_url: false,
            request_id_header: None,
            map_redirects: true,
            redirect_hosts: vec![],
        };
        Service::new(delivery, None, None)
    }

    fn first(service: &Service, client: u64) -> String {
        service.order(Some(client)).next().expect("a server").authority.clone()
    }

    #[test]
    fn servers_take_turns() {
        let service = a_service(false);

        assert_eq!([0; 4].map(|client| first(&service, client)), ["a", "b", "c", "a"]);
    }

    #[test]
    fn a_sticky_client_stays_until_its_server_fails() {
        let service = a_service(true);
        assert_eq!([7; 3].map(|client| first(&service, client)), ["b", "b", "b"]);

        service.servers()[1].found(false);

        assert_eq!(first(&service, 7), "c");
        assert_eq!(service.order(Some(7)).count(), 3);
    }

    #[test]
    fn a_server_out_of_reach_is_news_once_and_so_is_its_return() {
        let service = a_service(false);
        let server = &service.servers()[0];
        assert!(!server.reached());

        assert!(server.shun() && !server.shun());
        assert!(server.reached() && !server.reached());
        assert!(server.shun());
    }

    #[test]
    fn what_probes_have_found_outlives_a_reload_and_not_the_probes() {
        let health = Health { method: "GET".to_owned(), path: "/".to_owned(), interval: Duration::from_secs(1), expect: vec![200] };
        let unprobed = a_service(false).delivery;
        let probed = Delivery { health: Some(health), ..unprobed.clone() };
        let before = Service::new(probed.clone(), None, None);
        assert!(before.servers().iter().all(|server| server.found(false)));

        assert!(!Service::new(probed, None, Some(&before)).is_healthy());
        assert!(Service::new(unprobed, None, Some(&before)).is_healthy());
    }

    #[test]
    fn a_service_is_healthy_while_one_server_is() {
        let service = a_service(false);
        assert!(service.servers()[0].found(false));
        assert!(!service.servers()[0].found(false));
        assert!(service.is_healthy());

        service.servers()[1].found(false);
        service.servers()[2].found(false);

        assert!(!service.is_healthy());
    }
}
