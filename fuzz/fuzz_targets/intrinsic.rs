//! `targets::intrinsic` under libFuzzer.
#![no_main]

#[path = "../targets/mod.rs"]
#[allow(dead_code, reason = "each target takes one of them")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::intrinsic(data));
