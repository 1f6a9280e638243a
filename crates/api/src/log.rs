//! `[log]`: what a program says about itself, the same in both files.

use serde::{Deserialize, Serialize};

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogFile {
    /// The least important level that is written. Default `info`: changes of state, warnings and errors, one line
    /// each, so that a quiet gateway is silent.
    pub level: LogLevel,
    /// Default `json`, which log collectors read as it is; `text` is for a person at a terminal.
    pub format: LogFormat,
    /// Whether client addresses are written. Default true, because they are the first thing asked for after an
    /// attack; false where the law or a works council says so.
    pub client_address: bool,
}

impl Default for LogFile {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Json, client_address: true }
    }
}

/// How important a line must be to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something stopped.
    Error,
    /// Somebody may have to get up.
    Warn,
    /// A change of state.
    Info,
    /// An explanation.
    Debug,
    /// The way through the code.
    Trace,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Words for people.
    Text,
}
