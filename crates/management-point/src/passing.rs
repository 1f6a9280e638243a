//! What goes between this management point and the site for devices: messages and presence there, tasks back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cmg_api::device::{MOST_PASSED_ON, MessageKind, PRESENCE_REPEATED, PassedOn, PassedOnMessage};
use cmg_process::dice;
use cmg_process::log::chain;
use cmg_site_client::{Backoff, SiteError, Trouble};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tracing::{error, info, warn};

use crate::desk::Desk;

/// How often it is looked who came and went.
const LOOK: Duration = Duration::from_secs(1);

/// How often everybody is named.
const WHOLE: Duration = Duration::from_secs(300);

/// Shortest time between two questions for tasks where the first has brought nothing: it should have been held.
const PAUSE: Duration = Duration::from_millis(250);

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(200), Duration::from_secs(10))
}

/// Passes messages on to the site, the oldest first, until dropped.
pub(crate) async fn messages(desk: Arc<Desk>) {
    let (mut backoff, mut trouble, mut most) = (backoff(), Trouble::default(), MOST_PASSED_ON);
    loop {
        let batch = desk.spool.oldest(most).await;
        match pass_on(&desk, batch, most).await {
            Ok(()) => {
                backoff.reset();
                most = MOST_PASSED_ON;
                if trouble.is_over() {
                    info!("The site takes messages of devices again");
                }
            }
            Err(error) => {
                // Whatever the site cannot take of many, it is found by asking with fewer.
                if error.status().is_some_and(|status| status == 400 || status == 413) {
                    most = (most / 8).max(1);
                }
                let text = chain(&error);
                if trouble.is_news(&text) {
                    warn!(error = text, waiting = desk.spool.waiting(), "The site does not take messages of devices; they wait on disk");
                }
                sleep(backoff.failed(error.retry_after(), dice::draw())).await;
            }
        }
    }
}

async fn pass_on(desk: &Arc<Desk>, batch: Vec<(u64, PassedOnMessage)>, most: usize) -> Result<(), SiteError> {
    let (mut numbers, mut messages, mut uploads) = (Vec::new(), Vec::new(), Vec::new());
    for (number, mut passed) in batch {
        numbers.push((number, passed.message.id.clone()));
        if let Some(upload) = passed.message.upload.clone() {
            match with_body(desk, &mut passed, &upload).await {
                Ok(()) => {}
                Err(why) if why.kind() == io::ErrorKind::NotFound => {
                    error!(
                        upload,
                        client = passed.client,
                        message = passed.message.id,
                        "The upload of a message is gone; the message goes too"
                    );
                    desk.spool.forget(vec![number]).await;
                    return Ok(());
                }
                Err(why) => {
                    warn!(upload, %why, "An upload cannot be read at the moment");
                    sleep(LOOK).await;
                    return Ok(());
                }
            }
            uploads.push(upload);
        }
        messages.push(passed);
    }
    if messages.is_empty() {
        // What cannot be read at this moment is read again.
        sleep(LOOK).await;
        return Ok(());
    }
    let kept = match desk.point.site.member().client.pass_on(&PassedOn { messages }).await {
        Ok(kept) => kept,
        Err(error) if most == 1 && error.status().is_some_and(|status| status == 400 || status == 413) => {
            error!(error = chain(&error), message = numbers[0].1, "The site will never take this message; it is given up");
            desk.spool.forget(numbers.into_iter().map(|(number, _)| number).collect()).await;
            uploads.iter().for_each(|upload| desk.uploads.forget(upload));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for refused in &kept.refused {
        warn!(message = refused.id, why = refused.why, "The site does not keep a message of a device");
    }
    let is_done = |id: &String| kept.kept.contains(id) || kept.refused.iter().any(|refused| refused.id == *id);
    let done: Vec<u64> = numbers.iter().filter(|(_, id)| is_done(id)).map(|(number, _)| *number).collect();
    if done.len() == numbers.len() {
        uploads.iter().for_each(|upload| desk.uploads.forget(upload));
    }
    desk.spool.forget(done).await;
    Ok(())
}

/// Puts the upload in the place of the body.
async fn with_body(desk: &Arc<Desk>, passed: &mut PassedOnMessage, upload: &str) -> io::Result<()> {
    let (of, id) = (Arc::clone(desk), upload.to_owned());
    let read = tokio::task::spawn_blocking(move || of.uploads.read(&id)).await;
    let bytes = read?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))??;
    let text = match passed.message.kind {
        MessageKind::Foreign => STANDARD.encode(bytes),
        MessageKind::Heartbeat | MessageKind::Inventory | MessageKind::Status => String::from_utf8_lossy(&bytes).into_owned(),
    };
    passed.message.body = text.into();
    Ok(())
}

/// Tells the site who is online until dropped.
pub(crate) async fn presence(desk: Arc<Desk>) {
    let (mut backoff, mut trouble) = (backoff(), Trouble::default());
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut whole_at, mut told_at) = (Instant::now(), Instant::now());
    let repeated = Duration::from_secs(PRESENCE_REPEATED);
    loop {
        look.tick().await;
        let now = Instant::now();
        let is_whole = whole_at <= now;
        desk.measure();
        let presence = desk.board.presence(is_whole);
        let is_news = is_whole || !presence.online.is_empty() || !presence.offline.is_empty();
        if !is_news && now < told_at + repeated {
            continue;
        }
        match desk.point.site.member().client.presence(&presence).await {
            Ok(()) => {
                backoff.reset();
                told_at = now;
                if is_whole {
                    whole_at = now + WHOLE;
                }
                if trouble.is_over() {
                    info!("The site hears again who is online");
                }
            }
            Err(error) => {
                // Who came and went in what was not heard is not known any more.
                whole_at = now;
                let text = chain(&error);
                if trouble.is_news(&text) {
                    warn!(error = text, "The site does not hear who is online");
                }
                sleep(backoff.failed(error.retry_after(), dice::draw())).await;
            }
        }
    }
}

/// Asks the site what devices shall do until dropped.
pub(crate) async fn tasks(desk: Arc<Desk>) {
    let (mut backoff, mut trouble) = (backoff(), Trouble::default());
    loop {
        let asked_at = Instant::now();
        let before = desk.board.newest();
        match desk.point.site.member().client.tasks(before).await {
            Ok(tasks) => {
                backoff.reset();
                if trouble.is_over() {
                    info!("The site tells again what devices shall do");
                }
                desk.board.take(tasks.after, tasks.tasks);
                if desk.board.newest() == before {
                    sleep_until(asked_at + PAUSE).await;
                }
            }
            Err(error) => {
                let text = chain(&error);
                if trouble.is_news(&text) {
                    warn!(error = text, "The site does not tell what devices shall do");
                }
                sleep(backoff.failed(error.retry_after(), dice::draw())).await;
            }
        }
    }
}
