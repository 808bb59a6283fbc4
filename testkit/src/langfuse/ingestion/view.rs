//! A legacy observation and its trace as the span that the same call would have been by OTLP, so that tests ask the
//! same questions of both.

use super::super::Generation;
use super::super::span::Span;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Fields of an observation, and the attributes that say the same.
const OBSERVATION: &[(&str, &str)] = &[
    ("model", "langfuse.observation.model.name"),
    ("level", "langfuse.observation.level"),
    ("statusMessage", "langfuse.observation.status_message"),
    ("completionStartTime", "langfuse.observation.completion_start_time"),
    ("promptName", "langfuse.observation.prompt.name"),
    ("promptVersion", "langfuse.observation.prompt.version"),
    ("environment", "langfuse.environment"),
    ("version", "langfuse.version"),
];
/// Of an observation: attributes that hold JSON in a text.
const OBSERVATION_JSON: &[(&str, &str)] = &[
    ("modelParameters", "langfuse.observation.model.parameters"),
    ("usageDetails", "langfuse.observation.usage_details"),
    ("costDetails", "langfuse.observation.cost_details"),
    ("input", "langfuse.observation.input"),
    ("output", "langfuse.observation.output"),
];
const TRACE: &[(&str, &str)] = &[
    ("name", "langfuse.trace.name"),
    ("userId", "user.id"),
    ("sessionId", "session.id"),
    ("release", "langfuse.release"),
    ("tags", "langfuse.trace.tags"),
];

/// The span of an observation event; `trace` is the body of its trace, which a child may lack.
pub(super) fn span(trace: Option<&Value>, event: &Value, generation: Generation) -> Span {
    let body = &event["body"];
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let mut attributes = BTreeMap::new();
    let kind = event["type"].as_str().and_then(|kind| kind.strip_suffix("-create")).unwrap_or_default();
    attributes.insert("langfuse.observation.type".to_owned(), Value::from(kind));
    copy(&mut attributes, body, OBSERVATION, Value::clone);
    copy(&mut attributes, body, OBSERVATION_JSON, as_text);
    metadata(&mut attributes, body, "langfuse.observation.metadata.");
    if let Some(trace) = trace {
        copy(&mut attributes, trace, TRACE, Value::clone);
        metadata(&mut attributes, trace, "langfuse.trace.metadata.");
    }
    if generation == Generation::V2 {
        old_usage(&mut attributes, &body["usage"]);
    }
    // By OTLP the status of the span says both.
    let failed = body["level"] == "ERROR";
    if failed {
        attributes.retain(|key, _| !key.ends_with(".level") && !key.ends_with(".status_message"));
    }
    let start = nanoseconds(&body["startTime"]);
    Span {
        name: text("name"),
        trace_id: text("traceId"),
        span_id: text("id"),
        parent_span_id: text("parentObservationId"),
        start,
        end: if body["endTime"].is_null() { start } else { nanoseconds(&body["endTime"]) },
        status_code: if failed { 2 } else { 0 },
        status_message: if failed { text("statusMessage") } else { String::new() },
        attributes,
        ..Span::default()
    }
}

type Attributes = BTreeMap<String, Value>;

fn copy(attributes: &mut Attributes, from: &Value, fields: &[(&str, &str)], how: impl Fn(&Value) -> Value) {
    let present = fields.iter().filter(|(field, _)| !from[*field].is_null());
    attributes.extend(present.map(|(field, attribute)| ((*attribute).to_owned(), how(&from[*field]))));
}

fn metadata(attributes: &mut Attributes, from: &Value, prefix: &str) {
    let members = from["metadata"].as_object().into_iter().flatten();
    attributes.extend(members.map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
}

/// JSON as a text; a string stays as it is, unless it would then read as JSON.
fn as_text(value: &Value) -> Value {
    let is_plain = |text: &&str| serde_json::from_str::<Value>(text).is_err();
    Value::from(value.as_str().filter(is_plain).map_or_else(|| value.to_string(), str::to_owned))
}

/// Langfuse v2 reads `usage` alone.
fn old_usage(attributes: &mut Attributes, usage: &Value) {
    let key = "langfuse.observation.usage_details";
    attributes.remove(key);
    let count = |name: &str| usage[name].as_u64();
    let counts: Map<String, Value> = ["input", "output", "total"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), count(name)?.into())))
        .collect();
    if !counts.is_empty() {
        attributes.insert(key.to_owned(), Value::from(Value::Object(counts).to_string()));
    }
}

/// Nanoseconds since 1970; 0, which is a violation, for none.
fn nanoseconds(time: &Value) -> u64 {
    let time = time.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    time.and_then(|time| u64::try_from(time.as_nanosecond()).ok()).unwrap_or_default()
}
