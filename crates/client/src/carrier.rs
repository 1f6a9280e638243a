//! Carries requests to the site by the way in force: straight on the intranet, or through an internet-based service with the device's
//! credential. The way is chosen elsewhere; here it is followed, and what came of it is told.
//!
//! A request goes out once. It is sent again, by the next way in force, only where nobody can have seen it, or where it may be repeated
//! by its method and no response had begun.

mod body;
mod book;
mod circle;
mod fields;
mod leg;
mod network;
mod question;
#[cfg(test)]
pub(crate) mod tests;
mod way;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use cmg_api::policy::{Policy, RouteCredential};
use http::header::LOCATION;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

pub use body::{BodyError, Carried};
pub use book::{FIRST_CONTACT, FirstContact};
pub use leg::LegError;
pub use network::{ConnectError, Network};
pub use question::{Answer, Question};
pub use way::{Outcome, Told, Way};

use self::body::Outward;
use self::book::{Book, Service};
use self::fields::{name_inside, without_neighbours};
use self::leg::{Leg, Shows, may_repeat};
pub(crate) use self::way::judged;
use self::way::{failure, tell};
use crate::clock::Drift;
use crate::key::DeviceKey;
use crate::origin::{Base, Origin};

/// How often one request sets out.
const TRIES: usize = 3;
/// How long a request waits for a way.
const PATIENCE: Duration = Duration::from_secs(10);

/// A token of the site.
#[derive(Clone)]
pub struct Token {
    /// The token.
    pub text: String,
    /// Whether it is bound to the device's key, so that a proof goes with it; else to the device's certificate.
    pub by_key: bool,
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[token]")
    }
}

/// Why a request was not carried.
#[derive(Debug, Error)]
pub enum CarryError {
    /// The policy has no such server.
    #[error("the policy names no server {0}")]
    Unknown(Origin),
    /// There is no way to the site.
    #[error("there is no way to the site: {0}")]
    Nowhere(String),
    /// The service does not lead there.
    #[error("{service} has no way to {what}")]
    NoRoute {
        /// The service.
        service: String,
        /// What was asked for.
        what: String,
    },
    /// The device has not what the service wants to see.
    #[error("{service} wants to see {wanted}, which this device does not have")]
    NoCredential {
        /// The service.
        service: String,
        /// What.
        wanted: &'static str,
    },
    /// The request's own body broke.
    #[error("the body of the request broke: {0}")]
    Body(BodyError),
    /// It set out in vain.
    #[error(transparent)]
    Leg(#[from] LegError),
    /// The response is too large, or broke.
    #[error("the response broke, or has more than {0} bytes")]
    Response(usize),
    /// The response did not come in time.
    #[error("the response did not come within {0:?}")]
    TooSlow(Duration),
}

/// Carries requests. Clones are the same one.
#[derive(Clone)]
pub struct Carrier(Arc<Shared>);

struct Shared {
    key: DeviceKey,
    certificate: Option<Arc<CertifiedKey>>,
    first: FirstContact,
    network: Network,
    drift: Drift,
    token: ArcSwapOption<Token>,
    policy: watch::Sender<Option<Arc<Policy>>>,
    book: ArcSwap<Book>,
    way: watch::Sender<Way>,
    told: mpsc::Sender<Told>,
}

impl Carrier {
    /// Knows nothing but how to make first contact. What comes of requests goes to `told`; where that is full, it is left out.
    pub fn new(
        key: DeviceKey,
        certificate: Option<Arc<CertifiedKey>>,
        network: Network,
        first: &FirstContact,
        told: mpsc::Sender<Told>,
    ) -> Self {
        let book = ArcSwap::from_pointee(Book::of_first_contact(first, certificate.as_ref()));
        let way = watch::Sender::new(Way::Service(FIRST_CONTACT.to_owned()));
        let (token, policy, drift) = (ArcSwapOption::empty(), watch::Sender::default(), Drift::default());
        let first = first.clone();
        Self(Arc::new(Shared { key, certificate, first, network, drift, token, policy, book, way, told }))
    }

    /// Carries a request to the server of the policy whose address on the intranet is `origin`. The target of `request` is a path with
    /// its query; who asked, and whether it may, has been judged before.
    pub async fn carry<B>(&self, origin: &Origin, request: Request<B>) -> Result<Response<Carried>, CarryError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        without_neighbours(&mut head.headers);
        let mut body = Outward::of(body).await.map_err(CarryError::Body)?;
        let mut failed = None;
        for tries_left in (0..TRIES).rev() {
            let way = self.way_but(failed.as_ref()).await?;
            match self.by_way(&way, origin, &head, &path, &mut body).await {
                Err(CarryError::Leg(error)) if tries_left > 0 && again(&error, &head, &body) => failed = Some(way),
                outcome => return outcome,
            }
        }
        Err(CarryError::Nowhere("every way has failed".to_owned()))
    }

    /// Asks a management point by the way in force.
    pub async fn ask(&self, question: &Question) -> Result<Answer, CarryError> {
        let way = self.way_but(None).await?;
        self.ask_by(&way, question, &self.0.told).await
    }

    /// Asks a management point by a way that need not be in force; nothing is told of what comes of it.
    pub async fn try_by(&self, way: &Way, question: &Question) -> Result<Answer, CarryError> {
        self.ask_by(way, question, &mpsc::channel(1).0).await
    }

    /// Whether anybody answers over plain `http` where a service is: the status, and where it leads.
    pub(crate) async fn knock(&self, service: &str, within: Duration) -> Option<(StatusCode, Option<String>)> {
        let book = self.0.book.load_full();
        let host = book.services.get(service)?.management_points.first()?.origin.host.clone();
        let base = Base { origin: Origin { secure: false, host, port: 80 }, path: String::new() };
        let circle = circle::Circle::new(None);
        let (head, ()) = Request::get("/").body(()).ok()?.into_parts();
        let (leg, mut body) = (self.leg(&circle, &base, Shows::Nothing), Outward::Whole(Bytes::new()));
        let response = timeout(within, leg.send(&head, "/", &mut body)).await.ok()?.ok()?;
        let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok()).map(str::to_owned);
        Some((response.status(), location))
    }

    /// Whether an address is the service's own, over TLS.
    pub(crate) fn is_of(&self, service: &str, address: &str) -> bool {
        let book = self.0.book.load();
        let Some(service) = book.services.get(service) else { return false };
        let led = Origin::parse(address.split(['?', '#']).next().unwrap_or_default());
        led.is_some_and(|led| led.secure && service.management_points.iter().any(|base| base.origin.host == led.host))
    }

    /// The policy in force; none: there is none yet.
    pub fn policy(&self) -> Option<Arc<Policy>> {
        self.0.policy.borrow().clone()
    }

    /// The policy in force, and every one that follows.
    pub fn policies(&self) -> watch::Receiver<Option<Arc<Policy>>> {
        self.0.policy.subscribe()
    }

    /// The way in force, and every one that follows.
    pub fn way(&self) -> watch::Receiver<Way> {
        self.0.way.subscribe()
    }

    /// By how many seconds the device's clock is behind the site's; negative: ahead.
    pub fn drift(&self) -> i64 {
        self.0.drift.seconds()
    }

    /// The thumbprint of the device's key.
    pub fn key_thumbprint(&self) -> String {
        self.0.key.thumbprint()
    }

    /// Puts a policy in force, and says what of it cannot be used. Connections of the one before end with their requests.
    pub(crate) fn follow(&self, policy: Arc<Policy>) -> Vec<String> {
        let mut book = Book::of(&policy, &self.0.first, self.0.certificate.as_ref());
        let problems = std::mem::take(&mut book.problems);
        self.0.book.store(Arc::new(book));
        self.0.policy.send_replace(Some(policy));
        problems
    }

    pub(crate) fn take_token(&self, token: Token) {
        self.0.token.store(Some(Arc::new(token)));
    }

    pub(crate) fn take_way(&self, way: Way) {
        self.0.way.send_if_modified(|known| {
            let is_new = *known != way;
            *known = way;
            is_new
        });
    }

    /// The network is another one: what waits there is not to be relied on.
    pub(crate) fn forget_connections(&self) {
        self.0.book.load().forget_connections();
    }

    /// The way in force, once it is another one than `failed`.
    async fn way_but(&self, failed: Option<&Way>) -> Result<Way, CarryError> {
        let mut ways = self.way();
        let is_other = |way: &Way| !matches!(way, Way::Nowhere(_)) && Some(way) != failed;
        let found = timeout(PATIENCE, ways.wait_for(is_other)).await.ok().and_then(Result::ok).map(|way| way.clone());
        found.ok_or_else(|| match &*self.0.way.borrow() {
            Way::Nowhere(why) => CarryError::Nowhere(why.clone()),
            Way::Intranet(_) | Way::Service(_) => CarryError::Nowhere("the only way has failed".to_owned()),
        })
    }

    async fn by_way(
        &self,
        way: &Way,
        origin: &Origin,
        head: &Parts,
        path: &str,
        body: &mut Outward,
    ) -> Result<Response<Carried>, CarryError> {
        let book = self.0.book.load_full();
        let server = book.servers.get(origin).ok_or_else(|| CarryError::Unknown(origin.clone()))?;
        let Way::Service(name) = way else {
            let base = Base { origin: origin.clone(), path: String::new() };
            return Ok(self.leg(&server.circle, &base, Shows::Nothing).send(head, path, body).await?);
        };
        let service = book.services.get(name).ok_or_else(|| gone(name))?;
        let no_route = || CarryError::NoRoute { service: name.clone(), what: format!("{}{path}", server.name) };
        let route = service.route(&server.name, path).ok_or_else(no_route)?;
        let below = path.strip_prefix(route.path.trim_end_matches('/')).unwrap_or(path);
        let leg = self.leg(&service.circle, &route.base, self.credential(name, route.credential)?);
        let outcome = leg.send(head, below, body).await;
        tell(&self.0.told, way, outcome.as_ref().map(|_| Outcome::Answered).unwrap_or_else(failure));
        let mut response = outcome?;
        name_inside(response.headers_mut(), route, origin);
        Ok(response)
    }

    async fn ask_by(&self, way: &Way, question: &Question, told: &mpsc::Sender<Told>) -> Result<Answer, CarryError> {
        let book = self.0.book.load_full();
        let (circle, bases) = match way {
            Way::Nowhere(why) => return Err(CarryError::Nowhere(why.clone())),
            Way::Intranet(name) => {
                let point = book.management_points.get(name).ok_or_else(|| gone(name))?;
                (&point.circle, std::slice::from_ref(&point.base))
            }
            Way::Service(name) => {
                let Service { circle, management_points, .. } = book.services.get(name).ok_or_else(|| gone(name))?;
                (circle, management_points.as_slice())
            }
        };
        let name = || CarryError::NoRoute { service: format!("{way:?}"), what: "a management point".to_owned() };
        let start = usize::try_from(cmg_process::dice::draw() % bases.len().max(1) as u64).unwrap_or(0);
        let mut outcome = Err(name());
        // Several addresses do the same work: one after the other, beginning anywhere.
        for base in bases.iter().cycle().skip(start).take(bases.len()) {
            outcome = self.ask_at(circle, base, question).await;
            tell(told, way, judged(&outcome));
            if !matches!(&outcome, Err(CarryError::Leg(error)) if error.is_unsent()) {
                break;
            }
        }
        outcome
    }

    async fn ask_at(&self, circle: &Arc<circle::Circle>, base: &Base, question: &Question) -> Result<Answer, CarryError> {
        let (head, ()) = question.head()?.into_parts();
        let mut body = Outward::Whole(question.body.clone().unwrap_or_default());
        let leg = self.leg(circle, base, self.of_token(question.shows.clone().or_else(|| self.own_token())));
        let answered = async {
            let (head, incoming) = leg.send(&head, &question.path, &mut body).await?.into_parts();
            let body = Limited::new(incoming, question.largest).collect().await.map_err(|_| CarryError::Response(question.largest))?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        timeout(question.patience, answered).await.map_err(|_| CarryError::TooSlow(question.patience))?
    }

    fn leg<'a>(&'a self, circle: &'a Arc<circle::Circle>, base: &'a Base, shows: Shows) -> Leg<'a> {
        let Shared { key, network, drift, .. } = &*self.0;
        Leg { circle, base, shows, key, network, drift }
    }

    fn own_token(&self) -> Option<Token> {
        self.0.token.load().as_deref().cloned()
    }

    fn of_token(&self, token: Option<Token>) -> Shows {
        match token {
            Some(Token { text, by_key }) => Shows::Token { token: text, proof: true, scheme: if by_key { "DPoP" } else { "Bearer" } },
            None => Shows::Nothing,
        }
    }

    fn credential(&self, service: &str, wanted: RouteCredential) -> Result<Shows, CarryError> {
        let missing = |wanted| Err(CarryError::NoCredential { service: service.to_owned(), wanted });
        match (wanted, self.0.certificate.is_some(), self.own_token()) {
            (RouteCredential::Nothing, _, _) | (RouteCredential::Certificate | RouteCredential::Either, true, _) => Ok(Shows::Nothing),
            (RouteCredential::Token | RouteCredential::Either, _, Some(token)) => Ok(self.of_token(Some(token))),
            (RouteCredential::Certificate, false, _) => missing("a client certificate"),
            (RouteCredential::Token | RouteCredential::Either, _, None) => missing("a token of the site"),
        }
    }
}

fn gone(name: &str) -> CarryError {
    CarryError::Nowhere(format!("{name} has left the policy"))
}

fn again(error: &LegError, head: &Parts, body: &Outward) -> bool {
    body.can_be_sent() && (error.is_unsent() || (matches!(error, LegError::Broken(_)) && may_repeat(head, body)))
}
