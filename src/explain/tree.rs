//! What would be exported, for a person who asks "why does my trace look like this?": how the call was recognised, what
//! the trace and its observation say, and what is missing of them, with the remedy.
//!
//! Everything but the route comes from the request that would be sent ([`super::sent`]), so that it shows what Langfuse
//! gets; the README has an example.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;

use super::exchange::Exchange;
use super::outline::{abridged, lines, printable};
use super::replay::{Traced, reason, remedy};
use crate::json::Value;
use crate::provider::Skip;

/// Column in which values begin.
const COLUMN: usize = 22;
const TRACE_METADATA: &str = "langfuse.trace.metadata.";
const METADATA: &str = "langfuse.observation.metadata.";

/// The tree of a call that is traced: `request` is what would be sent of it.
#[must_use]
pub fn tree(exchange: &Exchange, traced: &Traced, request: &ExportTraceServiceRequest) -> String {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let Some(span) = scopes.flat_map(|scope| &scope.spans).next() else { return String::new() };
    let (sent, read) = (Sent(span), Value::parse(traced.fields.as_bytes()).unwrap_or_default());
    let mut page = Page::begin(exchange);
    route(&mut page, read);
    trace(&mut page, sent, read.get("context_sources"));
    observation(&mut page, exchange, sent, read);
    page.text("input", sent.text("langfuse.observation.input"));
    page.text("output", sent.text("langfuse.observation.output"));
    page.list("notes", notes(sent, read));
    page.end()
}

/// The same of a call that is not traced.
#[must_use]
pub fn skipped(exchange: &Exchange, skip: Skip) -> String {
    let mut page = Page::begin(exchange);
    page.section("not traced");
    page.row("counted as", Some(skip.name()));
    page.row("reason", Some(reason(skip)));
    page.row("remedy", Some(remedy(skip)));
    page.end()
}

/// Text that grows by sections of rows.
struct Page(String);

impl Page {
    fn begin(exchange: &Exchange) -> Self {
        let status = exchange.response.as_ref().and_then(|answer| answer.status);
        let status = status.map_or("no answer".to_owned(), |status| status.to_string());
        Self(format!("{} {} -> {status}\n", printable(&exchange.request.method), abridged(&exchange.request.target())))
    }

    fn end(self) -> String {
        self.0.trim_end().to_owned()
    }

    fn section(&mut self, title: &str) {
        self.0.push_str(&format!("\n{title}\n"));
    }

    /// A name and its value; nothing where there is none.
    fn row(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.0.push_str(&format!("  {:width$} {}\n", abridged(name), abridged(value), width = COLUMN - 3));
        }
    }

    fn rows(&mut self, title: &str, rows: &[(&str, String)]) {
        if !rows.is_empty() {
            self.0.push_str(&format!("  {title}\n"));
        }
        for (name, value) in rows {
            self.0.push_str(&format!("    {:width$} {}\n", abridged(name), abridged(value), width = COLUMN - 5));
        }
    }

    /// A section with one text.
    fn text(&mut self, title: &str, text: Option<&str>) {
        match text {
            Some(text) => self.list(&format!("{title} ({} bytes)", text.len()), lines(text)),
            None => self.section(&format!("{title}: none")),
        }
    }

    fn list(&mut self, title: &str, lines: Vec<String>) {
        if !lines.is_empty() {
            self.section(title);
        }
        lines.iter().for_each(|line| self.0.push_str(&format!("  {line}\n")));
    }
}

/// A span that would be sent.
#[derive(Clone, Copy)]
struct Sent<'a>(&'a Span);

impl<'a> Sent<'a> {
    fn value(self, key: &str) -> Option<&'a Any> {
        self.0.attributes.iter().find(|attribute| attribute.key == key).and_then(any)
    }

    fn text(self, key: &str) -> Option<&'a str> {
        match self.value(key)? {
            Any::StringValue(text) => Some(text),
            _ => None,
        }
    }

    /// The texts of a list.
    fn texts(self, key: &str) -> impl Iterator<Item = &'a str> {
        let items = match self.value(key) {
            Some(Any::ArrayValue(list)) => list.values.as_slice(),
            _ => &[],
        };
        items.iter().filter_map(|item| match item.value.as_ref()? {
            Any::StringValue(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A metadata value of the observation, as text.
    fn said(self, key: &str) -> Option<String> {
        self.value(&format!("{METADATA}{key}")).map(plain)
    }

    /// Names (without `prefix`) and values.
    fn below(self, prefix: &str) -> Vec<(&'a str, String)> {
        let named = |attribute: &'a KeyValue| Some((attribute.key.strip_prefix(prefix)?, plain(any(attribute)?)));
        self.0.attributes.iter().filter_map(named).collect()
    }
}

fn any(attribute: &KeyValue) -> Option<&Any> {
    attribute.value.as_ref()?.value.as_ref()
}

fn plain(value: &Any) -> String {
    let item = |value: &AnyValue| {
        value.value.as_ref().map(|value| if let Any::StringValue(text) = value { text.clone() } else { String::new() })
    };
    match value {
        Any::StringValue(text) => text.clone(),
        Any::BoolValue(flag) => flag.to_string(),
        Any::IntValue(number) => number.to_string(),
        Any::DoubleValue(number) => number.to_string(),
        Any::ArrayValue(list) => list.values.iter().filter_map(item).collect::<Vec<_>>().join(", "),
        // The filter writes no other.
        _ => String::new(),
    }
}

fn route(page: &mut Page, read: Value<'_>) {
    page.section("route");
    page.row("family", read.get("family").text().as_deref());
    page.row("operation", read.get("operation").text().as_deref());
    page.row("provider", read.get("provider").text().as_deref());
    page.row("streamed", Some(if read.get("stream").is_true() { "yes" } else { "no" }));
}

/// Each value with the source that it was taken from, where it was taken from one.
fn trace(page: &mut Page, sent: Sent<'_>, sources: Value<'_>) {
    page.section("trace");
    let from = |name: &str, value: String| match sources.get(name).text() {
        Some(source) => format!("{}  [{source}]", abridged(&value)),
        None => value,
    };
    let mut row = |name: &str, field: &str, value: Option<&str>| {
        page.row(name, value.map(|value| from(field, value.to_owned())).as_deref());
    };
    let id = sources.get("id").text().unwrap_or_default();
    let hex: String = sent.0.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let parent: String = sent.0.parent_span_id.iter().map(|byte| format!("{byte:02x}")).collect();
    row("name", "trace_name", Some(sent.text("langfuse.trace.name").unwrap_or("the application's own")));
    row("id", if id == "random" { "" } else { "id" }, Some(if id == "random" { "random" } else { &hex }));
    row("parent", "parent_observation_id", Some(parent.as_str()).filter(|parent| !parent.is_empty()));
    row("user", "user", sent.text("user.id"));
    row("session", "session", sent.text("session.id"));
    let tags: Vec<String> =
        sent.texts("langfuse.trace.tags").map(|tag| from(&format!("tag {tag}"), tag.to_owned())).collect();
    let tags = tags.join(", ");
    row("tags", "", Some(tags.as_str()).filter(|tags| !tags.is_empty()));
    row("environment", "environment", sent.text("langfuse.environment"));
    row("release", "release", sent.text("langfuse.release"));
    row("version", "version", sent.text("langfuse.version"));
    let metadata = sent.below(TRACE_METADATA);
    let is_fact = |key: &str| metadata.iter().any(|(other, _)| other.strip_prefix("caller_") == Some(key));
    let source_of = |key: &str| match key.strip_prefix("caller_") {
        Some(name) if sources.get(&format!("metadata {key}")).is_nothing() => format!("metadata {name}"),
        _ if is_fact(key) => String::new(),
        _ => format!("metadata {key}"),
    };
    let metadata: Vec<(&str, String)> =
        metadata.iter().map(|(key, value)| (*key, from(&source_of(key), value.clone()))).collect();
    page.rows("metadata", &metadata);
}

fn observation(page: &mut Page, exchange: &Exchange, sent: Sent<'_>, read: Value<'_>) {
    page.section("observation");
    page.row("type", sent.text("langfuse.observation.type"));
    let source = read.get("context_sources").get("observation_name").text();
    let name = source.map_or(sent.0.name.clone(), |source| format!("{}  [{source}]", abridged(&sent.0.name)));
    page.row("name", Some(&name));
    page.row("prompt", prompt(sent).as_deref());
    // Of an error, the span's status says both.
    let failure = sent.0.status.as_ref().filter(|status| !status.message.is_empty() || status.code != 0);
    let level = sent.text("langfuse.observation.level").or(failure.map(|_| "ERROR"));
    page.row("level", Some(level.unwrap_or("DEFAULT")));
    let message = sent.text("langfuse.observation.status_message").or(failure.map(|status| status.message.as_str()));
    page.row("status message", message);
    page.row("model asked for", read.get("request_model").text().as_deref());
    page.row("model that answered", read.get("response_model").text().as_deref());
    page.row("parameters", sent.text("langfuse.observation.model.parameters"));
    page.row("usage as reported", Some(&counts(read.get("usage"))));
    page.row("usage as sent", Some(&counts(read.get("usage_details"))));
    page.row("cost", Some(&cost(sent)));
    page.row("first content after", exchange.first_content_ms.map(|ms| format!("{ms} ms")).as_deref());
    page.row("took", exchange.duration_ms.map(|ms| format!("{ms} ms")).as_deref());
    page.rows("metadata", &sent.below(METADATA));
}

/// The prompt in Langfuse.
fn prompt(sent: Sent<'_>) -> Option<String> {
    let name = sent.text("langfuse.observation.prompt.name")?;
    Some(format!("{name}, version {}", sent.value("langfuse.observation.prompt.version").map(plain)?))
}

/// `input 3, output 4`.
fn counts(usage: Value<'_>) -> String {
    let counts: Vec<String> = usage.members().map(|(name, count)| format!("{name} {}", count.raw())).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

fn cost(sent: Sent<'_>) -> String {
    let stated = sent.text("langfuse.observation.cost_details").and_then(|json| Value::parse(json.as_bytes()));
    stated.map_or("left to Langfuse's prices of the model".to_owned(), |cost| format!("{} (dollars)", counts(cost)))
}

/// What is missing or was overruled, and what to do about it.
fn notes(sent: Sent<'_>, read: Value<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    for (side, key) in [("input", "max_input_bytes"), ("output", "max_output_bytes")] {
        if let Some(gap) = sent.said(&format!("{side}_note")) {
            let size = sent.said(&format!("{side}_bytes")).unwrap_or_default();
            notes.push(format!("{side}: {gap} ({size} bytes passed){}", gap_remedy(&gap, key)));
        }
    }
    if let Some(count) = sent.said("unread_messages") {
        notes.push(format!("{count} messages of the stream could not be read: broken, or longer than 1 MiB"));
    }
    if let Some(total) = sent.said("usage_total_reported") {
        notes.push(format!("the provider states a total of {total}, which is less than its parts: their sum is sent"));
    }
    notes.extend(usage_note(sent, read));
    notes
}

fn gap_remedy(gap: &str, key: &str) -> String {
    match gap {
        "cut at its limit" => format!(": raise `{key}` to keep more"),
        gap if gap.contains("memory_budget") => ": raise `memory_budget`".to_owned(),
        gap if gap.starts_with("not decoded") => {
            ": gzip, deflate and zstd are; store the body decompressed to see the rest".to_owned()
        }
        _ => String::new(),
    }
}

/// Why there is no usage.
fn usage_note(sent: Sent<'_>, read: Value<'_>) -> Option<String> {
    if sent.said("usage_source").as_deref() != Some("missing") {
        return None;
    }
    let then = match sent.text("langfuse.observation.cost_details") {
        Some(_) => "none is sent, and Langfuse is told not to estimate it",
        None => "none is sent, and Langfuse estimates it for models that it knows (`estimate_usage: false` stops that)",
    };
    let asks =
        read.get("stream").is_true() && read.get("family").text().is_some_and(|family| family.starts_with("openai.c"));
    let remedy = if asks { "; clients get it with `stream_options: {\"include_usage\": true}`" } else { "" };
    Some(format!("the provider stated no usage: {then}{remedy}"))
}
