//! Traces for an OTLP receiver that is not Langfuse: an OpenTelemetry Collector on the node
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use serde_json::json;
use testkit::client;
use testkit::envoy::{Endpoint, Envoy, EnvoyOptions, WasmFilter};
use testkit::langfuse::read_batch;
use testkit::upstream::{Script, Upstream};

use super::call;
use crate::calls::answer;
use crate::rig::{SOON, module};

#[tokio::test(flavor = "multi_thread")]
async fn any_receiver_gets_traces_without_keys_and_is_believed_in_what_it_refuses() {
    let (receiver, upstream) = (Upstream::start().await, Upstream::start().await);
    upstream.fallback(|_| Some(answer()));
    // As the specification has it: the body of a success may say what was not taken.
    let partial = json!({"partialSuccess": {"rejectedSpans": "1", "errorMessage": "one too many"}});
    receiver.fallback(move |request| {
        let is_empty = request.body.as_ref().is_none_or(|body| body.is_empty());
        Some(if is_empty { Script::json(200, &json!({})) } else { Script::json(200, &partial) })
    });
    let url = format!("http://{}/v1/traces", receiver.addr());
    let config = json!({"langfuse_enabled": true, "langfuse_endpoint": url, "batch_max_age": 500});
    let filter = WasmFilter::new("ai-tracing", module(), &config);
    let options = EnvoyOptions::new(upstream.addr()).with_langfuse(Endpoint::from(receiver.addr())).with_filter(filter);
    let envoy = Envoy::start(options).await;
    envoy.wait_for_log(&format!("connected to the OTLP receiver at {url}"), SOON).await;
    receiver.clear();
    for n in 0..3 {
        assert_eq!(client::send(envoy.addr(), call(n)).await.status, 200);
    }
    envoy.wait_for_stat("wasmcustom.ai_tracing_traces_dropped_reason=rejected", |count| count >= 1, SOON).await;
    let mut spans = 0;
    for request in receiver.received("") {
        assert_eq!(request.path, "/v1/traces");
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(request.header("authorization"), None, "it has no keys");
        let (found, violations) = read_batch(request.body.as_deref().unwrap_or_default()).unwrap();
        assert!(violations.is_empty(), "{violations:?}");
        spans += found.len() as u64;
    }
    let sent = envoy.stat("wasmcustom.ai_tracing_traces_sent").await;
    let rejected = envoy.stat("wasmcustom.ai_tracing_traces_dropped_reason=rejected").await;
    assert_eq!((spans, sent + rejected), (3, 3), "each is taken or refused");
}
