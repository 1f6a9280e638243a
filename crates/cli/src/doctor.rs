//! The certificate doctor: what a gateway would decide about a client certificate, step by step.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::access::written;
use crate::failure::Failure;
use crate::fields::contents;
use crate::server::{Request, Server};
use crate::table::{Column, Form, Table, words};
use crate::told::Told;

const STEPS: &[Column] =
    &[Column("STEP", "step", Form::Plain), Column("VERDICT", "verdict", Form::Plain), Column("WHAT WAS FOUND", "detail", Form::Plain)];

/// A client certificate.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The certificate as the client sends it, itself first: PEM, or DER
    file: PathBuf,
    /// The endpoint that the client asks for
    #[arg(long, value_name = "NAME", conflicts_with = "trust")]
    endpoint: Option<String>,
    /// The trust that it is judged by; else the only one there is
    #[arg(long, value_name = "NAME")]
    trust: Option<String>,
    /// The moment, in seconds since 1970; else now
    #[arg(long, value_name = "SECONDS")]
    time: Option<u64>,
}

pub(crate) async fn doctor(doctor: &Doctor, server: &Server) -> Result<Told, Failure> {
    let question = written(&[
        ("certificate", Some(contents("certificate", &doctor.file)?.into())),
        ("endpoint", doctor.endpoint.clone().map(Value::from)),
        ("trust", doctor.trust.clone().map(Value::from)),
        ("time", doctor.time.map(Value::from)),
    ]);
    let examined = server.ask(Request::post(&["certificate-doctor"], question)).await?.body;
    let table = Table::of(STEPS, examined["steps"].as_array().map_or(&[][..], Vec::as_slice));
    let heading = decision(&examined["decision"]);
    Ok(Told::table(examined, table).below(heading))
}

fn decision(decision: &Value) -> String {
    let of = |key: &str| words(&decision[key]);
    match decision["admitted"].as_bool() {
        Some(true) => format!("A gateway would let it in, by the trust {}", of("trust")),
        _ => format!("A gateway would refuse it: {} {} ({})", of("status"), of("phrase"), of("label")),
    }
}
