//! The vault: files of keys, and what opens with them.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use cmg_authority::VaultKey;
use cmg_authority::vault::{OpenRefused, VaultKeyRefused};

struct Folder {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn folder() -> Folder {
    let dir = tempfile::tempdir().unwrap();
    Folder { path: dir.path().join("vault.key"), _dir: dir }
}

#[test]
fn a_secret_opens_with_the_key_read_again() {
    let folder = folder();
    let sealed = VaultKey::create(&folder.path).unwrap().seal("issuer", b"secret").unwrap();

    let opened = VaultKey::read(&folder.path).unwrap().open("issuer", &sealed).unwrap();

    assert_eq!(opened.expose(), b"secret");
    assert_eq!(fs::metadata(&folder.path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn no_secret_opens_under_another_name_or_key() {
    let (one, other) = (folder(), folder());
    let (key, other_key) = (VaultKey::create(&one.path).unwrap(), VaultKey::create(&other.path).unwrap());
    let sealed = key.seal("issuer", b"secret").unwrap();

    assert_eq!(key.open("other", &sealed), Err(OpenRefused::Sealed));
    assert_eq!(other_key.open("issuer", &sealed), Err(OpenRefused::Sealed));
}

#[test]
fn no_changed_byte_goes_unnoticed() {
    let folder = folder();
    let key = VaultKey::create(&folder.path).unwrap();
    let sealed = key.seal("issuer", b"secret").unwrap();

    for place in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        let wanted = if place == 0 { OpenRefused::Version } else { OpenRefused::Sealed };
        assert_eq!(key.open("issuer", &changed), Err(wanted), "{place}");
    }
    for end in 0..sealed.len() {
        assert_eq!(key.open("issuer", &sealed[..end]), Err(OpenRefused::Sealed), "{end}");
    }
}

#[test]
fn the_same_secret_is_sealed_differently_each_time() {
    let folder = folder();
    let key = VaultKey::create(&folder.path).unwrap();

    assert_ne!(key.seal("a", b"secret").unwrap(), key.seal("a", b"secret").unwrap());
}

#[test]
fn a_key_file_is_not_written_over() {
    let folder = folder();
    VaultKey::create(&folder.path).unwrap();
    let before = fs::read(&folder.path).unwrap();

    assert!(matches!(VaultKey::create(&folder.path), Err(VaultKeyRefused::Exists(_))));
    assert_eq!(fs::read(&folder.path).unwrap(), before);
}

#[test]
fn a_key_file_that_others_can_read_is_refused_with_the_way_out() {
    let folder = folder();
    VaultKey::create(&folder.path).unwrap();
    fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o640)).unwrap();

    let message = VaultKey::read(&folder.path).unwrap_err().to_string();

    let path = folder.path.display();
    assert_eq!(message, format!("{path} has mode 0640, so others than its owner can use it; wanted is 0600. Run `chmod 600 {path}`"));
}

#[test]
fn what_is_no_key_is_refused() {
    for content in [b"".as_slice(), b"YWJj\n", b"no base64", &[0xff; 44], &[b'A'; 300]] {
        let folder = folder();
        VaultKey::create(&folder.path).unwrap();
        fs::write(&folder.path, content).unwrap();

        assert!(matches!(VaultKey::read(&folder.path), Err(VaultKeyRefused::NoKey(_))));
    }
}
