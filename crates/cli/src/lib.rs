//! The administrator's command line: what people type becomes requests to the site server's API, and its answers become tables.
//!
//! Nothing is decided here. The site server judges every request; this says plainly what it said. Data goes to standard output,
//! everything else to standard error. A secret is never an argument, because every process of a machine sees the arguments of the others.

mod access;
mod accounts;
mod apply;
mod browser;
mod certificates;
mod devices;
mod doctor;
mod failure;
mod fields;
mod gateways;
mod keys;
mod kinds;
mod resources;
mod schema;
mod server;
mod session;
mod sign_in;
pub mod sites;
mod status;
mod surroundings;
mod table;
mod token_issuers;
mod told;
mod trusts;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};

pub use clap_complete::Shell;
pub use surroundings::{Ask, Browse, Surroundings, Variable};

use crate::failure::Failure;
use crate::server::Server;
use crate::told::Told;

/// What every command of an administrator takes.
#[derive(Clone, Debug, Default, Args)]
pub struct Common {
    /// The site server; else CMG_SERVER, the one that is signed in to, http://127.0.0.1:8444
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// Root certificates that the site server is believed by, PEM; else CMG_CA_FILE, those of the operating system
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Write what the API answers, as JSON
    #[arg(long, global = true)]
    json: bool,
}

/// Commands about one kind of thing.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Area<V: Subcommand> {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: V,
}

/// A command by itself.
#[derive(Debug, Args)]
pub struct Alone<A: Args> {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    own: A,
}

/// No arguments of its own.
#[derive(Debug, Args)]
pub struct Nothing {}

/// The commands of administrators.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the first administrator of a site, and sign in
    Setup(Alone<sign_in::Setup>),
    /// Sign in to a site server
    Login(Alone<sign_in::Login>),
    /// Sign out
    Logout(Alone<Nothing>),
    /// Tell who is signed in, and in which role
    Whoami(Alone<Nothing>),
    /// Tell which generation runs where, and who lags since when and why
    Status(Alone<Nothing>),
    /// Make the configuration what a file says
    Apply(Alone<apply::Apply>),
    /// Tell step by step what a gateway would decide about a client certificate, and why
    Doctor(Alone<doctor::Doctor>),
    /// Sites
    Site(Area<sites::SiteVerb>),
    /// Cloud management gateways and their instances
    Gateway(Area<gateways::GatewayVerb>),
    /// CMG connection points
    ConnectionPoint(Area<gateways::PointVerb>),
    /// Management points, where clients register
    ManagementPoint(Area<gateways::PointVerb>),
    /// Published endpoints
    Endpoint(Area<resources::Verb>),
    /// Site systems, and whether clients on the internet reach them
    SiteSystem(Area<resources::Verb>),
    /// Server certificates
    Certificate(Area<certificates::CertificateVerb>),
    /// Client certificate authorities and their revocation lists
    Trust(Area<trusts::TrustVerb>),
    /// Issuers of tokens
    TokenIssuer(Area<token_issuers::TokenIssuerVerb>),
    /// Boundary groups
    BoundaryGroup(Area<resources::Verb>),
    /// Internet-facing servers, which clients use beside gateways (IBCM)
    InternetServer(Area<resources::Verb>),
    /// How all clients behave
    ClientSettings(Area<resources::Verb>),
    /// OpenID Connect providers that administrators sign in by
    SignInProvider(Area<resources::Verb>),
    /// Bulk registration tokens
    Token(Area<access::TokenVerb>),
    /// Blocked certificates and tokens
    Block(Area<access::BlockVerb>),
    /// Devices: registered clients, what they send, who is online, and what they shall do
    Device(Area<devices::DeviceVerb>),
    /// Certificates that the site has issued, to members and clients
    IssuedCertificate(Area<devices::IssuedVerb>),
    /// Keys that sign snapshots and tokens
    Keys(Area<keys::KeyVerb>),
    /// Accounts of administrators
    Account(Area<accounts::AccountVerb>),
    /// API tokens of accounts
    ApiToken(Area<accounts::ApiTokenVerb>),
    /// Audit records
    Audit(Area<status::AuditVerb>),
    /// What will need somebody soon
    Warning(Area<status::WarningVerb>),
}

/// Carries a command out, and gives the exit code: 0 done, 1 refused, 2 wrong command line, 3 not signed in, 4 site server not reached.
pub async fn run(command: Command, surroundings: &mut Surroundings) -> u8 {
    let common = command.common().clone();
    let outcome = match carry_out(command, &common, surroundings).await {
        Ok(told) => unless_broken(told.write(common.json, surroundings)),
        Err(failure) => Err(failure),
    };
    ended(outcome, common.json, surroundings)
}

/// Writes the completions of `command` for a shell, and gives the exit code.
pub fn completions(shell: Shell, command: &mut clap::Command, surroundings: &mut Surroundings) -> u8 {
    let (name, mut script) = (command.get_name().to_owned(), Vec::new());
    clap_complete::generate(shell, command, name, &mut script);
    let written = surroundings.out.write_all(&script).and_then(|()| surroundings.out.flush());
    ended(unless_broken(written), false, surroundings)
}

/// Whoever reads may have read enough, as `head` does.
fn unless_broken(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed("the output cannot be written", &error)),
        _ => Ok(()),
    }
}

fn ended(outcome: Result<(), Failure>, json: bool, surroundings: &mut Surroundings) -> u8 {
    let Err(failure) = outcome else { return 0 };
    // Where nobody hears, the exit code still says it.
    let _ = match &failure {
        Failure::Refused(refusal) if json => writeln!(surroundings.err, "{}", refusal.body),
        _ => writeln!(surroundings.err, "{failure}"),
    };
    failure.code()
}

async fn carry_out(command: Command, common: &Common, surroundings: &mut Surroundings) -> Result<Told, Failure> {
    let server = Server::new(common, surroundings)?;
    match command {
        Command::Setup(setup) => sign_in::setup(&setup.own, &server, surroundings).await,
        Command::Login(login) => sign_in::login(&login.own, &server, surroundings).await,
        Command::Logout(_) => sign_in::logout(&server, surroundings).await,
        Command::Whoami(_) => sign_in::whoami(&server).await,
        Command::Status(_) => status::status(&server).await,
        Command::Apply(apply) => apply::apply(&apply.own, &server).await,
        Command::Doctor(doctor) => doctor::doctor(&doctor.own, &server).await,
        Command::Site(area) => sites::site(area.verb, &server).await,
        Command::Gateway(area) => gateways::gateway(area.verb, &server).await,
        Command::ConnectionPoint(area) => gateways::connection_point(area.verb, &server).await,
        Command::ManagementPoint(area) => gateways::management_point(area.verb, &server).await,
        Command::Endpoint(area) => resources::verb(kinds::ENDPOINT, area.verb, &server).await,
        Command::SiteSystem(area) => resources::verb(kinds::SITE_SYSTEM, area.verb, &server).await,
        Command::Certificate(area) => certificates::verb(area.verb, &server).await,
        Command::Trust(area) => trusts::verb(area.verb, &server).await,
        Command::TokenIssuer(area) => token_issuers::verb(area.verb, &server).await,
        Command::BoundaryGroup(area) => resources::verb(kinds::BOUNDARY_GROUP, area.verb, &server).await,
        Command::InternetServer(area) => resources::verb(kinds::INTERNET_SERVER, area.verb, &server).await,
        Command::ClientSettings(area) => resources::verb(kinds::CLIENT_SETTINGS, area.verb, &server).await,
        Command::SignInProvider(area) => resources::verb(kinds::SIGN_IN_PROVIDER, area.verb, &server).await,
        Command::Token(area) => access::token(area.verb, &server).await,
        Command::Block(area) => access::block(area.verb, &server).await,
        Command::Device(area) => devices::device(area.verb, &server).await,
        Command::IssuedCertificate(area) => devices::issued(area.verb, &server).await,
        Command::Keys(area) => keys::keys(area.verb, &server).await,
        Command::Account(area) => accounts::account(area.verb, &server, surroundings).await,
        Command::ApiToken(area) => accounts::api_token(area.verb, &server).await,
        Command::Audit(area) => status::audit(area.verb, &server).await,
        Command::Warning(area) => status::warning(area.verb, &server).await,
    }
}

impl Command {
    /// What is done on the site server's own host, without its API: for whoever has the site server in it.
    pub fn on_files(&self) -> Option<&sites::OnFiles> {
        match self {
            Self::Site(Area { verb: sites::SiteVerb::Files(work), .. }) => Some(work),
            _ => None,
        }
    }

    fn common(&self) -> &Common {
        match self {
            Self::Setup(alone) => &alone.common,
            Self::Login(alone) => &alone.common,
            Self::Logout(alone) | Self::Whoami(alone) | Self::Status(alone) => &alone.common,
            Self::Apply(alone) => &alone.common,
            Self::Doctor(alone) => &alone.common,
            Self::Site(area) => &area.common,
            Self::Endpoint(area) | Self::SiteSystem(area) | Self::BoundaryGroup(area) | Self::InternetServer(area) => &area.common,
            Self::ClientSettings(area) | Self::SignInProvider(area) => &area.common,
            Self::Gateway(area) => &area.common,
            Self::ConnectionPoint(area) | Self::ManagementPoint(area) => &area.common,
            Self::Certificate(area) => &area.common,
            Self::Trust(area) => &area.common,
            Self::TokenIssuer(area) => &area.common,
            Self::Token(area) => &area.common,
            Self::Block(area) => &area.common,
            Self::Device(area) => &area.common,
            Self::IssuedCertificate(area) => &area.common,
            Self::Keys(area) => &area.common,
            Self::Account(area) => &area.common,
            Self::ApiToken(area) => &area.common,
            Self::Audit(area) => &area.common,
            Self::Warning(area) => &area.common,
        }
    }
}
