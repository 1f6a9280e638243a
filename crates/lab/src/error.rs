//! Why a laboratory could not be built.

use std::path::PathBuf;

/// What went wrong while a laboratory was set up.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A key or certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A signing key could not be made or used.
    #[error("cannot use the signing key: {0}")]
    Key(&'static str),
    /// A file could not be read or written.
    #[error("{}: cannot be used", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A published server is described in a way that cannot work.
    #[error("{name}: {problem}")]
    Published {
        /// The name under which it was to be published.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A socket could not be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Too few ports are free on the loopback address.
    #[error("no free port on 127.0.0.1 between {first} and {last}")]
    NoPort {
        /// First port tried.
        first: u16,
        /// Last port tried.
        last: u16,
    },
    /// A program could not be started.
    #[error("{program}: cannot be started")]
    Start {
        /// Which program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program ended, or did not become ready in time.
    #[error("{program}: {problem}\n\nIts log is {}", log.display())]
    NotReady {
        /// Which program.
        program: String,
        /// What happened instead.
        problem: String,
        /// Where it writes its log.
        log: PathBuf,
    },
    /// The site server did not do what it was asked.
    #[error("the site server refused {asked}: {answer}")]
    Site {
        /// Method and path.
        asked: String,
        /// What it said.
        answer: String,
    },
    /// The process cannot be told of signals.
    #[error("cannot listen for Ctrl-C")]
    Signals {
        /// What the system said.
        source: std::io::Error,
    },
}
