//! Runs the target that `FUZZ_TARGET` names (`ai_tracing::fuzz`) under libFuzzer.

#![no_main]

use std::sync::OnceLock;

use ai_tracing::fuzz::{Target, find};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names the target");
        find(&name).unwrap_or_else(|| panic!("there is no target {name}"))
    });
    (target.run)(data);
});
