//! The certificate doctor: what a gateway would decide about a client certificate, step by step.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::access::written;
use crate::failure::Failure;
use crate::fields::contents;
use crate::server::{Request, Server};
use crate::table::{Column, Form, Table};
use crate::told::Told;

const STEPS: &[Column] =
    &[Column("STEP", "step", Form::Plain), Column("OUTCOME", "outcome", Form::Plain), Column("WHY", "why", Form::Plain)];

/// A client certificate.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The certificate, with its issuers where the client sends them: PEM or DER
    file: PathBuf,
    /// The endpoint that the client asks for
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
}

pub(crate) async fn doctor(doctor: &Doctor, server: &Server) -> Result<Told, Failure> {
    let certificate = contents("certificate", &doctor.file)?;
    let body = written(&[("certificate", Some(certificate.into())), ("endpoint", doctor.endpoint.clone().map(Value::from))]);
    let body = server.ask(Request::post(&["certificate-doctor"], body)).await?.body;
    match body["steps"].as_array() {
        Some(steps) => {
            let table = Table::of(STEPS, steps);
            Ok(Told::table(body, table))
        }
        None => Ok(Told::thing(body)),
    }
}
