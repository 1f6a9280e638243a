//! What crosses a process boundary: so far the two configuration files, as they are written.
//!
//! Only shapes live here. Whether an address is an address, whether a named trust policy exists, whether two keys
//! may stand together is judged where the file becomes a snapshot, so that every problem can be reported with the
//! others. Unknown keys are refused everywhere: a misspelt limit must not be a limit that is absent.

mod log;
pub mod text;

pub use log::{LogFile, LogFormat, LogLevel};
