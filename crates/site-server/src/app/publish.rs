//! What each member runs by, out of the model: one document a member, and the parts that it names.
//!
//! A gateway's document holds external names, endpoint ids, trust anchors, revocation lists, blocks, token keys and limits. Names and
//! addresses inside exist in the documents of connection points only, and a connection point gets those of its own site.

mod documents;
pub(crate) mod everything;
pub(crate) mod judging;
mod origins;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cmg_api::TokenKeyFile;
use cmg_api::bytes::{Base64, Sha256};
use cmg_api::control::{GenerationId, Manifest};
use cmg_core::problem::Problem;
use serde::Serialize;

use super::acme::Challenge;
use super::blocks::Blocks;
use super::model::Model;
use super::policies::Policies;
use super::text::sha256;
use super::token_issuers::IssuerKey;
use documents::{Names, Papers};
pub use judging::Judged;

/// What is published besides the model: what the site made, fetched or was told.
#[derive(Clone, Default)]
pub struct Ground {
    /// Blocked certificates and tokens.
    pub blocks: Blocks,
    /// Revocation lists that were fetched, DER, by the name of the trust.
    pub fetched_lists: BTreeMap<String, Vec<Arc<[u8]>>>,
    /// The site's own authority for clients: root, issuing certificate and revocation lists, DER.
    pub site_clients: Option<SiteClients>,
    /// The site's own token keys: the key's text, PEM, with what counts about it.
    pub token_keys: Vec<PublishedTokenKey>,
    /// Keys that were fetched from issuers, by the names of their resources.
    pub issuer_keys: BTreeMap<String, Vec<IssuerKey>>,
    /// The roots of the infrastructure authority, DER, the one that issues first.
    pub roots: Vec<Vec<u8>>,
    /// How connection points reach the site servers.
    pub site_servers: Vec<String>,
    /// Role certificates that were revoked and have not ended, by their SHA-256.
    pub revoked_members: BTreeSet<Sha256>,
    /// The keys that secrets are sealed to, by member; only enrolled members have one.
    pub sealing_keys: BTreeMap<String, Vec<u8>>,
    /// What ACME servers may ask for, by certificate.
    pub acme: BTreeMap<String, Vec<Challenge>>,
    /// Policies of clients, signed, by the code of their site.
    pub policies: Policies,
    /// Private keys of certificate resources, sealed: by member and certificate.
    pub sealed: BTreeMap<(String, String), Arc<[u8]>>,
}

/// The site's own authority for clients.
#[derive(Clone)]
pub struct SiteClients {
    /// Roots, DER.
    pub roots: Vec<Vec<u8>>,
    /// Issuing certificates, DER.
    pub issuers: Vec<Vec<u8>>,
    /// Revocation lists of the roots, DER: the issuing certificates are looked up in them.
    pub root_lists: Vec<Vec<u8>>,
    /// Revocation lists of the issuing certificates, DER.
    pub lists: Vec<Vec<u8>>,
}

/// A token key with its text in place of a file.
#[derive(Clone)]
pub struct PublishedTokenKey {
    /// Everything but `key`, which is filled in where it is published.
    pub file: TokenKeyFile,
    /// The public key or certificate, PEM.
    pub pem: String,
}

/// What every member runs by at one generation.
#[derive(Clone, Default)]
pub struct Publication {
    /// Which generation.
    pub generation: GenerationId,
    /// Manifests by member, not signed.
    pub manifests: BTreeMap<String, Manifest>,
    /// Parts by digest.
    pub parts: BTreeMap<Sha256, Arc<[u8]>>,
}

/// The private keys that members need: by member and certificate.
pub fn secrets_needed(model: &Model, ground: &Ground) -> Vec<(String, String)> {
    let mut needed = Vec::new();
    for gateway in model.gateways.values() {
        for instance in &gateway.instances {
            needed.extend(gateway.certificates.iter().map(|name| (format!("gateway/{}", instance.name), name.clone())));
        }
    }
    let mut shown: Vec<_> = model.endpoints.values().filter_map(|endpoint| endpoint.client_certificate.clone()).collect();
    shown.extend(model.site_systems.values().filter_map(|system| system.client_certificate.clone()));
    shown.sort();
    shown.dedup();
    for point in model.connection_points.values() {
        needed.extend(shown.iter().map(|name| (format!("connection-point/{}", point.name), name.clone())));
    }
    let has_come = |name: &String| model.certificates.get(name).is_some_and(|certificate| !certificate.chain.is_empty());
    needed.retain(|(member, certificate)| ground.sealing_keys.contains_key(member) && has_come(certificate));
    needed
}

/// Makes the publication of a model, or tells every reason why it cannot be one.
pub fn publication(model: &Model, ground: &Ground, judged: &Judged, generation: GenerationId) -> Result<Publication, Vec<Problem>> {
    let problems = model.problems();
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut desk = Desk { publication: Publication { generation, ..Publication::default() }, problems: Vec::new() };
    let papers = Papers::new(model, ground, &mut desk);
    for gateway in model.gateways.values() {
        let (document, origins) = papers.gateway(gateway);
        desk.judge_gateway(&document, &origins, judged);
        let digest = desk.document(&document);
        for instance in &gateway.instances {
            desk.manifest(format!("gateway/{}", instance.name), digest, &document, ground);
        }
    }
    for point in model.connection_points.values() {
        let (document, origins) = papers.connection_point(point);
        desk.judge_connection_point(&document, &origins, judged);
        let digest = desk.document(&document);
        desk.manifest(format!("connection-point/{}", point.name), digest, &document, ground);
    }
    for point in model.management_points.values() {
        let (document, origins) = papers.management_point(point);
        desk.judge_management_point(&document, &origins, judged);
        let digest = desk.document(&document);
        desk.manifest(format!("management-point/{}", point.name), digest, &document, ground);
    }
    desk.finish()
}

/// A publication in the making.
struct Desk {
    publication: Publication,
    problems: Vec<Problem>,
}

impl Desk {
    /// Keeps a part and gives its digest.
    fn part(&mut self, bytes: &[u8]) -> Sha256 {
        let digest = Sha256(sha256(bytes));
        self.publication.parts.entry(digest).or_insert_with(|| bytes.into());
        digest
    }

    fn document<T: Serialize>(&mut self, document: &T) -> Sha256 {
        let text = toml::to_string(document).expect("a document is tables of texts, numbers and lists");
        self.part(text.as_bytes())
    }

    /// A member gets a manifest when it is enrolled: before that there is nobody to seal secrets to.
    fn manifest(&mut self, member: String, digest: Sha256, document: &dyn Names, ground: &Ground) {
        if !ground.sealing_keys.contains_key(&member) {
            return;
        }
        let mut sealed = BTreeMap::new();
        for certificate in document.secrets() {
            if let Some(part) = ground.sealed.get(&(member.clone(), certificate.clone())) {
                sealed.insert(certificate, self.part(part));
            }
        }
        let all = document.parts().into_iter().chain([digest]).chain(sealed.values().copied());
        let size = |digest: &Sha256| self.publication.parts.get(digest).map_or(0, |part| part.len() as u64);
        let parts = all.map(|digest| (digest, size(&digest))).collect();
        let generation = self.publication.generation;
        let authorities = ground.roots.iter().cloned().map(Base64).collect();
        self.publication.manifests.insert(member.clone(), Manifest { member, generation, document: digest, parts, sealed, authorities });
    }

    fn finish(self) -> Result<Publication, Vec<Problem>> {
        if self.problems.is_empty() { Ok(self.publication) } else { Err(self.problems) }
    }
}

#[cfg(test)]
mod tests {
    use cmg_api::resource::Gateway;

    use super::*;
    use crate::app::blocks::BlockLine;

    const MEMBERS: [&str; 4] = ["gateway/gw-1", "gateway/gw-2", "connection-point/cp-1", "connection-point/cp-2"];

    fn a_model(resources: &[(&str, &str)]) -> Model {
        let mut model = Model { own_site: "LAB".to_owned(), ..Model::default() };
        for (kind, body) in [
            ("site", r#"{"name":"LAB"}"#),
            ("site", r#"{"name":"XYZ"}"#),
            ("certificate", r#"{"name":"web","chain":"-----chain"}"#),
            (
                "gateway",
                r#"{"name":"main","host":"cmg.example","certificates":["web"],
                    "instances":[{"name":"gw-1","address":"a:443"},{"name":"gw-2","address":"b:443"}]}"#,
            ),
            ("connection-point", r#"{"name":"cp-1"}"#),
            ("connection-point", r#"{"name":"cp-2","site":"XYZ"}"#),
        ] {
            model.take(kind, body).unwrap();
        }
        for (kind, body) in resources {
            model.take(kind, body).unwrap();
        }
        model
    }

    fn ground() -> Ground {
        let sealed = |member: &str| ((member.to_owned(), "web".to_owned()), format!("sealed to {member}").as_bytes().into());
        Ground {
            sealing_keys: MEMBERS.map(|member| (member.to_owned(), vec![4; 65])).into(),
            sealed: MEMBERS.map(sealed).into(),
            ..Ground::default()
        }
    }

    fn published(model: &Model) -> Publication {
        publication(model, &ground(), &Judged::default(), GenerationId { epoch: 1, number: 7 }).unwrap()
    }

    fn document(publication: &Publication, member: &str) -> String {
        let part = &publication.parts[&publication.manifests[member].document];
        String::from_utf8(part.to_vec()).unwrap()
    }

    const SECRET: (&str, &str) = (
        "endpoint",
        r#"{"name":"app","prefix":"/app","face":"server","token_kinds":["site"],"audiences":["a"],"servers":["http://inside.corp:81"]}"#,
    );

    #[test]
    fn no_name_inside_is_in_a_gateways_document() {
        let publication = published(&a_model(&[SECRET]));

        assert!(document(&publication, "gateway/gw-1").contains("prefix = \"/app\""));
        for member in ["gateway/gw-1", "gateway/gw-2"] {
            for digest in publication.manifests[member].parts.keys() {
                let text = String::from_utf8_lossy(&publication.parts[digest]).into_owned();
                assert!(!text.contains("inside.corp"), "{member}: {text}");
            }
        }
        assert!(document(&publication, "connection-point/cp-1").contains("inside.corp"));
    }

    #[test]
    fn a_connection_point_gets_the_endpoints_of_its_own_site() {
        let publication = published(&a_model(&[SECRET]));

        assert!(!document(&publication, "connection-point/cp-2").contains("inside.corp"));
    }

    #[test]
    fn instances_share_a_document_and_have_secrets_of_their_own() {
        let publication = published(&a_model(&[]));

        let (one, other) = (&publication.manifests["gateway/gw-1"], &publication.manifests["gateway/gw-2"]);
        assert_eq!(one.document, other.document);
        assert_ne!(one.sealed["web"], other.sealed["web"]);
        assert!(!one.parts.contains_key(&other.sealed["web"]), "an instance is told of its own secrets only");
    }

    #[test]
    fn who_is_not_enrolled_has_nothing_to_follow() {
        let model = a_model(&[]);

        let publication = publication(&model, &Ground::default(), &Judged::default(), GenerationId::default()).unwrap();

        assert!(publication.manifests.is_empty());
    }

    #[test]
    fn a_stopped_gateway_publishes_nothing() {
        let tenant = r#"{"name":"contoso","kind":"entra","tenant":"6babcaad-604b-40ac-a9d7-9fd97c0b779f","token_kind":"oidc-device",
                         "client_app_id":"c","resource_uri":"https://contoso.example"}"#;
        let mut model = a_model(&[SECRET, ("token-issuer", tenant)]);
        let before = document(&published(&model), "gateway/gw-1");
        assert!(before.contains("6babcaad"), "{before}");
        let mut gateway = Gateway::clone(&model.gateways["main"]);
        gateway.running = false;
        model.gateways.insert("main".to_owned(), Arc::new(gateway));

        let published = document(&published(&model), "gateway/gw-1");
        assert!(!published.contains("/app") && !published.contains("6babcaad"), "{published}");
    }

    #[test]
    fn under_the_names_of_two_gateways_an_endpoint_has_two_ids() {
        let publication = published(&a_model(&[SECRET, ("gateway", r#"{"name":"second","host":"two.example"}"#)]));

        let inside = document(&publication, "connection-point/cp-1");
        assert!(inside.contains("id = \"app.main\"") && inside.contains("id = \"app.second\""), "{inside}");
    }

    #[test]
    fn every_part_that_a_document_names_is_in_its_manifest() {
        let endpoint =
            r#"{"name":"a","prefix":"/a","face":"open","open_acknowledged":true,"servers":["https://a"],"server_authorities":["ca"]}"#;
        let mut ground = ground();
        ground.blocks.insert("1", BlockLine::Token("t".to_owned()));

        let made = publication(&a_model(&[("endpoint", endpoint)]), &ground, &Judged::default(), GenerationId::default()).unwrap();

        let texts = |member: &str| {
            let digests = made.manifests[member].parts.keys();
            digests.map(|digest| String::from_utf8_lossy(&made.parts[digest]).into_owned()).collect::<Vec<_>>()
        };
        let holds = |member: &str, wanted: &str| texts(member).iter().any(|text| text == wanted);
        assert!(holds("gateway/gw-1", "token t\n") && holds("gateway/gw-1", "-----chain") && !holds("gateway/gw-1", "ca"));
        assert!(holds("connection-point/cp-1", "token t\n") && holds("connection-point/cp-1", "ca"));
    }

    #[test]
    fn what_a_member_would_refuse_is_told_by_the_name_of_its_resource() {
        let trust = r#"{"name":"devices","authorities":["no certificate"]}"#;
        let endpoint = r#"{"name":"mp","role_id":"1","path_name":"x","face":"mutual","trust":"devices","servers":["ftp://a"]}"#;
        let unknown = r#"{"name":"app","prefix":"/b/../c","face":"mutual","trust":"nobody","servers":["http://a"]}"#;
        let model = a_model(&[("trust", trust), ("endpoint", endpoint), ("endpoint", unknown)]);

        let problems = publication(&model, &ground(), &Judged::default(), GenerationId::default()).err().unwrap();

        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["trusts/devices.authorities[0]", "endpoints/app.prefix", "endpoints/app.trust", "endpoints/mp.servers[0]"]);
    }
}
