//! Members come in: one-time codes, first certificates, renewals.

use cmg_api::EnrolmentCode;
use cmg_api::bytes::Base64;
use cmg_api::control::{EnrolRequest, Enrolled, RenewRequest};
use cmg_authority::enrolment::{CodeRefused, EnrolmentRefused, RenewalRefused};
use cmg_authority::{Issued, MemberKind, PublicKey, check_enrolment, check_renewal, new_code};
use cmg_core::ids::Role;
use cmg_store::{IssuedCertificate, MemberCertificate};
use tracing::{info, warn};

use super::change::{Actor, ChangeRefused, Draft};
use super::issued_certificates::MEMBERS;
use super::model::Model;
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
        MemberKind::ConnectionPoint => site.control_urls.clone(),
        MemberKind::Gateway => Vec::new(),
    };
    let root = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &site.keys.infrastructure_root);
    let root = root.as_ref().try_into().expect("SHA-256 has 32 bytes");
    let code = new_code(kind, name, root, site.now(), site_servers)?;
    let text = serde_json::to_vec(&code).map_err(failed)?;
    let sealed = site.keys.vault.seal(&code_name(kind.name(), name), &text).map_err(failed)?;
    draft.change.offer_code(kind.name(), name, &sealed, code.ends as i64).await?;
    draft.record("new", "enrolment-code", &format!("{}/{name}", kind.name()), None, None).await?;
    draft.commit().await?;
    Ok(code)
}

fn code_name(kind: &str, name: &str) -> String {
    format!("enrolment/{kind}/{name}")
}

/// Gives a new member its first certificate, and spends its code.
pub async fn enrol(site: &Site, actor: &Actor, request: &EnrolRequest) -> Result<Enrolled, EnrolRefused> {
    let (kind, name) = (request.kind.as_str(), request.name.as_str());
    let member = site.store.member(kind, name).await?.ok_or(EnrolRefused::NoCode)?;
    let sealed = member.code_secret.ok_or(EnrolRefused::NoCode)?.0;
    let text = site.keys.vault.open(&code_name(kind, name), &sealed).map_err(failed)?;
    let code: EnrolmentCode = serde_json::from_slice(text.expose()).map_err(failed)?;
    let proven = match check_enrolment(request, &code, site.now()) {
        Ok(proven) => proven,
        // A code has 128 random bits, so tries are not counted: whoever counts them lets strangers use them up.
        Err(refused) => {
            warn!(kind, name, address = actor.address, "Enrolment refused: {refused}");
            return Err(refused.into());
        }
    };
    let mut draft = site.draft(actor).await?;
    if !draft.model.has_member(kind, name) || !draft.change.spend_code(kind, name, &sealed).await? {
        return Err(EnrolRefused::NoCode);
    }
    let issued = site.keys.infrastructure.member(&proven.role, &proven.key, site.now()).map_err(failed)?;
    // Whoever holds an earlier key of this member is not this member any more.
    draft.change.revoke_certificates_of(MEMBERS, &format!("{kind}/{name}"), None).await?;
    certify(&mut draft, &proven.role, &issued, &proven.sealing_key).await?;
    draft.record("enrol", kind, name, None, Some(told(&issued))).await?;
    let generation = draft.commit().await?;
    info!(kind, name, serial = issued.serial, %generation, "Member enrolled");
    Ok(answer(site, issued))
}

/// Gives a member another certificate of the identity that it has proven.
pub async fn renew(site: &Site, actor: &Actor, request: &RenewRequest) -> Result<Enrolled, EnrolRefused> {
    let proven = check_renewal(request, &site.keys.roots(), site.now())?;
    let (kind, name) = (proven.role.kind(), proven.role.name().to_owned());
    let fingerprint = hex(&proven.fingerprint);
    // Looked at before the draft too, so that who asks in vain holds up nobody.
    may_renew(site.store.certificate_by_fingerprint(&fingerprint).await?, site.now().0 as i64)?;
    let mut draft = site.draft(actor).await?;
    if !draft.model.has_member(kind, &name) {
        return Err(EnrolRefused::NoMember { kind: kind.to_owned(), name });
    }
    let now = draft.now;
    let in_force = may_renew(draft.change.certificate_by_fingerprint(&fingerprint).await?, now)?;
    let member = draft.change.member(kind, &name).await?.ok_or(EnrolRefused::Revoked)?;
    let is_latest = member.serial.as_ref() == Some(&in_force.serial);
    if !is_latest && member.renewed_at.is_none_or(|renewed| renewed + ANSWER_LOST < now) {
        return Err(EnrolRefused::Revoked);
    }
    draft.change.revoke_certificates_of(MEMBERS, &format!("{kind}/{name}"), Some(&in_force.serial)).await?;
    let issued = site.keys.infrastructure.member(&proven.role, &proven.key, site.now()).map_err(failed)?;
    certify(&mut draft, &proven.role, &issued, &proven.sealing_key).await?;
    draft.record("renew", kind, &name, None, Some(told(&issued))).await?;
    draft.commit().await?;
    info!(kind, name, serial = issued.serial, "Member's certificate renewed");
    Ok(answer(site, issued))
}

/// How long the certificate before the latest may renew too, in seconds: the answer to a renewal may have been lost.
const ANSWER_LOST: i64 = 24 * 3600;

/// Whether a certificate may be replaced by another: it counts, and at least half of its life is over.
fn may_renew(known: Option<IssuedCertificate>, now: i64) -> Result<IssuedCertificate, EnrolRefused> {
    let certificate = known.filter(|certificate| certificate.revoked_at.is_none()).ok_or(EnrolRefused::Revoked)?;
    let half = certificate.not_before.midpoint(certificate.not_after);
    if now < half { Err(EnrolRefused::NotDue) } else { Ok(certificate) }
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
    Enrolled { chain: issued.chain.into_iter().map(Base64).collect(), authorities: site.keys.roots().into_iter().map(Base64).collect() }
}

fn told(issued: &Issued) -> String {
    serde_json::json!({ "serial": issued.serial, "not_after": issued.not_after.0 }).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
