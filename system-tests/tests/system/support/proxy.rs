//! An HTTP proxy that knows CONNECT only, with or without Basic log-in.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// It serves until the test process ends.
pub(crate) struct ConnectProxy {
    pub(crate) port: u16,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    tunnels: AtomicU32,
    refused: AtomicU32,
}

impl ConnectProxy {
    /// `log_in`: the value of `Proxy-Authorization` that it wants.
    pub(crate) fn start(log_in: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::<Counts>::default();
        let counting = Arc::clone(&counts);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let counts = Arc::clone(&counting);
                // A connection that breaks is over, and nobody needs to know.
                std::thread::spawn(move || drop(connect(client, log_in, &counts)));
            }
        });
        Self { port, counts }
    }

    /// Connections made through it.
    pub(crate) fn tunnels(&self) -> u32 {
        self.counts.tunnels.load(Ordering::Relaxed)
    }

    /// Requests without the right log-in.
    pub(crate) fn refused(&self) -> u32 {
        self.counts.refused.load(Ordering::Relaxed)
    }
}

fn connect(client: TcpStream, log_in: Option<&str>, counts: &Counts) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let given = lines.iter().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
    if given != log_in {
        counts.refused.fetch_add(1, Ordering::Relaxed);
        return (&client).write_all(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
        );
    }
    let target = lines[0].split(' ').nth(1).ok_or(std::io::ErrorKind::InvalidData)?;
    let server = TcpStream::connect(target)?;
    counts.tunnels.fetch_add(1, Ordering::Relaxed);
    (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut to_server, mut from_server) = (server.try_clone()?, server);
    let mut to_client = client;
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut reader, &mut to_server);
    to_server.shutdown(Shutdown::Both)
}
