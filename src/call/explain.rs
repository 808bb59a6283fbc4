//! What was read of a call, field by field: one JSON object for people and tests (docs/design.md, "Explain").

use super::{Call, End, report};
use crate::export::otlp::encode_span;
use crate::json::{ObjectWriter, Value};
use crate::provider::ProviderError;
use crate::trace::{Facts, Observation};

/// The fields, and the encoded span.
pub(super) fn explain(call: &Call, end: &End<'_>) -> (String, Vec<u8>) {
    report::observe(call, end, |observation, facts| (fields(call, observation, facts), encode_span(observation)))
}

fn fields(call: &Call, observation: &Observation<'_>, facts: &Facts) -> String {
    let (api, answer) = (call.routing.api(), &facts.answer);
    let mut object = ObjectWriter::default();
    object.string("provider", call.routing.provider()).string("family", api.family);
    object.string("operation", api.operation.name());
    object.raw("stream", if facts.stream { "true" } else { "false" });
    object.raw("status", &facts.status.map_or("null".to_owned(), |status| status.to_string()));
    text(&mut object, "model", observation.model);
    text(&mut object, "request_model", call.routing.model(&call.request).as_deref());
    text(&mut object, "response_model", answer.model.as_deref());
    text(&mut object, "response_id", answer.id.as_deref());
    json(&mut object, "input", observation.input.as_deref());
    json(&mut object, "parameters", observation.parameters.as_deref());
    output(&mut object, answer.output.as_deref());
    text(&mut object, "finish_reason", answer.finish_reason.as_deref());
    object.raw("usage", &usage(facts));
    json(&mut object, "usage_details", observation.usage_details.as_deref());
    object.raw("error", &answer.error.as_ref().map_or("null".to_owned(), error));
    object.string("level", observation.verdict.level.name());
    text(&mut object, "status_message", observation.verdict.message.as_deref());
    object.raw("context_sources", &context_sources(call));
    object.raw("skipped", "null");
    object.finish()
}

/// Which source each field of the context was taken from.
fn context_sources(call: &Call) -> String {
    let mut object = ObjectWriter::default();
    if let Some(identity) = &call.identity {
        object.string("id", identity.source.name());
    }
    for (field, source) in &call.context.sources {
        object.string(field, source);
    }
    object.finish()
}

fn text(object: &mut ObjectWriter, key: &str, text: Option<&str>) {
    match text {
        Some(text) => object.string(key, text),
        None => object.raw(key, "null"),
    };
}

/// JSON as such, any other text as a string.
fn json(object: &mut ObjectWriter, key: &str, value: Option<&str>) {
    match value {
        Some(json) if Value::parse(json.as_bytes()).is_some() => drop(object.raw(key, json)),
        other => text(object, key, other),
    }
}

/// Text, reasoning and tool calls of the (first) choice, and the output as it is sent.
fn output(object: &mut ObjectWriter, output: Option<&str>) {
    let whole = output.and_then(|output| Value::parse(output.as_bytes())).unwrap_or_default();
    let message = if whole.is_array() { whole.at("0") } else { whole };
    let content = if message.is_string() { message } else { message.get("content") };
    let spoken = join(content, "text").or_else(|| message.at("audio/transcript").text().map(Into::into));
    text(object, "output_text", spoken.as_deref());
    let named = message.get("reasoning_content").or(message.get("reasoning"));
    text(object, "reasoning_text", named.text().map(Into::into).or_else(|| join(content, "thinking")).as_deref());
    let old = message.get("function_call");
    let old = old.get("name").non_empty().map(|_| function(Value::ABSENT, old));
    let calls: Vec<String> = message.get("tool_calls").items().map(tool_call).chain(old).collect();
    object.raw("tool_calls", &format!("[{}]", calls.join(",")));
    json(object, "output", output);
}

/// A text, or the texts of the parts of one kind.
fn join(content: Value<'_>, kind: &str) -> Option<String> {
    if content.is_string() {
        return content.text().filter(|_| kind == "text").map(Into::into);
    }
    // What is told of media is no text of the answer.
    let is_said = |part: &Value<'_>| part.get("type").is(kind) && !part.get("placeholder").is_true();
    let parts = content.items().filter(is_said).map(|part| part.get(kind));
    let texts: Vec<String> =
        parts.filter_map(|part| part.text().map(Into::into).or_else(|| join(part, "text"))).collect();
    (!texts.is_empty()).then(|| texts.concat())
}

fn tool_call(call: Value<'_>) -> String {
    function(call.get("id"), call.get("function").or(call.get("custom")))
}

/// A call of a function, or of a custom tool.
fn function(id: Value<'_>, function: Value<'_>) -> String {
    let mut object = ObjectWriter::default();
    text(&mut object, "id", id.text().as_deref());
    text(&mut object, "name", function.get("name").text().as_deref());
    let arguments = function.get("arguments").or(function.get("input"));
    text(&mut object, "arguments", Some(&arguments.text().unwrap_or(arguments.raw().into())));
    object.finish()
}

/// Counts as reported, and the cost.
fn usage(facts: &Facts) -> String {
    let mut object = ObjectWriter::default();
    for (count, number) in facts.answer.counts.stated() {
        object.number(count.name(), number);
    }
    if let Some(cost) = &facts.answer.cost {
        object.raw("cost", cost);
    }
    object.finish()
}

fn error(error: &ProviderError) -> String {
    let mut object = ObjectWriter::default();
    object.string("message", &error.message);
    text(&mut object, "code", error.code.as_deref());
    object.finish()
}
