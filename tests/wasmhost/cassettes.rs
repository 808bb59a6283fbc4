//! Recorded calls, split at odd places, on every host: bytes pass unchanged, one true trace a call, and the same trace
//! whichever host it is. (Times are equal, too: the clock is simulated.)

use wasm_host::{Kong, Personality};

use crate::expectation::{corpus, differences};
use crate::replay::{HOST_SPECIFIC, replay_in_process, unlike};
use crate::rig::wasmx;

/// Kong with roomy buffers, and plain nginx with tiny ones.
fn wasmx_hosts() -> [Personality; 2] {
    [Personality::kong(Kong::V3_9), wasmx(|wasmx| (wasmx.kong, wasmx.response_buffer) = (None, 64))]
}

#[test]
fn every_recorded_call_becomes_the_same_true_trace_on_every_host() {
    let cassettes = corpus();
    let on_envoy = replay_in_process(&Personality::envoy(), &cassettes);
    let mut wrong: Vec<String> =
        cassettes.iter().zip(&on_envoy).flat_map(|(cassette, span)| differences(cassette, span)).collect();
    for host in wasmx_hosts() {
        for (cassette, (envoy, other)) in
            cassettes.iter().zip(on_envoy.iter().zip(&replay_in_process(&host, &cassettes)))
        {
            wrong.extend(unlike(&format!("{}, {}", host.name(), cassette.id), envoy, other, HOST_SPECIFIC));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
