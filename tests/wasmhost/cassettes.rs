//! Recorded calls, split at odd places, on every host: bytes pass unchanged, one true trace a call, and the same trace
//! whichever host it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testkit::cassettes::Cassette;
use testkit::langfuse::Span;
use testkit::upstream::{Framing as RecordedFraming, pieces_at_odd_places};
use wasm_host::{Exchange, Framing, Kong, Personality, Request, Response};

use crate::expectation::{corpus, differences};
use crate::rig::{drain, pass, start, wasmx};

/// Attributes that only one host knows. (Times are equal: the clock is simulated.)
const HOST_SPECIFIC: &[&str] = &[
    // Envoy makes an x-request-id where there is none.
    "langfuse.observation.metadata.request_id",
    // nginx has variables for these.
    "langfuse.observation.metadata.upstream_connect_time",
    "langfuse.observation.metadata.upstream_header_time",
    "langfuse.observation.metadata.upstream_response_time",
];

fn exchange(cassette: &Cassette, seed: u64) -> Exchange {
    let recorded = &cassette.request;
    let request = Request {
        method: recorded.method.clone(),
        path: cassette.target(),
        authority: "api.example".to_owned(),
        headers: recorded.headers.clone(),
        body: odd_pieces(&recorded.body, seed),
    };
    let framing = match cassette.response.framing {
        RecordedFraming::ContentLength => Framing::ContentLength,
        RecordedFraming::Chunked => Framing::Chunked,
        RecordedFraming::Close => Framing::Close,
    };
    let pieces = odd_pieces(&cassette.response.body, seed);
    let mut response = Response::of(cassette.response.status, "", pieces, framing);
    response.headers = cassette.response.headers.clone();
    Exchange::new(request, response)
}

fn odd_pieces(bytes: &[u8], seed: u64) -> Vec<Vec<u8>> {
    pieces_at_odd_places(bytes, seed).into_iter().map(|piece| piece.bytes).collect()
}

/// One span for each cassette.
fn replay(host: &Personality, cassettes: &[Cassette]) -> Vec<Span> {
    let mut worker = start(host);
    assert!(drain(&mut worker, 100).is_empty(), "the self check has no spans");
    let mut spans = Vec::new();
    for (seed, cassette) in (0..).zip(cassettes) {
        pass(&mut worker, 0, &exchange(cassette, seed));
        let mut of_call = drain(&mut worker, 200);
        assert_eq!(of_call.len(), 1, "{}: one span a call", cassette.id);
        spans.append(&mut of_call);
    }
    worker.assert_healthy();
    spans
}

fn comparable(span: &Span) -> BTreeMap<String, Value> {
    let mut attributes = span.attributes.clone();
    attributes.retain(|key, _| !HOST_SPECIFIC.contains(&key.as_str()));
    attributes.insert("name".to_owned(), span.name.clone().into());
    attributes.insert("status".to_owned(), format!("{} {}", span.status_code, span.status_message).into());
    attributes
}

/// Kong with roomy buffers, and plain nginx with tiny ones.
fn wasmx_hosts() -> [Personality; 2] {
    [Personality::kong(Kong::V3_9), wasmx(|wasmx| (wasmx.kong, wasmx.response_buffer) = (None, 64))]
}

#[test]
fn every_recorded_call_becomes_the_same_true_trace_on_every_host() {
    let cassettes = corpus();
    let on_envoy = replay(&Personality::envoy(), &cassettes);
    let mut wrong: Vec<String> =
        cassettes.iter().zip(&on_envoy).flat_map(|(cassette, span)| differences(cassette, span)).collect();
    for host in wasmx_hosts() {
        for (cassette, (envoy, other)) in cassettes.iter().zip(on_envoy.iter().zip(&replay(&host, &cassettes))) {
            let (envoy, other) = (comparable(envoy), comparable(other));
            let keys: BTreeSet<&String> = envoy.keys().chain(other.keys()).collect();
            let differing = keys.into_iter().filter(|key| envoy.get(*key) != other.get(*key));
            wrong.extend(differing.map(|key| {
                format!("{}, {}: {key}: {:?} / {:?}", host.name(), cassette.id, envoy.get(key), other.get(key))
            }));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
