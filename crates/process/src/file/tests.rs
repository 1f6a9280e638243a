//! One file with everything wrong, and each rule alone.

use std::collections::BTreeMap;

use cmg_api::text::{Duration, Size};
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape counts here")]
struct House {
    name: String,
    doors: u16,
    warmth: Option<Warmth>,
    #[serde(default = "an_hour")]
    silence: Duration,
    #[serde(default)]
    attic: Option<Size>,
    #[serde(default)]
    room: Vec<Room>,
    #[serde(default)]
    owner: BTreeMap<String, Owner>,
    cellar: Option<Room>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape counts here")]
struct Room {
    colour: String,
    windows: u8,
    #[serde(default)]
    open: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape counts here")]
struct Owner {
    age: u8,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Warmth {
    Stove,
    Sun,
    Fan(Duration),
}

fn an_hour() -> Duration {
    Duration::minutes(60)
}

fn complaints(text: &str) -> Vec<String> {
    let problems = parse::<House>(text).finish().expect_err("something is wrong");
    problems.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn a_right_file_is_read() {
    let house: House =
        parse("name = 'a'\ndoors = 2\nwarmth = 'sun'\nattic = '1KiB'\n[owner.eve]\nage = 3").finish().expect("nothing is wrong");

    assert_eq!(house.silence, Duration::minutes(60));
    assert_eq!(house.attic, Some(Size::kibibytes(1)));
    assert!(matches!(house.warmth, Some(Warmth::Sun)));
    assert_eq!(house.owner.len(), 1);
}

#[test]
fn every_unknown_key_is_named_with_its_path() {
    let text = "nmae = 'x'\nname = 'a'\ndoors = 1\n[[room]]\ncolour='red'\nwindows=1\n[[room]]\ncolor='red'\n\
                colour='blue'\nwindows=2\n[owner.eve]\nage=1\nshoes=2";

    assert_eq!(
        complaints(text),
        [
            "nmae: no such key; perhaps `name`",
            "room[1].color: no such key; perhaps `colour`",
            "owner.eve.shoes: no such key; known here: age",
        ]
    );
}

#[test]
fn the_rest_can_be_judged_beside_unknown_keys() {
    let reading = parse::<House>("nmae = 'x'\nname = 'a'\ndoors = 1");

    assert_eq!(reading.value.map(|house| house.name).as_deref(), Some("a"));
    assert_eq!(reading.problems.0.len(), 1);
}

#[test]
fn nothing_is_left_to_judge_beside_a_wrong_value() {
    assert!(parse::<House>("name = 5\ndoors = 1").value.is_none());
    assert!(parse::<House>("doors = 1").value.is_none());
}

#[test]
fn every_wrong_and_missing_value_is_named() {
    let text = "name = 5\nwarmth = 'fire'\nsilence = '10'\nattic = true\nroom = [{colour = 'red', windows = 300}, 7]\n\
                [owner.eve]\nage = 'old'\n[cellar]\nopen = 1";

    assert_eq!(
        complaints(text),
        [
            "name: is a number; write a text in quotes",
            "warmth: `fire` is not known; write one of stove, sun, fan",
            "silence: `10` is no duration; write a whole number and ms, s, m, h or d, such as \"30s\"",
            "attic: is true or false; write a whole number of bytes, or a text such as \"64KiB\"",
            "room[0].windows: 300 does not fit; write a whole number from 0 to 255",
            "room[1]: is a number; write a table",
            "owner.eve.age: is a text; write a whole number from 0 to 255",
            "cellar.open: is a number; write true or false",
            "cellar.colour: is missing; write a text in quotes",
            "cellar.windows: is missing; write a whole number",
            "doors: is missing; write a whole number",
        ]
    );
}

#[test]
fn a_word_may_have_a_value() {
    let warmth = |value: &str| parse::<House>(&format!("name = 'a'\ndoors = 1\nwarmth = {value}")).finish().map(|house| house.warmth);

    assert_eq!(warmth("{ fan = '5s' }"), Ok(Some(Warmth::Fan(Duration::seconds(5)))));
    assert_eq!(warmth("'sun'"), Ok(Some(Warmth::Sun)));
    for (value, key) in [
        ("{ fan = '5' }", "warmth.fan"),
        ("{ sun = 5 }", "warmth"),
        ("'fan'", "warmth"),
        ("{}", "warmth"),
        ("{ fan = '5s', sun = 1 }", "warmth"),
        ("{ moon = 1 }", "warmth"),
    ] {
        let problems = warmth(value).unwrap_err();
        println!("{problems:?}");
        assert!(problems.0.iter().all(|problem| problem.key.starts_with(key)), "{value}: {problems:?}");
    }
}

#[test]
fn text_that_is_no_toml_is_named_by_its_lines() {
    let lines = complaints("name = \ndoors = 2\n[room\n");

    assert!(lines[0].starts_with("line 1, column 8: "), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("line 3")), "{lines:?}");
}

#[test]
fn a_key_twice_is_named() {
    assert_eq!(complaints("name = 'a'\nname = 'b'\ndoors = 1")[0], "line 2, column 1: duplicate key; correct the TOML there");
}

#[test]
fn a_file_that_is_absent_is_named() {
    let problems = read::<House>(Path::new("/no/such/file.toml")).finish().expect_err("it is absent");

    assert_eq!(
        problems.to_string(),
        "/no/such/file.toml: cannot be read: No such file or directory (os error 2); name a file of text that this user can read"
    );
}

#[test]
fn keys_lists_all_that_a_file_may_say() {
    assert_eq!(
        keys::<House>(),
        [
            "name",
            "doors",
            "warmth",
            "silence",
            "attic",
            "room",
            "room[].colour",
            "room[].windows",
            "room[].open",
            "owner",
            "owner.*",
            "owner.*.age",
            "cellar",
            "cellar.colour",
            "cellar.windows",
            "cellar.open",
        ]
    );
}

#[test]
fn paths_start_at_the_folder_of_the_file() {
    assert_eq!(beside(Path::new("/etc/cmg/gateway.toml"), Path::new("a.pem")), Path::new("/etc/cmg/a.pem"));
    assert_eq!(beside(Path::new("/etc/cmg/gateway.toml"), Path::new("/b.pem")), Path::new("/b.pem"));
    assert_eq!(beside(Path::new("gateway.toml"), Path::new("a.pem")), Path::new("a.pem"));
}

#[test]
fn one_key_has_one_problem() {
    let mut problems = Problems::default();

    problems.add(Problem::new("a", "first", "x"));
    problems.add(Problem::new("a", "second", "y"));

    assert_eq!(problems.to_string(), "a: first; x");
}
