//! The observation itself: type, level, parameters, cost, prompt.

use super::super::span::Span;
use super::unless;
use serde_json::Value;

const TYPES: &[&str] =
    &["span", "generation", "event", "embedding", "agent", "tool", "chain", "retriever", "evaluator", "guardrail"];
const LEVELS: &[&str] = &["DEBUG", "DEFAULT", "WARNING", "ERROR"];

/// Types are matched exactly, in lower case; an unknown one becomes SPAN.
pub(super) fn kind(span: &Span) -> Vec<String> {
    let Some(kind) = span.text("langfuse.observation.type") else { return Vec::new() };
    unless(TYPES.contains(&kind), || format!("observation type {kind:?} is unknown"))
}

/// Level, and what an ERROR needs: without usage or a cost Langfuse v4 counts tokens of a failed call and prices them.
pub(super) fn level(span: &Span) -> Vec<String> {
    let level = span.level();
    let mut found = unless(LEVELS.contains(&level), || format!("level {level:?} is unknown"));
    let is_free =
        span.json("langfuse.observation.cost_details").is_some_and(|cost| cost["total"].as_f64() == Some(0.0));
    let usage_stated = span.text("langfuse.observation.usage_details").is_some();
    // A plain span without a model has no tokens to count (the legacy API knows no others).
    let is_plain = span.text("langfuse.observation.type") == Some("span") && span.model().is_none();
    if level == "ERROR" && !is_free && !usage_stated && !is_plain {
        found.push(
            "level ERROR without usage or cost_details {\"total\":0}: Langfuse would invent tokens and a cost"
                .to_owned(),
        );
    }
    found
}

/// A JSON object in a string.
pub(super) fn parameters(span: &Span) -> Vec<String> {
    object(span, "langfuse.observation.model.parameters")
}

/// A JSON object in a string, of numbers that are not negative.
pub(super) fn cost(span: &Span) -> Vec<String> {
    let key = "langfuse.observation.cost_details";
    let mut found = object(span, key);
    let cost = span.json(key).unwrap_or_default();
    let amounts = cost.as_object().into_iter().flatten();
    let wrong = amounts.filter(|(_, amount)| amount.as_f64().is_none_or(|amount| amount < 0.0));
    found.extend(wrong.map(|(bucket, amount)| format!("{key}: {bucket} is {amount}")));
    found
}

/// A prompt is linked by name and version together.
pub(super) fn prompt(span: &Span) -> Vec<String> {
    let name = span.text("langfuse.observation.prompt.name");
    let version = span.attributes.get("langfuse.observation.prompt.version");
    let linked = match (name, version) {
        (None, None) => true,
        (Some(name), Some(version)) => !name.is_empty() && version.as_u64().is_some_and(|version| version <= 65_535),
        _ => false,
    };
    unless(linked, || format!("prompt name {name:?} and version {version:?} do not make a link"))
}

fn object(span: &Span, key: &str) -> Vec<String> {
    let absent = !span.attributes.contains_key(key);
    unless(absent || span.json(key).is_some_and(|value: Value| value.is_object()), || {
        format!("{key} is not a string with a JSON object")
    })
}
