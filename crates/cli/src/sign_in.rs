//! Setting up a site, signing in and out, and who one is.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::browser;
use crate::failure::Failure;
use crate::server::{Request, Server};
use crate::session::{self, Session};
use crate::surroundings::{Surroundings, secret_line};
use crate::table::time;
use crate::told::Told;

/// The first administrator.
#[derive(Debug, Args)]
pub struct Setup {
    /// The set-up code: the file whose path stands in the site server's log
    #[arg(long, value_name = "FILE")]
    code_file: PathBuf,
    /// The name of the account
    #[arg(long)]
    name: String,
    /// A file with its password in its first line, mode 0600; else it is asked for, or read from standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Whoever signs in.
#[derive(Debug, Args)]
pub struct Login {
    /// The name of the account
    #[arg(long, required_unless_present = "provider")]
    name: Option<String>,
    /// A file with its password in its first line, mode 0600; else it is asked for, or read from standard input
    #[arg(long, value_name = "FILE", conflicts_with = "provider")]
    password_file: Option<PathBuf>,
    /// Sign in by this sign-in provider, in a browser on this machine
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    provider: Option<String>,
    /// Open no browser, only print the address
    #[arg(long, requires = "provider")]
    no_browser: bool,
}

pub(crate) async fn setup(setup: &Setup, server: &Server, surroundings: &mut Surroundings) -> Result<Told, Failure> {
    let code = secret_line("--code-file", &setup.code_file)?;
    let words = format!("password of {}", setup.name);
    let password = surroundings.new_password("--password-file", &words, setup.password_file.as_deref())?;
    let body = json!({"code": code, "name": setup.name, "password": password});
    server.ask_unknown(Request::post(&["setup"], body)).await?;
    let told = begin(&setup.name, &password, server, surroundings).await?;
    Ok(told.and_note("The site is set up"))
}

pub(crate) async fn login(login: &Login, server: &Server, surroundings: &mut Surroundings) -> Result<Told, Failure> {
    if let Some(provider) = &login.provider {
        return browser::login(provider, !login.no_browser, server, surroundings).await;
    }
    let name = login.name.as_deref().unwrap_or_default();
    let words = format!("Password of {name} at {}", server.name);
    let password = surroundings.password(&words, login.password_file.as_deref())?;
    begin(name, &password, server, surroundings).await
}

pub(crate) async fn logout(server: &Server, surroundings: &Surroundings) -> Result<Told, Failure> {
    let file = surroundings.session_file()?;
    let Some(session) = session::read(&file)?.filter(|session| session.server == server.name) else {
        return Err(Failure::NotSignedIn(format!("there is no session at {}", server.name)));
    };
    match server.ask_by(Request::delete(&["sessions", "current"]), &session.token).await {
        // A session that has ended already is out too.
        Ok(_) | Err(Failure::NotSignedIn(_)) => {}
        Err(failure) => return Err(failure),
    }
    session::forget(&file)?;
    Ok(Told::note(format!("Signed out at {}", server.name)))
}

pub(crate) async fn whoami(server: &Server) -> Result<Told, Failure> {
    Ok(Told::thing(server.ask(Request::get(&["whoami"])).await?.body))
}

async fn begin(name: &str, password: &str, server: &Server, surroundings: &Surroundings) -> Result<Told, Failure> {
    let body = json!({"name": name, "password": password});
    let made = server.ask_unknown(Request::post(&["sessions"], body)).await?.body;
    keep(name, &made, server, surroundings)
}

/// Keeps a session that has begun, and says so.
pub(crate) fn keep(name: &str, made: &Value, server: &Server, surroundings: &Surroundings) -> Result<Told, Failure> {
    let (Some(token), Some(expires_at)) = (made["token"].as_str(), made["expires_at"].as_i64()) else {
        return Err(Failure::Failed("the site server began no session".to_owned()));
    };
    let ca = server.ca.as_ref().map(|ca| std::path::absolute(ca).unwrap_or_else(|_| ca.clone()));
    let session = Session { server: server.name.clone(), ca, name: name.to_owned(), token: token.to_owned(), expires_at };
    session::write(&surroundings.session_file()?, &session)?;
    let until = time(&made["expires_at"]).unwrap_or_default();
    let shown = json!({"account": name, "server": server.name, "expires_at": expires_at});
    Ok(Told::note(format!("Signed in at {} as {name}, until {until}", server.name)).value(shown))
}
