//! Server certificates: which one is shown, and what a reload changes.

use cmg_lab::config::edit;
use cmg_lab::{KeyType, Profile};
use p12_keystore::{Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{Caller, Site, until};

/// The certificate that a caller is shown.
fn shown(caller: &Caller) -> Vec<u8> {
    let wire = caller.open();
    wire.stream.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn the_certificate_is_chosen_by_the_server_name() {
    let mut made = None;
    let site = Site::start(|setup| {
        let servers = &setup.lab.servers;
        let rsa = servers.issue(&Profile::server(&["rsa.lab"]).key(KeyType::Rsa2048)).unwrap();
        let wild = servers.server(&["*.wild.lab"]).unwrap();
        let packed = servers.issue(&Profile::server(&["packed.lab"]).key(KeyType::Rsa4096)).unwrap();
        rsa.write(&setup.lab.site_dir(), "rsa").unwrap();
        wild.write(&setup.lab.site_dir(), "wild").unwrap();
        setup.write_secret("packed.pfx", pfx(&packed, "open sesame"));
        setup.write_secret("packed.pass", "open sesame\n");
        setup.gateway(
            r#"
            [[certificate]]
            chain = "rsa.pem"
            key = "rsa.key"
            [[certificate]]
            chain = "wild.pem"
            key = "wild.key"
            [[certificate]]
            pfx = "packed.pfx"
            password_file = "packed.pass"
            "#,
        );
        made = Some((rsa.der, wild.der, packed.der));
    });
    let (rsa, wild, packed) = made.unwrap();

    assert_eq!(shown(&site.device().host("rsa.lab")), rsa);
    assert_eq!(shown(&site.device().host("any.wild.lab")), wild);
    assert_eq!(shown(&site.device().host("packed.lab")), packed);
    assert_ne!(shown(&site.device()), rsa, "the first one where no other fits");
}

fn pfx(issued: &cmg_lab::Issued, password: &str) -> Vec<u8> {
    let chain = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes()).map(|der| Certificate::from_der(&der.unwrap()).unwrap());
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    let chain = PrivateKeyChain::new(vec![1_u8], PrivateKey::from_der(key.secret_der()).unwrap(), chain.collect::<Vec<_>>());
    let mut store = KeyStore::new();
    store.add_entry("server", KeyStoreEntry::PrivateKeyChain(chain));
    store.writer(password).encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256).write().unwrap()
}

#[test]
fn the_whole_chain_is_shown() {
    let site = Site::start(|setup| {
        let below = setup.lab.servers.issuing("Lab Servers Issuing").unwrap();
        below.server(&["localhost"]).unwrap().write(&setup.lab.site_dir(), "server").unwrap();
    });

    // The client knows the root only.
    assert_eq!(site.device().get(&(site.mutual() + "/bytes/1")).status, 200);
}

#[test]
fn a_certificate_with_another_name_may_come_beside_the_first() {
    let site = Site::start(|_| {});
    let lab = site.lab();
    let renamed = lab.servers.server(&["Renamed.LAB"]).unwrap();
    renamed.write(&lab.site_dir(), "renamed").unwrap();
    for config in [&lab.gateways[0].config, &lab.connection_points[0].config] {
        edit(config, |file| {
            if let Some(certificates) = file.get_mut("certificate") {
                let pair = toml::toml! { chain = "renamed.pem"
                key = "renamed.key" };
                certificates.as_array_mut().unwrap().push(pair.into());
            }
            let endpoints = file["endpoint"].as_array_mut().unwrap();
            let mut another = endpoints[0].clone();
            another["id"] = "renamed".into();
            another["host"] = "renamed.lab".into();
            endpoints.push(another);
        })
        .unwrap();
    }
    site.reload();

    for name in ["renamed.lab", "RENAMED.lab", "localhost"] {
        let caller = site.device().host(name);
        assert_eq!(shown(&caller) == renamed.der, name != "localhost", "{name}");
        assert_eq!(caller.get(&(site.mutual() + "/bytes/1")).status, 200, "{name}");
    }
}

#[test]
fn a_reload_replaces_the_certificate_and_drops_no_connection() {
    let site = Site::start(|_| {});
    let before = shown(&site.device());
    let mut wire = site.device().open();
    wire.send("GET", &(site.mutual() + "/held"), &[], b"");
    until("it is there", || (site.origin.requests() == 1).then_some(()));

    let lab = site.lab();
    let renewed = lab.servers.server(&["localhost"]).unwrap();
    renewed.write(&lab.site_dir(), "server").unwrap();
    site.reload();

    assert_ne!(before, renewed.der);
    assert_eq!(shown(&site.device()), renewed.der);
    site.origin.release(1);
    assert_eq!(wire.read().status, 200, "the request in flight is answered");
    wire.send("GET", &(site.mutual() + "/bytes/1"), &[], b"");
    assert_eq!(wire.read().status, 200, "and the connection goes on");
}
