//! Bodies on their way: a request's, kept whole where that costs little so that it can be sent again, and a response's, at whose end the
//! connection is given back.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::circle::Connection;

/// Why a body broke.
pub type BodyError = Box<dyn Error + Send + Sync>;

/// A request's body as a connection sends it.
pub(crate) type Sent = UnsyncBoxBody<Bytes, BodyError>;

/// The largest body that is kept whole, in bytes.
const KEPT: u64 = 64 << 10;

/// A request's body.
pub(crate) enum Outward {
    /// Can be sent again.
    Whole(Bytes),
    /// Can be sent once; none: it has been.
    Once(Option<Sent>),
}

impl Outward {
    /// Keeps a body that says that it is small.
    pub(crate) async fn of<B>(body: B) -> Result<Self, BodyError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        match body.size_hint().exact() {
            Some(size) if size <= KEPT => Ok(Self::Whole(body.collect().await.map_err(Into::into)?.to_bytes())),
            _ => Ok(Self::Once(Some(body.map_err(Into::into).boxed_unsync()))),
        }
    }

    /// The body to send; none: it was sent and cannot be again.
    pub(crate) fn take(&mut self) -> Option<Sent> {
        match self {
            Self::Whole(bytes) => Some(Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync()),
            Self::Once(body) => body.take(),
        }
    }

    /// Takes back what was not sent.
    pub(crate) fn put_back(&mut self, unsent: Sent) {
        if let Self::Once(body) = self {
            *body = Some(unsent);
        }
    }

    pub(crate) fn can_be_sent(&self) -> bool {
        matches!(self, Self::Whole(_) | Self::Once(Some(_)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::Whole(_))
    }
}

/// A response's body, as it comes.
pub struct Carried {
    incoming: Incoming,
    /// Until the end.
    connection: Option<Connection>,
}

impl Carried {
    pub(crate) fn new(incoming: Incoming, connection: Connection) -> Self {
        let mut carried = Self { incoming, connection: Some(connection) };
        carried.give_back_at_end();
        carried
    }

    /// The connection goes back as soon as nothing more comes from it.
    fn give_back_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(connection) = self.connection.take()
        {
            connection.give_back();
        }
    }
}

impl Body for Carried {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(context);
        match &polled {
            Poll::Ready(None) => {
                if let Some(connection) = self.connection.take() {
                    connection.give_back();
                }
            }
            Poll::Ready(Some(Ok(_))) => self.give_back_at_end(),
            Poll::Ready(Some(Err(_))) => self.connection = None,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
