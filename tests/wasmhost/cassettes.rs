//! Recorded calls, split at odd places, on every host: bytes pass unchanged, one trace a call, and the same trace
//! whichever host it is, and as natively (where `tests/corpus.rs` compares it with what was expected). Times are equal,
//! too, between hosts: the clock is simulated.

use wasm_host::{Kong, Personality};

use crate::expectation::corpus;
use crate::feed::Exchange;
use crate::replay::{HOST_SPECIFIC, TIMES, replay_in_process, unlike};
use crate::rig::wasmx;

/// Kong with roomy buffers, and plain nginx with tiny ones.
fn wasmx_hosts() -> [Personality; 2] {
    [Personality::kong(Kong::V3_9), wasmx(|wasmx| (wasmx.kong, wasmx.response_buffer) = (None, 64))]
}

#[test]
fn every_recorded_call_becomes_the_same_trace_on_every_host() {
    let cassettes = corpus();
    let on_envoy = replay_in_process(&Personality::envoy(), &cassettes);
    let apart = [HOST_SPECIFIC, TIMES].concat();
    let natively = cassettes.iter().map(|cassette| Exchange::of(cassette).span("{}"));
    let mut wrong: Vec<String> = cassettes
        .iter()
        .zip(natively.zip(&on_envoy))
        .flat_map(|(cassette, (native, envoy))| unlike(&format!("native, {}", cassette.id), &native, envoy, &apart))
        .collect();
    for host in wasmx_hosts() {
        for (cassette, (envoy, other)) in
            cassettes.iter().zip(on_envoy.iter().zip(&replay_in_process(&host, &cassettes)))
        {
            wrong.extend(unlike(&format!("{}, {}", host.name(), cassette.id), envoy, other, HOST_SPECIFIC));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
