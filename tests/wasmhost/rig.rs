//! A gateway in the in-process host, and a Langfuse that is a few lines: what it is sent is decoded and judged by
//! testkit's rules.

use std::sync::OnceLock;

use serde_json::{Value, json};
use testkit::langfuse::{Generation, Span, read_batch, read_ingestion};
use wasm_host::{Answer, Callout, Exchange, Isolation, Kong, Module, Personality, Setup, WasmX, Worker};

/// The filter's name in gateways.
pub const NAME: &str = "ai-tracing";
/// Address of the Langfuse that these tests play.
pub const UPSTREAM: &str = "langfuse.test:3000";
/// Shortest time, in milliseconds, after which nothing is under way: WasmX rests behind a call, and longer in an instance
/// that was made anew.
const QUIET_MS: u64 = 15_000;
/// Longest simulated time that a test waits for a call, in milliseconds.
const PATIENCE_MS: u64 = 320_000;

/// The built module, compiled once.
pub fn module() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| {
        let path = testkit::repository_root().join("filters/ai-tracing.wasm");
        Module::load(&path).unwrap_or_else(|error| panic!("{error}; run: make build"))
    })
}

/// Envoy, and the Kongs that differ: without metrics and answers to failures, with metrics, with both.
pub fn hosts() -> Vec<Personality> {
    let mut hosts = vec![Personality::envoy()];
    hosts.extend([Kong::V3_4, Kong::V3_8, Kong::V3_9].map(Personality::kong));
    hosts
}

/// The newest Kong with a changed WasmX.
pub fn wasmx(change: impl FnOnce(&mut WasmX)) -> Personality {
    let mut wasmx = WasmX { isolation: Isolation::None, ..WasmX::default() };
    change(&mut wasmx);
    Personality::WasmX(wasmx)
}

/// A configuration that traces, with `more` keys.
pub fn config(more: &Value) -> String {
    let mut config = json!({
        "langfuse_enabled": true,
        "langfuse_public_key": "pk-lf-test",
        "langfuse_secret_key": "sk-lf-test-secret",
        "langfuse_endpoint": format!("http://{UPSTREAM}"),
        "batch_max_age": 100,
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config.to_string()
}

/// A worker with one root of the default test configuration.
pub fn start(host: &Personality) -> Worker {
    start_with(Setup::new(host.clone()).root(NAME, config(&Value::Null)))
}

/// A worker that must come up.
pub fn start_with(setup: Setup) -> Worker {
    Worker::start(module(), setup).unwrap_or_else(|error| panic!("{error}"))
}

/// Lets time pass until the filter makes a call; panics where it makes none.
pub fn wait_for_call(worker: &mut Worker) -> Callout {
    try_wait_for_call(worker, PATIENCE_MS).unwrap_or_else(|| panic!("no call; log: {:#?}", worker.filter_log()))
}

/// Lets at most `patience_ms` pass until the filter makes a call.
pub fn try_wait_for_call(worker: &mut Worker, patience_ms: u64) -> Option<Callout> {
    for _ in 0..=patience_ms / 20 {
        if let Some(call) = worker.callouts().into_iter().next() {
            return Some(call);
        }
        worker.advance_ms(20);
    }
    None
}

/// Answers the filter's calls with success until none follows for `quiet_ms` ([`QUIET_MS`] at least); the spans that came.
pub fn drain(worker: &mut Worker, quiet_ms: u64) -> Vec<Span> {
    /// More calls than any test has reason for: a filter that calls from each answer would go on for ever.
    const CALLS_MAX: usize = 1000;
    let mut spans = Vec::new();
    for _ in 0..CALLS_MAX {
        let Some(call) = try_wait_for_call(worker, quiet_ms.max(QUIET_MS)) else { return spans };
        spans.extend(read_spans(&call));
        worker.answer(call.token, Answer::status(200));
    }
    panic!("{CALLS_MAX} calls and no end; {:#?}", worker.take_violations());
}

/// What a Langfuse of that generation does with a call: the spans that it takes, and its answer.
pub fn langfuse(generation: Generation, call: &Callout) -> (Vec<Span>, Answer) {
    let path = wasm_host::find(&call.headers, ":path").map(String::from_utf8_lossy).unwrap_or_default();
    let has_otlp = matches!(generation, Generation::V3 | Generation::V4 | Generation::V4Dual);
    if path == "/api/public/otel/v1/traces" {
        return if has_otlp {
            (read_spans(call), Answer::status(200).body("{}"))
        } else {
            (Vec::new(), Answer::status(404))
        };
    }
    assert_eq!(path, "/api/public/ingestion");
    let body: Value = serde_json::from_slice(&call.body).expect("a JSON batch");
    let events = body["batch"].as_array().expect("a batch");
    if generation != Generation::V4 {
        let (spans, violations) = read_ingestion(&call.body, generation).expect("a batch that Langfuse takes");
        assert!(violations.is_empty(), "{violations:#?}");
        return (spans, Answer::status(207).body(json!({"successes": [], "errors": []}).to_string()));
    }
    let refused = |event: &Value| json!({"id": event["id"], "status": 400, "message": "Event type not accepted"});
    let errors: Vec<Value> = events.iter().map(refused).collect();
    (Vec::new(), Answer::status(207).body(json!({"successes": [], "errors": errors}).to_string()))
}

/// The spans in a call, with no rule of Langfuse broken.
pub fn read_spans(call: &Callout) -> Vec<Span> {
    let (spans, violations) = read_batch(&call.body).expect("valid protobuf");
    assert!(violations.is_empty(), "{violations:#?}");
    spans
}

/// Makes an exchange that must pass unharmed, byte for byte.
pub fn pass(worker: &mut Worker, root: usize, exchange: &Exchange) {
    let passed = worker.exchange(root, exchange);
    assert_eq!(passed.harm, Vec::<String>::new());
    assert_eq!(passed.request_body.as_deref(), Some(exchange.request.body.concat().as_slice()));
    assert_eq!(passed.response_body, exchange.response.pieces.concat());
    assert_eq!(passed.status, exchange.response.status);
}
