//! `block_lists`: files with one block a line, for as many as nobody writes by hand.
//!
//! ```text
//! # lost on 3 May
//! thumbprint 5f1d...
//! serial 0A1B
//! serial 0A1B CN=Example CA, O=Example
//! token 6b2e...
//! client 1f0c...
//! ```
//!
//! A line that could never match is a problem, as it is in `[[block]]`.
use std::path::{Path, PathBuf};

use cmg_core::problem::Problem;
use cmg_core::trust::Block;

use crate::Reading;
use crate::blocks::{SERIAL, THUMBPRINT, of_serial, of_thumbprint};

/// Wrong lines of one file that are told. Somebody who named the wrong file does not want to read a line about each of its lines.
const TOLD: usize = 20;

/// Longest stretch of a wrong line that is repeated.
const QUOTED: usize = 60;

/// Adds what the files block to `blocks`.
pub(crate) fn read(files: &[PathBuf], blocks: &mut Vec<Block>, reading: &mut Reading) {
    for (place, file) in files.iter().enumerate() {
        let key = format!("block_lists[{place}]");
        let path = reading.path(file);
        let Some(bytes) = reading.keep(reading.files().read(&key, &path)) else { continue };
        match std::str::from_utf8(&bytes) {
            Ok(text) => lines(&key, &path, text, blocks, reading),
            Err(_) => reading.problem(key, format!("{} is not UTF-8", path.display()), "name a file of text with one block a line"),
        }
    }
}

fn lines(key: &str, path: &Path, text: &str, blocks: &mut Vec<Block>, reading: &mut Reading) {
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    let mut wrong = 0;
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        match block(line) {
            Ok(block) => blocks.push(block),
            Err((what, instead)) => {
                wrong += 1;
                if wrong <= TOLD {
                    let key = format!("{key} line {number}");
                    reading.add(Problem::new(key, format!("{}: {what}", path.display()), instead));
                }
            }
        }
    }
    if wrong > TOLD {
        let what = format!("{}: {} more lines are wrong", path.display(), wrong - TOLD);
        reading.add(Problem::new(format!("{key} and more"), what, "correct the others first"));
    }
}

/// What a line blocks, or what is wrong with it and what to write.
fn block(line: &str) -> Result<Block, (String, &'static str)> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim_start();
    match word {
        "thumbprint" => of_thumbprint(rest).ok_or_else(|| (format!("\"{}\" is no thumbprint", short(rest)), THUMBPRINT)),
        "serial" => {
            let (serial, issuer) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let issuer = Some(issuer.trim_start()).filter(|issuer| !issuer.is_empty());
            of_serial(serial, issuer).ok_or_else(|| (format!("\"{}\" is no serial number", short(serial)), SERIAL))
        }
        "token" if !rest.is_empty() => Ok(Block::TokenId(rest.to_owned())),
        "token" => Err(("it names no token".to_owned(), "write the id of a token")),
        "client" if !rest.is_empty() => Ok(Block::Client(rest.to_owned())),
        "client" => Err(("it names no client".to_owned(), "write the id of a client")),
        _ => Err((format!("\"{}\" is no block", short(line)), "begin with thumbprint, serial, token or client")),
    }
}

fn short(text: &str) -> &str {
    text.char_indices().nth(QUOTED).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use tempfile::TempDir;

    use super::*;

    /// What a list with this text blocks, and the problems that it has.
    fn list(text: &str) -> (Vec<Block>, Vec<String>) {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("blocked.txt"), text).unwrap();
        let mut reading = Reading::in_folder(dir.path());
        let mut blocks = Vec::new();
        read(&["blocked.txt".into()], &mut blocks, &mut reading);
        let Err(problems) = reading.finish::<()>(None) else { panic!("nothing was kept") };
        let path = dir.path().display().to_string();
        (blocks, problems.iter().map(|problem| problem.to_string().replace(&path, "/dir")).collect())
    }

    #[test]
    fn every_kind_of_line_blocks() {
        let text = format!(
            "# lost\n\nthumbprint {}\r\n serial 00:0a \nserial 7 CN=CA, O=X\ntoken a/1\nclient c/1\nthumbprint {}",
            "AB".repeat(20),
            "0c".repeat(32)
        );

        let expected = vec![
            Block::Sha1([0xab; 20]),
            Block::Serial { serial: "A".into(), issuer: None },
            Block::Serial { serial: "7".into(), issuer: Some("CN=CA, O=X".into()) },
            Block::TokenId("a/1".into()),
            Block::Client("c/1".into()),
            Block::Sha256([0x0c; 32]),
        ];
        assert_eq!(list(&text), (expected, vec![]));
    }

    #[test]
    fn a_wrong_line_is_named_with_its_file_and_number() {
        let (blocks, problems) = list("# first\nserial 0x1\ntoken t\nthumbprint abc\nblock 1\ntoken\nclient\n");

        assert_eq!(blocks, [Block::TokenId("t".into())]);
        assert_eq!(problems.len(), 5);
        assert_eq!(
            problems[0],
            "block_lists[0] line 2: /dir/blocked.txt: \"0x1\" is no serial number; write it in hexadecimal, without 0x"
        );
        assert!(problems[3].starts_with("block_lists[0] line 6: "), "{problems:?}");
    }

    #[test]
    fn of_a_wholly_wrong_file_a_few_lines_are_told() {
        let (_, problems) = list(&"rubbish\n".repeat(5_000));

        assert_eq!(problems.len(), TOLD + 1);
        assert!(problems[TOLD].contains("4980 more lines"), "{problems:?}");
    }

    #[test]
    fn a_hundred_thousand_lines_are_read() {
        let mut text = String::new();
        for number in 0..100_000 {
            writeln!(text, "serial {number:X} CN=Example CA").unwrap();
        }

        let (blocks, problems) = list(&text);

        assert_eq!((blocks.len(), problems.len()), (100_000, 0));
    }
}
