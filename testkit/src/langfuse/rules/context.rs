//! Whose call it was and where: what Langfuse v4 needs on every span, since it knows no inheritance.

use super::super::span::Span;
use super::unless;
use serde_json::Value;

const MAX_ID: usize = 200;
const MAX_ENVIRONMENT: usize = 40;

/// What only a call itself can say: on a trace it would say it of the whole.
const OF_ONE_CALL: [&str; 4] = ["provider", "model", "status_code", "total_duration_ms"];

/// The trace is the observation's own.
fn is_root(span: &Span) -> bool {
    let as_root = span.attributes.get("langfuse.internal.as_root");
    span.parent_span_id.is_empty() || as_root.is_some_and(|value| value == true)
}

/// A child writes nothing over the trace of its application (`createTraceEvent` of Langfuse's OtelIngestionProcessor.ts).
pub(super) fn intrusion(span: &Span) -> Vec<String> {
    let keys = OF_ONE_CALL.map(|key| format!("langfuse.trace.metadata.{key}"));
    let wrong = keys.into_iter().filter(|key| !is_root(span) && span.attributes.contains_key(key));
    wrong.map(|key| format!("{key} on the trace of an application")).collect()
}

/// What is said twice.
pub(super) fn repetition(span: &Span) -> Vec<String> {
    let level = span.status_code == 2 && span.text("langfuse.observation.level") == Some("ERROR");
    let message = span.text("langfuse.observation.status_message") == Some(span.status_message.as_str());
    let environment = span.resource.contains_key("deployment.environment.name");
    let said = [(level, "level"), (message, "status message"), (environment, "environment")];
    said.into_iter().filter(|(twice, _)| *twice).map(|(_, what)| format!("the {what} is said twice")).collect()
}

/// Attributes without which an observation cannot be found again. A child of an application's span belongs to a trace
/// that has its name already.
pub(super) fn required(span: &Span) -> Vec<String> {
    let is_root = is_root(span);
    let always = ["langfuse.observation.type", "langfuse.environment"];
    let at_root = ["langfuse.trace.name"].into_iter().filter(|_| is_root);
    let missing = always.into_iter().chain(at_root).filter(|key| span.text(key).is_none_or(str::is_empty));
    missing.map(|key| format!("{key} is missing")).collect()
}

/// Anything else becomes "default".
pub(super) fn environment(span: &Span) -> Vec<String> {
    let Some(name) = span.text("langfuse.environment") else { return Vec::new() };
    let characters = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    let fits = !name.is_empty() && name.len() <= MAX_ENVIRONMENT && !name.starts_with("langfuse");
    unless(characters && fits, || format!("environment {name:?} is not [a-z0-9-_]{{1,40}} outside langfuse*"))
}

/// SDKs drop longer ids, so the server's pages are not made for them.
pub(super) fn identity(span: &Span) -> Vec<String> {
    let keys = ["user.id", "langfuse.user.id", "session.id", "langfuse.session.id", "gen_ai.conversation.id"];
    let present = keys.into_iter().filter_map(|key| Some((key, span.attributes.get(key)?)));
    let fits = |value: &Value| value.as_str().is_some_and(|id| (1..=MAX_ID).contains(&id.chars().count()));
    present.filter(|(_, value)| !fits(value)).map(|(key, _)| format!("{key} is not a text of 1 to {MAX_ID}")).collect()
}

/// Tags are a list of texts.
pub(super) fn tags(span: &Span) -> Vec<String> {
    let Some(tags) = span.attributes.get("langfuse.trace.tags") else { return Vec::new() };
    let texts = tags.as_array().is_some_and(|tags| tags.iter().all(Value::is_string));
    unless(texts, || format!("tags are not a list of texts: {tags}"))
}

/// Langfuse throws keys with these segments away; of a repeated key it keeps one value.
pub(super) fn keys(span: &Span) -> Vec<String> {
    let blocked = |key: &&String| key.split('.').any(|part| matches!(part, "__proto__" | "constructor" | "prototype"));
    let blocked = span.attributes.keys().chain(span.resource.keys()).filter(blocked);
    let blocked = blocked.map(|key| format!("attribute key {key:?} has a blocked segment"));
    let repeated = span.repeated_keys.iter().map(|key| format!("attribute key {key:?} came more than once"));
    blocked.chain(repeated).collect()
}

/// The scope of Langfuse's own SDKs changes how attributes are read.
pub(super) fn scope(span: &Span) -> Vec<String> {
    unless(!span.scope_name.starts_with("langfuse-sdk"), || {
        format!("scope {:?} impersonates an SDK of Langfuse", span.scope_name)
    })
}
