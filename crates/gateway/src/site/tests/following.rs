//! A gateway that follows its site: what it puts in force, what it refuses, what it says about itself.

use std::sync::Arc;
use std::time::Duration;

use cmg_api::bytes::Base64;
use cmg_api::control::{GatewayNews, GenerationId};
use cmg_enrolled::{DataFolder, Identity};
use cmg_lab::{Profile, Role};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::office::{Machine, Office};
use super::point::{Offer, Point};
use super::until;
use crate::running::Instruments;
use crate::site::Site;
use crate::site::metrics::SiteMetrics;
use crate::site::run::{Enrolled, Event};

const ENDPOINT: &str = "[[endpoint]]\nid = 'app'\nhost = 'cmg.example'\nprefix = '/'\nface = 'open'\nopen_acknowledged = true";

/// A gateway that runs.
struct Running {
    site: Arc<Site>,
    reload: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(machine: &Machine, identity: Identity) -> Self {
        let mut metrics = None;
        let at = ("127.0.0.1:0".parse().unwrap(), false);
        let register = |all: &mut _| metrics = Some(SiteMetrics::new(all));
        let instruments = Instruments::start(at, &cmg_api::LogFile::default(), "not enrolled yet", register).await.unwrap();
        let folder: DataFolder = machine.data();
        let level = Box::new(|_| ());
        let mut gateway = Enrolled::start(&machine.file(), folder, identity, instruments, metrics.unwrap(), level).unwrap();
        let site = Arc::clone(&gateway.site);
        let (reload, mut reloads) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = gateway.event() => event,
                    Some(()) = reloads.recv() => Event::Reload,
                };
                gateway.take(event).await;
            }
        });
        Self { site, reload, task }
    }

    fn number(&self) -> u64 {
        self.site.gateway.state().generation().number
    }

    async fn has(&self, number: u64) {
        until(|| self.number() == number).await;
    }

    /// Ends it; the next finds the address free.
    async fn stop(self, machine: &Machine) {
        self.task.abort();
        let _ = self.task.await;
        until(|| std::net::TcpListener::bind(machine.address).is_ok()).await;
    }
}

async fn pair() -> (Arc<Office>, Machine, Running, Point) {
    let office = Arc::new(Office::new());
    let (machine, identity) = Machine::enrolled(&office);
    let running = Running::start(&machine, identity).await;
    let point = Point::start(&office, "cp-1", machine.address);
    (office, machine, running, point)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_takes_tunnels_before_it_serves_anybody_and_then_what_the_site_says() {
    let (office, machine, running, mut point) = pair().await;
    until(|| running.site.gateway.hub.live().1 == 1).await;
    assert!(running.site.gateway.state().snapshot.endpoints.by_id("app").is_none());
    assert_eq!(point.status(|_| true).await.applied, GenerationId::default());

    point.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 3, ENDPOINT)));

    running.has(3).await;
    assert!(running.site.gateway.state().snapshot.endpoints.by_id("app").is_some());
    let status = point.status(|status| status.applied.number == 3).await;
    assert_eq!((status.refused, status.tunnels), (None, [("cp-1".to_owned(), 1)].into()));
    assert!(status.applied_at > 0 && status.certificate_ends > crate::state::now().0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_point_whose_certificate_was_revoked_loses_its_tunnels_and_the_one_of_its_name_stays() {
    let (office, machine, running, point) = pair().await;
    point.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 3, ENDPOINT)));
    running.has(3).await;
    let stolen = office.point("cp-1");
    let copy = Point::start_as(&office, "cp-1", &stolen, machine.address, || 1_001);
    until(|| running.site.gateway.hub.live().1 == 2).await;

    let fingerprint = super::office::sha256(&stolen.key.cert[0]);
    let lines = format!("revoked_members = ['{fingerprint}']\n{ENDPOINT}");
    let next = Offer::of(&office, &office.snapshot(&machine, 4, &lines));
    // Either may be asked, since both have one name.
    for asked in [&point, &copy] {
        asked.offer.send_replace(next.clone());
    }

    running.has(4).await;
    until(|| copy.connector.live().is_empty()).await;
    assert_eq!(running.site.gateway.hub.live().1, 1);
    assert_eq!(point.connector.live(), [("gw-1".to_owned(), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_start_needs_nobody() {
    let (office, machine, running, point) = pair().await;
    point.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 3, ENDPOINT)));
    until(|| machine.path().join("data/current.json").exists()).await;
    drop(point);
    running.stop(&machine).await;

    let identity = Identity::load(&machine.data()).unwrap().unwrap();
    let again = Running::start(&machine, identity).await;

    assert_eq!(again.number(), 3);
    assert!(again.site.gateway.state().snapshot.endpoints.by_id("app").is_some());
}

/// By which the site withdraws a key that signs snapshots.
#[tokio::test(flavor = "multi_thread")]
async fn whose_signature_counts_no_more_is_known_from_the_snapshot_in_force_on() {
    let (office, machine, running, point) = pair().await;
    let signer = office.point("stolen").key.cert[0].to_vec();
    let knows = |running: &Running| running.site.snapshots.believed(&office.roots()).revoked.name(&signer);
    point.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 3, ENDPOINT)));
    running.has(3).await;
    assert!(!knows(&running));

    let lines = format!("revoked_members = ['{}']\n{ENDPOINT}", super::office::sha256(&signer));
    point.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 4, &lines)));
    until(|| knows(&running)).await;
    until(|| std::fs::read_to_string(machine.path().join("data/current.json")).is_ok_and(|kept| kept.contains("\\\"number\\\":4"))).await;
    drop(point);
    running.stop(&machine).await;

    let identity = Identity::load(&machine.data()).unwrap().unwrap();
    assert!(knows(&Running::start(&machine, identity).await), "and at a cold start");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_problems_is_refused_and_told_and_the_one_before_stays() {
    let (office, machine, running, mut point) = pair().await;
    point.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 3, ENDPOINT)));
    running.has(3).await;

    let twice = format!("{ENDPOINT}\n{ENDPOINT}");
    point.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 4, &twice)));

    let status = point.status(|status| status.refused.is_some()).await;
    let refused = status.refused.unwrap();
    assert_eq!((status.applied.number, refused.generation.number, running.number()), (3, 4, 3));
    assert!(refused.problems.iter().any(|problem| problem.contains("endpoint[1].id")), "{:?}", refused.problems);
    point.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 5, "")));
    assert_eq!(point.status(|status| status.applied.number == 5).await.refused, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_site_has_not_signed_for_this_gateway_is_not_put_in_force() {
    let (office, machine, running, point) = pair().await;
    let other = Office::new();
    let mut changed = office.snapshot(&machine, 9, "");
    changed.signed.payload = changed.signed.payload.replace("\"number\":9", "\"number\":10");
    let mut unsigned = office.snapshot(&machine, 8, "");
    unsigned.signed.signature = Base64(vec![0; 70]);

    for forged in [other.snapshot(&machine, 7, ""), changed, unsigned] {
        let freshness = Some(office.freshness(1));
        let news = GatewayNews { freshness, manifest: Some(forged.signed.clone()) };
        point.offer.send_replace(Offer { news, parts: forged.parts });
    }
    let honest = Point::start(&office, "cp-2", machine.address);
    honest.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 3, ENDPOINT)));

    running.has(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_generation_is_ignored() {
    let (office, machine, running, point) = pair().await;
    point.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 5, "")));
    running.has(5).await;

    let other = Point::start(&office, "cp-2", machine.address);
    other.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 4, ENDPOINT)));
    other.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 6, ENDPOINT)));

    running.has(6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_one_connection_point_does_not_give_come_from_another() {
    let (office, machine, running, greedy) = pair().await;
    let _honest = {
        let honest = Point::start(&office, "cp-2", machine.address);
        let snapshot = office.snapshot(&machine, 3, ENDPOINT);
        let parts = snapshot.parts.clone();
        honest.offer.send_replace(Offer { parts, ..Offer::default() });
        until(|| running.site.gateway.hub.live().1 == 2).await;
        greedy.offer.send_replace(Offer { parts: Default::default(), ..Offer::of(&office, &snapshot) });
        honest
    };

    running.has(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_not_what_their_names_say_are_not_kept() {
    let (office, machine, running, liar) = pair().await;
    let snapshot = office.snapshot(&machine, 3, ENDPOINT);
    let mut offer = Offer::of(&office, &snapshot);
    offer.parts.values_mut().for_each(|bytes| bytes[0] ^= 1);
    liar.offer.send_replace(offer);

    let honest = Point::start(&office, "cp-2", machine.address);
    honest.offer.send_replace(Offer::of(&office, &snapshot));

    running.has(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_was_changed_on_the_disk_is_fetched_again() {
    let (office, machine, running, point) = pair().await;
    let snapshot = office.snapshot(&machine, 3, ENDPOINT);
    point.offer.send_replace(Offer::of(&office, &snapshot));
    until(|| machine.path().join("data/current.json").exists()).await;
    drop(point);
    running.stop(&machine).await;
    let document = serde_json::from_str::<cmg_api::control::Manifest>(&snapshot.signed.payload).unwrap().document;
    std::fs::write(machine.path().join("data/parts").join(document.to_string()), "listen = []").unwrap();

    let identity = Identity::load(&machine.data()).unwrap().unwrap();
    let again = Running::start(&machine, identity).await;
    assert_eq!(again.number(), 0, "what was changed is not put in force");
    let point = Point::start(&office, "cp-1", machine.address);
    point.offer.send_replace(Offer::of(&office, &snapshot));

    again.has(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_read_again_and_the_snapshot_stays() {
    let (office, machine, running, mut point) = pair().await;
    point.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 3, ENDPOINT)));
    point.status(|status| status.applied.number == 3).await;

    machine.write("[log]\nlevel = 'debug'\nformat = 'json'\n");
    running.reload.send(()).await.unwrap();

    let status = point.status(|status| !status.findings.is_empty()).await;
    assert_eq!((status.applied.number, running.number()), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_certificate_is_renewed_in_time_and_no_tunnel_ends() {
    let office = Arc::new(Office::new());
    let now = std::time::SystemTime::now();
    let day = Duration::from_secs(86_400);
    let old = Profile::role(Role::Gateway, "gw-1").valid(now - 80 * day, now + 10 * day);
    let (machine, identity) = Machine::enrolled_as(&office, &old);
    let (chain, ends) = (identity.chain.clone(), identity.ends);
    let running = Running::start(&machine, identity).await;
    let mut point = Point::start(&office, "cp-1", machine.address);
    until(|| running.site.gateway.hub.live().1 == 1).await;

    let status = point.status(|status| status.certificate_ends > ends.0).await;

    assert_eq!(status.tunnels["cp-1"], 1);
    let kept = Identity::load(&machine.data()).unwrap().unwrap();
    assert!(kept.chain != chain && kept.ends > ends);
    assert_eq!(point.connector.live()["gw-1"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_stood_in_the_way_of_is_tried_again_with_the_next() {
    let (office, machine, running, mut point) = pair().await;
    let free = cmg_lab::ports::free_port().unwrap();
    let own_port = format!("{ENDPOINT}\nport = {free}");
    let busy = std::net::TcpListener::bind(("127.0.0.1", free)).unwrap();
    point.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 3, &own_port)));
    let refused = point.status(|status| status.refused.is_some()).await.refused.unwrap();
    assert!(refused.problems[0].starts_with("endpoint.port"), "{:?}", refused.problems);

    drop(busy);
    running.reload.send(()).await.unwrap();

    assert_eq!(point.status(|status| status.applied.number == 3).await.refused, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_from_the_future_keeps_no_configuration_away_and_does_not_count() {
    let (office, machine, running, point) = pair().await;
    let mut ahead = Offer::of(&office, &office.snapshot(&machine, 3, ENDPOINT));
    ahead.news.freshness = Some(office.freshness_ahead(9, 3_600));

    point.offer.send_replace(ahead);

    running.has(3).await;
    assert!(running.site.metrics.youngest() <= crate::state::now().0);
}

/// Takes as long as a connection point is given until it is avoided: 30 s.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_withholds_for_long_is_avoided_where_the_site_says_so() {
    let (office, machine, running, withholding) = pair().await;
    let honest = Point::start(&office, "cp-2", machine.address);
    let avoid = format!("when_withheld = 'avoid'\n{ENDPOINT}");
    let first = Offer::of(&office, &office.snapshot(&machine, 1, &avoid));
    withholding.offer.send_replace(first.clone());
    honest.offer.send_replace(first);
    running.has(1).await;

    honest.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 2, &avoid)));

    running.has(2).await;
    let avoided = || running.site.gateway.hub.avoided().into_iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let started = std::time::Instant::now();
    while avoided() != ["cp-1"] {
        assert!(started.elapsed() < Duration::from_secs(90));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(started.elapsed() > Duration::from_secs(25));
    withholding.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 2, &avoid)));
    until(|| avoided().is_empty()).await;
}

/// Takes as long as a connection point is given: 5 s.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_that_withholds_is_outvoted_and_counted() {
    let (office, machine, running, withholding) = pair().await;
    let honest = Point::start(&office, "cp-2", machine.address);
    let first = Offer::of(&office, &office.snapshot(&machine, 1, ENDPOINT));
    withholding.offer.send_replace(first.clone());
    honest.offer.send_replace(first);
    running.has(1).await;

    honest.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 2, "")));

    running.has(2).await;
    until(|| running.site.metrics.withholding.get() == 1).await;
    withholding.offer.send_replace(Offer::of(&office, &office.snapshot(&machine, 2, "")));
    until(|| running.site.metrics.withholding.get() == 0).await;
}
