//! What logs do not say, whatever happens: no token, no key, no body.

use cmg_lab::token::AUDIENCE;
use cmg_lab::{Flaw, Signal};

use crate::support::{Site, wait};

#[test]
fn no_log_says_a_token_a_key_or_a_body() {
    let mut site = Site::start(|setup| {
        setup.both("[log]\nlevel = \"trace\"");
        setup.endpoint("forwarding", "face = \"server\"\nforward_token = true");
    });
    let lab = site.lab();
    let token = lab.token.clone();
    let mut secrets: Vec<String> = vec![token.clone(), "c2VjcmV0".to_owned()];
    for flaw in Flaw::ALL {
        let flawed = lab.tokens.flawed_token(flaw, "device-1", AUDIENCE).unwrap();
        assert_eq!(site.with_token(&flawed).get(&(site.server() + "/echo")).status, 401);
        secrets.push(flawed);
    }
    assert_eq!(site.with_token(&token).get(&(site.server() + "/echo")).status, 200);
    assert_eq!(site.with_token(&token).get("/forwarding/echo").status, 200);
    assert_eq!(site.device().field("Authorization", "Basic c2VjcmV0").get(&(site.mutual() + "/echo")).status, 200);
    let body = "nobody's business but the server's";
    assert_eq!(site.device().request("POST", &(site.mutual() + "/upload"), &[], body.as_bytes()).status, 200);
    secrets.push(body.to_owned());
    let _ = site.device().raw(format!("GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n bad\r\n\r\n").as_bytes());
    for name in ["server.key", "gateway-1.key", "connection-point-1.key"] {
        let pem = std::fs::read_to_string(lab.site_dir().join(name)).unwrap();
        secrets.push(pem.lines().nth(1).unwrap().to_owned());
    }
    site.reload();
    for program in site.system.gateways.iter().chain(&site.system.connection_points) {
        wait(program.signal(Signal::Reload)).unwrap();
    }
    assert_eq!(wait(site.system.stop()), []);

    for program in site.system.gateways.iter().chain(&site.system.connection_points) {
        let log = std::fs::read_to_string(&program.plan.log).unwrap();
        assert!(!log.is_empty());
        for secret in &secrets {
            // A signature is what makes a token; its other parts are no secret by themselves.
            let secret = secret.rsplit('.').next().filter(|part| part.len() > 7).unwrap_or(secret);
            assert!(!log.contains(secret), "{} says {secret}", program.plan.log.display());
        }
    }
}
