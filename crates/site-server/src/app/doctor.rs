//! The certificate doctor: what a gateway would decide about a client certificate, and why, step by step.
//!
//! Every verdict is the gateway's: its own verifier is asked, with the trusts and blocks in force. A step that stands before another one
//! is asked about with what the later ones need left out. What is told beside a verdict is read off the certificates and lists.

use cmg_api::Face;
use cmg_core::identity::CertificateFacts;
use cmg_core::ids::TrustName;
use cmg_core::problem::Problem;
use cmg_core::refusal::Refusal;
use cmg_core::snapshot::Parts;
use cmg_core::time::WallTime;
use cmg_core::trust::{Block, Trust};
use cmg_credentials::Verifier;
use cmg_credentials::facts::certificate_facts;
use pki_types::CertificateDer;
use pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::in_force::InForce;
use super::model::Model;
use super::publish::{Ground, everything};
use super::text::{hex, time};

/// The largest question's certificates, in bytes: ten of them have less.
const LARGEST: usize = 64 << 10;

/// The most certificates: no client sends a longer chain, and each is tried as the issuer of each.
const MOST: usize = 10;

/// A question to the doctor.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The client's certificate as the client would send it: itself first, then its issuers. PEM.
    pub certificate: String,
    /// The published endpoint that it is for. Either this or `trust`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The trust that it is judged by. Default the only one there is.
    #[serde(default)]
    pub trust: Option<String>,
    /// The moment, in seconds since 1970. Default now.
    #[serde(default)]
    pub time: Option<i64>,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// A reason to refuse.
    Bad,
    /// Not looked at: an earlier step has failed, or the policy does not ask.
    Skipped,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Step {
    /// Which: `parsed`, `endpoint`, `chain`, `purpose`, `validity`, `revocation`, `blocks`.
    pub step: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was found, in words.
    pub detail: String,
}

/// What a gateway would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Decision {
    /// Whether it would let the client in.
    pub admitted: bool,
    /// The trust that decides.
    pub trust: Option<String>,
    /// The reason as the gateway's log and metrics call it; none: admitted.
    pub label: Option<&'static str>,
    /// The phrase that the client is told; none: admitted.
    pub phrase: Option<&'static str>,
    /// The HTTP status that the client is told; none: admitted.
    pub status: Option<u16>,
}

/// The doctor's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Examination {
    /// In order.
    pub steps: Vec<Step>,
    /// What a gateway would decide.
    pub decision: Decision,
}

/// What a gateway judges credentials by, with all trusts of the model.
pub fn as_a_gateway(model: &Model, ground: &Ground) -> Result<(Parts, Verifier), Vec<Problem>> {
    let parts = everything::credentials(model, ground)?;
    let verifier = Verifier::new(&parts.trusts, &parts.blocks, &parts.token_keys)?;
    Ok((parts, verifier))
}

/// Examines a certificate. Takes its time where much is blocked.
pub fn examine(question: &Question, in_force: &InForce, now: WallTime) -> Result<Examination, Vec<Problem>> {
    let chain = chain(&question.certificate).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    if chain.is_empty() {
        problems.push(Problem::new("certificate", "it holds no certificate", "write the certificate and its issuers as PEM"));
    }
    let time = match question.time.map(u64::try_from) {
        Some(Ok(time)) => WallTime(time),
        Some(Err(_)) => {
            problems.push(Problem::new("time", "it lies before 1970", "write seconds since 1970, or leave it out"));
            now
        }
        None => now,
    };
    let place = place(question, &in_force.model).map_err(|problem| problems.push(problem));
    let (Ok(place), true) = (place, problems.is_empty()) else { return Err(problems) };
    let (parts, verifier) = as_a_gateway(&in_force.model, &in_force.ground)?;
    Ok(Patient { chain, time, place, parts, verifier }.examination())
}

/// The certificates of the question, unless there is more than a client sends.
fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let too_much = |what: String| Problem::new("certificate", what, "write the certificate and its issuers as PEM, and nothing else");
    if pem.len() > LARGEST {
        return Err(too_much(format!("it has more than {LARGEST} bytes")));
    }
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).take(MOST + 1).collect();
    if chain.len() > MOST { Err(too_much(format!("it holds more than {MOST} certificates"))) } else { Ok(chain) }
}

/// Where a certificate is shown.
struct Place {
    trust: Option<String>,
    /// Whether a certificate counts there.
    step: Option<Step>,
}

fn place(question: &Question, model: &Model) -> Result<Place, Problem> {
    if let Some(name) = &question.endpoint {
        if question.trust.is_some() {
            return Err(Problem::new("trust", "stands beside endpoint", "write one of them: an endpoint names its trust"));
        }
        let found = everything::endpoint(model, name);
        let endpoint =
            found.ok_or_else(|| Problem::new("endpoint", format!("there is no endpoint \"{name}\""), "name a published endpoint"))?;
        let (verdict, detail) = match (endpoint.face, &endpoint.trust) {
            (Face::Mutual | Face::Either, Some(trust)) => {
                (Verdict::Good, format!("endpoint \"{name}\" takes certificates by trust \"{trust}\""))
            }
            (Face::Server, _) => (Verdict::Bad, format!("endpoint \"{name}\" takes tokens only; a certificate does not count there")),
            (Face::Open, _) => (Verdict::Good, format!("endpoint \"{name}\" is open to everybody; a certificate is not looked at")),
            (_, None) => (Verdict::Bad, format!("endpoint \"{name}\" names no trust")),
        };
        return Ok(Place { trust: endpoint.trust.clone(), step: Some(Step { step: "endpoint", verdict, detail }) });
    }
    let trust = match (&question.trust, model.trusts.keys().collect::<Vec<_>>().as_slice()) {
        (Some(trust), _) if model.trusts.contains_key(trust) => trust,
        (Some(trust), _) => return Err(Problem::new("trust", format!("there is no trust \"{trust}\""), "name one of `cmg trust list`")),
        (None, [only]) => only,
        (None, []) => return Err(Problem::new("trust", "the site has no trust", "add one with the authorities of your clients")),
        (None, _) => return Err(Problem::new("trust", "the site has more than one", "name the trust, or an endpoint")),
    };
    Ok(Place { trust: Some(trust.clone()), step: None })
}

/// A certificate under examination.
struct Patient {
    chain: Vec<CertificateDer<'static>>,
    time: WallTime,
    place: Place,
    parts: Parts,
    verifier: Verifier,
}

impl Patient {
    fn examination(self) -> Examination {
        let mut steps = Vec::new();
        let parsed = match certificate_facts(&self.chain[0]) {
            Ok(facts) => {
                steps.push(good("parsed", described(&facts)));
                Some(facts)
            }
            Err(refusal) => {
                steps.push(bad("parsed", format!("the certificate cannot be read: {}", refusal.row().label)));
                None
            }
        };
        steps.extend(self.place.step.clone());
        let trust = self.place.trust.as_ref().and_then(|name| self.parts.trusts.iter().find(|trust| trust.name.as_str() == name));
        let (Some(facts), Some(trust)) = (parsed, trust) else {
            let refusal = if steps[0].verdict == Verdict::Bad { Refusal::CertificateMalformed } else { Refusal::TokenMissing };
            let is_open = steps.iter().all(|step| step.verdict == Verdict::Good);
            return Examination { steps, decision: self.decision(if is_open { Ok(()) } else { Err(refusal) }) };
        };
        self.walk(&facts, trust, &mut steps);
        let decision = match self.place.step.as_ref().map(|step| step.verdict) {
            Some(Verdict::Bad) => self.decision(Err(Refusal::TokenMissing)),
            _ => self.decision(self.verifier.certificate(&trust.name, &self.chain, self.time).map(|_| ())),
        };
        Examination { steps, decision }
    }

    /// The steps that the verifier takes, each with what the later ones need left out.
    fn walk(&self, facts: &CertificateFacts, trust: &Trust, steps: &mut Vec<Step>) {
        let without_lists =
            Trust { revocation: cmg_core::revocation::RevocationPolicy { check: false, ..trust.revocation }, ..trust.clone() };
        let on_chain = self.said(&without_lists, &[]);
        let on_lists = on_chain.and_then(|()| self.said(trust, &[]));
        let on_blocks = on_chain.and_then(|()| self.said(&without_lists, &self.parts.blocks));
        let path = path(facts, &self.chain, trust);
        let verdict = |refusals: &[Refusal]| match on_chain {
            Err(refusal) if refusals.contains(&refusal) => Verdict::Bad,
            Err(_) => Verdict::Skipped,
            Ok(()) => Verdict::Good,
        };
        use Refusal::{
            CertificateConstraint, CertificateExpired, CertificateForeign, CertificateIssuerNotFound, CertificateMalformed,
            CertificateNotYetValid, CertificatePurpose,
        };
        let chain = match on_chain {
            // Whatever is wrong with times and purposes is found on a chain that was built.
            Err(CertificateExpired | CertificateNotYetValid | CertificatePurpose) => Verdict::Good,
            _ => verdict(&[CertificateForeign, CertificateIssuerNotFound, CertificateConstraint, CertificateMalformed]),
        };
        steps.push(Step { step: "chain", verdict: chain, detail: self.chain_detail(on_chain, trust, &path) });
        steps.push(Step { step: "purpose", verdict: verdict(&[CertificatePurpose]), detail: purpose_detail(on_chain).to_owned() });
        let validity = verdict(&[CertificateExpired, CertificateNotYetValid]);
        steps.push(Step { step: "validity", verdict: validity, detail: self.validity_detail(facts, &path) });
        let revocation = match (trust.revocation.check, on_chain, on_lists) {
            (false, ..) | (_, Err(_), _) => Verdict::Skipped,
            (_, _, Ok(())) => Verdict::Good,
            (_, _, Err(_)) => Verdict::Bad,
        };
        steps.push(Step { step: "revocation", verdict: revocation, detail: self.revocation_detail(facts, trust, on_lists) });
        let blocks = match (on_chain, on_blocks) {
            (Err(_), _) => Verdict::Skipped,
            (_, Ok(())) => Verdict::Good,
            (_, Err(_)) => Verdict::Bad,
        };
        let detail = match blocks {
            Verdict::Good => format!("none of {} blocks names it or its issuers", self.parts.blocks.len()),
            Verdict::Bad => {
                format!("a block names it or one of its issuers: look for {} or serial {}", hex(&facts.thumbprint_sha256), facts.serial)
            }
            Verdict::Skipped => "not looked at, as there is no chain".to_owned(),
        };
        steps.push(Step { step: "blocks", verdict: blocks, detail });
    }

    /// What the gateway's verifier says under this trust and these blocks.
    fn said(&self, trust: &Trust, blocks: &[Block]) -> Result<(), Refusal> {
        let verifier = Verifier::new(std::slice::from_ref(trust), blocks, &[]);
        let verifier = verifier.map_err(|_| Refusal::CertificateForeign)?;
        verifier.certificate(&trust.name, &self.chain, self.time).map(|_| ())
    }

    fn chain_detail(&self, said: Result<(), Refusal>, trust: &Trust, path: &[CertificateFacts]) -> String {
        match said {
            Err(Refusal::CertificateIssuerNotFound) => {
                let missing = self.issuer_not_found(&trust.name).unwrap_or_default();
                format!("the issuer \"{missing}\" is neither sent nor among the intermediates: add it to trust \"{}\"", trust.name.as_str())
            }
            Err(Refusal::CertificateForeign) => format!("it leads to no root of trust \"{}\"", trust.name.as_str()),
            Err(Refusal::CertificateConstraint) => "a certificate of the chain may not be used in this way".to_owned(),
            Err(Refusal::CertificateMalformed) => "a certificate of the chain cannot be read".to_owned(),
            _ => {
                let names: Vec<&str> = path.iter().map(|facts| facts.subject.as_str()).collect();
                format!("issued by {}", names.join(", issued by "))
            }
        }
    }

    fn issuer_not_found(&self, trust: &TrustName) -> Option<String> {
        self.verifier.issuer_not_found(trust, &self.chain)
    }

    fn validity_detail(&self, facts: &CertificateFacts, path: &[CertificateFacts]) -> String {
        let told = |facts: &CertificateFacts| {
            let when = match self.time {
                now if now < facts.not_before => "does not count yet, it begins",
                now if now > facts.not_after => "has ended",
                _ => "ends",
            };
            let at = if self.time < facts.not_before { facts.not_before } else { facts.not_after };
            format!("{} {when} {}", facts.subject, time(at.0 as i64))
        };
        std::iter::once(facts).chain(path).map(told).collect::<Vec<_>>().join("; ")
    }

    fn revocation_detail(&self, facts: &CertificateFacts, trust: &Trust, said: Result<(), Refusal>) -> String {
        if !trust.revocation.check {
            return format!("trust \"{}\" does not look at revocation lists", trust.name.as_str());
        }
        let mut told: Vec<String> = Vec::new();
        for der in path_ders(facts, &self.chain, trust) {
            let Ok((_, certificate)) = X509Certificate::from_der(der) else { continue };
            let Ok(facts) = certificate_facts(der) else { continue };
            let of_issuer = trust.lists.iter().filter_map(|list| CertificateRevocationList::from_der(list).ok());
            let lists: Vec<String> = of_issuer
                .filter(|(_, list)| list.issuer().as_raw() == certificate.issuer().as_raw())
                .map(|(_, list)| {
                    let next = list.next_update().map_or(0, |next| next.timestamp());
                    let age = if next < self.time.0 as i64 { "stale since" } else { "fresh until" };
                    format!("list of {}, {age} {}", time(list.last_update().timestamp()), time(next))
                })
                .collect();
            let lists = if lists.is_empty() { "no list".to_owned() } else { lists.join(", ") };
            told.push(format!("{}: {lists}", facts.subject));
        }
        let verdict = match said {
            Err(Refusal::CertificateRevoked) => "; one of them is revoked",
            Err(Refusal::CertificateListStale) => "; a stale list refuses, by stale_crl",
            Err(Refusal::CertificateRevocationUnknown) => "; what no list covers is refused, as unknown_crl is deny",
            _ => "",
        };
        format!("{}{verdict}", told.join("; "))
    }

    fn decision(&self, said: Result<(), Refusal>) -> Decision {
        let row = said.err().map(Refusal::row);
        Decision {
            admitted: row.is_none(),
            trust: self.place.trust.clone(),
            label: row.map(|row| row.label),
            phrase: row.map(|row| row.phrase),
            status: row.map(|row| row.status),
        }
    }
}

fn good(step: &'static str, detail: String) -> Step {
    Step { step, verdict: Verdict::Good, detail }
}

fn bad(step: &'static str, detail: String) -> Step {
    Step { step, verdict: Verdict::Bad, detail }
}

fn described(facts: &CertificateFacts) -> String {
    format!("{}, serial {}, SHA-256 {}", facts.subject, facts.serial, hex(&facts.thumbprint_sha256))
}

fn purpose_detail(said: Result<(), Refusal>) -> &'static str {
    match said {
        Err(Refusal::CertificatePurpose) => "it, or an issuer of it, is not for client authentication",
        Err(_) => "not looked at, as there is no chain that counts",
        Ok(()) => "it is for client authentication",
    }
}

/// The issuers of a certificate by their names, up to a root: for words only.
fn path(leaf: &CertificateFacts, chain: &[CertificateDer<'_>], trust: &Trust) -> Vec<CertificateFacts> {
    let known = chain.iter().skip(1).map(AsRef::as_ref).chain(trust.intermediates.iter().map(Vec::as_slice));
    let mut known: Vec<CertificateFacts> = known.filter_map(|der| certificate_facts(der).ok()).collect();
    let roots: Vec<CertificateFacts> = trust.authorities.iter().filter_map(|der| certificate_facts(der).ok()).collect();
    let mut path: Vec<CertificateFacts> = Vec::new();
    loop {
        let issuer = path.last().unwrap_or(leaf).issuer.clone();
        if let Some(root) = roots.iter().find(|root| root.subject == issuer) {
            path.push(root.clone());
            return path;
        }
        let Some(place) = known.iter().position(|facts| facts.subject == issuer) else { return path };
        path.push(known.swap_remove(place));
    }
}

/// The certificate and those of its issuers below the root, DER.
fn path_ders<'a>(leaf: &CertificateFacts, chain: &'a [CertificateDer<'_>], trust: &'a Trust) -> Vec<&'a [u8]> {
    let known: Vec<&[u8]> = chain.iter().map(AsRef::as_ref).chain(trust.intermediates.iter().map(Vec::as_slice)).collect();
    let thumbprints =
        std::iter::once(leaf.thumbprint_sha256).chain(path(leaf, chain, trust).into_iter().map(|facts| facts.thumbprint_sha256));
    thumbprints
        .filter_map(|thumbprint| {
            known.iter().copied().find(|der| certificate_facts(der).is_ok_and(|facts| facts.thumbprint_sha256 == thumbprint))
        })
        .collect()
}
