//! What a device has sent: its latest inventory, and its messages.

use cmg_store::Message;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::known;
use crate::app::roles::Needs;
use crate::http::api::answer::Answer;
use crate::http::api::asked::Asked;
use crate::http::api::page::Page;
use crate::http::api::route::{Method, Parameter, Route};
use crate::http::problem::{Kind, Refused};

const LIST: &[Parameter] = &[
    Parameter("before", "integer", "Only those before the one of this number: `next` of the page before."),
    Parameter("limit", "integer", "How many at most, 1 to 500. Default 100."),
];

/// The largest body of a message that a list shows, in bytes.
const SHOWN: usize = 16 << 10;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::Get, "/devices/{id}/inventory", Needs::Read, "Shows the latest inventory of a device", inventory)
            .gives::<Inventory>(),
        Route::new(Method::Get, "/devices/{id}/messages", Needs::Read, "Lists the messages of a device, newest first", messages)
            .query(LIST)
            .gives::<MessagePage>(),
    ]
}

/// An inventory, as the device has sent it.
#[derive(Serialize, ToSchema)]
struct Inventory {
    /// What the agent on the device writes.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    written: Value,
}

/// A page of messages.
#[derive(Serialize, ToSchema)]
struct MessagePage {
    /// Newest first.
    items: Vec<ShownMessage>,
    /// What to send as `before` to get the next page; none: this is the last one.
    next: Option<u64>,
}

/// A message of a device, as it is shown.
#[derive(Serialize, ToSchema)]
struct ShownMessage {
    /// Numbers rise.
    number: u64,
    /// The device's own id for it.
    id: String,
    /// `heartbeat`, `inventory`, `status` or `foreign`.
    kind: String,
    /// When the device wrote it, by its own clock, in seconds since 1970.
    at: i64,
    /// When a management point kept it, in seconds since 1970.
    received_at: i64,
    /// Through what it came: `intranet`, `cmg/NAME` or `ibcm/NAME`.
    through: String,
    /// The message. None of a heartbeat or an inventory, whose latest are shown by themselves, and of one that is too large for a list.
    #[schema(value_type = Option<Object>)]
    body: Option<Value>,
}

impl From<Message> for ShownMessage {
    fn from(Message { number, message }: Message) -> Self {
        let body = message.body.filter(|text| text.len() <= SHOWN).and_then(|text| serde_json::from_str(&text).ok());
        let (id, kind, at, received_at, through) = (message.id, message.kind, message.at, message.received_at, message.through);
        Self { number, id, kind, at, received_at, through, body }
    }
}

async fn inventory(asked: Asked) -> Result<Answer, Refused> {
    let client = known(&asked).await?;
    let inventory = asked.site().store.inventory(&client.id).await?;
    let none = || Refused::new(Kind::NotFound, "the device has sent no inventory yet: ask it for one");
    Ok(Answer::json(inventory.ok_or_else(none)?))
}

async fn messages(asked: Asked) -> Result<Answer, Refused> {
    let client = known(&asked).await?;
    let page = Page::of(&asked)?;
    let before = asked.number("before", 1, i64::MAX)?.and_then(|number| u64::try_from(number).ok());
    let mut messages = asked.site().store.message_page(&client.id, before, page.rows()).await?;
    let next = page.cut(&mut messages, |message| message.number.to_string()).and_then(|number| number.parse().ok());
    Ok(Answer::ok(&MessagePage { items: messages.into_iter().map(ShownMessage::from).collect(), next }))
}
