//! A gateway that lies about who is asking: the connection point verifies everything again but the possession of the key.

use cmg_lab::token::AUDIENCE;
use cmg_lab::{Authority, Flaw, Issued, Profile};

use super::half::FalseGateway;
use super::wire::{Frame, Wire, kind};
use crate::support::{PATIENCE, wait};

/// The published endpoint for clients with a certificate.
pub(crate) const MUTUAL: &str = "/CCM_Proxy_MutualAuth/72057594037927937/app";
pub(crate) const SERVER: &str = "/CCM_Proxy_ServerAuth/72057594037927937/app";

/// A request as a gateway tells of it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Each byte of the request's id.
    pub(crate) id: u8,
    pub(crate) endpoint: String,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) length: Option<u64>,
    pub(crate) upgrade: bool,
    /// The payload of CREDENTIAL.
    pub(crate) credential: Option<Vec<u8>>,
    pub(crate) fields: Vec<(&'static str, String)>,
}

impl Asked {
    /// A good one, with the laboratory client's certificate.
    pub(crate) fn with_certificate(liar: &FalseGateway) -> Self {
        Self::new(MUTUAL, Some(chain(&[&liar.setup.lab.client.der, liar.setup.lab.clients.certificate_der()])))
    }

    pub(crate) fn new(target: &str, credential: Option<Vec<u8>>) -> Self {
        Self {
            id: 7,
            endpoint: "app".to_owned(),
            method: "GET".to_owned(),
            target: target.to_owned(),
            length: None,
            upgrade: false,
            credential,
            fields: Vec::new(),
        }
    }

    /// The payload of REQUEST.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut out = vec![self.id; 16];
        out.extend_from_slice(&u32::from(self.credential.is_some()).to_be_bytes());
        out.push(u8::from(self.upgrade) | self.length.map_or(0, |_| 24));
        out.extend_from_slice(&self.length.unwrap_or(0).to_be_bytes());
        out.extend_from_slice(&[4, 192, 0, 2, 1, 0, 80]);
        for short in [&self.endpoint, &self.method] {
            out.push(short.len() as u8);
            out.extend_from_slice(short.as_bytes());
        }
        for long in ["localhost", &self.target] {
            out.extend_from_slice(&(long.len() as u16).to_be_bytes());
            out.extend_from_slice(long.as_bytes());
        }
        for (name, value) in &self.fields {
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&(value.len() as u16).to_be_bytes());
            out.extend_from_slice(value.as_bytes());
        }
        out
    }

    /// Asks over `wire`, without the end of the request's direction where it has a body.
    pub(crate) async fn send(&self, wire: &mut Wire) {
        if let Some(credential) = &self.credential {
            wire.send(kind::CREDENTIAL, 1, credential).await.unwrap();
        }
        let end = if self.length.is_some() || self.upgrade { 0 } else { kind::END };
        wire.send(kind::REQUEST | end, 1, &self.head()).await.unwrap();
    }
}

/// A chain as CREDENTIAL carries it.
pub(crate) fn chain(certificates: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![1];
    for certificate in certificates {
        out.extend_from_slice(&(certificate.len() as u32).to_be_bytes());
        out.extend_from_slice(certificate);
    }
    out
}

/// A token as CREDENTIAL carries it.
pub(crate) fn token(token: &str) -> Vec<u8> {
    [&[2], token.as_bytes()].concat()
}

/// The frame that answers a request, over a session of its own.
async fn answer(wire: &mut Wire, asked: &Asked) -> Frame {
    asked.send(wire).await;
    first_of(wire, &[kind::RESPONSE, kind::REFUSE, kind::RESET]).await
}

/// The next frame of one of these kinds.
pub(crate) async fn first_of(wire: &mut Wire, kinds: &[u8]) -> Frame {
    let found = async {
        loop {
            let frame = wire.receive().await.expect("the session is over");
            if kinds.contains(&(frame.kind & !kind::END)) {
                return frame;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("no answer")
}

/// Takes the connection of the program anew for each question, as every session has its own credentials.
fn question(liar: &FalseGateway, asked: &Asked) -> Frame {
    wait(async {
        let mut wire = liar.session().await;
        answer(&mut wire, asked).await
    })
}

/// The code of the refusal; none: it was answered.
pub(crate) fn refused(liar: &FalseGateway, asked: &Asked) -> Option<u16> {
    let frame = question(liar, asked);
    (frame.kind == kind::REFUSE | kind::END).then(|| u16::from_be_bytes(frame.payload.try_into().unwrap()))
}

/// The status of the answer.
pub(crate) fn ask(liar: &FalseGateway, asked: &Asked) -> u16 {
    let frame = question(liar, asked);
    assert_eq!(frame.kind & !kind::END, kind::RESPONSE, "{frame:?}");
    u16::from_be_bytes([frame.payload[0], frame.payload[1]])
}

pub(crate) const CONNECTOR_REFUSED: Option<u16> = Some(47);

#[test]
fn certificates_that_do_not_count_here_reach_no_server() {
    let mut made = Vec::new();
    let liar = FalseGateway::start(|setup| {
        let lab = &setup.lab;
        let issue = |profile: Profile| lab.clients.issue(&profile).unwrap();
        let client = |name: &str| issue(Profile::client(name));
        let (revoked, blocked, below) = (client("revoked"), client("blocked"), client("below"));
        lab.revoke(&[&revoked.serial]).unwrap();
        setup.point(&format!("[[block]]\nthumbprint = \"{}\"", blocked.thumbprint()));
        let foreign = Authority::root("Lab Clients Root").unwrap().issuing("Lab Clients Issuing").unwrap();
        let taken_back = lab.clients_root.issuing("Taken Back").unwrap();
        let below_unknown = taken_back.client("below-unknown").unwrap();
        let mut pair = |name: &'static str, issued: &Issued, issuer: &[u8]| made.push((name, chain(&[&issued.der, issuer])));
        pair("revoked", &revoked, lab.clients.certificate_der());
        pair("blocked", &blocked, lab.clients.certificate_der());
        pair("expired", &issue(Profile::client("x").expired()), lab.clients.certificate_der());
        pair("not yet valid", &issue(Profile::client("x").not_yet_valid()), lab.clients.certificate_der());
        pair("for servers", &issue(Profile::client("x").for_servers_only()), lab.clients.certificate_der());
        pair("foreign", &foreign.client("device-1.lab").unwrap(), foreign.certificate_der());
        pair("no list of its issuer", &below_unknown, taken_back.certificate_der());
        pair(
            "a role",
            &lab.infrastructure.issue(&Profile::role(cmg_lab::Role::ConnectionPoint, "x")).unwrap(),
            lab.infrastructure.certificate_der(),
        );
        let mut bent = below.der.clone();
        *bent.last_mut().unwrap() ^= 1;
        made.push(("a bent signature", chain(&[&bent, lab.clients.certificate_der()])));
        made.push(("an authority itself", chain(&[lab.clients.certificate_der()])));
        made.push(("no certificate", chain(&[b"not a certificate"])));
        made.push(("an empty certificate", chain(&[b""])));
    });

    for (name, credential) in made {
        assert_eq!(refused(&liar, &Asked::new(MUTUAL, Some(credential))), CONNECTOR_REFUSED, "{name}");
    }

    assert_eq!(liar.setup.origin.requests(), 0);
    assert_eq!(ask(&liar, &Asked::with_certificate(&liar)), 200);
}

#[test]
fn tokens_that_do_not_count_here_reach_no_server() {
    let liar = FalseGateway::start(|_| ());
    let tokens = &liar.setup.lab.tokens;

    for flaw in Flaw::ALL {
        let asked = Asked::new(SERVER, Some(token(&tokens.flawed_token(flaw, "device-1", AUDIENCE).unwrap())));
        assert_eq!(refused(&liar, &asked), CONNECTOR_REFUSED, "{flaw:?}");
    }

    assert_eq!(liar.setup.origin.requests(), 0);
    assert_eq!(ask(&liar, &Asked::new(SERVER, Some(token(&liar.setup.lab.token)))), 200);
}

#[test]
fn a_credential_of_the_other_kind_or_none_reaches_no_server() {
    let liar = FalseGateway::start(|_| ());
    let certificate = Asked::with_certificate(&liar).credential;
    let good_token = Some(token(&liar.setup.lab.token));

    for (target, credential) in [(SERVER, certificate), (MUTUAL, good_token), (SERVER, None), (MUTUAL, None)] {
        assert_eq!(refused(&liar, &Asked::new(target, credential)), CONNECTOR_REFUSED, "{target}");
    }

    assert_eq!(liar.setup.origin.requests(), 0);
}

#[test]
fn a_token_of_a_kind_that_the_endpoint_does_not_accept_reaches_no_server() {
    let liar = FalseGateway::start(|setup| setup.inside("app", "token_kinds = [\"ccm\"]"));

    assert_eq!(refused(&liar, &Asked::new(SERVER, Some(token(&liar.setup.lab.token)))), CONNECTOR_REFUSED);
    assert_eq!(liar.setup.origin.requests(), 0);
}

#[test]
fn an_identity_of_another_trust_policy_reaches_no_server() {
    let other = Authority::root("Other Clients").unwrap();
    let liar = FalseGateway::start(|setup| {
        setup.write("others.pem", other.certificate_pem());
        setup.point("[trust.others]\nauthorities = [\"others.pem\"]\ncheck_revocation = false");
    });
    let device = other.client("device-1.lab").unwrap();

    assert_eq!(refused(&liar, &Asked::new(MUTUAL, Some(chain(&[&device.der])))), CONNECTOR_REFUSED);
    assert_eq!(liar.setup.origin.requests(), 0);
}

#[test]
fn who_is_claimed_at_an_open_endpoint_is_nobody_to_its_server() {
    let liar = FalseGateway::start(|setup| {
        setup.endpoint("open", "face = \"open\"\nopen_acknowledged = true");
        setup.inside("open", "client_cert_header = true\nidentity_headers = { \"X-Client-DN\" = \"subject\", \"X-Verify\" = \"verify\" }");
    });
    let mut asked = Asked::with_certificate(&liar);
    asked.endpoint = "open".to_owned();
    asked.target = "/open/x".to_owned();
    let fields = [("X-Client-DN", "CN=admin"), ("x_client_dn", "CN=admin"), ("Client-Cert", ":AA==:"), ("Client_Cert", ":AA==:")];
    asked.fields = fields.map(|(name, value)| (name, value.to_owned())).into();

    assert_eq!(ask(&liar, &asked), 200);

    let seen = liar.setup.origin.seen().pop().unwrap();
    let told: Vec<_> = seen.fields.iter().filter(|(name, _)| name.to_lowercase().replace('_', "-").contains("client-")).collect();
    assert_eq!(told, [] as [&(String, Vec<u8>); 0]);
    assert_eq!(seen.field("X-Verify"), Some(&b"NONE"[..]));
}

#[test]
fn fields_that_frame_a_body_or_steer_a_connection_reach_no_server() {
    let liar = FalseGateway::start(|_| ());
    let mut asked = Asked::with_certificate(&liar);
    let fields = [
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Host", "another"),
        ("Connection", "close"),
        ("Upgrade", "websocket"),
        ("Expect", "100-continue"),
        ("X-Mine", "passes"),
    ];
    asked.fields = fields.map(|(name, value)| (name, value.to_owned())).into();

    assert_eq!(ask(&liar, &asked), 200);

    let seen = liar.setup.origin.seen().pop().unwrap();
    let names: Vec<_> = seen.fields.iter().map(|(name, _)| name.to_lowercase()).collect();
    for name in ["content-length", "transfer-encoding", "connection", "upgrade", "expect"] {
        assert!(!names.iter().any(|known| known == name), "{names:?}");
    }
    assert_eq!(names.iter().filter(|name| *name == "host").count(), 1);
    assert_eq!(seen.field("X-Mine"), Some(&b"passes"[..]));
}
