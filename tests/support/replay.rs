//! Recorded calls in the in-process host, split at odd places, and what of their traces is the same on every host.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::cassettes::Cassette;
use testkit::langfuse::{Span, read_batch};
use testkit::upstream::{Framing as RecordedFraming, pieces_at_odd_places};
use wasm_host::{Answer, Author, Exchange, Framing, Module, Personality, Request, Response, Setup, Worker};

/// Attributes that only one host knows.
pub const HOST_SPECIFIC: &[&str] = &[
    // Envoy makes an x-request-id where there is none.
    "langfuse.observation.metadata.request_id",
    // Envoy has properties for these.
    "langfuse.observation.metadata.gateway.route",
    "langfuse.observation.metadata.gateway.service",
    // nginx has variables for these.
    "langfuse.observation.metadata.gateway.upstream_connect_time",
    "langfuse.observation.metadata.gateway.upstream_header_time",
    "langfuse.observation.metadata.gateway.upstream_response_time",
];

/// What another clock makes different.
pub const TIMES: &[&str] = &[
    "langfuse.observation.completion_start_time",
    "langfuse.trace.metadata.total_duration_ms",
    "langfuse.trace.metadata.time_per_token_ms",
    "langfuse.trace.metadata.throughput_tokens_per_second",
    "langfuse.observation.metadata.total_duration_ms",
    "langfuse.observation.metadata.time_per_token_ms",
    "langfuse.observation.metadata.throughput_tokens_per_second",
];

/// One span for each cassette, replayed on `host`; bytes must pass unchanged, and the host have no reason to complain.
pub fn replay_in_process(host: &Personality, cassettes: &[Cassette]) -> Vec<Span> {
    let path = testkit::repository_root().join("filters/ai-tracing.wasm");
    let module = Module::load(path).unwrap_or_else(|error| panic!("{error}; run: make build"));
    let config = json!({"langfuse_enabled": true, "langfuse_public_key": "pk", "langfuse_secret_key": "sk",
        "langfuse_endpoint": "http://127.0.0.1:3000", "batch_max_age": 0});
    let setup = Setup::new(host.clone()).root("ai-tracing", config.to_string());
    let mut worker = Worker::start(&module, setup).unwrap_or_else(|error| panic!("{error}"));
    assert!(exported(&mut worker).is_empty(), "the self check has no spans");
    let mut spans = Vec::new();
    for (seed, cassette) in (0..).zip(cassettes) {
        let exchange = exchange(cassette, seed);
        let passed = worker.exchange(0, &exchange);
        assert_eq!(passed.harm, Vec::<String>::new(), "{}", cassette.id);
        assert_eq!(passed.request_body.as_deref(), Some(exchange.request.body.concat().as_slice()), "{}", cassette.id);
        assert_eq!(passed.response_body, exchange.response.pieces.concat(), "{}", cassette.id);
        let mut of_call = exported(&mut worker);
        assert_eq!(of_call.len(), 1, "{}: one span a call", cassette.id);
        spans.append(&mut of_call);
    }
    worker.assert_healthy();
    let noise: Vec<_> = worker.log().into_iter().filter(|line| line.author == Author::Host).collect();
    assert!(noise.is_empty(), "the host had reason to write {noise:?}");
    spans
}

/// Answers the filter's calls of the next second; the spans in them, with no rule of Langfuse broken.
fn exported(worker: &mut Worker) -> Vec<Span> {
    let mut spans = Vec::new();
    for _ in 0..100 {
        worker.advance_ms(10);
        for call in worker.callouts() {
            let (mut found, violations) = read_batch(&call.body).expect("valid protobuf");
            assert!(violations.is_empty(), "{violations:#?}");
            spans.append(&mut found);
            worker.answer(call.token, Answer::status(200));
        }
    }
    spans
}

fn exchange(cassette: &Cassette, seed: u64) -> Exchange {
    let recorded = &cassette.request;
    let request = Request {
        method: recorded.method.clone(),
        path: cassette.target(),
        authority: recorded.host.clone(),
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

/// All that two spans of one call must have in common, but for the attributes in `apart`.
pub fn comparable(span: &Span, apart: &[&str]) -> BTreeMap<String, Value> {
    let mut attributes = span.attributes.clone();
    attributes.retain(|key, _| !apart.contains(&key.as_str()));
    attributes.insert("name".to_owned(), span.name.clone().into());
    attributes.insert("status".to_owned(), format!("{} {}", span.status_code, span.status_message).into());
    attributes
}

/// Where two spans of the call `id` differ, as readable lines.
pub fn unlike(id: &str, one: &Span, other: &Span, apart: &[&str]) -> Vec<String> {
    let (one, other) = (comparable(one, apart), comparable(other, apart));
    let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let differing = keys.into_iter().filter(|key| one.get(*key) != other.get(*key));
    differing.map(|key| format!("{id}: {key}: {:?} / {:?}", one.get(key), other.get(key))).collect()
}
