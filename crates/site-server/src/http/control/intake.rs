//! What comes in on the control port: who asks is looked at first, then the body is taken in, bounded in size and time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use cmg_api::clients::LARGEST_ASKED;
use cmg_api::control::LARGEST_MESSAGE;
use cmg_api::device::LARGEST_PASSED_ON;
use tokio::time::timeout;

use super::{Refused, connection_point, management_point};
use crate::http::listener::Peer;
use crate::site::Site;

/// Who may ask on a route. Each kind of member has routes of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Anybody,
    ConnectionPoint,
    ManagementPoint,
}

/// What a route takes.
#[derive(Clone, Copy)]
pub(super) struct Intake {
    /// Who may ask.
    who: Who,
    /// The largest body, in bytes.
    largest: usize,
    /// The longest that it may take.
    patience: Duration,
}

impl Intake {
    /// A first certificate: anybody may ask.
    pub(super) const OF_ANYBODY: Self = Self { who: Who::Anybody, largest: 64 << 10, patience: Duration::from_secs(10) };

    /// A question without a body.
    pub(super) const NOTHING: Self = Self { who: Who::ConnectionPoint, largest: 0, patience: PATIENCE };

    /// A request for a certificate, with the one before.
    pub(super) const CERTIFICATE: Self = Self { who: Who::ConnectionPoint, largest: 64 << 10, patience: PATIENCE };

    /// The states of all members that a connection point speaks for.
    pub(super) const STATES: Self = Self { who: Who::ConnectionPoint, largest: LARGEST_MESSAGE, patience: PATIENCE };

    /// A client's request, as a management point passes it on.
    pub(super) const CLIENT: Self = Self { who: Who::ManagementPoint, largest: LARGEST_ASKED, patience: PATIENCE };

    /// What devices have sent. An upload is large.
    pub(super) const MESSAGES: Self = Self { who: Who::ManagementPoint, largest: LARGEST_PASSED_ON, patience: Duration::from_secs(120) };

    /// The same of a management point.
    pub(super) const fn of_management_point(self) -> Self {
        Self { who: Who::ManagementPoint, ..self }
    }
}

/// The longest that a body of a member may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lets a request through with its body, or refuses it.
pub(super) async fn take(State((site, intake)): State<(Arc<Site>, Intake)>, request: Request, next: Next) -> Result<Response, Refused> {
    let peer = request.extensions().get::<Peer>();
    let peer = || peer.ok_or_else(|| Refused::new(StatusCode::UNAUTHORIZED, "nobody is known to be at the other end"));
    match intake.who {
        Who::Anybody => {}
        Who::ConnectionPoint => _ = connection_point(peer()?, &site)?,
        Who::ManagementPoint => _ = management_point(peer()?, &site)?,
    }
    let (parts, body) = request.into_parts();
    let body = receive(body, intake).await?;
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}

async fn receive(body: Body, Intake { largest, patience, .. }: Intake) -> Result<Bytes, Refused> {
    let too_large = || Refused::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {largest} bytes"));
    if body.size_hint().lower() > largest as u64 {
        return Err(too_large());
    }
    match timeout(patience, to_bytes(body, largest)).await {
        Ok(received) => received.map_err(|_| too_large()), // or the connection broke: then nobody reads the answer
        Err(_) => Err(Refused::new(StatusCode::REQUEST_TIMEOUT, format!("the body did not come in {} s", patience.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A body that never comes.
    struct Never;

    impl HttpBody for Never {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_that_never_comes_is_waited_for_so_long_and_no_longer() {
        for intake in [Intake::OF_ANYBODY, Intake::CERTIFICATE, Intake::STATES] {
            assert!(intake.patience <= Duration::from_secs(30));
            let refused = receive(Body::new(Never), Intake { patience: Duration::ZERO, ..intake }).await;

            assert_eq!(refused.map_err(|refused| refused.status), Err(StatusCode::REQUEST_TIMEOUT));
        }
    }
}
