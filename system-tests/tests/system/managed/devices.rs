//! Registered devices at work over the internet: messages, uploads in fragments, and what they are asked to do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use cmg_lab::lab::HOST;
use cmg_lab::{Program, ProofKey, Signal};
use serde_json::{Value, json};

use crate::support::{Caller, ManagedSite, PATIENCE, Reply, Wire, binary, until, wait};

const REGISTER: &str = "/cmg/v1/register";
const MESSAGES: &str = "/cmg/v1/messages";
const NOTIFICATIONS: &str = "/cmg/v1/notifications";
const INCOMING: &str = "/ccm_incoming/inventory";
const PROTOCOL: [(&str, &str); 1] = [("BITS-Supported-Protocols", "{7df0354d-249b-430f-820d-3d2a9bef4931}")];

/// A device that has registered.
struct Device {
    caller: Caller,
    key: ProofKey,
    token: String,
    id: String,
    nonce: Mutex<Option<String>>,
}

impl Device {
    fn registered(managed: &ManagedSite) -> Self {
        let made = managed.api.add("bulk-tokens", &json!({})).unwrap();
        let token = made["token"].as_str().unwrap().to_owned();
        let caller = managed.callers(None).remove(0);
        let new = Self { caller, key: ProofKey::new().unwrap(), token, id: String::new(), nonce: Mutex::default() };
        let registered = new.ask("POST", REGISTER, &[("Content-Type", "application/json")], br#"{"name":"PC-1"}"#);
        assert_eq!(registered.status, 201, "{}", registered.text());
        let told = of(&registered);
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        Self { token: text("token"), id: text("client_id"), ..new }
    }

    /// Asks with the token and a proof; once more with the nonce where one is asked for.
    fn ask(&self, method: &str, target: &str, more: &[(&str, &str)], body: &[u8]) -> Reply {
        let once = || {
            let reply = self.caller.request(method, target, &self.fields(method, target, more).as_slices(), body);
            if let Some(nonce) = reply.field("DPoP-Nonce") {
                *self.nonce.lock().unwrap() = Some(nonce.to_owned());
            }
            reply
        };
        let reply = once();
        if reply.status == 401 && reply.field("DPoP-Nonce").is_some() { once() } else { reply }
    }

    fn fields(&self, method: &str, target: &str, more: &[(&str, &str)]) -> Fields {
        let path = target.split('?').next().unwrap();
        let proof = self.key.proof(method, &format!("https://{HOST}{path}"), &self.token, self.nonce.lock().unwrap().as_deref()).unwrap();
        let own = [("Authorization", format!("Bearer {}", self.token)), ("DPoP", proof)].map(|(name, value)| (name.to_owned(), value));
        Fields(own.into_iter().chain(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect())
    }

    fn send(&self, messages: &Value) -> Reply {
        self.ask("POST", MESSAGES, &[("Content-Type", "application/json")], json!({ "messages": messages }).to_string().as_bytes())
    }

    /// One packet of the BITS Upload Protocol.
    fn bits(&self, kind: &str, session: &str, more: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut fields = vec![("BITS-Packet-Type", kind)];
        fields.extend((!session.is_empty()).then_some(("BITS-Session-Id", session)));
        fields.extend(more);
        self.ask("BITS_POST", INCOMING, &fields, body)
    }

    fn session(&self) -> String {
        let created = self.bits("Create-Session", "", &PROTOCOL, b"");
        assert_eq!((created.status, created.field("BITS-Packet-Type")), (200, Some("Ack")), "{} {}", created.reason, created.text());
        created.field("BITS-Session-Id").unwrap().to_owned()
    }

    fn fragment(&self, session: &str, all: &[u8], from: usize, to: usize) -> Reply {
        let range = format!("bytes {from}-{}/{}", to - 1, all.len());
        self.bits("Fragment", session, &[("Content-Range", &range)], &all[from..to])
    }

    /// Holds a request for notifications, as a device that has the policy in force.
    fn listen(&self) -> Wire {
        let told = self.ask("GET", &format!("{NOTIFICATIONS}?wait=0"), &[], b"");
        let policy = if told.status == 200 { of(&told)["policy"].clone() } else { json!({ "epoch": 0, "number": 0 }) };
        let target = format!("{NOTIFICATIONS}?policy={}.{}&wait=600", policy["epoch"], policy["number"]);
        let mut wire = self.caller.open();
        wire.send("GET", &target, &self.fields("GET", &target, &[]).as_slices(), b"");
        wire
    }

    fn shown(&self, managed: &ManagedSite) -> Value {
        managed.api.ask("GET", &format!("/devices/{}", self.id), None).unwrap()
    }

    /// Ids of its messages that the site has.
    fn kept(&self, managed: &ManagedSite) -> BTreeSet<String> {
        let page = managed.api.ask("GET", &format!("/devices/{}/messages?limit=500", self.id), None).unwrap();
        page["items"].as_array().unwrap().iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect()
    }
}

struct Fields(Vec<(String, String)>);

impl Fields {
    fn as_slices(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

fn of(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("{} {}: {}", reply.status, reply.reason, reply.text()))
}

fn status(id: &str) -> Value {
    json!({ "id": id, "kind": "status", "at": 1, "body": { "text": "hello" } })
}

#[test]
fn a_device_tells_of_itself_and_uploads_in_fragments() {
    let managed = ManagedSite::of(1, 1);
    managed.everywhere();
    let device = Device::registered(&managed);
    let heartbeat = json!({ "name": "PC-1", "client_version": "0.1.0", "os": "Debian", "policy": null, "addresses": ["192.0.2.7"] });
    let heartbeat = json!({ "id": "h1", "kind": "heartbeat", "at": 1, "body": heartbeat });
    let inventory = json!({ "files": "x".repeat(3 << 20) }).to_string().into_bytes();

    let sent = device.send(&json!([heartbeat, { "id": "bad", "kind": "inventory", "at": 1, "body": 7 }]));
    assert_eq!((sent.status, &of(&sent)["kept"]), (200, &json!(["h1"])), "{} {}", sent.reason, sent.text());
    assert_eq!(of(&sent)["refused"][0]["id"], "bad");

    let session = device.session();
    let (third, two_thirds) = (inventory.len() / 3, inventory.len() / 3 * 2);
    assert_eq!(device.fragment(&session, &inventory, 0, third).status, 200);
    let gap = device.fragment(&session, &inventory, two_thirds, inventory.len());
    assert_eq!((gap.status, gap.field("BITS-Received-Content-Range")), (416, Some(third.to_string().as_str())));
    assert_eq!(device.fragment(&session, &inventory, 0, third).status, 200, "what is there already is harmless");
    assert_eq!(device.fragment(&session, &inventory, third, two_thirds).status, 200);
    let refers = |id: &str| json!([{ "id": id, "kind": "inventory", "at": 1, "upload": session }]);
    assert_eq!(of(&device.send(&refers("early")))["refused"][0]["id"], "early", "it is not whole");
    let last = device.fragment(&session, &inventory, two_thirds, inventory.len());
    assert_eq!(last.field("BITS-Received-Content-Range"), Some(inventory.len().to_string().as_str()));
    assert_eq!(device.bits("Close-Session", &session, &[], b"").status, 200);
    assert_eq!(of(&device.send(&refers("i1")))["kept"], json!(["i1"]));

    let shown = until("the inventory is there", || Some(device.shown(&managed)).filter(|shown| !shown["inventory_at"].is_null()));
    assert_eq!((&shown["inventory_size"], &shown["heartbeat"]["os"]), (&json!(inventory.len()), &json!("Debian")));
}

#[test]
fn a_device_is_seen_online_through_its_gateway_and_a_ping_reaches_it() {
    let managed = ManagedSite::of(1, 1);
    managed.everywhere();
    let device = Device::registered(&managed);

    let mut held = device.listen();
    let online = until("the device is online", || Some(device.shown(&managed)["online"].clone()).filter(|online| !online.is_null()));
    assert_eq!(online["through"], "cmg/main");
    let asked = managed.api.ask("POST", &format!("/devices/{}/ping", device.id), Some(&json!({}))).unwrap();
    assert_eq!(asked["through"], "cmg/main");

    let told = held.read();
    assert_eq!(told.status, 200, "{} {}", told.reason, told.text());
    assert_eq!(of(&told)["tasks"], json!([{ "number": asked["task"], "kind": "ping" }]));
}

#[test]
fn a_session_of_one_device_is_nothing_to_another() {
    let managed = ManagedSite::of(1, 1);
    managed.everywhere();
    let (one, other) = (Device::registered(&managed), Device::registered(&managed));
    let session = one.session();

    assert_eq!(other.fragment(&session, b"hello", 0, 5).status, 404);
    assert_eq!(other.bits("Cancel-Session", &session, &[], b"").status, 404);
    assert_eq!(one.fragment(&session, b"hello", 0, 5).status, 200);
    assert_eq!(one.bits("Cancel-Session", &session, &[], b"").status, 200);
    assert_eq!(one.fragment(&session, b"hello", 0, 5).status, 404);
}

#[test]
fn a_kill_of_the_management_point_loses_no_message_that_was_acknowledged() {
    let mut managed = ManagedSite::of(1, 1);
    managed.everywhere();
    let device = Arc::new(Device::registered(&managed));
    // Nothing goes on to the site meanwhile, so that all of it is on disk only.
    wait(managed.server().signal(Signal::Kill)).unwrap();
    wait(managed.server().wait()).unwrap();
    let acknowledged: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let (device, acknowledged) = (Arc::clone(&device), Arc::clone(&acknowledged));
            std::thread::spawn(move || {
                for number in 0..10 {
                    let id = format!("{sender}-{number}");
                    if device.send(&json!([status(&id)])).status == 200 {
                        acknowledged.lock().unwrap().insert(id);
                    }
                }
            })
        })
        .collect();
    until("some are acknowledged", || (acknowledged.lock().unwrap().len() >= 8).then_some(()));

    restart(&mut managed.site.system.management_points[0]);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let plan = managed.server().plan.clone();
    *managed.server() = wait(async { Program::start(binary(), plan) }).unwrap();
    wait(managed.server().wait_for("/readyz", PATIENCE)).unwrap();

    let acknowledged = acknowledged.lock().unwrap().clone();
    until("the site has every message that was acknowledged", || acknowledged.is_subset(&device.kept(&managed)).then_some(()));
}

fn restart(program: &mut Program) {
    wait(program.signal(Signal::Kill)).unwrap();
    wait(program.wait()).unwrap();
    let plan = program.plan.clone();
    *program = wait(async { Program::start(binary(), plan) }).unwrap();
    wait(program.wait_for("/readyz", PATIENCE)).unwrap();
}
