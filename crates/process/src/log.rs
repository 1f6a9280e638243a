//! What the program says about itself: events of `tracing` to standard error, at a level that can change live.
//!
//! Standard output belongs to the access log and to answers of commands.

use std::error::Error;
use std::fmt;
use std::io;
use std::iter::successors;
use std::time::SystemTime;

use cmg_api::{LogFormat, LogLevel};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt as layer, reload};

pub use crate::access_log::AccessLog;
use crate::clock::push_timestamp;
pub use crate::json_line::JsonLine;

/// The level in force; the log ends with the process, not with this.
pub struct Level(reload::Handle<LevelFilter, Registry>);

/// Sends the events of the whole process to standard error. Fails if that has been done already.
pub fn start(level: LogLevel, format: LogFormat) -> Result<Level, tracing::subscriber::SetGlobalDefaultError> {
    let (subscriber, level) = subscriber(level, format, io::stderr);
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(level)
}

impl Level {
    /// From here on, events less important than `level` are left out.
    pub fn set(&self, level: LogLevel) {
        // Fails only where the subscriber is gone, and then there is no level.
        let _ = self.0.reload(filter(level));
    }
}

/// An error with everything that caused it, in one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

fn subscriber<W>(level: LogLevel, format: LogFormat, to: W) -> (impl tracing::Subscriber + Send + Sync, Level)
where
    W: for<'a> layer::MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = layer::layer().with_writer(to).with_timer(Clock).with_ansi(false);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.boxed(),
    };
    (Registry::default().with(filter).with(lines), Level(handle))
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// The same timestamps as in the access log.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        push_timestamp(SystemTime::now(), &mut text);
        out.write_str(&String::from_utf8_lossy(&text))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::with_default;

    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<u8>>>);

    impl Seen {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Seen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[derive(Debug)]
    struct Unreached(io::Error);

    impl fmt::Display for Unreached {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot connect")
        }
    }

    impl Error for Unreached {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_is_told_with_what_caused_it() {
        assert_eq!(chain(&Unreached(io::Error::other("refused"))), "cannot connect: refused");
    }

    fn log(level: LogLevel, format: LogFormat) -> (impl tracing::Subscriber + Send + Sync, Level, Seen) {
        let seen = Seen::default();
        let to = seen.clone();
        let (subscriber, level) = subscriber(level, format, move || to.clone());
        (subscriber, level, seen)
    }

    #[test]
    fn json_has_one_object_a_line_with_its_fields() {
        let (subscriber, _level, seen) = log(LogLevel::Info, LogFormat::Json);

        with_default(subscriber, || tracing::info!(port = 443, "Listening\nhere"));

        let text = seen.text();
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "Listening\nhere");
        assert_eq!(line["port"], 443);
        assert_eq!(line["level"], "INFO");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn text_is_for_people() {
        let (subscriber, _level, seen) = log(LogLevel::Info, LogFormat::Text);

        with_default(subscriber, || tracing::warn!(port = 443, "Busy"));

        assert!(seen.text().ends_with("Busy port=443\n"), "{}", seen.text());
    }

    #[test]
    fn the_level_changes_live() {
        let (subscriber, level, seen) = log(LogLevel::Warn, LogFormat::Text);

        with_default(subscriber, || {
            tracing::info!("before");
            level.set(LogLevel::Debug);
            tracing::debug!("after");
            level.set(LogLevel::Error);
            tracing::warn!("later");
        });

        assert_eq!(seen.text().lines().count(), 1);
        assert!(seen.text().contains("after"));
    }
}
