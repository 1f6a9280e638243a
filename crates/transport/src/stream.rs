//! A byte stream that is TLS or plain TCP: to published servers both exist.
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::scratch;
use crate::tls::TlsStream;

/// Bytes in both directions.
pub enum ByteStream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<TlsStream>),
}

impl ByteStream {
    /// The certificate that the peer has shown, DER; empty: none, or there is no TLS.
    pub fn peer_certificate(&self) -> &[u8] {
        match self {
            Self::Plain(_) => &[],
            Self::Tls(tls) => tls.peer_certificates().and_then(|chain| chain.first()).map_or(&[], |leaf| leaf.as_ref()),
        }
    }

    /// Reads once and appends to `out`. `Ok(0)` is the end.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, out: &mut BytesMut) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => poll_fill_plain(tcp, cx, out),
            Self::Tls(tls) => tls.poll_fill(cx, out),
        }
    }

    /// Writes a part of `data`; gives how much was taken.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, data),
            Self::Tls(tls) => tls.poll_write(cx, data),
        }
    }

    /// Writes a part of what lies in several places, in one system call; gives how much was taken.
    pub fn poll_write_vectored(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, parts),
            Self::Tls(tls) => tls.poll_write_vectored(cx, parts),
        }
    }

    /// Hands everything written so far to the socket.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_flush(cx),
        }
    }

    /// Ends this direction in an orderly way.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => tls.poll_close(cx),
        }
    }

    /// Reads once and appends to `out`. Safe to drop while it waits.
    pub async fn fill(&mut self, out: &mut BytesMut) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill(cx, out)).await
    }

    /// Writes all of `data` and hands it to the socket.
    pub async fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        let mut rest = data;
        std::future::poll_fn(|cx| {
            while !rest.is_empty() {
                let taken = ready!(self.poll_write(cx, rest))?;
                if taken == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                rest = &rest[taken..];
            }
            self.poll_flush(cx)
        })
        .await
    }

    /// Ends this direction in an orderly way.
    pub async fn close(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_close(cx)).await
    }

    /// The socket.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.tcp(),
        }
    }
}

/// How far from a page's start received bytes are put.
const SKEW: usize = 1_536;

const PAGE: usize = 4_096;

/// Makes room for `bytes` more in `out`, away from the start of a page.
///
/// TLS puts a five-byte header in front of each record, and allocators give large blocks at the start of a page. Bytes that lie at
/// the start of a page too are then copied to an address that is a few bytes further within its page, which is several times slower
/// where the C library copies with `rep movsb` (AMD Zen 3 and 4, glibc bug 30994): a third of the processor time of bulk transfers.
pub fn make_room(out: &mut BytesMut, bytes: usize) {
    out.reserve(bytes + SKEW);
    if out.is_empty() && out.as_ptr() as usize % PAGE < SKEW / 2 {
        out.resize(SKEW, 0);
        out.advance(SKEW);
    }
}

/// Spare room, made with [`make_room`], from which on the caller is taken to expect much: bytes are read to where they stay.
const ROOMY: usize = 16 * 1024;

fn poll_fill_plain(tcp: &mut TcpStream, cx: &mut Context<'_>, out: &mut BytesMut) -> Poll<io::Result<usize>> {
    if out.capacity() - out.len() >= ROOMY {
        return pin!(tcp.read_buf(out)).poll(cx);
    }
    scratch::with(|scratch| {
        let mut buf = ReadBuf::new(&mut scratch[..scratch::CHUNK]);
        ready!(Pin::new(tcp).poll_read(cx, &mut buf))?;
        out.put_slice(buf.filled());
        Poll::Ready(Ok(buf.filled().len()))
    })
}
