//! What Envoy itself did with a call: how often it asked the upstream, and whether the answer is the upstream's at all.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use testkit::client::{self, Request};
use testkit::envoy::EnvoyOptions;
use testkit::upstream::Script;

use crate::rig::{Rig, unwanted};

const CHAT: &str = "/v1/chat/completions";

fn question(path: &str) -> Request {
    Request::post_json(path, &json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}), &[])
}

fn answer(usage: &Value) -> Script {
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"});
    Script::json(200, &json!({"id": "c", "model": "gpt-4o", "choices": [choice], "usage": usage}))
}

fn routes(bootstrap: &mut Value) -> &mut Value {
    &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]
        ["virtual_hosts"][0]["routes"]
}

/// A 503 is tried again, twice at the most; paths below `/canned` are answered by Envoy.
fn with_retries_and_a_direct_response(options: &mut EnvoyOptions) {
    options.customise = Some(|bootstrap| {
        let routes = routes(bootstrap);
        routes[0]["route"]["retry_policy"] = json!({"retry_on": "5xx", "num_retries": 2});
        let canned =
            json!({"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": "canned"}}]});
        let body = json!({"inline_string": canned.to_string()});
        let canned = json!({"match": {"prefix": "/canned"}, "direct_response": {"status": 200, "body": body}});
        let nowhere = json!({"match": {"prefix": "/nowhere"}, "route": {"cluster": "no_such_cluster"}});
        let all = routes[0].take();
        *routes = json!([canned, nowhere, all]);
        bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]
            ["validate_clusters"] = json!(false);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_are_counted() {
    let rig = Rig::start_with(json!({}), with_retries_and_a_direct_response).await;
    let asked = AtomicUsize::new(0);
    rig.upstream.fallback(move |_| {
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3});
        let overloaded = Script::json(503, &json!({"error": {"message": "overloaded"}}));
        Some(if asked.fetch_add(1, Ordering::Relaxed) % 4 == 1 { answer(&usage) } else { overloaded })
    });
    // 503, 200.
    assert_eq!(client::send(rig.envoy.addr(), question(CHAT)).await.status, 200);
    let mut wrong = unwanted(
        "second attempt",
        &rig.take_span().await,
        &[
            ("level", json!("DEFAULT")),
            ("meta:gateway.attempts", json!(2)),
            ("meta:gateway.response_flags", Value::Null),
        ],
    );
    // Three times 503: the last is the upstream's own.
    assert_eq!(client::send(rig.envoy.addr(), question(CHAT)).await.status, 503);
    let exhausted = [
        ("message", json!("503 overloaded")),
        ("meta:gateway.attempts", json!(3)),
        ("meta:gateway.response_flags", json!("URX")),
    ];
    wrong.extend(unwanted("exhausted", &rig.take_span().await, &exhausted));
    rig.upstream.fallback(|_| Some(answer(&Value::Null)));
    client::send(rig.envoy.addr(), question(CHAT)).await;
    let once = [("meta:gateway.attempts", Value::Null), ("meta:host_details", Value::Null), ("cost", Value::Null)];
    wrong.extend(unwanted("one attempt", &rig.take_span().await, &once));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_answers_itself_is_no_providers_answer() {
    let rig = Rig::start_with(json!({}), with_retries_and_a_direct_response).await;
    assert_eq!(client::send(rig.envoy.addr(), question("/canned/v1/chat/completions")).await.status, 200);
    let canned = [
        ("level", json!("DEFAULT")),
        ("text", json!("canned")),
        ("meta:host_details", json!("direct_response")),
        // Langfuse would count tokens that nobody made.
        ("cost", json!({"total": 0})),
        ("usage", Value::Null),
    ];
    let mut wrong = unwanted("direct response", &rig.take_span().await, &canned);
    assert_eq!(client::send(rig.envoy.addr(), question("/nowhere/v1/chat/completions")).await.status, 503);
    let nowhere = [
        ("level", json!("ERROR")),
        ("message", json!("503 by the gateway: cluster_not_found")),
        ("meta:gateway.response_flags", json!("NC")),
    ];
    wrong.extend(unwanted("no cluster", &rig.take_span().await, &nowhere));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_told_from_another_method() {
    let rig = Rig::start(json!({})).await;
    let mut refused = Request::get("/v1/responses");
    for (name, value) in [("connection", "upgrade"), ("upgrade", "websocket")] {
        refused = refused.with_header(name, value);
    }
    // Codex asks for one first, and servers without them answer 426.
    let (_, refused) = rig.scripted(refused, Script::json(426, &json!({"error": {"message": "no WebSocket"}})));
    assert_eq!(client::send(rig.envoy.addr(), refused).await.status, 426);
    let (_, listed) = rig.scripted(Request::get("/v1/responses"), Script::json(405, &json!({})));
    assert_eq!(client::send(rig.envoy.addr(), listed).await.status, 405);
    // A refusal of a call is an error of its own.
    rig.replay(question(CHAT), Script::json(426, &json!({"error": {"message": "HTTP/2 only"}}))).await;
    let wrong =
        unwanted("426", &rig.take_span().await, &[("level", json!("ERROR")), ("message", json!("426 HTTP/2 only"))]);
    rig.wait_for_counter("calls_skipped_reason=upgrade", 1).await;
    rig.wait_for_counter("calls_skipped_reason=method", 1).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
