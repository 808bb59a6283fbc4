//! A good span as OTLP/JSON, and ways to send and spoil it.

use serde_json::{Value, json};
use testkit::client::{Request, Response, send};
use testkit::langfuse::StandIn;

/// `Basic` of the stand-in's default keys.
pub(crate) fn authorization() -> String {
    use base64::Engine;
    let keys = base64::engine::general_purpose::STANDARD.encode("pk-lf-testkit:sk-lf-testkit-secret");
    format!("Basic {keys}")
}

/// The request of a well-behaved exporter; `body` is OTLP/JSON.
pub(crate) fn request(body: Vec<u8>) -> Request {
    let authorization = authorization();
    let headers = testkit::http1::headers(&[
        ("authorization", &authorization),
        ("content-type", "application/json"),
        ("x-langfuse-ingestion-version", "4"),
        ("x-langfuse-sdk-name", "ai-tracing"),
        ("x-langfuse-sdk-version", "0.1.0"),
    ]);
    Request { method: "POST".into(), path: "/api/public/otel/v1/traces".into(), headers, body }
}

/// The same request with one header set to something else, or without it.
pub(crate) fn set_header(mut request: Request, name: &str, value: Option<&str>) -> Request {
    request.headers.retain(|(other, _)| other != name);
    match value {
        Some(value) => request.with_header(name, value),
        None => request,
    }
}

/// One span that breaks no rule.
pub(crate) fn good_span() -> Value {
    json!({
        "traceId": "0af7651916cd43dd8448eb2104dcc801",
        "spanId": "b7ad6b7100000001",
        "name": "chat_completion",
        "kind": 3,
        "startTimeUnixNano": "1795318664000000000",
        "endTimeUnixNano": "1795318665250000000",
        "attributes": [
            text("langfuse.observation.type", "generation"),
            text("langfuse.trace.name", "/v1/chat/completions"),
            text("langfuse.environment", "production"),
            text("langfuse.observation.completion_start_time", "2026-11-22T03:37:44.400Z"),
            text("langfuse.observation.usage_details", r#"{"input":20,"output":5,"total":25}"#),
        ],
        "status": {},
    })
}

/// A string attribute.
pub(crate) fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// The good span with an attribute set.
pub(crate) fn with(attribute: Value) -> Value {
    let mut span = without(attribute["key"].as_str().unwrap());
    span["attributes"].as_array_mut().unwrap().push(attribute);
    span
}

/// The good span without an attribute.
pub(crate) fn without(key: &str) -> Value {
    let mut span = good_span();
    span["attributes"].as_array_mut().unwrap().retain(|attribute| attribute["key"] != key);
    span
}

/// The good span with a field of its own set.
pub(crate) fn with_field(field: &str, value: Value) -> Value {
    let mut span = good_span();
    span[field] = value;
    span
}

/// An export request with these spans, in one scope.
pub(crate) fn export(spans: &[Value]) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name", "envoy")]},
        "scopeSpans": [{"scope": {"name": "ai-tracing", "version": "0.1.0"}, "spans": spans}],
    }]})
}

/// Sends an export request.
pub(crate) async fn post(stand_in: &StandIn, body: &Value) -> Response {
    send(stand_in.addr(), request(body.to_string().into_bytes())).await
}
