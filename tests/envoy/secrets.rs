//! No key, credential or content leaves for where it must not: not in Envoy's log, however talkative, not in a span.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::client::{AbortAt, Request, send_and_abort};
use testkit::langfuse::Behaviour;
use testkit::upstream::{Ending, Script};

use crate::rig::{PUBLIC_KEY, Rig, SECRET_KEY, SOON};

const PROMPT: &str = "prompt-only-for-the-model";
const ANSWER: &str = "answer-only-for-the-client";

/// Credentials of the client, each in its header.
const CLIENT: [(&str, &str, &str); 8] = [
    ("authorization", "Bearer sk-client-1111", "sk-client-1111"),
    ("api-key", "azure-client-2222", "azure-client-2222"),
    ("x-api-key", "anthropic-client-3333", "anthropic-client-3333"),
    ("cookie", "session=cookie-4444; other=1", "cookie-4444"),
    ("proxy-authorization", "Basic proxy-5555", "proxy-5555"),
    ("x-goog-api-key", "goog-6666", "goog-6666"),
    ("x-amz-security-token", "amz-7777", "amz-7777"),
    ("openai-api-key", "openai-8888", "openai-8888"),
];

fn credentials() -> String {
    STANDARD.encode(format!("{PUBLIC_KEY}:{SECRET_KEY}"))
}

/// A request with all of the client's credentials.
fn request(body: &Value) -> Request {
    let headers: Vec<(&str, &str)> = CLIENT.iter().map(|(name, value, _)| (*name, *value)).collect();
    Request::post_json("/v1/chat/completions?api_key=query-9999", body, &headers)
}

fn question() -> Request {
    request(&json!({"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}]}))
}

fn answer() -> Script {
    let message = json!({"role": "assistant", "content": ANSWER});
    let mut script = Script::json(
        200,
        &json!({"model": "gpt-4o", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}),
    );
    script.headers.push(("set-cookie".into(), "set-cookie-aaaa=1".into()));
    script
}

/// Forbids all credentials of the client in spans.
async fn rig() -> Rig {
    let rig =
        Rig::start_with(json!({"log_level": "debug"}), |options| options.component_log_level = "wasm:trace".into())
            .await;
    let of_client = CLIENT.iter().map(|(_, _, secret)| *secret);
    of_client.chain(["query-9999", "set-cookie-aaaa", PUBLIC_KEY]).for_each(|secret| rig.langfuse.forbid(secret));
    rig.langfuse.forbid(&credentials());
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_the_log_nor_a_span_has_a_secret_and_the_log_no_content() {
    let rig = rig().await;
    let stream = || {
        let chunk = json!({"choices": [{"index": 0, "delta": {"content": ANSWER}}]}).to_string();
        Script::sse(&[chunk], Duration::ZERO)
    };
    rig.replay(question(), answer()).await;
    rig.replay(
        Request { body: format!("{PROMPT} is no JSON").into(), ..question() },
        Script::json(400, &json!({"error": {"message": ANSWER}})),
    )
    .await;
    rig.replay(question(), stream()).await;
    let (_, request) = rig.scripted(question(), stream().ending(Ending::Hang));
    send_and_abort(rig.envoy.addr(), request, AbortAt::ResponseBytes(10)).await;
    rig.take_spans(4).await;
    // Export calls that fail say more than others.
    for status in [503, 400, 413] {
        rig.langfuse.set_behaviour_for(Behaviour::status(status), 1);
        rig.replay(question(), answer()).await;
        rig.langfuse.wait_for_requests(1, SOON).await;
        rig.langfuse.clear();
    }
    rig.wait_until_settled(7).await;
    rig.langfuse.set_behaviour(Behaviour::status(401));
    rig.replay(question(), answer()).await;
    rig.envoy.wait_for_log("refuses the keys", SOON).await;

    let log = rig.envoy.terminate().await;
    assert!(log.contains("bytes queued"), "the log is at debug: {log}");
    let basic = credentials();
    let of_client = CLIENT.iter().map(|(name, _, secret)| (*name, *secret));
    let others = [
        ("secret key", SECRET_KEY),
        ("public key", PUBLIC_KEY),
        ("Basic value", basic.as_str()),
        ("prompt", PROMPT),
        ("answer", ANSWER),
        ("query", "query-9999"),
        ("set-cookie", "set-cookie-aaaa"),
    ];
    let found: Vec<&str> =
        of_client.chain(others).filter(|(_, secret)| log.contains(secret)).map(|(name, _)| name).collect();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("-lf-testkit") || line.contains(&basic)).collect();
    assert!(found.is_empty(), "in the log: {found:?}\n{}", lines.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_a_configuration_error_is_about_are_not_shown() {
    let mut filter = testkit::envoy::WasmFilter::new("ai-tracing", crate::rig::module(), &json!({}));
    filter.config = json!({"langfuse_secret_key": [SECRET_KEY], "langfuse_public_key": PUBLIC_KEY}).to_string();
    let upstream = testkit::envoy::Endpoint::parse("http://127.0.0.1:1").expect("an address");
    let log = testkit::envoy::Envoy::try_start(testkit::envoy::EnvoyOptions::new(upstream).with_filter(filter))
        .await
        .err()
        .unwrap_or_default();
    assert!(log.contains("langfuse_secret_key: must be a string"), "{log}");
    assert!(!log.contains("-lf-testkit"), "{log}");
}

/// Bodies in which real callers send credentials; each is forbidden in spans.
fn bodies() -> Vec<(&'static str, Value)> {
    let messages = json!([{"role": "user", "content": "hi"}]);
    let azure = json!([{"type": "azure_search", "parameters": {"endpoint": "https://s", "authentication": {"type": "api_key", "key": "body-secret-1"}}}]);
    vec![
        ("api_key", json!({"model": "m", "messages": messages, "api_key": "body-secret-0"})),
        ("API_KEY", json!({"model": "m", "messages": messages, "API_KEY": "body-secret-00"})),
        ("Azure data_sources", json!({"model": "m", "messages": messages, "data_sources": azure})),
        (
            "extra_headers",
            json!({"model": "m", "messages": messages, "extra_headers": {"Authorization": "Bearer body-secret-2"}}),
        ),
        (
            "aws_secret_access_key",
            json!({"model": "m", "messages": messages, "aws_secret_access_key": "body-secret-3"}),
        ),
        (
            "vertex_credentials",
            json!({"model": "m", "messages": messages, "vertex_credentials": {"private_key": "body-secret-4"}}),
        ),
        ("azure_ad_token", json!({"model": "m", "messages": messages, "azure_ad_token": "body-secret-5"})),
        ("metadata", json!({"model": "m", "messages": messages, "metadata": {"api_key": "body-secret-6"}})),
        ("a body without messages", json!({"model": "m", "prompt": "hi", "api_key": "body-secret-7"})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_in_bodies_are_not_exported() {
    let rig = rig().await;
    rig.langfuse.forbid("body-secret-");
    let mut leaks = Vec::new();
    for (what, body) in bodies() {
        rig.replay(request(&body), answer()).await;
        rig.langfuse.wait_for_spans(1, SOON).await;
        leaks.extend(rig.langfuse.violations().iter().map(|violation| format!("{what}: {violation}")));
        rig.langfuse.clear();
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}
