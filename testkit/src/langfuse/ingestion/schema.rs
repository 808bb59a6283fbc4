//! What an event may be: the server's validation, field by field (`packages/shared/src/server/ingestion/types.ts` of
//! <https://github.com/langfuse/langfuse>). Where versions differ, the strictest counts.

use serde_json::Value;

/// What a field takes; null and absence are always fine, but for the id of an observation.
#[derive(Clone, Copy)]
enum Takes {
    Any,
    Id,
    Text,
    /// At most 1000 UTF-16 units.
    Name,
    /// ISO 8601 with a zone.
    Time,
    Bool,
    Texts,
    Level,
    Parameters,
    Usage,
    UsageDetails,
    CostDetails,
    Integer,
}

type Fields = &'static [(&'static str, Takes)];

const TRACE: Fields = &[
    ("id", Takes::Id),
    ("timestamp", Takes::Time),
    ("name", Takes::Name),
    ("externalId", Takes::Text),
    ("input", Takes::Any),
    ("output", Takes::Any),
    ("sessionId", Takes::Text),
    ("userId", Takes::Text),
    ("environment", Takes::Text),
    ("metadata", Takes::Any),
    ("release", Takes::Text),
    ("version", Takes::Text),
    ("public", Takes::Bool),
    ("tags", Takes::Texts),
];
const EVENT: Fields = &[
    ("id", Takes::Id),
    ("traceId", Takes::Id),
    ("environment", Takes::Text),
    ("name", Takes::Text),
    ("startTime", Takes::Time),
    ("metadata", Takes::Any),
    ("input", Takes::Any),
    ("output", Takes::Any),
    ("level", Takes::Level),
    ("statusMessage", Takes::Text),
    ("parentObservationId", Takes::Text),
    ("version", Takes::Text),
];
const SPAN: Fields = &[("endTime", Takes::Time)];
const GENERATION: Fields = &[
    ("completionStartTime", Takes::Time),
    ("model", Takes::Text),
    ("modelParameters", Takes::Parameters),
    ("usage", Takes::Usage),
    ("usageDetails", Takes::UsageDetails),
    ("costDetails", Takes::CostDetails),
    ("promptName", Takes::Text),
    ("promptVersion", Takes::Integer),
];

/// The event makes an observation.
pub(super) fn is_observation(event: &Value) -> bool {
    let kind = event["type"].as_str().unwrap_or_default();
    kind.ends_with("-create") && !matches!(kind, "trace-create" | "score-create")
}

fn fields(kind: &str) -> &'static [Fields] {
    match kind {
        "trace-create" => &[TRACE],
        "event-create" => &[EVENT],
        "span-create" | "span-update" => &[EVENT, SPAN],
        "score-create" | "sdk-log" => &[],
        _ => &[EVENT, SPAN, GENERATION],
    }
}

/// Checks an event of a known type.
pub(super) fn check(kind: &str, event: &Value) -> Result<(), String> {
    if event["id"].is_null() || !is(Takes::Id, &event["id"]) {
        return Err("id".into());
    }
    if event["timestamp"].is_null() || !is(Takes::Time, &event["timestamp"]) {
        return Err("timestamp".into());
    }
    let body = event["body"].as_object().ok_or("body")?;
    let known = fields(kind).iter().copied().flatten();
    let wrong = known.map(|(name, takes)| (*name, *takes, body.get(*name).unwrap_or(&Value::Null)));
    if let Some((name, ..)) = wrong.into_iter().find(|(_, takes, value)| !value.is_null() && !is(*takes, value)) {
        return Err(format!("body.{name}"));
    }
    if is_observation(event) && body.get("id").is_none_or(Value::is_null) {
        return Err("body.id".into());
    }
    // JavaScript's falsehood: an empty name and version 0 are none.
    let prompt_name = body.get("promptName").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    let prompt_version = body.get("promptVersion").and_then(Value::as_i64).is_some_and(|version| version != 0);
    if prompt_name == prompt_version { Ok(()) } else { Err("body.promptName without promptVersion, or reverse".into()) }
}

/// Fields that the server drops without a word.
pub(super) fn unknown_fields(event: &Value) -> Vec<String> {
    let groups = fields(event["type"].as_str().unwrap_or_default());
    let known = |name: &str| groups.iter().copied().flatten().any(|(known, _)| *known == name);
    let names = event["body"].as_object().into_iter().flatten().map(|(name, _)| name);
    let envelope = event.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let outside = envelope.filter(|name| !matches!(*name, "id" | "timestamp" | "type" | "body" | "metadata"));
    let inside = names.filter(|name| !groups.is_empty() && !known(name)).map(String::as_str);
    outside.chain(inside).map(str::to_owned).collect()
}

fn is(takes: Takes, value: &Value) -> bool {
    let text = value.as_str();
    match takes {
        Takes::Any => true,
        Takes::Id => text.is_some_and(|id| (1..=800).contains(&id.encode_utf16().count()) && !id.contains('\r')),
        Takes::Text => text.is_some(),
        Takes::Name => text.is_some_and(|name| name.encode_utf16().count() <= 1000),
        Takes::Time => text.is_some_and(is_time),
        Takes::Bool => value.is_boolean(),
        Takes::Texts => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        Takes::Level => matches!(text, Some("DEBUG" | "DEFAULT" | "WARNING" | "ERROR")),
        Takes::Parameters => all(value, is_parameter),
        Takes::Usage => is_usage(value),
        Takes::UsageDetails => is_usage_details(value),
        Takes::CostDetails => all(value, |cost| cost.as_f64().is_some_and(|cost| cost >= 0.0)),
        Takes::Integer => is_integer(value),
    }
}

/// An object whose values are null or as wanted.
fn all(value: &Value, wanted: impl Fn(&Value) -> bool) -> bool {
    value.as_object().is_some_and(|members| members.values().all(|member| member.is_null() || wanted(member)))
}

fn is_time(text: &str) -> bool {
    text.as_bytes().get(10) == Some(&b'T') && text.parse::<jiff::Timestamp>().is_ok()
}

/// JavaScript has one kind of number: 5.0 is an integer, 2^53 is not a safe one.
fn is_integer(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0)
}

fn is_count(value: &Value) -> bool {
    is_integer(value) && value.as_f64() >= Some(0.0)
}

/// Newer servers also take an object of texts; older ones refuse it.
fn is_parameter(value: &Value) -> bool {
    value.is_string() || value.is_number() || value.is_boolean() || (value.is_array() && is(Takes::Texts, value))
}

fn is_usage(value: &Value) -> bool {
    let Some(members) = value.as_object() else { return false };
    members.iter().all(|(name, value)| match (name.as_str(), value) {
        (_, Value::Null) => true,
        ("input" | "output" | "total" | "promptTokens" | "completionTokens" | "totalTokens", count) => {
            is_integer(count)
        }
        ("inputCost" | "outputCost" | "totalCost", cost) => cost.is_number(),
        ("unit", unit) => {
            matches!(unit.as_str(), Some("TOKENS" | "CHARACTERS" | "MILLISECONDS" | "SECONDS" | "REQUESTS" | "IMAGES"))
        }
        // Dropped without a word.
        _ => true,
    })
}

/// Counts by bucket, or the usage of `OpenAI`, whose details are objects.
fn is_usage_details(value: &Value) -> bool {
    let is_openai = ["prompt_tokens", "input_tokens"].iter().any(|name| value[*name].is_number());
    all(value, |count| is_count(count) || (is_openai && all(count, is_count)))
}
