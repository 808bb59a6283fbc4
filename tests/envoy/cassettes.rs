//! Recorded calls through the real Envoy, split at odd places: bytes equal on both sides, one true trace a call.

use serde_json::json;
use testkit::cassettes::Cassette;
use testkit::client::Request;
use testkit::upstream::{Script, pieces_at_odd_places};

use crate::expectation::{corpus, differences};
use crate::rig::Rig;

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
    let rig = Rig::start(json!({"batch_max_age": 0})).await;
    let mut wrong = Vec::new();
    for (seed, cassette) in (0..).zip(&cassettes) {
        let pieces = pieces_at_odd_places(&cassette.response.body, seed);
        rig.replay(request(cassette), Script::from(cassette).pieces(pieces)).await;
        wrong.extend(differences(cassette, &rig.take_span().await));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
