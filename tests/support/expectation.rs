//! Compares a span with what a cassette says an extractor must read (the cassettes' README lists the fields).

use serde_json::Value;
use testkit::cassettes::Cassette;
use testkit::langfuse::Span;

/// The families that this filter reads.
const FAMILIES: &[&str] = &[
    "openai.chat",
    "openai.completions",
    "openai.embeddings",
    "azure.chat",
    "azure.completions",
    "azure.embeddings",
    "native.generate",
];

/// The recorded calls of these families; none (and a loud word on stderr) where the cassettes are absent.
pub fn corpus() -> Vec<Cassette> {
    let mut cassettes = testkit::cassettes::load(FAMILIES).unwrap_or_default();
    // `native.generate` holds vLLM (`v…`) and TGI (`t…`), which shares the path and is another API.
    cassettes.retain(|cassette| cassette.family != "native.generate" || cassette.id.starts_with('v'));
    assert!(cassettes.is_empty() || cassettes.len() > 100, "only {} cassettes", cassettes.len());
    println!("{} recorded calls", cassettes.len());
    cassettes
}

/// Expectations that are wrong, or differ from what a trace should say: cassette, field, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "d196_openai.completions_portkey_json_200",
        "output_text",
        "a chat message under a completions path: its content is the output; the expectation looks at `text` only",
    ),
    (
        "d022_azure.chat_azure_json_200",
        "level",
        "status 200 with an error object in place of choices: the call failed, which the expectation does not say",
    ),
    (
        "d180_openai.chat_snowflake_json_200",
        "tool_calls",
        "the expectation counts the empty object `function_call: {arguments: \"\", name: \"\"}` as a call",
    ),
];

/// Every field in which `span` is not what `cassette` expects, as readable lines.
pub fn differences(cassette: &Cassette, span: &Span) -> Vec<String> {
    let expected = &cassette.expected;
    let message = first_message(&span.output());
    let actual = [
        ("status", span.metadata("status_code").unwrap_or_default()),
        ("stream", Value::Bool(span.metadata("stream_complete").is_some())),
        ("model", span.model().map_or(Value::Null, Value::from)),
        ("request_model", request_model(span, expected)),
        ("response_id", span.metadata("response_id").unwrap_or_default()),
        ("output_text", Value::from(text(&message))),
        ("reasoning_text", Value::from(squeezed(&reasoning(&message)))),
        ("tool_calls", tool_calls(&message["tool_calls"], |call| &call["function"])),
        ("finish_reason", span.metadata("finish_reason").unwrap_or_default()),
        ("usage", span.usage().get("total").map_or(Value::Null, |total| Value::from(*total))),
        ("level", Value::from(span.level())),
        ("error", Value::from(span.text("langfuse.observation.status_message").unwrap_or_default())),
    ];
    let wrong = |(field, actual): &(&str, Value)| {
        let wanted = wanted(field, expected);
        let fits = match *field {
            // The status message says more than the provider's message.
            "error" => actual.as_str().unwrap_or_default().contains(wanted.as_str().unwrap_or_default()),
            _ => *actual == wanted,
        };
        (!fits && !is_exception(&cassette.id, field))
            .then(|| format!("{}: {field}: expected {wanted}, got {actual}", cassette.id))
    };
    actual.iter().filter_map(wrong).collect()
}

fn is_exception(id: &str, field: &str) -> bool {
    EXCEPTIONS.iter().any(|(known, exempt, _)| *known == id && *exempt == field)
}

fn wanted(field: &str, expected: &Value) -> Value {
    let string = |value: &Value| Value::from(value.as_str().unwrap_or_default());
    match field {
        "output_text" => string(&expected["output_text"]),
        "reasoning_text" => Value::from(squeezed(expected["reasoning_text"].as_str().unwrap_or_default())),
        "tool_calls" => tool_calls(&expected["tool_calls"], |call| call),
        "usage" => expected["usage"]["total"].clone(),
        "error" => string(&expected["error"]["message"]),
        "level" => Value::from(level(expected)),
        // An empty one is none.
        "response_id" | "finish_reason" if expected[field] == "" => Value::Null,
        _ => expected[field].clone(),
    }
}

fn level(expected: &Value) -> &'static str {
    match expected["finish_reason"].as_str() {
        _ if !expected["error"].is_null() => "ERROR",
        Some("length" | "max_tokens" | "content_filter") => "WARNING",
        _ => "DEFAULT",
    }
}

/// Only said where it differs from the model that answered.
fn request_model(span: &Span, expected: &Value) -> Value {
    let said = span.metadata("request_model");
    said.unwrap_or_else(|| if expected["request_model"].is_null() { Value::Null } else { span.model().into() })
}

fn first_message(output: &Value) -> Value {
    match output {
        Value::Array(choices) => choices.first().cloned().unwrap_or_default(),
        other => other.clone(),
    }
}

fn parts<'a>(message: &'a Value, kind: &str, key: &str) -> Vec<&'a Value> {
    let parts = message["content"].as_array().into_iter().flatten();
    parts.filter(|part| part["type"] == kind).map(|part| &part[key]).collect()
}

fn text(message: &Value) -> String {
    let content = if message.is_string() { message } else { &message["content"] };
    let strings = parts(message, "text", "text").into_iter().filter_map(Value::as_str).collect::<String>();
    content.as_str().map_or(strings, str::to_owned)
}

fn reasoning(message: &Value) -> String {
    let named = ["reasoning_content", "reasoning"].iter().find_map(|key| message[*key].as_str());
    let thinking = || {
        let inner = parts(message, "thinking", "thinking").into_iter().filter_map(Value::as_array).flatten();
        inner.filter_map(|part| part["text"].as_str()).collect()
    };
    named.map_or_else(thinking, str::to_owned)
}

/// White space between parts does not matter.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

fn tool_calls(calls: &Value, function: impl Fn(&Value) -> &Value) -> Value {
    let arguments = |raw: &Value| {
        let parsed = raw.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        parsed.unwrap_or_else(|| raw.clone())
    };
    let calls = calls.as_array().into_iter().flatten();
    let triple = |call: &Value| {
        let function = function(call);
        serde_json::json!([call["id"], function["name"], arguments(&function["arguments"])])
    };
    calls.map(triple).collect()
}
