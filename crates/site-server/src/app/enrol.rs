//! Members come in: one-time codes, first certificates, renewals.

use cmg_api::EnrolmentCode;
use cmg_api::bytes::{Base64, Sha256};
use cmg_api::control::{EnrolRequest, Enrolled, RenewRequest};
use cmg_authority::enrolment::{CodeRefused, Enrolment, EnrolmentRefused, RenewalRefused};
use cmg_authority::{Issued, MemberKind, PublicKey, Secret, check_enrolment, check_renewal, new_code};
use cmg_core::ids::Role;
use cmg_core::time::WallTime;
use cmg_store::{Hidden, IssuedCertificate, MemberCertificate};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::change::{Actor, ChangeRefused, Draft};
use super::issued_certificates::MEMBERS;
use super::keys::Keys;
use super::model::Model;
use super::text::{hex, sha256};
use crate::site::Site;

/// Why a member gets no code and no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolRefused {
    /// The model has no such member.
    #[error("there is no {kind} \"{name}\": add it first")]
    NoMember {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// No code was made, or it was spent.
    #[error("there is no code for it that still counts: make a new one")]
    NoCode,
    /// The code does not fit the request.
    #[error(transparent)]
    Code(#[from] EnrolmentRefused),
    /// The renewal is not proven.
    #[error(transparent)]
    Renewal(#[from] RenewalRefused),
    /// The certificate that asks was revoked.
    #[error("the certificate was revoked: enrol the member again with a new code")]
    Revoked,
    /// The certificate in force lasts for long.
    #[error("more than half of the certificate's life is left: ask again when it is due")]
    NotDue,
    /// It was renewed several times within an hour.
    #[error("it was renewed {MOST_RENEWALS} times within an hour: ask again later, and see who has its key")]
    TooOften,
    /// The change was refused.
    #[error(transparent)]
    Change(#[from] ChangeRefused),
    /// Something that must not happen.
    #[error("the site server failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<cmg_store::Error> for EnrolRefused {
    fn from(error: cmg_store::Error) -> Self {
        Self::Change(error.into())
    }
}

impl From<CodeRefused> for EnrolRefused {
    fn from(error: CodeRefused) -> Self {
        Self::Failed(Box::new(error))
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> EnrolRefused {
    EnrolRefused::Failed(Box::new(error))
}

impl Model {
    /// Whether the model has the member, so that it may enrol and follow.
    pub fn has_member(&self, kind: &str, name: &str) -> bool {
        match kind {
            "gateway" => self.gateways.values().any(|gateway| gateway.instances.iter().any(|instance| instance.name == name)),
            "connection-point" => self.connection_points.contains_key(name),
            "management-point" => self.management_points.contains_key(name),
            _ => false,
        }
    }

    /// The gateway instances that a connection point connects to.
    pub fn instances_of(&self, connection_point: &str) -> Vec<&str> {
        let Some(point) = self.connection_points.get(connection_point) else { return Vec::new() };
        let gateways = self.gateways_named(&point.gateways);
        gateways.flat_map(|gateway| gateway.instances.iter().map(|instance| instance.name.as_str())).collect()
    }
}

/// Makes a code for a member of the model; one that was made before counts no more.
pub async fn offer_code(site: &Site, actor: &Actor, kind: MemberKind, name: &str) -> Result<EnrolmentCode, EnrolRefused> {
    let mut draft = site.draft(actor).await?;
    if !draft.model.has_member(kind.name(), name) {
        return Err(EnrolRefused::NoMember { kind: kind.name().to_owned(), name: name.to_owned() });
    }
    let site_servers = match kind {
        MemberKind::ConnectionPoint | MemberKind::ManagementPoint => site.control_urls.clone(),
        MemberKind::Gateway => Vec::new(),
    };
    let root = sha256(&site.keys().infrastructure_root);
    let code = new_code(kind, name, root, site.now(), site_servers)?;
    let text = serde_json::to_vec(&code).map_err(failed)?;
    let sealed = site.keys().vault.seal(&code_name(kind.name(), name), &text).map_err(failed)?;
    draft.change.offer_code(kind.name(), name, &sealed, code.ends as i64).await?;
    draft.change.remove_secret(&answer_name(kind.name(), name)).await?;
    draft.record("new", "enrolment-code", &format!("{}/{name}", kind.name()), None, None).await?;
    draft.commit().await?;
    Ok(code)
}

fn code_name(kind: &str, name: &str) -> String {
    format!("enrolment/{kind}/{name}")
}

/// Gives a new member its first certificate, and spends its code.
///
/// The answer may be lost after that. So whoever asks once more with the code and for the same keys gets the same certificate, until the
/// code ends; for any other key the code is spent.
pub async fn enrol(site: &Site, actor: &Actor, request: &EnrolRequest) -> Result<Enrolled, EnrolRefused> {
    let (kind, name) = (request.kind.as_str(), request.name.as_str());
    let member = site.store.member(kind, name).await?.ok_or(EnrolRefused::NoCode)?;
    let Some(Hidden(sealed)) = member.code_secret else {
        return answered_before(site, actor, request).await;
    };
    let text = site.keys().vault.open(&code_name(kind, name), &sealed).map_err(failed)?;
    let code: EnrolmentCode = serde_json::from_slice(text.expose()).map_err(failed)?;
    let proven = prove(actor, request, &code, site.now())?;
    let mut draft = site.draft(actor).await?;
    if !draft.model.has_member(kind, name) {
        return Err(EnrolRefused::NoCode);
    }
    if !draft.change.spend_code(kind, name, &sealed).await? {
        drop(draft);
        return answered_before(site, actor, request).await;
    }
    let issued = issue(site, &draft, &proven.role, &proven.key)?;
    // Whoever holds an earlier key of this member is not this member any more.
    draft.change.revoke_certificates_of(MEMBERS, &format!("{kind}/{name}"), None).await?;
    certify(&mut draft, &proven.role, &issued, &proven.sealing_key).await?;
    keep_answer(site, &mut draft, code, &proven, &issued).await?;
    draft.publish();
    draft.record("enrol", kind, name, None, Some(told(&issued))).await?;
    let generation = draft.commit().await?;
    info!(kind, name, serial = issued.serial, %generation, "Member enrolled");
    Ok(answer(site, issued))
}

fn prove(actor: &Actor, request: &EnrolRequest, code: &EnrolmentCode, now: WallTime) -> Result<Enrolment, EnrolRefused> {
    // A code has 128 random bits, so tries are not counted: whoever counts them lets strangers use them up.
    check_enrolment(request, code, now).map_err(|refused| {
        warn!(kind = request.kind, name = request.name, address = actor.address, "Enrolment refused: {refused}");
        refused.into()
    })
}

/// A spent code with what it was spent for.
#[derive(Serialize, Deserialize)]
struct Spent {
    code: EnrolmentCode,
    /// SHA-256 of the keys that were asked for.
    keys: Sha256,
    /// The certificate.
    serial: String,
    chain: Vec<Base64>,
}

/// Under which name it is kept.
pub(crate) fn answer_name(kind: &str, name: &str) -> String {
    format!("enrolled/{kind}/{name}")
}

fn digest_of(proven: &Enrolment) -> Sha256 {
    let keys = [proven.key.point().as_slice(), proven.sealing_key.point()].concat();
    Sha256(sha256(&keys))
}

async fn keep_answer(
    site: &Site,
    draft: &mut Draft<'_>,
    code: EnrolmentCode,
    proven: &Enrolment,
    issued: &Issued,
) -> Result<(), EnrolRefused> {
    let place = answer_name(&code.kind, &code.name);
    let chain = issued.chain.iter().cloned().map(Base64).collect();
    let spent = Spent { code, keys: digest_of(proven), serial: issued.serial.clone(), chain };
    let text = Secret::new(serde_json::to_vec(&spent).map_err(failed)?);
    let sealed = site.keys().vault.seal(&place, text.expose()).map_err(failed)?;
    Ok(draft.change.put_secret(&place, &sealed).await?)
}

/// The answer that a spent code was given already, for whoever has not received it.
async fn answered_before(site: &Site, actor: &Actor, request: &EnrolRequest) -> Result<Enrolled, EnrolRefused> {
    let (kind, name) = (request.kind.as_str(), request.name.as_str());
    let place = answer_name(kind, name);
    let mut view = site.store.view().await?;
    let sealed = view.secret(&place).await?.ok_or(EnrolRefused::NoCode)?;
    let text = site.keys().vault.open(&place, &sealed).map_err(failed)?;
    let spent: Spent = serde_json::from_slice(text.expose()).map_err(failed)?;
    let proven = prove(actor, request, &spent.code, site.now())?;
    let certificate = view.certificate(&spent.serial).await?;
    let counts = certificate.is_some_and(|certificate| certificate.revoked_at.is_none());
    if !counts || spent.keys != digest_of(&proven) || !site.in_force().is_member(&format!("{kind}/{name}")) {
        warn!(kind, name, address = actor.address, "Enrolment refused: the code is spent");
        return Err(EnrolRefused::NoCode);
    }
    info!(kind, name, serial = spent.serial, "Member told once more that it is enrolled");
    Ok(Enrolled { chain: spent.chain, authorities: site.keys().roots().into_iter().map(Base64).collect() })
}

/// Gives a member another certificate of the identity that it has proven.
pub async fn renew(site: &Site, actor: &Actor, request: &RenewRequest) -> Result<Enrolled, EnrolRefused> {
    let proven = check_renewal(request, &site.keys().roots(), site.now())?;
    let (kind, name) = (proven.role.kind(), proven.role.name().to_owned());
    let fingerprint = hex(&proven.fingerprint);
    // Looked at before the draft too, so that who asks in vain holds up nobody.
    may_renew(&site.keys(), site.store.certificate_by_fingerprint(&fingerprint).await?, site.now().0 as i64)?;
    let mut draft = site.draft(actor).await?;
    if !draft.model.has_member(kind, &name) {
        return Err(EnrolRefused::NoMember { kind: kind.to_owned(), name });
    }
    let now = draft.now;
    let in_force = may_renew(&draft.keys, draft.change.certificate_by_fingerprint(&fingerprint).await?, now)?;
    // An hour by the beginning of certificates, which is a little before they are made.
    if draft.change.certificates_since(MEMBERS, &format!("{kind}/{name}"), now - 3_600).await? >= MOST_RENEWALS {
        return Err(EnrolRefused::TooOften);
    }
    let member = draft.change.member(kind, &name).await?.ok_or(EnrolRefused::Revoked)?;
    let is_latest = member.serial.as_ref() == Some(&in_force.serial);
    if !is_latest && member.renewed_at.is_none_or(|renewed| renewed + ANSWER_LOST < now) {
        return Err(EnrolRefused::Revoked);
    }
    // The one that asks counts to its own end: the answer may be lost, and the member's tunnels stand by it until they are made anew.
    if draft.change.revoke_certificates_of(MEMBERS, &format!("{kind}/{name}"), Some(&in_force.serial)).await? > 0 {
        draft.publish();
    }
    let issued = issue(site, &draft, &proven.role, &proven.key)?;
    certify(&mut draft, &proven.role, &issued, &proven.sealing_key).await?;
    draft.record("renew", kind, &name, None, Some(told(&issued))).await?;
    draft.commit().await?;
    info!(kind, name, serial = issued.serial, "Member's certificate renewed");
    Ok(answer(site, issued))
}

/// Certificates that a member gets in an hour: whoever has an earlier key in these 24 hours would have one a request.
const MOST_RENEWALS: usize = 4;

/// A certificate of the role; that of a management point has the name by which connection points reach it.
fn issue(site: &Site, draft: &Draft<'_>, role: &Role, key: &PublicKey) -> Result<Issued, EnrolRefused> {
    let (authority, now) = (&draft.keys.infrastructure, site.now());
    match role {
        Role::ManagementPoint(id) => {
            let no_member = || EnrolRefused::NoMember { kind: role.kind().to_owned(), name: id.to_string() };
            let point = draft.model.management_points.get(id.as_str()).ok_or_else(no_member)?;
            authority.management_point(&point.name, &point.host, key, now).map_err(failed)
        }
        Role::Gateway(_) | Role::ConnectionPoint(_) | Role::SiteServer(_) | Role::Snapshot(_) => {
            authority.member(role, key, now).map_err(failed)
        }
    }
}

/// How long the certificate before the latest may renew too, in seconds: the answer to a renewal may have been lost.
const ANSWER_LOST: i64 = 24 * 3600;

/// Whether a certificate may be replaced by another: it counts, and at least half of its life is over, or another root issues.
fn may_renew(keys: &Keys, known: Option<IssuedCertificate>, now: i64) -> Result<IssuedCertificate, EnrolRefused> {
    let certificate = known.filter(|certificate| certificate.revoked_at.is_none()).ok_or(EnrolRefused::Revoked)?;
    let half = certificate.not_before.midpoint(certificate.not_after);
    if now < half && !keys.other_roots.is_earlier(certificate.not_before) { Err(EnrolRefused::NotDue) } else { Ok(certificate) }
}

/// Notes the certificate, and what is sealed to its holder from here on.
async fn certify(draft: &mut Draft<'_>, role: &Role, issued: &Issued, sealing_key: &PublicKey) -> Result<(), EnrolRefused> {
    let (kind, name) = (role.kind(), role.name());
    let point = sealing_key.point().to_vec();
    draft
        .change
        .add_certificate(&IssuedCertificate {
            serial: issued.serial.clone(),
            authority: MEMBERS.to_owned(),
            subject: format!("{kind}/{name}"),
            purpose: kind.to_owned(),
            not_before: issued.not_before.0 as i64,
            not_after: issued.not_after.0 as i64,
            fingerprint: hex(&issued.fingerprint),
            revoked_at: None,
        })
        .await?;
    let certificate =
        MemberCertificate { serial: issued.serial.clone(), ends: issued.not_after.0 as i64, sealing_key: Some(point.clone()) };
    draft.change.set_member_certificate(kind, name, &certificate).await?;
    if draft.ground.sealing_keys.insert(format!("{kind}/{name}"), point.clone()).as_deref() != Some(&point) {
        draft.publish();
    }
    Ok(())
}

fn answer(site: &Site, issued: Issued) -> Enrolled {
    Enrolled { chain: issued.chain.into_iter().map(Base64).collect(), authorities: site.keys().roots().into_iter().map(Base64).collect() }
}

fn told(issued: &Issued) -> String {
    serde_json::json!({ "serial": issued.serial, "not_after": issued.not_after.0 }).to_string()
}
