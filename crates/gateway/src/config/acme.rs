//! What an ACME server may ask this gateway for, as the site says, and where it may ask over HTTP, as the gateway's own file says.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use cmg_api::AcmeChallenge;
use cmg_core::problem::Problem;
use cmg_credentials::ServerIdentity;
use cmg_enrolled::ephemeral;
use cmg_standalone::acme::{self, Answer};
use cmg_standalone::{Reading, address};
use rustls::sign::CertifiedKey;

use super::clash;

/// What an enrolled gateway has besides what stands in the file of one without a site.
#[derive(Default)]
pub(super) struct OfSite {
    /// What is shown to clients, whatever certificates the file names.
    pub(super) instead: Option<ServerIdentity>,
    /// What an ACME server may ask for.
    pub(super) acme: Acme,
}

/// What an ACME server may ask for.
#[derive(Clone, Default)]
pub struct Acme {
    /// Addresses where HTTP-01 challenges are answered.
    pub listen: Vec<SocketAddr>,
    /// Certificates that answer TLS-ALPN-01 challenges, by name.
    pub certificates: Vec<(String, Arc<CertifiedKey>)>,
    /// Answers to HTTP-01 challenges, by token.
    pub tokens: BTreeMap<String, String>,
    /// Certificates that have not come yet.
    pub awaited: Vec<String>,
}

impl Acme {
    /// What the site says, or what is wrong with it.
    pub(super) fn of(challenges: &[AcmeChallenge], awaited: Vec<String>, reading: &mut Reading) -> Self {
        let mut of_site = Self { awaited, ..Self::default() };
        for answer in acme::answers(challenges, reading) {
            match answer {
                Answer::Certificate { name, digest } => {
                    let wrong = |_| Problem::new("acme_challenge", format!("no certificate can be made for \"{name}\""), "name a DNS name");
                    let made = reading.keep(ephemeral::challenge(name, &digest.0).map_err(wrong));
                    of_site.certificates.extend(made.map(|made| (name.to_ascii_lowercase(), made)));
                }
                Answer::Text { token, text } => _ = of_site.tokens.insert(token.to_owned(), text.to_owned()),
            }
        }
        of_site
    }

    /// What the gateway's own file says.
    pub(super) fn listening(self, texts: &[String], others: &[SocketAddr], reading: &mut Reading) -> Self {
        Self { listen: listen(texts, others, reading), ..self }
    }
}

fn listen(texts: &[String], others: &[SocketAddr], reading: &mut Reading) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        let key = format!("acme_listen[{place}]");
        let Some(address) = address::socket(&key, text, "0.0.0.0:80 or [::]:80", reading) else { continue };
        if addresses.contains(&address) || others.iter().any(|other| clash(address, *other)) {
            reading.problem(key, format!("{address} is taken"), "write a port that nothing else here has, such as 80");
        }
        addresses.push(address);
    }
    addresses
}
