//! One span as a tree for a terminal: what a call says about itself, at a glance.

use crate::langfuse::Span;
use serde_json::Value;
use std::io::IsTerminal;

/// Longest text shown in one line.
const WIDTH: usize = 100;

/// Renders a span; coloured when stdout is a terminal and `NO_COLOR` is not set.
pub fn render(span: &Span) -> String {
    let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    render_with(span, coloured)
}

/// Renders a span with or without colours.
pub fn render_with(span: &Span, coloured: bool) -> String {
    let mut lines = vec![title(span, coloured)];
    let rows: Vec<(String, String)> = rows(span);
    let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
    for (index, (label, text)) in rows.iter().enumerate() {
        let branch = if index + 1 == rows.len() { "└─" } else { "├─" };
        let padding = " ".repeat(width - label.chars().count());
        lines.push(format!("{branch} {}{padding}  {text}", paint(label, "2", coloured)));
    }
    lines.join("\n")
}

fn title(span: &Span, coloured: bool) -> String {
    let colour = match span.level() {
        "ERROR" => "31",
        "WARNING" => "33",
        _ => "32",
    };
    let trace = compact(span.text("langfuse.trace.name").unwrap_or("(no trace name)"));
    let model = compact(span.model().unwrap_or("(no model)"));
    format!(
        "{}  {trace}  {model}  {}",
        paint(&compact(&span.name), "1", coloured),
        paint(span.level(), colour, coloured)
    )
}

fn rows(span: &Span) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row = |label: &str, text: String| {
        if !text.is_empty() {
            rows.push((label.to_owned(), text));
        }
    };
    row("status", compact(span.message().unwrap_or_default()));
    row("who", compact(&who(span)));
    for (label, text) in messages(&span.input()) {
        row(&label, text);
    }
    for text in output(&span.output()) {
        row("output", text);
    }
    row("parameters", compact(span.text("langfuse.observation.model.parameters").unwrap_or_default()));
    row("usage", usage(span));
    row("time", timing(span));
    row("trace", format!("{} / {}", span.trace_id, span.span_id));
    for (key, value) in span.all_metadata() {
        row("metadata", format!("{key} = {}", compact(&plain(&value))));
    }
    rows
}

fn who(span: &Span) -> String {
    let part = |label: &str, value: Option<&str>| value.map(|value| format!("{label} {value}"));
    let tags = Some(span.tags().join(", ")).filter(|tags| !tags.is_empty());
    let parts = [
        part("user", span.user()),
        part("session", span.session()),
        part("environment", span.text("langfuse.environment")),
        part("tags", tags.as_deref()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// `input user | text` for each message, or the whole input in one line.
fn messages(input: &Value) -> Vec<(String, String)> {
    let list = input.as_array().or_else(|| input["messages"].as_array());
    let role = |message: &Value| message["role"].as_str().map(str::to_owned);
    match list.filter(|list| list.iter().all(|message| role(message).is_some())) {
        Some(list) => list.iter().map(|message| (input_label(message), compact(&plain(&message["content"])))).collect(),
        None if input.is_null() => Vec::new(),
        None => vec![("input".to_owned(), compact(&plain(input)))],
    }
}

fn input_label(message: &Value) -> String {
    format!("input {}", message["role"].as_str().unwrap_or_default())
}

fn output(output: &Value) -> Vec<String> {
    let content = &output["content"];
    let calls = output["tool_calls"].as_array();
    if output.is_null() || (content.is_null() && calls.is_none()) {
        return Some(compact(&plain(output))).filter(|text| !text.is_empty()).into_iter().collect();
    }
    let text = Some(plain(content)).filter(|text| !text.is_empty()).map(|text| compact(&text));
    let call = |call: &Value| {
        let function = if call["function"].is_object() { &call["function"] } else { call };
        format!("calls {}({})", plain(&function["name"]), compact(&plain(&function["arguments"])))
    };
    text.into_iter().chain(calls.into_iter().flatten().map(call)).collect()
}

fn usage(span: &Span) -> String {
    let usage = span.usage();
    let parts =
        usage.iter().filter(|(bucket, _)| *bucket != "total").map(|(bucket, count)| format!("{bucket} {count}"));
    match usage.get("total") {
        Some(total) => format!("{} = total {total}", parts.collect::<Vec<_>>().join(" + ")),
        None => parts.collect::<Vec<_>>().join(" + "),
    }
}

fn timing(span: &Span) -> String {
    let first = span.time_to_first_token_ms().map(|ms| format!(", first token after {ms:.1} ms")).unwrap_or_default();
    format!("{:.1} ms{first}", span.duration_ms())
}

/// A string as it is, nothing for null, anything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// One line, abbreviated, without control characters: what a model wrote must not steer the terminal.
fn compact(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let clean: String = words.chars().filter(|character| !character.is_control()).collect();
    match clean.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}… ({} characters)", &clean[..end], text.chars().count()),
        None => clean,
    }
}

fn paint(text: &str, code: &str, coloured: bool) -> String {
    if coloured { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}
