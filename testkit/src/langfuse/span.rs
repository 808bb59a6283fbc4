//! A span as received, with the readings that Langfuse makes of its attributes.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1 as otlp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// One span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// The observation's name.
    pub name: String,
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits, or empty at a root.
    pub parent_span_id: String,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds since 1970.
    pub end: u64,
    /// OTLP's number: 3 = client.
    pub kind: i32,
    /// OTLP's number: 2 = error.
    pub status_code: i32,
    /// Of the OTLP status; see `langfuse.observation.status_message` too.
    pub status_message: String,
    /// The span's attributes.
    pub attributes: BTreeMap<String, Value>,
    /// The resource's attributes.
    pub resource: BTreeMap<String, Value>,
    /// The instrumentation scope's name.
    pub scope_name: String,
    /// The instrumentation scope's version.
    pub scope_version: String,
    /// Attribute keys that came more than once.
    pub repeated_keys: Vec<String>,
}

impl Span {
    /// A string attribute.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).and_then(Value::as_str)
    }

    /// A string attribute that holds JSON, parsed.
    pub fn json(&self, key: &str) -> Option<Value> {
        self.text(key).and_then(|text| serde_json::from_str(text).ok())
    }

    /// DEBUG, DEFAULT, WARNING or ERROR.
    pub fn level(&self) -> &str {
        let by_status = if self.status_code == 2 { "ERROR" } else { "DEFAULT" };
        self.text("langfuse.observation.level").unwrap_or(by_status)
    }

    /// Status message of the observation; that of an error is the span's own.
    pub fn message(&self) -> Option<&str> {
        let of_status = Some(self.status_message.as_str()).filter(|message| !message.is_empty());
        self.text("langfuse.observation.status_message").or(of_status)
    }

    /// The model's name.
    pub fn model(&self) -> Option<&str> {
        self.text("langfuse.observation.model.name")
    }

    /// The input: parsed when it is JSON, else as a string; null when absent.
    pub fn input(&self) -> Value {
        self.json_or_text("langfuse.observation.input")
    }

    /// The output: parsed when it is JSON, else as a string; null when absent.
    pub fn output(&self) -> Value {
        self.json_or_text("langfuse.observation.output")
    }

    /// The usage buckets; empty when there are none.
    pub fn usage(&self) -> BTreeMap<String, u64> {
        let usage = self.json("langfuse.observation.usage_details").unwrap_or_default();
        let buckets = usage.as_object().into_iter().flatten();
        buckets.filter_map(|(bucket, count)| Some((bucket.clone(), count.as_u64()?))).collect()
    }

    /// Metadata of the observation, else of the trace.
    pub fn metadata(&self, key: &str) -> Option<Value> {
        let find = |scope: &str| self.attributes.get(&format!("langfuse.{scope}.metadata.{key}")).cloned();
        find("observation").or_else(|| find("trace"))
    }

    /// All metadata by key, the observation's over the trace's.
    pub fn all_metadata(&self) -> BTreeMap<String, Value> {
        let of = |prefix: &'static str| {
            let named =
                move |(key, value): (&String, &Value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone()));
            self.attributes.iter().filter_map(named)
        };
        of("langfuse.trace.metadata.").chain(of("langfuse.observation.metadata.")).collect()
    }

    /// The user id.
    pub fn user(&self) -> Option<&str> {
        self.text("langfuse.user.id").or_else(|| self.text("user.id"))
    }

    /// The session id.
    pub fn session(&self) -> Option<&str> {
        let keys = ["langfuse.session.id", "session.id", "gen_ai.conversation.id"];
        keys.iter().find_map(|key| self.text(key))
    }

    /// The trace's tags.
    pub fn tags(&self) -> Vec<String> {
        let tags = self.attributes.get("langfuse.trace.tags").and_then(Value::as_array);
        tags.into_iter().flatten().filter_map(|tag| tag.as_str().map(str::to_owned)).collect()
    }

    /// From start to end.
    pub fn duration_ms(&self) -> f64 {
        (self.end.saturating_sub(self.start)) as f64 / 1e6
    }

    /// From start to `langfuse.observation.completion_start_time`.
    pub fn time_to_first_token_ms(&self) -> Option<f64> {
        let completion: jiff::Timestamp = self.text("langfuse.observation.completion_start_time")?.parse().ok()?;
        Some((completion.as_nanosecond() - i128::from(self.start)) as f64 / 1e6)
    }

    fn json_or_text(&self, key: &str) -> Value {
        self.json(key).or_else(|| self.attributes.get(key).cloned()).unwrap_or_default()
    }
}

/// Reads one span of an OTLP message.
pub(super) fn from_otlp(resource: &otlp::ResourceSpans, scope: &otlp::ScopeSpans, span: &otlp::Span) -> Span {
    let status = span.status.clone().unwrap_or_default();
    let attributes = attributes(&span.attributes);
    Span {
        name: span.name.clone(),
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_span_id: hex(&span.parent_span_id),
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        kind: span.kind,
        status_code: status.code,
        status_message: status.message,
        repeated_keys: repeated(&span.attributes),
        attributes,
        resource: resource.resource.as_ref().map(|resource| self::attributes(&resource.attributes)).unwrap_or_default(),
        scope_name: scope.scope.as_ref().map(|scope| scope.name.clone()).unwrap_or_default(),
        scope_version: scope.scope.as_ref().map(|scope| scope.version.clone()).unwrap_or_default(),
    }
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, Value> {
    pairs.iter().map(|pair| (pair.key.clone(), value(pair.value.as_ref()))).collect()
}

fn repeated(pairs: &[KeyValue]) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    pairs.iter().filter(|pair| !seen.insert(&pair.key)).map(|pair| pair.key.clone()).collect()
}

fn value(any: Option<&AnyValue>) -> Value {
    use any_value::Value as Any;
    match any.and_then(|any| any.value.as_ref()) {
        None | Some(Any::StringValueStrindex(_)) => Value::Null,
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(truth)) => json!(truth),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        Some(Any::ArrayValue(array)) => array.values.iter().map(|item| value(Some(item))).collect(),
        Some(Any::KvlistValue(list)) => Value::Object(Map::from_iter(attributes(&list.values))),
        Some(Any::BytesValue(bytes)) => json!(String::from_utf8_lossy(bytes)),
    }
}

/// Lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
