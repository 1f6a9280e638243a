//! A connection that comes back from whoever it was lent to: `h2` keeps what it is given, and what it keeps is closed with it.
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use cmg_transport::TlsStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// A connection on loan. When it is dropped, the stream goes to whoever holds the other end.
pub(super) struct Lent {
    /// There until the drop.
    stream: Option<TlsStream>,
    home: Option<oneshot::Sender<TlsStream>>,
}

impl Lent {
    /// Lends `stream`; it comes back where the receiver is waited for.
    pub(super) fn new(stream: TlsStream) -> (Self, oneshot::Receiver<TlsStream>) {
        let (home, back) = oneshot::channel();
        (Self { stream: Some(stream), home: Some(home) }, back)
    }

    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut TlsStream>> {
        self.get_mut().stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(stream), Some(home)) = (self.stream.take(), self.home.take()) {
            // Where nobody waits for it, the connection closes here.
            let _ = home.send(stream);
        }
    }
}

impl AsyncRead for Lent {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}
