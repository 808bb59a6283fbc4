//! Secrets in spans. A violation names the place and never the secret: it ends in a test's output.

use super::super::span::Span;
use serde_json::Value;

/// The places that contain one of the forbidden texts.
pub(super) fn leaks(span: &Span, forbidden: &[String]) -> Vec<String> {
    let leaks = |text: &str| forbidden.iter().any(|secret| text.contains(secret.as_str()));
    let fields = [
        ("the name", &span.name),
        ("the status message", &span.status_message),
        ("the scope's name", &span.scope_name),
        ("the scope's version", &span.scope_version),
    ];
    let fields = fields.into_iter().filter(|(_, text)| leaks(text)).map(|(place, _)| format!("secret in {place}"));
    let attributes = span.attributes.iter().chain(&span.resource);
    let attributes = attributes.filter_map(|(key, value)| match (leaks(key), contains(value, &leaks)) {
        (true, _) => Some("secret in an attribute key".to_owned()),
        (_, true) => Some(format!("secret in {key}")),
        _ => None,
    });
    fields.chain(attributes).collect()
}

fn contains(value: &Value, leaks: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => leaks(text),
        Value::Array(items) => items.iter().any(|item| contains(item, leaks)),
        Value::Object(fields) => fields.iter().any(|(key, value)| leaks(key) || contains(value, leaks)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
