//! `[[block]]`: a block that could never match is a problem, because its author believes that somebody is locked out.
use cmg_api::BlockFile;
use cmg_core::trust::Block;

use crate::{Reading, hex};

pub(crate) fn read(files: &[BlockFile], reading: &mut Reading) -> Vec<Block> {
    files.iter().enumerate().filter_map(|(place, file)| block(&format!("block[{place}]"), file, reading)).collect()
}

fn block(key: &str, file: &BlockFile, reading: &mut Reading) -> Option<Block> {
    if file.issuer.is_some() && file.serial.is_none() {
        reading.problem(format!("{key}.issuer"), "it belongs to a serial number", "write serial too, or remove issuer");
    }
    match (&file.thumbprint, &file.serial, &file.token, &file.client) {
        (Some(thumbprint), None, None, None) => by_thumbprint(&format!("{key}.thumbprint"), thumbprint, reading),
        (None, Some(serial), None, None) => by_serial(key, serial, file.issuer.as_deref(), reading),
        (None, None, Some(id), None) => by_id(&format!("{key}.token"), id, Block::TokenId, reading),
        (None, None, None, Some(id)) => by_id(&format!("{key}.client"), id, Block::Client, reading),
        (None, None, None, None) => {
            reading.problem(key, "it names no certificate, no token and no client", "write thumbprint, serial, token or client");
            None
        }
        _ => {
            reading.problem(key, "it has more than one of thumbprint, serial, token and client", "write a [[block]] table for each");
            None
        }
    }
}

fn by_id(key: &str, id: &str, block: fn(String) -> Block, reading: &mut Reading) -> Option<Block> {
    if id.trim().is_empty() {
        reading.problem(key, "it is empty", "write the id, as the site shows it");
        return None;
    }
    Some(block(id.to_owned()))
}

fn by_thumbprint(key: &str, thumbprint: &str, reading: &mut Reading) -> Option<Block> {
    let block = of_thumbprint(thumbprint);
    if block.is_none() {
        reading.problem(key, format!("\"{thumbprint}\" is no thumbprint"), THUMBPRINT);
    }
    block
}

pub(crate) const THUMBPRINT: &str = "write the SHA-1 (40 digits) or SHA-256 (64 digits) of the certificate in hexadecimal";

pub(crate) const SERIAL: &str = "write it in hexadecimal, without 0x";

/// The block of a certificate with this thumbprint; none: it is none.
pub(crate) fn of_thumbprint(text: &str) -> Option<Block> {
    let digits = hex::digits(text)?;
    hex::bytes(&digits).map(Block::Sha1).or_else(|| hex::bytes(&digits).map(Block::Sha256))
}

/// The block of certificates with this serial number; none: it is none.
pub(crate) fn of_serial(text: &str, issuer: Option<&str>) -> Option<Block> {
    let digits = hex::digits(text)?;
    let serial = match digits.trim_start_matches('0') {
        "" => "0",
        significant => significant,
    };
    Some(Block::Serial { serial: serial.to_owned(), issuer: issuer.map(str::to_owned) })
}

fn by_serial(key: &str, serial: &str, issuer: Option<&str>, reading: &mut Reading) -> Option<Block> {
    if issuer.is_some_and(|issuer| issuer.trim().is_empty()) {
        reading.problem(format!("{key}.issuer"), "it is empty", "write a distinguished name such as CN=Example CA, or remove it for any");
    }
    let block = of_serial(serial, issuer);
    if block.is_none() {
        reading.problem(format!("{key}.serial"), format!("\"{serial}\" is no serial number"), SERIAL);
    }
    block
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn blocks(toml: &str) -> (Vec<Block>, Vec<String>) {
        let file: BlockFile = toml::from_str(toml).unwrap();
        let mut reading = Reading::in_folder(Path::new(""));
        let blocks = read(&[file], &mut reading);
        (blocks, reading.keys().into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn a_thumbprint_is_told_by_its_length() {
        let sha1 = format!("thumbprint = '{}'", "aB:".repeat(20).trim_end_matches(':'));
        let sha256 = format!("thumbprint = '{}'", "0c ".repeat(32));

        assert_eq!(blocks(&sha1), (vec![Block::Sha1([0xab; 20])], vec![]));
        assert_eq!(blocks(&sha256), (vec![Block::Sha256([0x0c; 32])], vec![]));
    }

    #[test]
    fn a_serial_number_is_written_as_certificates_are_read() {
        let expected = |serial: &str, issuer: Option<&str>| Block::Serial { serial: serial.into(), issuer: issuer.map(Into::into) };

        assert_eq!(blocks("serial = '00:0a:1b'"), (vec![expected("A1B", None)], vec![]));
        assert_eq!(blocks("serial = '00'"), (vec![expected("0", None)], vec![]));
        assert_eq!(blocks("serial = '7'\nissuer = 'CN=CA'"), (vec![expected("7", Some("CN=CA"))], vec![]));
    }

    #[test]
    fn a_token_and_a_client_are_named_by_their_ids() {
        assert_eq!(blocks("client = 'c/1'"), (vec![Block::Client("c/1".to_owned())], vec![]));
        assert_eq!(blocks("token = 'a/1'"), (vec![Block::TokenId("a/1".to_owned())], vec![]));
    }

    #[test]
    fn a_block_that_could_never_match_is_a_problem() {
        for (toml, key) in [
            ("", "block[0]"),
            ("thumbprint = 'abc'", "block[0].thumbprint"),
            ("thumbprint = ''", "block[0].thumbprint"),
            ("serial = '0x12'", "block[0].serial"),
            ("serial = '12'\nissuer = ' '", "block[0].issuer"),
            ("serial = '12'\nthumbprint = 'ab'", "block[0]"),
            ("token = '1'\nserial = '12'", "block[0]"),
            ("token = ' '", "block[0].token"),
            ("client = ''", "block[0].client"),
            ("client = '1'\ntoken = '1'", "block[0]"),
        ] {
            assert_eq!(blocks(toml).1, [key], "{toml}");
        }
        assert_eq!(blocks("issuer = 'CN=CA'").1, ["block[0].issuer"]);
    }
}
