//! A server that keeps books: how often did each request arrive? Requests carry a number, `/…/ID`; `/…/ID?hold=MS` is answered
//! only after that time, so that there is always something under way when a program dies.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Arrivals by number.
type Book = Arc<Mutex<BTreeMap<u64, u32>>>;

/// The running server. Dropping it closes everything.
pub(super) struct Ledger {
    pub(super) address: SocketAddr,
    book: Book,
    _tasks: JoinSet<()>,
}

impl Ledger {
    pub(super) async fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, book) = (listener.local_addr().unwrap(), Book::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&book)));
        Self { address, book, _tasks: tasks }
    }

    /// How often this request arrived.
    pub(super) fn arrivals(&self, id: u64) -> u32 {
        self.book.lock().unwrap().get(&id).copied().unwrap_or(0)
    }
}

async fn accept(listener: TcpListener, book: Book) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(serve(stream, Arc::clone(&book)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, book: Book) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Some(request) = Request::read(&mut stream).await {
        *book.lock().unwrap().entry(request.id).or_default() += 1;
        tokio::time::sleep(request.hold).await;
        let body = if request.head_only { String::new() } else { format!("{:>10}", request.id) };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{body}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

struct Request {
    id: u64,
    hold: Duration,
    head_only: bool,
}

impl Request {
    /// The next request with its whole body; none: the connection is over.
    async fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let first = line(stream).await?;
        let mut words = first.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, "hold=0"));
        let id = path.rsplit('/').next()?.parse().ok()?;
        let hold = Duration::from_millis(query.strip_prefix("hold=")?.parse().ok()?);
        let mut length = 0;
        loop {
            let field = line(stream).await?;
            if field.is_empty() {
                break;
            }
            if let Some(("content-length", value)) = field.to_ascii_lowercase().split_once(':') {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        Some(Self { id, hold, head_only: method == "HEAD" })
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    Some(line.trim_end().to_owned())
}
