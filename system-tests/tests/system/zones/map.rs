//! The three zones as network namespaces: internet, cloud, corp. The internet reaches the cloud; corp reaches port 443 of the
//! cloud; nothing reaches corp.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The cloud as the internet sees it.
pub(super) const CLOUD: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The cloud as corp sees it, and another address of the same.
pub(super) const CLOUD_FROM_CORP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(super) const CLOUD_MOVED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// A machine in corp.
pub(super) const CORP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
const INTERNET: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The network device towards corp in the cloud, and towards the cloud in corp.
const CABLE: &str = "cable";
/// The gateway's name in corp.
pub(super) const GATEWAY: &str = "cmg.example";

/// Corp's firewall: what comes in uninvited is dropped, and out goes only HTTPS to the cloud.
const FIREWALL: &str = "
    table inet corp {
        chain incoming {
            type filter hook input priority 0; policy drop;
            iif lo accept
            ct state established accept
        }
        chain outgoing {
            type filter hook output priority 0; policy drop;
            oif lo accept
            ct state established accept
            ip daddr { 198.51.100.1, 198.51.100.2 } tcp dport 443 accept
        }
    }";

/// One namespace.
#[derive(Clone)]
pub(super) struct Zone(pub(super) String);

impl Zone {
    /// Runs something inside, on a thread of its own: its sockets and the programs it starts belong to the zone.
    pub(super) fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            let namespace = File::open(format!("/run/netns/{}", self.0)).unwrap();
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            inside()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().unwrap())
    }

    fn ip(&self, arguments: &str) {
        let status = Command::new("ip").args(["-n", &self.0]).args(arguments.split(' ')).status().unwrap();
        assert!(status.success(), "ip -n {} {arguments}", self.0);
    }
}

/// All three. Removed on drop.
pub(super) struct Map {
    pub(super) internet: Zone,
    pub(super) cloud: Zone,
    pub(super) corp: Zone,
}

impl Map {
    /// The zones, wired and walled; none where this machine permits no namespaces or has no `ip` and `nft`.
    pub(super) fn draw() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let zone = |name: &str| Zone(format!("cmg-{name}-{}-{number}", std::process::id()));
        let map = Self { internet: zone("internet"), cloud: zone("cloud"), corp: zone("corp") };
        if !(quietly("nft", &["--version"]) && map.zones().iter().all(|zone| quietly("ip", &["netns", "add", &zone.0]))) {
            return None;
        }
        map.wire();
        map.wall();
        map.resolve_to(CLOUD_FROM_CORP);
        Some(map)
    }

    fn zones(&self) -> [&Zone; 3] {
        [&self.internet, &self.cloud, &self.corp]
    }

    fn wire(&self) {
        let Self { internet, cloud, corp } = self;
        cloud.ip(&format!("link add outside type veth peer name outside netns {}", internet.0));
        cloud.ip(&format!("link add {CABLE} type veth peer name {CABLE} netns {}", corp.0));
        cloud.ip(&format!("address add {CLOUD}/24 dev outside"));
        cloud.ip(&format!("address add {CLOUD_FROM_CORP}/24 dev {CABLE}"));
        internet.ip(&format!("address add {INTERNET}/24 dev outside"));
        corp.ip(&format!("address add {CORP}/24 dev {CABLE}"));
        for zone in self.zones() {
            zone.ip("link set lo up");
        }
        for (zone, device) in [(cloud, "outside"), (internet, "outside"), (cloud, CABLE), (corp, CABLE)] {
            zone.ip(&format!("link set {device} up"));
        }
        // Packets find their way between the internet and corp, so that only the firewall is what stops them.
        internet.ip(&format!("route add 198.51.100.0/24 via {CLOUD}"));
        corp.ip(&format!("route add 203.0.113.0/24 via {CLOUD_FROM_CORP}"));
        cloud.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
    }

    fn wall(&self) {
        let status = Command::new("ip").args(["netns", "exec", &self.corp.0, "nft", FIREWALL]).status().unwrap();
        assert!(status.success(), "corp has no firewall");
    }

    /// What the gateway's name stands for in corp, from here on.
    pub(super) fn resolve_to(&self, address: Ipv4Addr) {
        let folder = self.names();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("hosts"), format!("127.0.0.1 localhost\n{address} {GATEWAY}\n")).unwrap();
    }

    /// `ip netns exec` puts the files of this folder over those of `/etc`.
    fn names(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.corp.0)
    }

    /// Takes the cloud's address away and gives it the other one.
    pub(super) fn move_cloud(&self) {
        self.cloud.ip(&format!("address delete {CLOUD_FROM_CORP}/24 dev {CABLE}"));
        self.cloud.ip(&format!("address add {CLOUD_MOVED}/24 dev {CABLE}"));
        self.resolve_to(CLOUD_MOVED);
    }

    /// Pulls the plug between cloud and corp, or puts it back.
    pub(super) fn plug(&self, state: &str) {
        self.cloud.ip(&format!("link set {CABLE} {state}"));
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        for zone in self.zones() {
            quietly("ip", &["netns", "delete", &zone.0]);
        }
        let _ = std::fs::remove_dir_all(self.names());
    }
}

/// Whether a command succeeds.
fn quietly(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
