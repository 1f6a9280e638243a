//! Clients: list, show, new, approve, block, unblock, remove; and their tokens.

use axum::http::StatusCode;
use cmg_core::problem::Problem;
use cmg_store::{Client, ClientFilter, ClientState, ClientToken};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BASE;
use super::answer::Answer;
use super::asked::Asked;
use super::page::Page;
use super::route::{Method, Parameter, Route};
use crate::app::change::{ChangeRefused, Draft};
use crate::app::client_certificates::{self, NewClientCertificate};
use crate::app::client_tokens::{self, WINDOWS};
use crate::app::clients::{self, NewClient};
use crate::app::roles::Needs;
use crate::app::text::note_problem;
use crate::http::problem::Refused;

const LIST: &[Parameter] = &[
    Parameter("search", "string", "Only those whose name, identity or id contains this, in either case."),
    Parameter("state", "string", "Only `pending`, `approved` or `blocked` ones."),
    Parameter("after", "string", "Only those after this id: `next` of the page before."),
    Parameter("limit", "integer", "How many at most, 1 to 500. Default 100."),
];

const ENDING: &[Parameter] = &[Parameter("days", "integer", "Within so many days, 1 to 90. Default 30.")];

pub(super) fn routes() -> Vec<Route> {
    let change = Needs::Infrastructure;
    vec![
        Route::new(Method::Get, "/clients", Needs::Read, "Lists clients", list).query(LIST).gives::<ClientPage>(),
        Route::new(Method::Post, "/clients", change, "Registers a client", create).once().takes::<NewClient>().gives::<ShownClient>(),
        Route::new(Method::Get, "/clients/{id}", Needs::Read, "Shows a client", show).gives::<ShownClient>(),
        Route::new(Method::Delete, "/clients/{id}", change, "Removes a client; what it can show stays blocked", remove),
        Route::new(Method::Post, "/clients/{id}/approve", change, "Lets a client count that waits", approve)
            .status(200)
            .gives::<ShownClient>(),
        Route::new(Method::Post, "/clients/{id}/block", change, "Blocks a client with its certificates and tokens", block)
            .status(200)
            .takes::<BlockNote>()
            .gives::<ShownClient>(),
        Route::new(Method::Post, "/clients/{id}/unblock", change, "Lifts the block of a client", unblock)
            .status(200)
            .gives::<ShownClient>(),
        Route::new(Method::Post, "/clients/{id}/certificates", change, "Issues a certificate to a client", certify)
            .once()
            .takes::<NewClientCertificate>()
            .gives::<NewCertificate>(),
        Route::new(Method::Get, "/clients/{id}/tokens", Needs::Read, "Lists the tokens of a client", tokens).gives::<ClientTokenList>(),
        Route::new(
            Method::Get,
            "/client-tokens/ending",
            Needs::Read,
            "Lists tokens that end soon, of clients that have no later one",
            ending,
        )
        .query(ENDING)
        .gives::<EndingTokens>(),
    ]
}

/// Why a client is blocked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BlockNote {
    /// In your words. Default empty.
    #[serde(default)]
    note: String,
}

/// A client, as it is shown.
#[derive(Serialize, ToSchema)]
struct ShownClient {
    /// Its id.
    id: String,
    /// What it calls itself.
    name: String,
    /// How it proves who it is, and who that is: `key/pc1`.
    identity: String,
    /// SHA-256 thumbprint of its key.
    key_thumbprint: String,
    /// `pending`, `approved` or `blocked`.
    state: String,
    /// When it was registered, in seconds since 1970.
    created_at: i64,
    /// When it was seen last, in seconds since 1970.
    last_seen_at: Option<i64>,
}

/// A certificate that was issued.
#[derive(Serialize, ToSchema)]
struct NewCertificate {
    /// Its serial number, by which it is revoked.
    serial: String,
    /// The certificate and its issuer, PEM.
    chain: String,
    /// When it ends, in seconds since 1970.
    not_after: u64,
}

/// A page of clients.
#[derive(Serialize, ToSchema)]
struct ClientPage {
    /// By id.
    items: Vec<ShownClient>,
    /// What to send as `after` to get the next page; none: this is the last one.
    next: Option<String>,
    /// How many there are of each state, whatever is searched for.
    total: Counts,
}

/// How many clients there are.
#[derive(Serialize, ToSchema)]
struct Counts {
    /// Waiting for approval.
    pending: u64,
    /// That count.
    approved: u64,
    /// That are refused.
    blocked: u64,
}

/// A token of a client, as it is shown: never itself.
#[derive(Serialize, ToSchema)]
struct ShownClientToken {
    /// Its id.
    id: String,
    /// The client.
    client: String,
    /// When it was issued, in seconds since 1970.
    issued_at: i64,
    /// When it ends, in seconds since 1970.
    expires_at: i64,
    /// Whether it is blocked.
    blocked: bool,
}

/// All tokens of a client.
#[derive(Serialize, ToSchema)]
struct ClientTokenList {
    /// The latest first.
    items: Vec<ShownClientToken>,
}

/// Tokens that end soon.
#[derive(Serialize, ToSchema)]
struct EndingTokens {
    /// The first to end first, at most 500.
    items: Vec<ShownClientToken>,
    /// How many end within 30 days.
    within_30_days: usize,
    /// How many end within 14 days.
    within_14_days: usize,
    /// How many end within 7 days.
    within_7_days: usize,
}

impl From<Client> for ShownClient {
    fn from(client: Client) -> Self {
        Self {
            id: client.id,
            name: client.name,
            identity: client.identity,
            key_thumbprint: client.key_thumbprint,
            state: client.state.word().to_owned(),
            created_at: client.created_at,
            last_seen_at: client.last_seen_at,
        }
    }
}

impl ShownClientToken {
    fn of(token: ClientToken, blocked: bool) -> Self {
        Self { id: token.id, client: token.client, issued_at: token.issued_at, expires_at: token.expires_at, blocked }
    }
}

async fn list(asked: Asked) -> Result<Answer, Refused> {
    let page = Page::of(&asked)?;
    let filter = ClientFilter { state: asked.text("state").map(state).transpose()?, search: asked.text("search") };
    let mut view = asked.site().store.view().await?;
    let mut clients = view.client_page(filter, asked.text("after"), page.rows()).await?;
    let next = page.cut(&mut clients, |client| client.id.clone());
    let counts = view.count_clients().await?;
    let total = Counts { pending: counts.pending, approved: counts.approved, blocked: counts.blocked };
    Ok(Answer::ok(&ClientPage { items: clients.into_iter().map(ShownClient::from).collect(), next, total }))
}

fn state(text: &str) -> Result<ClientState, Refused> {
    let states = [ClientState::Pending, ClientState::Approved, ClientState::Blocked];
    states.into_iter().find(|state| state.word() == text).ok_or_else(|| {
        Refused::invalid(vec![Problem::new("?state", format!("\"{text}\" is no state"), "write pending, approved or blocked")])
    })
}

async fn show(asked: Asked) -> Result<Answer, Refused> {
    Ok(Answer::ok(&ShownClient::from(known(&asked).await?)))
}

async fn known(asked: &Asked) -> Result<Client, Refused> {
    let id = asked.part("id");
    let client = asked.site().store.client(id).await?;
    Ok(client.ok_or_else(|| ChangeRefused::NotFound { kind: clients::KIND, name: id.to_owned() })?)
}

async fn create(asked: Asked) -> Result<Answer, Refused> {
    let once = asked.once()?;
    let new: NewClient = asked.body()?;
    let mut draft = asked.draft().await?;
    if let Some(answer) = asked.earlier(once.as_ref(), &mut draft).await? {
        return Ok(answer);
    }
    let client = ShownClient::from(clients::add(&mut draft, &new).await?);
    let answer = Answer::new(StatusCode::CREATED, &client).location(format!("{BASE}/clients/{}", client.id));
    asked.keep(once.as_ref(), &mut draft, &answer).await?;
    draft.commit().await?;
    Ok(answer)
}

async fn certify(asked: Asked) -> Result<Answer, Refused> {
    let once = asked.once()?;
    let new: NewClientCertificate = asked.body()?;
    let mut draft = asked.draft().await?;
    if let Some(answer) = asked.earlier(once.as_ref(), &mut draft).await? {
        return Ok(answer);
    }
    let issued = client_certificates::issue(&mut draft, asked.part("id"), &new).await?;
    let location = format!("{BASE}/issued-certificates/{}", issued.serial);
    let (chain, not_after) = (issued.chain_pem(), issued.not_after.0);
    let answer = Answer::new(StatusCode::CREATED, &NewCertificate { serial: issued.serial, chain, not_after }).location(location);
    asked.keep(once.as_ref(), &mut draft, &answer).await?;
    draft.commit().await?;
    Ok(answer)
}

async fn remove(asked: Asked) -> Result<Answer, Refused> {
    let mut draft = asked.draft().await?;
    clients::remove(&mut draft, asked.part("id")).await?;
    Ok(Answer::nothing().generation(draft.commit().await?))
}

async fn approve(asked: Asked) -> Result<Answer, Refused> {
    let mut draft = asked.draft().await?;
    let client = clients::approve(&mut draft, asked.part("id")).await?;
    answered(client, draft).await
}

async fn block(asked: Asked) -> Result<Answer, Refused> {
    let BlockNote { note } = asked.body()?;
    if let Some(problem) = note_problem(&note) {
        return Err(Refused::invalid(vec![problem]));
    }
    let mut draft = asked.draft().await?;
    let client = clients::block(&mut draft, asked.part("id"), &note).await?;
    answered(client, draft).await
}

async fn unblock(asked: Asked) -> Result<Answer, Refused> {
    let mut draft = asked.draft().await?;
    let client = clients::unblock(&mut draft, asked.part("id")).await?;
    answered(client, draft).await
}

async fn answered(client: Client, draft: Draft<'_>) -> Result<Answer, Refused> {
    let answer = Answer::ok(&ShownClient::from(client));
    Ok(answer.generation(draft.commit().await?))
}

async fn tokens(asked: Asked) -> Result<Answer, Refused> {
    let client = known(&asked).await?;
    let tokens = client_tokens::of_client(asked.site(), &client.id).await?;
    let items = tokens.into_iter().map(|shown| ShownClientToken::of(shown.token, shown.is_blocked)).collect();
    Ok(Answer::ok(&ClientTokenList { items }))
}

/// The most tokens that are listed.
const LISTED: usize = 500;

async fn ending(asked: Asked) -> Result<Answer, Refused> {
    let days = asked.number("days", 1, 90)?.unwrap_or(WINDOWS[0]);
    let now = asked.site().now().0 as i64;
    let tokens = client_tokens::ending(asked.site(), now, days.max(WINDOWS[0])).await?;
    let within = |days: i64| tokens.iter().filter(|token| token.expires_at < now + days * 86_400).count();
    let [within_30_days, within_14_days, within_7_days] = WINDOWS.map(within);
    let wanted = within(days).min(LISTED);
    let items = tokens.into_iter().take(wanted).map(|token| ShownClientToken::of(token, false)).collect();
    Ok(Answer::ok(&EndingTokens { items, within_30_days, within_14_days, within_7_days }))
}
