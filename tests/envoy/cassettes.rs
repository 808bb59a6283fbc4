//! Recorded calls through the real Envoy, split at odd places: bytes equal on both sides, one trace a call, and the same
//! as in the in-process host.

use serde_json::json;
use testkit::cassettes::{Cassette, RecordedRequest};
use testkit::client::Request;
use testkit::http1::Headers;
use testkit::upstream::{Script, pieces_at_odd_places};
use wasm_host::Personality;

use crate::expectation::corpus;
use crate::replay::{HOST_SPECIFIC, TIMES, replay_in_process, unlike};
use crate::rig::Rig;

fn request(cassette: &Cassette) -> Request {
    let recorded = &cassette.request;
    Request {
        method: recorded.method.clone(),
        path: cassette.target(),
        headers: with_host(recorded),
        body: recorded.body.clone(),
    }
}

/// The provider's host as the client would name it.
fn with_host(recorded: &RecordedRequest) -> Headers {
    let mut headers = recorded.headers.clone();
    if !headers.iter().any(|(name, _)| name == "host") {
        headers.insert(0, ("host".to_owned(), recorded.host.clone().into_bytes()));
    }
    headers
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
        wrong.extend(unlike(&cassette.id, &span, simulated, &apart));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
