//! What a trace says of a call, case by case, through the core natively (docs/design.md, "What a trace says").

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

use ai_tracing::export::otlp::{Resource, encode_batch};
use feed::Exchange;
use serde_json::{Value, json};
use testkit::langfuse::{Span, read_batch};

const CHAT: &str = "/v1/chat/completions";
const ANSWER: &str = r#"{"id":"c1","model":"gpt-4-0613","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;

fn exchange<'a>(path: &str, request: &'a [u8], response: &'a [u8]) -> Exchange<'a> {
    Exchange {
        path: path.to_owned(),
        request_headers: vec![("content-type", b"application/json")],
        request: vec![request],
        status: Some(200),
        response_headers: vec![("content-type", b"application/json")],
        response: vec![response],
        end_of_stream: true,
        details: None,
    }
}

fn chat(settings: &str, request: &Value, response: &str) -> Span {
    exchange(CHAT, request.to_string().as_bytes(), response.as_bytes()).span(settings)
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Attributes of the trace that a call in an application's trace writes over it, under these headers and settings.
fn said_of_the_trace(settings: &str, headers: &[(&'static str, &'static str)]) -> Vec<String> {
    let request =
        json!({"model": "gpt-4", "messages": [], "metadata": {"team": "a", "model": "mine"}, "prompt_cache_key": "k"});
    let request = request.to_string();
    let mut call = exchange(CHAT, request.as_bytes(), ANSWER.as_bytes());
    call.request_headers.extend(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
    let span = call.span(settings);
    // Facts are never lost, wherever they stand.
    assert_eq!(span.metadata("provider"), Some(json!("openai_compatible")));
    assert_eq!((span.metadata("status_code"), span.metadata("prompt_cache_key")), (Some(json!(200)), Some(json!("k"))));
    let of_trace = |key: &&String| key.starts_with("langfuse.trace.") || key.starts_with("langfuse.internal.");
    let names: Vec<String> = span.attributes.keys().filter(of_trace).cloned().collect();
    names
}

#[test]
fn a_call_in_an_applications_trace_says_of_it_only_what_its_caller_names() {
    let claim = ("baggage", "langfuse_trace_id=0af7651916cd43dd8448eb211c80319c");
    let parent = ("traceparent", PARENT);
    let own = ["langfuse.trace.metadata.caller_model", "langfuse.trace.metadata.team"];
    let with = |more: &[&'static str]| [more, &own].concat();
    // The SDK's claim, or the operator's word: a child.
    assert_eq!(said_of_the_trace("{}", &[parent, claim]), own);
    assert_eq!(said_of_the_trace(r#"{"parent":"trust"}"#, &[parent]), own);
    let explicit = [("langfuse_trace_id", TRACE), ("langfuse_parent_observation_id", "b7ad6b7169203331")];
    assert_eq!(said_of_the_trace(r#"{"parent":"ignore"}"#, &explicit), own);
    // Nobody says whose the parent is: it may be in Langfuse.
    assert_eq!(said_of_the_trace("{}", &[parent]), with(&["langfuse.internal.is_app_root"]));
    let b3 = ("b3", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1");
    assert_eq!(said_of_the_trace("{}", &[b3]), with(&["langfuse.internal.is_app_root"]));
    assert_eq!(said_of_the_trace("{}", &[b3, claim]), own);
    // What is named is sent.
    let named =
        said_of_the_trace("{}", &[parent, claim, ("langfuse-trace-name", "mine"), ("langfuse-metadata", "a:b")]);
    let mut wanted = with(&["langfuse.trace.metadata.a", "langfuse.trace.name"]);
    wanted.sort_unstable();
    assert_eq!(named, wanted);
    // A trace of the call's own has a name and all facts; so has one whose parents are known to be elsewhere.
    let foreign = said_of_the_trace(r#"{"parent":"foreign"}"#, &[parent]);
    for key in [
        "langfuse.internal.as_root",
        "langfuse.internal.is_app_root",
        "langfuse.trace.name",
        "langfuse.trace.metadata.provider",
    ] {
        assert!(foreign.iter().any(|name| name == key), "{key} of {foreign:?}");
    }
    assert_eq!(said_of_the_trace(r#"{"parent":"foreign"}"#, &[parent, claim]), own);
    let root = said_of_the_trace("{}", &[("langfuse_trace_id", TRACE)]);
    assert!(
        root.contains(&"langfuse.trace.name".to_owned()) && !root.iter().any(|name| name.contains("internal")),
        "{root:?}"
    );
}

#[test]
fn an_error_is_said_once_and_the_environment_of_a_call_is_its_own() {
    let mut call = exchange(CHAT, br#"{"model":"m","messages":[]}"#, br#"{"error":{"message":"slow down"}}"#);
    call.status = Some(429);
    call.request_headers.push(("baggage", b"langfuse_environment=staging"));
    let span = call.span("{}");
    assert_eq!((span.level(), span.status_code, span.status_message.as_str()), ("ERROR", 2, "429 slow down"));
    let twice = ["langfuse.observation.level", "langfuse.observation.status_message"];
    assert!(twice.iter().all(|key| span.text(key).is_none()), "{span:?}");
    assert_eq!(span.text("langfuse.environment"), Some("staging"));
    assert_eq!(span.resource.get("deployment.environment.name"), None);
}

#[test]
fn an_answer_without_a_body_is_a_warning_that_costs_nothing() {
    for (status, level) in [(200, "WARNING"), (204, "DEFAULT"), (500, "ERROR")] {
        for body in [&b""[..], b" \r\n"] {
            let mut call = exchange(CHAT, br#"{"model":"gpt-4o","messages":[]}"#, body);
            call.status = Some(status);
            let span = call.span("{}");
            assert_eq!((span.level(), span.text("langfuse.observation.cost_details")), (level, Some(r#"{"total":0}"#)));
        }
    }
}

#[test]
fn an_old_function_call_and_a_custom_tools_are_calls_of_tools() {
    let answer = |message: &str| format!(r#"{{"choices":[{{"index":0,"message":{message},"finish_reason":"stop"}}]}}"#);
    for (message, calls) in [
        (
            r#"{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}}"#,
            json!([{"id": null, "name": "f", "arguments": "{}"}]),
        ),
        (r#"{"role":"assistant","content":"a","function_call":{"name":"","arguments":""}}"#, json!([])),
        (
            r#"{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"custom","custom":{"name":"g","input":"4 + 4"}}]}"#,
            json!([{"id": "a", "name": "g", "arguments": "4 + 4"}]),
        ),
    ] {
        let body = answer(message);
        assert_eq!(exchange(CHAT, b"{}", body.as_bytes()).explain("{}")["tool_calls"], calls, "{message}");
    }
}

#[test]
fn an_inference_profile_of_vectors_is_told_by_its_answer() {
    let path = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fabc/invoke";
    for (answer, kind) in [
        (r#"{"embedding":[0.1,0.2],"inputTextTokenCount":3}"#, "embedding"),
        (r#"{"embeddings":{"int8":[[1,2]]},"texts":["a"]}"#, "embedding"),
        (r#"{"inputTextTokenCount":3,"results":[{"outputText":"T","tokenCount":1}]}"#, "generation"),
    ] {
        let span = exchange(path, br#"{"inputText":"hello"}"#, answer.as_bytes()).span("{}");
        assert_eq!(span.text("langfuse.observation.type"), Some(kind), "{answer}");
        assert_eq!(span.input(), "hello");
    }
}

#[test]
fn the_gateways_own_answer_is_no_providers() {
    let mut call = exchange(CHAT, br#"{"model":"gpt-4o","messages":[]}"#, b"no healthy upstream");
    (call.status, call.details) = (Some(503), Some("no_healthy_upstream"));
    assert_eq!(call.span("{}").message(), Some("503 by the gateway: no_healthy_upstream"));
    call.details = Some("via_upstream");
    assert_eq!(call.span("{}").message(), Some("503 no healthy upstream"));
    let answer = br#"{"choices":[{"index":0,"message":{"role":"assistant","content":"canned"}}]}"#;
    let mut call = exchange(CHAT, br#"{"model":"gpt-4o","messages":[]}"#, answer);
    call.details = Some("direct_response");
    let span = call.span("{}");
    assert_eq!((span.level(), span.metadata("host_details")), ("DEFAULT", Some(json!("direct_response"))));
    assert_eq!(span.text("langfuse.observation.cost_details"), Some(r#"{"total":0}"#));
    call.details = Some("downstream_remote_disconnect");
    let span = call.span("{}");
    assert_eq!((span.metadata("host_details"), span.text("langfuse.observation.cost_details")), (None, None));
}

#[test]
fn the_predecessors_trace_keeps_its_names_and_formulas() {
    let request = json!({"model": "gpt-4", "messages": [{"role": "user", "content": "Explain"}], "temperature": 0.7, "max_tokens": 500});
    let span = chat(r#"{"environment":"staging","tags":["kong"],"release":"r1","version":"v1"}"#, &request, ANSWER);
    assert_eq!((span.name.as_str(), span.text("langfuse.trace.name")), ("chat_completion", Some(CHAT)));
    assert_eq!((span.duration_ms(), span.level(), span.kind), (1250.0, "DEFAULT", 3));
    for (key, value) in [
        ("provider", json!("openai_compatible")),
        ("model", json!("gpt-4-0613")),
        ("request_model", json!("gpt-4")),
        ("status_code", json!(200)),
        ("environment", json!("staging")),
        ("total_duration_ms", json!(1250.0)),
        ("time_per_token_ms", json!(250.0)),
        ("throughput_tokens_per_second", json!(4.0)),
        ("temperature", json!(0.7)),
        ("max_tokens", json!(500)),
        ("finish_reason", json!("stop")),
        ("usage_source", json!("provider")),
        ("response_id", json!("c1")),
    ] {
        assert_eq!(span.metadata(key), Some(value), "{key}");
    }
    assert_eq!(span.input(), request["messages"]);
    assert_eq!(span.output(), json!({"role": "assistant", "content": "hi"}));
    assert_eq!(
        span.json("langfuse.observation.model.parameters"),
        Some(json!({"max_tokens": 500, "temperature": 0.7}))
    );
    assert_eq!(span.text("langfuse.observation.usage_details"), Some(r#"{"input":10,"output":5,"total":15}"#));
    assert_eq!(
        (span.tags(), span.text("langfuse.release"), span.text("langfuse.version")),
        (vec!["kong".to_owned()], Some("r1"), Some("v1"))
    );
    assert_eq!(span.time_to_first_token_ms(), None, "a JSON answer has no first token");
    assert!(span.text("langfuse.observation.cost_details").is_none());
}

#[test]
fn nothing_is_invented_where_nothing_was_said() {
    let span = exchange(CHAT, b"{}", b"{}").span("{}");
    assert_eq!((span.user(), span.session(), span.model(), span.tags().len()), (None, None, None, 0));
    assert!(span.usage().is_empty());
    assert_eq!(span.metadata("usage_source"), Some(json!("missing")));
    for absent in ["time_per_token_ms", "throughput_tokens_per_second", "model", "finish_reason", "chat_id"] {
        assert_eq!(span.metadata(absent), None, "{absent}");
    }
    let no_tokens = ANSWER.replace("\"completion_tokens\":5,\"total_tokens\":15", "\"completion_tokens\":0");
    assert_eq!(chat("{}", &json!({}), &no_tokens).metadata("time_per_token_ms"), None, "no division by zero tokens");
}

#[test]
fn tools_stand_beside_the_messages_and_credentials_nowhere() {
    let request = json!({"messages": [{"role": "user", "content": "w"}], "tools": [{"type": "function"}], "tool_choice": "auto",
        "api_key": "sk-secret", "stop": ["a"], "response_format": {"type": "json_object"}});
    let span = chat("{}", &request, ANSWER);
    assert_eq!(span.input(), json!({"messages": request["messages"], "tools": request["tools"]}));
    let parameters = span.json("langfuse.observation.model.parameters").unwrap();
    assert_eq!(parameters, json!({"tool_choice": "auto", "stop": ["a"], "response_format": {"type": "json_object"}}));
    assert!(!format!("{span:?}").contains("sk-secret"));
}

#[test]
fn geminis_contents_become_messages_and_the_key_in_its_query_is_nowhere() {
    let path = "/v1beta/models/gemini-2.5-flash:generateContent?key=sk-secret";
    let answer = br#"{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}]}"#;
    let parts = json!([{"text": "w", "thought": true}, {"functionCall": {"name": "f", "args": {"a": 1}}}]);
    for (system, config) in [("systemInstruction", "generationConfig"), ("system_instruction", "generation_config")] {
        let request = json!({
            "contents": [
                {"parts": [{"text": "a"}]},
                {"role": "model", "parts": parts},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"b": 2}}}]},
            ],
            system: {"parts": [{"text": "s"}]},
            config: {"temperature": 0.5},
        });
        let span = exchange(path, request.to_string().as_bytes(), answer).span("{}");
        let call = json!({"id": "", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}});
        let messages = json!([
            {"role": "system", "content": "s"},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": null, "reasoning_content": "w", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "f", "content": {"b": 2}},
        ]);
        assert_eq!((span.input(), span.output()["content"].as_str()), (messages, Some("hi")));
        let parameters = span.json("langfuse.observation.model.parameters");
        assert_eq!((parameters, span.model()), (Some(json!({"temperature": 0.5})), Some("gemini-2.5-flash")));
        assert!(!format!("{span:?}").contains("sk-secret"), "{span:#?}");
    }
}

#[test]
fn an_array_is_a_stream_of_its_elements() {
    let piece = |text: &str, more: &str| {
        format!("{{\n  \"candidates\": [{{\"content\": {{\"parts\": [{{\"text\": \"{text}\"}}]}}{more}}}]\n}}")
    };
    let end = r#", "finishReason": "STOP""#;
    let body = format!("[{}\n,\r\n{}\n]", piece("a, ]", ""), piece("b", end));
    let path = "/v1beta/models/g:streamGenerateContent";
    let whole = exchange(path, b"{}", body.as_bytes()).span("{}");
    assert_eq!((whole.output()["content"].as_str(), whole.level()), (Some("a, ]b"), "DEFAULT"));
    assert_eq!(whole.time_to_first_token_ms(), Some(400.0));
    for cut in 1..body.len() {
        let mut exchange = exchange(path, b"{}", &body.as_bytes()[..cut]);
        exchange.end_of_stream = false;
        let span = exchange.span("{}");
        assert_eq!(span.level(), "WARNING", "cut at {cut}");
        let text = span.output()["content"].as_str().unwrap_or_default().to_owned();
        assert!("a, ]b".starts_with(&text) && (cut < 60 || !text.is_empty()), "cut at {cut}: {text}");
    }
    let object = exchange(path, b"{}", piece("a", end).as_bytes()).span("{}");
    assert_eq!((object.output()["content"].as_str(), object.level()), (Some("a"), "DEFAULT"));
}

#[test]
fn instructions_are_the_first_message_of_a_response() {
    let request =
        json!({"model": "m", "instructions": "s", "input": "a", "previous_response_id": "r0", "store": false});
    let answer = br#"{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[]}"#;
    let span = exchange("/v1/responses", request.to_string().as_bytes(), answer).span("{}");
    assert_eq!(span.input(), json!([{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]));
    let parameters = span.json("langfuse.observation.model.parameters");
    assert_eq!(parameters, Some(json!({"previous_response_id": "r0", "store": false})));
    assert_eq!((span.name.as_str(), span.level()), ("response", "WARNING"));
    let counted = exchange("/v1/responses/input_tokens", b"{\"input\":\"a\"}", b"{\"input_tokens\":51}").span("{}");
    assert_eq!((counted.name.as_str(), counted.output()), ("token_count", json!({"input_tokens": 51})));
    assert_eq!(counted.text("langfuse.observation.cost_details"), Some("{\"total\":0}"));
}

#[test]
fn a_blocked_prompt_and_numbered_reasons_are_warnings() {
    for (answer, level) in [
        (r#"{"promptFeedback":{"blockReason":"OTHER"},"usageMetadata":{"promptTokenCount":4}}"#, "WARNING"),
        (r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":2}]}"#, "WARNING"),
        (r#"{"candidates":[{"finishReason":3}]}"#, "WARNING"),
        (r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":1}]}"#, "DEFAULT"),
    ] {
        let span = exchange("/v1beta/models/g:streamGenerateContent", b"{}", answer.as_bytes()).span("{}");
        assert_eq!(span.level(), level, "{answer}");
    }
}

#[test]
fn credentials_in_tools_features_and_metadata_are_redacted() {
    let secret = json!({"headers": {"Authorization": "Bearer sk-secret"}, "type": "mcp"});
    let request = json!({"messages": [], "tools": [secret], "features": {"api_key": "sk-secret", "web": true},
        "metadata": {"token": "sk-secret", "nested": {"password": "sk-secret"}}, "extra_headers": {"x-api-key": "sk-secret"}});
    let span = chat("{}", &request, ANSWER);
    assert!(!format!("{span:?}").contains("sk-secret"), "{span:#?}");
    assert_eq!(span.input()["tools"][0]["headers"]["Authorization"], "[redacted]");
    assert_eq!((span.input()["tools"][0]["type"].as_str(), span.metadata("token")), (Some("mcp"), None));
    let truncated = exchange(CHAT, br#"{"api_key":"sk-secret","x":"#, b"{}").span("{}");
    assert!(!format!("{truncated:?}").contains("sk-secret"));
}

#[test]
fn no_content_is_kept_where_none_may_be_and_facts_are() {
    let request = json!({"model": "gpt-4", "messages": [{"role": "user", "content": "private"}], "tools": [{"private": 1}], "temperature": 0.5});
    let stream = "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"private\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15}}\n\ndata: [DONE]\n\n";
    for answer in [ANSWER.replace("\"hi\"", "\"private\""), stream.to_owned()] {
        let span = chat(r#"{"max_input_bytes":0,"max_output_bytes":0}"#, &request, &answer);
        assert!(!format!("{span:?}").contains("private"), "{span:#?}");
        assert_eq!((span.usage()["total"], span.metadata("request_model")), (15, Some(json!("gpt-4"))));
        assert_eq!(span.json("langfuse.observation.model.parameters"), Some(json!({"temperature": 0.5})));
        assert_eq!((span.level(), span.text("langfuse.observation.input")), ("DEFAULT", None));
        assert!(span.text("langfuse.observation.cost_details").is_none());
    }
}

#[test]
fn an_input_of_another_shape_keeps_to_its_limit() {
    let request = json!({"messages_": "x".repeat(5000), "prompt": "y".repeat(5000)});
    let span = chat(r#"{"max_input_bytes":100}"#, &request, ANSWER);
    assert!(span.text("langfuse.observation.input").unwrap().len() <= 110, "{:?}", span.input());
    assert!(span.json("langfuse.observation.input").is_some(), "and is JSON");
}

#[test]
fn odd_fields_of_a_stream_cost_only_themselves() {
    let chunk = |rest: &str| {
        format!("data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a\"}}}}]{rest}}}\n\n")
    };
    let usage = r#","usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}"#;
    let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let read = |text: String| exchange(CHAT, b"{}", text.as_bytes()).span("{}");
    let span = read(
        [chunk(usage), chunk(r#","usage":{},"error":"""#), chunk(r#","error":{},"x_groq":true"#), end.to_owned()]
            .concat(),
    );
    assert_eq!((span.level(), span.usage()["total"], span.output()["content"].as_str()), ("DEFAULT", 3, Some("aaa")));
    let span = read(format!("data: {{\"choices\":[{{\"delta\":\"\"}}]{usage}}}\n\n{end}"));
    assert_eq!((span.usage()["total"], span.metadata("unread_messages")), (3, None));
    let span = read(chunk("") + &end.replace("\"stop\"", "\"\""));
    assert_eq!((span.level(), span.metadata("finish_reason")), ("WARNING", None), "an empty reason is none");
}

#[test]
fn facts_win_over_what_the_caller_says_under_their_names() {
    let request = json!({"model": "gpt-4", "metadata": {"model": "forged", "status_code": 500, "chat_id": "c"}});
    let span = chat("{}", &request, ANSWER);
    assert_eq!((span.metadata("model"), span.metadata("status_code")), (Some(json!("gpt-4-0613")), Some(json!(200))));
    assert_eq!((span.metadata("caller_model"), span.metadata("chat_id")), (Some(json!("forged")), Some(json!("c"))));
}

#[test]
fn a_long_input_is_cut_to_json_and_what_stands_behind_it_is_known() {
    // The messages first, as clients send them.
    let messages = format!(
        r#"{{"messages":[{{"role":"user","content":"{}"}}],"model":"asked","temperature":1,"user":"u"}}"#,
        "x".repeat(5000)
    );
    let span = exchange(CHAT, messages.as_bytes(), b"{}").span(r#"{"max_input_bytes":1000}"#);
    let content = span.input()[0]["content"].as_str().unwrap().to_owned();
    assert!(content.len() > 900 && content.len() < 1000);
    assert_eq!((span.model(), span.user(), span.metadata("temperature")), (Some("asked"), Some("u"), Some(json!(1))));
    assert_eq!(span.metadata("input_note"), Some(json!("cut at its limit")));
    assert_eq!(span.metadata("input_bytes"), Some(json!(messages.len())));
}

#[test]
fn a_used_up_budget_leaves_facts_and_says_so() {
    let long = format!(r#"{{"messages":["{}"],"model":"asked"}}"#, "x".repeat(3 << 20));
    let settings = r#"{"memory_budget":1048576,"max_input_bytes":8388608}"#;
    let span = exchange(CHAT, long.as_bytes(), ANSWER.as_bytes()).span(settings);
    assert_eq!(span.metadata("input_note"), Some(json!("not kept: memory_budget used up")));
    assert_eq!((span.metadata("request_model"), span.usage()["total"]), (Some(json!("asked")), 15));
}

#[test]
fn bodies_that_are_no_json_are_shown_as_they_are() {
    let span = exchange(CHAT, b"hello \xFF", b"<html>no</html>").span("{}");
    assert_eq!(span.text("langfuse.observation.input"), Some("hello \u{FFFD}"));
    assert_eq!(span.text("langfuse.observation.output"), Some("<html>no</html>"));
    let cut = exchange(CHAT, br#"{"model":"m","messages":[{"role":"user","content":"half"#, b"").span("{}");
    assert_eq!((cut.model(), cut.input()), (Some("m"), json!([{"role": "user", "content": "half"}])));
    assert_eq!((cut.output(), cut.message()), (Value::Null, Some("the answer has no body")));
}

#[test]
fn failed_calls_cost_nothing_and_a_stated_usage_is_kept() {
    let error = r#"{"error":{"message":"slow down","type":"tokens","code":"rate_limit_exceeded"}}"#;
    let mut failed = exchange(CHAT, b"{\"model\":\"asked\"}", error.as_bytes());
    failed.status = Some(429);
    let span = failed.span("{}");
    assert_eq!((span.level(), span.status_code, span.model()), ("ERROR", 2, Some("asked")));
    assert_eq!(span.message(), Some("429 rate_limit_exceeded: slow down"));
    assert_eq!(span.json("langfuse.observation.cost_details"), Some(json!({"total": 0})));
    assert_eq!(span.output()["error"]["message"], "slow down");

    let mut none = exchange(CHAT, b"{}", b"");
    (none.status, none.end_of_stream, none.details) = (None, false, Some("upstream_reset_before_response_started"));
    let span = none.span("{}");
    assert_eq!((span.level(), span.metadata("status_code")), ("ERROR", None));

    let stream = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2}}\n\nevent: error\ndata: {\"error\":{\"message\":\"broke\"}}\n\n";
    let span = exchange(CHAT, b"{}", stream.as_bytes()).span("{}");
    assert_eq!((span.level(), span.usage()["total"]), ("ERROR", 2));
    assert!(span.text("langfuse.observation.cost_details").is_none(), "what was used is priced");
}

#[test]
fn langfuse_is_told_not_to_estimate() {
    let no_usage = r#"{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    let cost = |settings| chat(settings, &json!({}), no_usage).json("langfuse.observation.cost_details");
    assert_eq!((cost("{}"), cost(r#"{"estimate_usage":false}"#)), (None, Some(json!({"total": 0}))));
    assert_eq!(chat(r#"{"estimate_usage":false}"#, &json!({}), ANSWER).json("langfuse.observation.cost_details"), None);
}

#[test]
fn tokens_of_media_that_is_not_in_the_trace_are_not_estimated() {
    let no_usage = r#"{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    let asked = |url: String| json!({"messages": [{"content": [{"type": "image_url", "image_url": {"url": url}}]}]});
    let cost = |url: String| chat("{}", &asked(url), no_usage).json("langfuse.observation.cost_details");
    assert_eq!(cost(format!("data:image/png;base64,{}", "iVBORw0K".repeat(100))), Some(json!({"total": 0})));
    assert_eq!(cost("https://example.com/a.png".to_owned()), None);
}

#[test]
fn a_stream_has_its_first_token_at_its_first_content() {
    let head = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let content = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let all = [head, content, end].concat();
    let span = exchange(CHAT, b"{\"stream\":true}", all.as_bytes()).span("{}");
    assert_eq!((span.time_to_first_token_ms(), span.level()), (Some(400.0), "DEFAULT"));
    let empty = [head, end].concat();
    let span = exchange(CHAT, b"{\"stream\":true}", empty.as_bytes()).span("{}");
    assert_eq!(span.time_to_first_token_ms(), None, "nothing was said");
}

#[test]
fn a_client_that_leaves_is_a_warning_unless_the_answer_was_whole() {
    let content = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"par\"}}]}\n\n";
    let mut gone = exchange(CHAT, b"{}", content.as_bytes());
    (gone.end_of_stream, gone.details) = (false, Some("downstream_remote_disconnect"));
    let span = gone.span("{}");
    assert_eq!((span.level(), span.output()["content"].as_str()), ("WARNING", Some("par")));
    assert_eq!(span.metadata("stream_complete"), Some(json!(false)));
    assert!(span.usage().is_empty());
    let done = [content, "data: [DONE]\n\n"].concat();
    gone.response = vec![done.as_bytes()];
    assert_eq!(gone.span("{}").level(), "DEFAULT", "the provider was done when the client closed");
    gone.response = vec![content.as_bytes()];
    gone.details = None;
    let span = gone.span("{}");
    assert_eq!((span.level(), span.message()), ("WARNING", Some("stream cut")));
}

#[test]
fn embeddings_and_completions_have_their_own_shape() {
    let answer = br#"{"data":[{"embedding":[1,2,3]},{"embedding":[4,5,6]}],"model":"e","usage":{"prompt_tokens":4,"total_tokens":4}}"#;
    let span = exchange("/v1/embeddings", br#"{"model":"e","input":["a","b"],"dimensions":3}"#, answer).span("{}");
    assert_eq!((span.name.as_str(), span.text("langfuse.observation.type")), ("embedding", Some("embedding")));
    assert_eq!((span.input(), span.output()), (json!(["a", "b"]), json!({"count": 2, "dimensions": 3})));
    let answer = br#"{"choices":[{"text":" b","index":0,"finish_reason":"length"}]}"#;
    let span = exchange("/v1/completions", br#"{"prompt":"a"}"#, answer).span("{}");
    assert_eq!((span.input(), span.output(), span.level()), (json!("a"), json!(" b"), "WARNING"));
}

#[test]
fn long_metadata_paths_and_tags_are_bounded() {
    let request =
        json!({"metadata": {"big": "x".repeat(100_000), "tags": (0..100).map(|n| n.to_string()).collect::<Vec<_>>()}});
    let path = format!("/{}{CHAT}", "p".repeat(5000));
    let span = exchange(&path, request.to_string().as_bytes(), b"{}").span("{}");
    assert!(span.text("langfuse.trace.name").unwrap().len() <= 1000);
    assert!(span.text("langfuse.trace.metadata.big").unwrap().len() <= 8192);
    assert_eq!(span.tags().len(), 64);
}

#[test]
fn a_batch_is_its_spans_under_one_resource() {
    let one = exchange(CHAT, b"{}", ANSWER.as_bytes()).span_bytes("{}");
    let mut other = one.clone();
    other[20..28].fill(2);
    let resource = Resource { service_name: "envoy" };
    let (spans, violations) = read_batch(&encode_batch(resource, &[one, other])).unwrap();
    assert_eq!((spans.len(), violations.len()), (2, 0), "{violations:?}");
    assert_eq!((spans[0].span_id.as_str(), spans[1].span_id.as_str()), ("0101010101010101", "0202020202020202"));
    assert_eq!(spans[1].resource["service.name"], "envoy");
    assert_eq!(
        (spans[0].scope_name.as_str(), spans[0].scope_version.as_str()),
        ("ai-tracing", env!("CARGO_PKG_VERSION"))
    );
    assert!(encode_batch(resource, &[]).is_empty(), "the self check stores nothing");
}

#[test]
fn headers_say_what_a_body_does_not() {
    const PATH: &str = "/model/mistral.mistral-7b-v0%3A1/invoke";
    let answer = br#"{"outputs":[{"text":"hi","stop_reason":"stop"}]}"#;
    let mut call = exchange(PATH, br#"{"prompt":"a"}"#, answer);
    call.response_headers.extend([
        ("x-amzn-requestid", b"r-1".as_slice()),
        ("x-amzn-bedrock-input-token-count", b"5"),
        ("x-amzn-bedrock-output-token-count", b"7"),
    ]);
    let span = call.span("{}");
    assert_eq!((span.model(), span.metadata("response_id")), (Some("mistral.mistral-7b-v0:1"), Some(json!("r-1"))));
    assert_eq!(span.text("langfuse.observation.usage_details"), Some(r#"{"input":5,"output":7,"total":12}"#));
    assert_eq!((span.input(), span.output()["content"].as_str()), (json!("a"), Some("hi")));
    call.response = vec![br#"{"id":"b-1","choices":[],"usage":{"prompt_tokens":6,"completion_tokens":8}}"#];
    let span = call.span("{}");
    assert_eq!(span.metadata("response_id"), Some(json!("b-1")), "what a body says counts more");
    assert_eq!(span.text("langfuse.observation.usage_details"), Some(r#"{"input":6,"output":8,"total":14}"#));

    let mut denied = exchange(PATH, b"{}", br#"{"message":"No access."}"#);
    denied.status = Some(403);
    denied.response_headers.push(("x-amzn-errortype", b"AccessDeniedException:http://internal.amazon.com/coral/"));
    let message = "403 AccessDeniedException: No access.";
    assert_eq!(denied.span("{}").message(), Some(message));
}

#[test]
fn counted_tokens_are_not_used_ones() {
    let request = br#"{"model":"claude-x","messages":[{"role":"user","content":"a"}]}"#;
    let span = exchange("/v1/messages/count_tokens", request, br#"{"input_tokens":641}"#).span("{}");
    assert_eq!((span.name.as_str(), span.text("langfuse.observation.type")), ("token_count", Some("span")));
    assert_eq!(span.output(), json!({"input_tokens": 641}));
    assert_eq!(span.text("langfuse.observation.usage_details"), None);
    assert_eq!(span.json("langfuse.observation.cost_details"), Some(json!({"total": 0})));
}

/// A message of AWS's event stream, whose headers are strings.
fn frame(headers: &[(&str, &str)], payload: &str) -> Vec<u8> {
    let bit = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    let crc = |bytes: &[u8]| !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc)));
    let mut written = Vec::new();
    for (name, value) in headers {
        written.push(u8::try_from(name.len()).unwrap());
        written.extend(name.bytes().chain([7]).chain(u16::try_from(value.len()).unwrap().to_be_bytes()));
        written.extend(value.bytes());
    }
    let lengths = [16 + written.len() + payload.len(), written.len()];
    let mut message: Vec<u8> =
        lengths.iter().flat_map(|length| u32::try_from(*length).unwrap().to_be_bytes()).collect();
    message.extend(crc(&message).to_be_bytes());
    message.extend(written.into_iter().chain(payload.bytes()));
    message.extend(crc(&message).to_be_bytes());
    message
}

fn event(kind: &str, payload: &str) -> Vec<u8> {
    frame(&[(":message-type", "event"), (":event-type", kind)], payload)
}

#[test]
fn an_event_stream_of_aws_fails_breaks_off_or_ends() {
    let content = event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"par"}}"#);
    let stop = event("messageStop", r#"{"stopReason":"end_turn"}"#);
    let end = event("metadata", r#"{"metrics":{},"usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}"#);
    let exception = [(":message-type", "exception"), (":exception-type", "throttlingException")];
    let exception = frame(&exception, r#"{"message":"slow down"}"#);
    let error = [(":message-type", "error"), (":error-code", "InternalError"), (":error-message", "an error")];
    let error = frame(&error, "");
    let mut broken = stop.clone();
    broken[20] ^= 1;
    let status = |rest: &[&Vec<u8>]| {
        let body: Vec<u8> = [&content].into_iter().chain(rest.iter().copied()).flatten().copied().collect();
        let span = exchange("/model/m/converse-stream", b"{}", &body).span("{}");
        assert_eq!((span.output()["content"].as_str(), span.time_to_first_token_ms()), (Some("par"), Some(400.0)));
        let message = span.message().unwrap_or_default();
        (format!("{} {message}", span.level()), span.metadata("unread_messages"))
    };
    assert_eq!(status(&[&stop, &end]), ("DEFAULT ".to_owned(), None));
    let failed = "ERROR error in the answer: throttlingException: slow down";
    assert_eq!(status(&[&exception]), (failed.to_owned(), None));
    assert_eq!(status(&[&error]), ("ERROR error in the answer: InternalError: an error".to_owned(), None));
    let unfinished = "WARNING stream ended without [DONE] or finish_reason";
    assert_eq!(status(&[]), (unfinished.to_owned(), None));
    assert_eq!(status(&[&broken, &stop, &end]), (unfinished.to_owned(), Some(json!(1))));
    assert_eq!(
        status(&[&stop, &broken, &end]),
        (unfinished.to_owned(), Some(json!(1))),
        "what was behind is not known"
    );
}
