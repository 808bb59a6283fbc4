//! Configured providers and prices: calls that are of no built-in API, through the core natively.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

#[path = "support/feed.rs"]
mod feed;

use feed::Exchange;
use serde_json::{Value, json};
use testkit::langfuse::Span;

fn exchange<'a>(path: &str, request: &'a str, response: &'a [&'a str]) -> Exchange<'a> {
    Exchange {
        path: path.to_owned(),
        request_headers: vec![(":authority", b"gateway:8000"), ("content-type", b"application/json")],
        request: vec![request.as_bytes()],
        status: Some(200),
        response_headers: vec![],
        response: response.iter().map(|piece| piece.as_bytes()).collect(),
        end_of_stream: true,
        details: None,
    }
}

fn acme() -> Value {
    json!({"providers": [{
        "name": "acme", "path": "engines/*/answer",
        "request": {"input": "/question/text"},
        "response": {"model": "/engine/version", "id": "/uid", "output": "/answers/0/text", "reasoning": "/thoughts",
            "finish_reason": "/end", "error": "/problem"},
        "stream": {"delta": "/piece"},
        "usage": {"input": "/n/in", "output": "/n/out", "cache_read_input_tokens": "/n/cached", "cost": "/usd"},
        "input_includes_cache": false,
    }]})
}

fn metadata(span: &Span, key: &str) -> Value {
    span.metadata(key).unwrap_or_default()
}

#[test]
fn a_described_provider_is_read_by_its_places() {
    let settings = acme().to_string();
    let request = r#"{"question":{"text":"why?","lang":"en"},"heat":0.5}"#;
    let body = r#"{"uid":"u1","engine":{"version":"e-2"},"answers":[{"text":"because"}],"thoughts":"hm","end":"stop",
        "n":{"in":3,"out":4,"cached":10},"usd":0.25}"#;
    let span = exchange("/api/engines/e%2F1/answer?x=1", request, &[body]).span(&settings);
    assert_eq!((metadata(&span, "provider"), span.model()), (json!("acme"), Some("e-2")));
    assert_eq!((metadata(&span, "request_model"), metadata(&span, "response_id")), (json!("e/1"), json!("u1")));
    assert_eq!((span.input(), span.level()), (json!("why?"), "DEFAULT"));
    assert_eq!(span.output()["content"], "because");
    assert_eq!(span.output()["reasoning_content"], "hm");
    assert_eq!(
        span.json("langfuse.observation.usage_details"),
        Some(json!({"input": 3, "input_cached_tokens": 10, "output": 4, "total": 17}))
    );
    assert_eq!(span.json("langfuse.observation.cost_details"), Some(json!({"total": 0.25})));
    let parameters = span.json("langfuse.observation.model.parameters").unwrap();
    assert_eq!(parameters["heat"], 0.5);
}

#[test]
fn a_described_stream_is_put_together_and_its_end_is_missed() {
    let settings = acme().to_string();
    let pieces = [
        "data: {\"piece\":\"be\"}\n\n",
        "data: {\"piece\":\"cause\",\"n\":{\"in\":3}}\n\n",
        "data: {\"end\":\"length\"}\n\n",
    ];
    let span = exchange("/engines/e/answer", "{}", &pieces).span(&settings);
    assert_eq!((span.output()["content"].as_str(), span.level()), (Some("because"), "WARNING"));
    assert_eq!(span.time_to_first_token_ms(), Some(400.0));
    let span = exchange("/engines/e/answer", "{}", &pieces[..2]).span(&settings);
    assert_eq!((span.level(), metadata(&span, "stream_complete")), ("WARNING", json!(false)));
    let failed = exchange("/engines/e/answer", "{}", &[r#"{"problem":{"message":"no"}}"#]).span(&settings);
    assert_eq!(failed.level(), "ERROR");
}

#[test]
fn a_prefix_names_the_family_of_what_is_below_it() {
    let settings = json!({"providers": [
        {"name": "groq", "path_prefix": "/groq", "family": "openai.chat"},
        {"name": "eu", "path_prefix": "/eu"},
        {"name": "team", "header": {"x-team": "search"}, "family": "openai.chat"},
    ]})
    .to_string();
    let body = [r#"{"model":"m","choices":[{"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}"#];
    let span = exchange("/groq/ask", r#"{"messages":[]}"#, &body).span(&settings);
    assert_eq!((metadata(&span, "provider"), span.output()["content"].as_str()), (json!("groq"), Some("a")));
    assert_eq!(span.name, "chat_completion");
    let span = exchange("/eu/v1/chat/completions", "{}", &body).span(&settings);
    assert_eq!(metadata(&span, "provider"), json!("eu"));
    let mut by_header = exchange("/any/path", r#"{"messages":[]}"#, &body);
    by_header.request_headers.push(("X-Team", b"search"));
    assert_eq!(metadata(&by_header.span(&settings), "provider"), json!("team"));
    by_header.request_headers.pop();
    assert!(by_header.skip(&settings).is_some(), "another path without the header is no LLM call");
    assert!(exchange("/groqs/ask", "{}", &body).skip(&settings).is_some());
}

#[test]
fn a_table_of_prices_tells_the_cost_of_own_models() {
    let settings = json!({"prices": [{"model": "own-*", "input": 0.1, "output": 0.4, "cached": 0}]}).to_string();
    let answer = |model: &str, more: &str| {
        format!(
            r#"{{"model":"{model}","choices":[{{"message":{{"content":"a"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":1000,
            "completion_tokens":500,"total_tokens":1500,"prompt_tokens_details":{{"cached_tokens":200}}{more}}}}}"#
        )
    };
    let cost = |body: String| {
        let span = exchange("/v1/chat/completions", "{}", &[&body]).span(&settings);
        span.json("langfuse.observation.cost_details")
    };
    assert_eq!(cost(answer("own-7b", "")), Some(json!({"input": 0.00008, "output": 0.0002, "total": 0.00028})));
    assert_eq!(cost(answer("gpt-4o", "")), None, "Langfuse knows that one");
    assert_eq!(cost(answer("own-7b", r#","cost":0.5"#)), Some(json!({"total": 0.5})), "what the provider says wins");
}
