//! Fuzzes `checks/proof.rs`.
#![no_main]

#[path = "../checks/proof.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
