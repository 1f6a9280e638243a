//! What registered devices and a management point say to each other, and what the management point passes on to the site.
//!
//! | who asks whom | request | answer |
//! |---|---|---|
//! | device, management point | `GET /cmg/v1/policy`, `If-None-Match: "E.N"` | 200 [`crate::control::Signed`] [`crate::policy::Policy`] with `ETag`, 304, 503 |
//! | device, management point | `GET /cmg/v1/notifications?after=N&policy=E.N&wait=SECONDS` | 200 [`Notifications`], held until there are any; 204 when the time is over |
//! | device, management point | `POST /cmg/v1/messages` [`Messages`] | 200 [`Kept`] once they are on disk, 413, 503 |
//! | device, management point | `BITS_POST /ccm_incoming/UPLOAD` | [MC-BUP]: a large message in fragments, resumable |
//! | device, management point | `GET /cmg/v1/location` | 200 [`Location`] |
//! | management point, site server | `POST /control/v1/client/messages` [`PassedOn`] | 200 [`Kept`] once they are in the database |
//! | management point, site server | `POST /control/v1/client/presence` [`Presence`] | 204 |
//! | management point, site server | `GET /control/v1/client/tasks?after=N&wait=SECONDS` | 200 [`Tasks`], held until there are any |
//!
//! A device shows its token with a proof (RFC 9449), or its certificate, to all of them, through whatever service it comes: a gateway,
//! an internet-facing server, or directly. A message has an id of the device's own and is kept once, however often it is sent.

use serde::{Deserialize, Serialize};

use crate::control::GenerationId;
use crate::policy::ServiceKind;

/// The path of the policy.
pub const POLICY: &str = "/cmg/v1/policy";
/// The path of notifications.
pub const NOTIFICATIONS: &str = "/cmg/v1/notifications";
/// The path of messages.
pub const MESSAGES: &str = "/cmg/v1/messages";
/// The path of the location.
pub const LOCATION: &str = "/cmg/v1/location";
/// The path below which large messages are uploaded.
pub const INCOMING: &str = "/ccm_incoming";

/// The largest body of [`Messages`], in bytes. What is larger is uploaded.
pub const LARGEST_MESSAGES: usize = 1 << 20;
/// The largest upload, in bytes.
pub const LARGEST_UPLOAD: u64 = 64 << 20;
/// Most messages at once.
pub const MOST_MESSAGES: usize = 100;
/// The largest fragment of an upload, in bytes.
pub const LARGEST_FRAGMENT: u64 = 4 << 20;
/// Most messages that a management point passes on at once.
pub const MOST_PASSED_ON: usize = 1_000;
/// The largest [`PassedOn`], in bytes: an upload in base64, and what stands beside it.
pub const LARGEST_PASSED_ON: usize = (96 << 20) + (1 << 20);
/// Most tasks of one answer.
pub const MOST_TASKS: usize = 10_000;
/// How often a management point says who is online though nobody came or went, in seconds. Who is online at one that has been silent for
/// three times as long counts as gone.
pub const PRESENCE_REPEATED: u64 = 30;
/// The longest that a request for notifications is held, in seconds.
pub const LONGEST_WAIT: u64 = 900;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum MessageKind {
    /// [`Heartbeat`]: heartbeat discovery.
    Heartbeat,
    /// An inventory: an object of JSON, whole.
    Inventory,
    /// A status message: an object of JSON with `text` and anything else.
    Status,
    /// A message of another protocol, such as ConfigMgr's, as it came.
    Foreign,
}

/// Messages of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Messages {
    /// At most [`MOST_MESSAGES`].
    pub messages: Vec<Message>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The device's own id for it: 1 to 64 letters, digits and `-`. One id is kept once.
    pub id: String,
    /// What it is.
    pub kind: MessageKind,
    /// When the device wrote it, by its own clock, in seconds since 1970.
    pub at: u64,
    /// The message.
    #[serde(default)]
    pub body: serde_json::Value,
    /// In place of a body: the id of an upload that is complete, as `BITS-Session-Id` said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
}

/// Most characters of a text in a heartbeat.
const LONGEST_TEXT: usize = 255;
/// Most addresses of a device.
const MOST_ADDRESSES: usize = 64;

impl Message {
    /// Why it will never be kept, whoever sends it; none: nothing is wrong with what can be seen here.
    pub fn problem(&self) -> Option<String> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(1..=64).contains(&self.id.len()) || !self.id.bytes().all(is_letter) {
            return Some("its id is not 1 to 64 letters, digits and hyphens".to_owned());
        }
        match (&self.upload, self.kind) {
            (Some(_), MessageKind::Heartbeat) => Some("a heartbeat is not uploaded: send it as the body".to_owned()),
            (Some(_), _) if !self.body.is_null() => Some("it has a body and an upload: send one of them".to_owned()),
            (Some(_), _) | (None, MessageKind::Foreign) => None,
            (None, MessageKind::Heartbeat) => match serde_json::from_value::<Heartbeat>(self.body.clone()) {
                Ok(heartbeat) => heartbeat.problem(),
                Err(error) => Some(format!("it is no heartbeat: {error}")),
            },
            (None, MessageKind::Inventory | MessageKind::Status) => {
                (!self.body.is_object()).then(|| "its body is no object of JSON".to_owned())
            }
        }
    }
}

impl Heartbeat {
    fn problem(&self) -> Option<String> {
        let texts = [&self.name, &self.client_version, &self.os].into_iter().chain(&self.addresses);
        let is_plain = |text: &String| text.chars().count() <= LONGEST_TEXT && !text.chars().any(char::is_control);
        let is_good = texts.clone().all(is_plain) && self.addresses.len() <= MOST_ADDRESSES;
        (!is_good).then(|| format!("a text of the heartbeat has more than {LONGEST_TEXT} characters or a line break, or it has more than {MOST_ADDRESSES} addresses"))
    }
}

/// The body of a heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Heartbeat {
    /// The name of the device.
    pub name: String,
    /// The version of the client.
    pub client_version: String,
    /// The operating system and its version, such as `Debian GNU/Linux 12`.
    pub os: String,
    /// The policy in force there.
    pub policy: Option<GenerationId>,
    /// Its own addresses.
    pub addresses: Vec<String>,
}

/// Which messages are safe: whoever sent them may forget them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Their ids.
    pub kept: Vec<String>,
    /// Messages that will never be kept, with the reason: sending them again is of no use.
    #[serde(default)]
    pub refused: Vec<RefusedMessage>,
}

/// A message that is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedMessage {
    /// Its id.
    pub id: String,
    /// Why.
    pub why: String,
}

/// What a device is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notifications {
    /// The policy that there is.
    pub policy: GenerationId,
    /// What it shall do.
    pub tasks: Vec<Task>,
    /// What to ask with next time.
    pub after: u64,
}

/// What a device shall do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its number; numbers rise.
    pub number: u64,
    /// What.
    pub kind: TaskKind,
}

/// What a device can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// Send a heartbeat, so that whoever asks sees that it is there.
    Ping,
    /// Ask for the policy now.
    Policy,
    /// Send the inventory now.
    Inventory,
    /// Evaluate the location anew.
    Locate,
}

/// Through what a device has come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Through {
    /// Directly.
    Intranet,
    /// A gateway: its name.
    Cmg(String),
    /// An internet-facing server: its name.
    Ibcm(String),
}

impl std::fmt::Display for Through {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Intranet => f.write_str("intranet"),
            Self::Cmg(name) => write!(f, "cmg/{name}"),
            Self::Ibcm(name) => write!(f, "ibcm/{name}"),
        }
    }
}

impl TaskKind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Policy => "policy",
            Self::Inventory => "inventory",
            Self::Locate => "locate",
        }
    }

    /// The kind called `word`.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Ping, Self::Policy, Self::Inventory, Self::Locate].into_iter().find(|kind| kind.word() == word)
    }
}

impl MessageKind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Inventory => "inventory",
            Self::Status => "status",
            Self::Foreign => "foreign",
        }
    }
}

impl Through {
    /// Through a service.
    pub fn service(kind: ServiceKind, name: &str) -> Self {
        match kind {
            ServiceKind::Cmg => Self::Cmg(name.to_owned()),
            ServiceKind::Ibcm => Self::Ibcm(name.to_owned()),
        }
    }
}

/// Where a device is, as its management point sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The management point's name.
    pub management_point: String,
    /// Through what the request came.
    pub through: Through,
    /// The address that it came from.
    pub address: String,
    /// The boundary groups of that address, the one that fits best first.
    pub boundary_groups: Vec<String>,
    /// Site systems that hold content, in the order in which they are to be used.
    pub content: Vec<String>,
}

/// Messages that a management point has on disk, for the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassedOn {
    /// At most 1,000, and [`crate::control::LARGEST_MESSAGE`] in all, but for one upload, which may be of [`LARGEST_UPLOAD`].
    pub messages: Vec<PassedOnMessage>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassedOnMessage {
    /// The client's id, as it has proven it.
    pub client: String,
    /// Through what it came.
    pub through: Through,
    /// When it was kept, in seconds since 1970.
    pub received_at: u64,
    /// The message. Of an uploaded one the body is the text of the upload, as one string of JSON; of an uploaded foreign one it is
    /// the upload in base64.
    pub message: Message,
}

/// Who is online at a management point.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Presence {
    /// Whether `online` is everybody: after a start, and every five minutes.
    pub whole: bool,
    /// Who came, or came through something else.
    pub online: Vec<OnlineDevice>,
    /// Who went: ids.
    pub offline: Vec<String>,
}

/// A device that holds a request for notifications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnlineDevice {
    /// The client's id.
    pub client: String,
    /// Through what.
    pub through: Through,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

/// Tasks for devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tasks {
    /// What to ask with next time.
    pub after: u64,
    /// The tasks.
    pub tasks: Vec<ClientTask>,
}

/// A task for one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTask {
    /// The client's id.
    pub client: String,
    /// What.
    pub task: Task,
}
