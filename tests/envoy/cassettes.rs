//! Recorded calls through the real Envoy, split at odd places: bytes equal on both sides, one true trace a call, and the
//! same as in the in-process host.

use serde_json::json;
use testkit::cassettes::Cassette;
use testkit::client::Request;
use testkit::upstream::{Script, pieces_at_odd_places};
use wasm_host::Personality;

use crate::expectation::{corpus, differences};
use crate::replay::{HOST_SPECIFIC, replay_in_process, unlike};
use crate::rig::Rig;

/// What real time makes different.
const TIMES: &[&str] = &[
    "langfuse.observation.completion_start_time",
    "langfuse.trace.metadata.total_duration_ms",
    "langfuse.trace.metadata.time_per_token_ms",
    "langfuse.trace.metadata.throughput_tokens_per_second",
];

fn request(cassette: &Cassette) -> Request {
    let recorded = &cassette.request;
    Request {
        method: recorded.method.clone(),
        path: cassette.target(),
        headers: recorded.headers.clone(),
        body: recorded.body.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_call_passes_unchanged_and_becomes_one_true_trace() {
    let cassettes = corpus();
    let in_process = replay_in_process(&Personality::envoy(), &cassettes);
    let apart = [HOST_SPECIFIC, TIMES].concat();
    let rig = Rig::start(json!({"batch_max_age": 0})).await;
    let mut wrong = Vec::new();
    for (seed, (cassette, simulated)) in (0..).zip(cassettes.iter().zip(&in_process)) {
        let pieces = pieces_at_odd_places(&cassette.response.body, seed);
        rig.replay(request(cassette), Script::from(cassette).pieces(pieces)).await;
        let span = rig.take_span().await;
        wrong.extend(differences(cassette, &span));
        wrong.extend(unlike(&cassette.id, &span, simulated, &apart));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
