//! Fuzzes `checks/head.rs`.
#![no_main]

#[path = "../checks/head.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
