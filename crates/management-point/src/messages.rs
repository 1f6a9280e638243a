//! `POST /cmg/v1/messages`: on disk before they are acknowledged, each once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use cmg_api::device::{Kept, LARGEST_MESSAGES, MOST_MESSAGES, Message, MessageKind, Messages, PassedOnMessage, RefusedMessage};
use cmg_core::rate::{Bucket, Rate};
use serde::de::IgnoredAny;
use tokio::time::timeout;
use tracing::debug;

use crate::desk::Desk;
use crate::device::Device;
use crate::point;
use crate::refused::Refused;

/// The longest that a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a device may send: one that is out of hand fills no disk, and one that was away for weeks may send what it has.
const RATE: Rate = Rate { per_second: 1, burst: 60 };

/// Devices whose rate is remembered.
const REMEMBERED: usize = 20_000;

/// How often each device has sent something.
#[derive(Default)]
pub(crate) struct Rates(BTreeMap<Arc<str>, Bucket>);

impl Rates {
    fn take(&mut self, client: &Arc<str>, now: cmg_core::time::Tick) -> bool {
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, bucket| !bucket.is_full(RATE, now));
        }
        self.0.entry(Arc::clone(client)).or_insert_with(|| Bucket::full(RATE, now)).take(RATE, now)
    }
}

pub(crate) async fn serve(
    State(desk): State<Arc<Desk>>,
    Extension(device): Extension<Device>,
    request: Request,
) -> Result<Response, Refused> {
    let client = Arc::clone(device.id()?);
    if !desk.rates().take(&client, desk.tick()) {
        return Err(Refused::new(
            "too-many",
            StatusCode::TOO_MANY_REQUESTS,
            "this device sends too often: put messages together, and wait",
        ));
    }
    let body = receive(request.into_body()).await?;
    let messages = {
        // What is read takes many times the room of what has come.
        let _turn = desk.reading.acquire().await.map_err(|_| Refused::unavailable("this management point ends"))?;
        read(&body)?
    };
    drop(body);
    let received_at = point::now().0;
    let mut kept = Kept::default();
    let mut good = Vec::new();
    for message in messages {
        match problem(&desk, &client, &message).await {
            Some(why) => kept.refused.push(RefusedMessage { id: message.id, why }),
            None => {
                kept.kept.push(message.id.clone());
                good.push(PassedOnMessage { client: client.to_string(), through: device.through.clone(), received_at, message });
            }
        }
    }
    let claimed: Vec<String> = good.iter().filter_map(|passed| passed.message.upload.clone()).collect();
    if !good.is_empty()
        && let Err(refused) = desk.spool.keep(good).await
    {
        claimed.iter().for_each(|upload| desk.uploads.disclaim(upload));
        return Err(Refused::unavailable(format!("messages cannot be kept at this moment: {refused}; send them again later")));
    }
    debug!(request_id = &*device.request_id, kept = kept.kept.len(), refused = kept.refused.len(), "Messages of a device are kept");
    Ok(Json(kept).into_response())
}

async fn receive(body: Body) -> Result<axum::body::Bytes, Refused> {
    let too_large = || {
        let detail = format!("the body has more than {LARGEST_MESSAGES} bytes: upload what is large, and send less at once");
        Refused::new("too-large", StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    match timeout(PATIENCE, to_bytes(body, LARGEST_MESSAGES)).await {
        Ok(received) => received.map_err(|_| too_large()),
        Err(_) => Err(Refused::new("too-slow", StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

fn read(body: &[u8]) -> Result<Vec<Message>, Refused> {
    let read: Messages =
        serde_json::from_slice(body).map_err(|error| Refused::malformed(format!("the messages cannot be read: {error}")))?;
    if read.messages.len() > MOST_MESSAGES {
        let detail = format!("more than {MOST_MESSAGES} messages: send fewer at once");
        return Err(Refused::new("too-large", StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(read.messages)
}

/// Why a message will never be kept. An upload that it refers to is claimed.
async fn problem(desk: &Desk, client: &str, message: &Message) -> Option<String> {
    if let Some(problem) = message.problem() {
        return Some(problem);
    }
    let upload = message.upload.as_ref()?;
    if desk.spool.has(client, &message.id) {
        return None;
    }
    let Some(file) = desk.uploads.claim(client, upload) else {
        return Some(format!("this device has no upload \"{upload}\" that is whole: upload it, and refer to it once"));
    };
    if message.kind == MessageKind::Foreign {
        return None;
    }
    let is_object = tokio::task::spawn_blocking(move || is_object(&file)).await.unwrap_or_default();
    if !is_object {
        desk.uploads.disclaim(upload);
        return Some("the upload is no object of JSON".to_owned());
    }
    None
}

/// Whether a file holds an object of JSON in UTF-8, without taking it into memory.
fn is_object(file: &File) -> bool {
    let mut reader = BufReader::new(file);
    let mut first = [0];
    let begins = loop {
        match reader.read_exact(&mut first) {
            Ok(()) if first[0].is_ascii_whitespace() => {}
            Ok(()) => break first[0] == b'{',
            Err(_) => break false,
        }
    };
    begins && reader.seek(SeekFrom::Start(0)).is_ok() && serde_json::from_reader::<_, IgnoredAny>(reader).is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use cmg_core::time::Tick;

    use super::*;

    #[test]
    fn an_upload_is_an_object_or_nothing() {
        let file = |text: &str| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            file
        };

        assert!(is_object(&file(" \n{\"a\": [1, {\"b\": null}]}")));
        for wrong in ["", " ", "[]", "7", "{\"a\": ", "{} {}"] {
            assert!(!is_object(&file(wrong)), "{wrong}");
        }
    }

    #[test]
    fn a_device_that_sends_without_end_waits_and_no_other() {
        let mut rates = Rates::default();
        let (one, other) = ("pc1".into(), "pc2".into());

        let taken = (0..100).filter(|_| rates.take(&one, Tick(0))).count();

        assert_eq!(taken, 60);
        assert!(rates.take(&other, Tick(0)) && rates.take(&one, Tick(1_000)));
    }
}
