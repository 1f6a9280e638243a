//! Fuzzes `checks/target.rs`.
#![no_main]

#[path = "../checks/target.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
