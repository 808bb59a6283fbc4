//! What a true trace of each call says. Texts and usage are read from the answer that the upstream sent, the input from
//! the question that it received; the rest stands in tables.

use super::Host;
use crate::langfuse::Span;
use crate::upstream::{Received, Script};
use serde_json::{Value, json};
use std::fmt;

/// Durations of span and metadata may differ by their rounding.
const ROUNDING_MS: f64 = 1.0;
/// What the filter says of a body that nginx wrote to disk.
const ON_DISK: &str = "not available (buffered to disk)";
/// Longest text of one value in a reason.
const SHOWN: usize = 120;

/// What was found out.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Why it fails; it passes without.
    pub(super) problems: Vec<String>,
    /// Worth knowing although it passes.
    pub(super) notes: Vec<String>,
}

/// `PASS`, `PASS NOTE …` or `FAIL …`, in one line.
impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.problems.is_empty(), self.notes.is_empty()) {
            (false, _) => write!(out, "FAIL {}", self.problems.join("; ")),
            (true, false) => write!(out, "PASS NOTE {}", self.notes.join("; ")),
            (true, true) => out.write_str("PASS"),
        }
    }
}

impl Verdict {
    pub(super) fn fail(problem: impl Into<String>) -> Self {
        Self { problems: vec![problem.into()], notes: Vec::new() }
    }

    pub(super) fn unless(mut self, holds: bool, problem: impl FnOnce() -> String) -> Self {
        if !holds {
            self.problems.push(problem());
        }
        self
    }

    /// Says which reading is not as wanted.
    fn wants(self, what: &str, found: &Value, wanted: &Value) -> Self {
        self.unless(found == wanted, || format!("{what} is {}, not {}", shown(found), shown(wanted)))
    }
}

/// One call with its trace.
pub(super) struct Traced<'a> {
    pub(super) name: &'a str,
    pub(super) span: &'a Span,
    pub(super) question: &'a Received,
    pub(super) answer: &'a Script,
    pub(super) host: Host,
}

/// Judges the trace of a call.
pub(super) fn judge(call: &Traced<'_>) -> Verdict {
    let verdict = always(call, Verdict::default());
    let verdict = readings(call, wanted(call.name), verdict);
    let verdict = input(call, verdict);
    match call.name {
        "error" => error(call, verdict),
        "abort" => abort(call, verdict),
        "embeddings" => embeddings(call, verdict),
        "stream" | "stream-without-usage" => streamed(call, verdict),
        _ => whole(call, verdict),
    }
}

/// What every trace says.
fn always(call: &Traced<'_>, verdict: Verdict) -> Verdict {
    let Traced { span, answer, .. } = call;
    let (operation, provider, path) = match call.name {
        "embeddings" => ("embedding", "openai_compatible", "/v1/embeddings"),
        "completions" => ("completion", "openai_compatible", "/v1/completions"),
        "generate" => ("completion", "vllm", "/generate"),
        _ => ("chat_completion", "openai_compatible", "/v1/chat/completions"),
    };
    let level = match call.name {
        "error" => "ERROR",
        "abort" => "WARNING",
        _ => "DEFAULT",
    };
    let trace_name = span.text("langfuse.trace.name").unwrap_or_default();
    let duration = reading(span, "meta total_duration_ms").as_f64().unwrap_or(-1.0);
    let environment = reading(span, "meta environment");
    verdict
        .wants("level", &json!(span.level()), &json!(level))
        .wants("observation name", &json!(span.name), &json!(operation))
        .wants("metadata provider", &reading(span, "meta provider"), &json!(provider))
        .wants("metadata status_code", &reading(span, "meta status_code"), &json!(answer.status))
        // A gateway's route may add a prefix before the path.
        .unless(trace_name.ends_with(path), || format!("trace name is {trace_name:?}, not {path:?}"))
        .unless(environment.as_str().is_some_and(|text| !text.is_empty()), || "no metadata environment".to_owned())
        // A clock of milliseconds may see none pass.
        .unless(duration >= 0.0 && (duration - span.duration_ms()).abs() <= ROUNDING_MS, || {
            format!("metadata total_duration_ms is {duration}, the span took {}", span.duration_ms())
        })
}

/// What the caller said, by reading.
fn wanted(name: &str) -> Vec<(&'static str, Value)> {
    let user = ("user", json!("user-12345"));
    match name {
        "hello" => vec![
            user,
            ("parameters", json!({"temperature": 0.7, "max_tokens": 500})),
            ("meta temperature", json!(0.7)),
            ("meta max_tokens", json!(500)),
            ("meta request_model", json!("gpt-4")),
        ],
        "context" => vec![
            user,
            ("session", json!("session-abc")),
            ("meta chat_id", json!("chat-789")),
            ("meta organization_id", json!("org-acme")),
        ],
        "metadata" => vec![
            user,
            ("meta chat_id", json!("chat-789")),
            ("meta project_id", json!("project-xyz")),
            ("meta features", json!({"web_search": true, "image_generation": false})),
            ("meta variables", json!({"user_tier": "premium", "language": "en"})),
        ],
        _ => vec![user],
    }
}

fn readings(call: &Traced<'_>, wanted: Vec<(&str, Value)>, verdict: Verdict) -> Verdict {
    wanted.into_iter().fold(verdict, |verdict, (name, wanted)| verdict.wants(name, &reading(call.span, name), &wanted))
}

/// The input is what the upstream received. A body that nginx wrote to disk is missing, and said to be.
fn input(call: &Traced<'_>, mut verdict: Verdict) -> Verdict {
    let note = reading(call.span, "meta input_note");
    if note == ON_DISK && call.host != Host::Envoy {
        verdict.notes.push("body on disk, not in the trace: raise client_body_buffer_size".to_owned());
        return verdict;
    }
    let question: Value = serde_json::from_slice(call.question.body.as_deref().unwrap_or_default()).unwrap_or_default();
    let key = match call.name {
        "embeddings" => "input",
        "completions" | "generate" => "prompt",
        _ => "messages",
    };
    let wanted = match question.get("tools") {
        Some(tools) => json!({key: question[key], "tools": tools}),
        None => question[key].clone(),
    };
    let verdict = verdict.wants("input", &call.span.input(), &wanted);
    verdict.unless(note.is_null(), || format!("input_note is {note}"))
}

/// A JSON answer: its text or tool call, finish reason, usage, model.
fn whole(call: &Traced<'_>, verdict: Verdict) -> Verdict {
    let answer = spoken(call);
    let choice = &answer["choices"][0];
    let (found, wanted) = match call.name {
        "completions" => (call.span.output(), choice["text"].clone()),
        // vLLM repeats the prompt before the text.
        "generate" => (call.span.output(), json!(" city of hills and fog.")),
        "tool" => (tool_call(&call.span.output()), tool_call(&choice["message"])),
        _ => (call.span.output()["content"].clone(), choice["message"]["content"].clone()),
    };
    let verdict = verdict.wants("output", &found, &wanted);
    let note = reading(call.span, "meta output_note");
    let verdict = verdict.unless(note.is_null(), || format!("output_note is {note}"));
    let finish = reading(call.span, "meta finish_reason");
    model_and_usage(call, &answer, verdict).wants("finish_reason", &finish, &choice["finish_reason"])
}

fn tool_call(message: &Value) -> Value {
    let function = &message["tool_calls"][0]["function"];
    json!([function["name"], function["arguments"]])
}

/// A stream's pieces joined, and when the first of them came.
fn streamed(call: &Traced<'_>, verdict: Verdict) -> Verdict {
    let events: Vec<Value> = events(&call.answer.body());
    let text: String = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    let last = events.last().cloned().unwrap_or_default();
    let verdict = model_and_usage(call, &last, verdict)
        .wants("output", &call.span.output()["content"], &json!(text))
        .wants("finish_reason", &reading(call.span, "meta finish_reason"), &json!("stop"))
        .wants("metadata stream_complete", &reading(call.span, "meta stream_complete"), &json!(true));
    first_token(call, verdict)
}

/// The first token comes before the end, by what the upstream waits between them.
fn first_token(call: &Traced<'_>, verdict: Verdict) -> Verdict {
    let (first, whole) = (call.span.time_to_first_token_ms(), call.span.duration_ms());
    verdict.unless(first.is_some_and(|first| first > 0.0 && first < whole), || {
        format!("time to first token is {first:?} of {whole} ms")
    })
}

fn model_and_usage(call: &Traced<'_>, answer: &Value, verdict: Verdict) -> Verdict {
    let usage = call.span.usage();
    let stated = &answer["usage"];
    let source = if stated.is_object() { "provider" } else { "missing" };
    let wanted: Value = match stated["prompt_tokens"].as_u64() {
        Some(input) => json!([input, stated["completion_tokens"].as_u64().unwrap_or(0), stated["total_tokens"]]),
        None => json!([0, 0, 0]),
    };
    let bucket = |name: &str| usage.get(name).copied().unwrap_or(0);
    let verdict = verdict.wants("usage_source", &reading(call.span, "meta usage_source"), &json!(source)).wants(
        "usage [input, output, total]",
        &json!([bucket("input"), bucket("output"), bucket("total")]),
        &wanted,
    );
    match answer["model"].as_str() {
        Some(model) => verdict.wants("model", &json!(call.span.model()), &json!(model)).wants(
            "metadata model",
            &reading(call.span, "meta model"),
            &json!(model),
        ),
        None => verdict,
    }
}

/// The provider's own words.
fn error(call: &Traced<'_>, verdict: Verdict) -> Verdict {
    let message = call.span.message().unwrap_or_default();
    let wanted = spoken(call)["error"]["message"].as_str().unwrap_or_default().to_owned();
    verdict.unless(message.contains(&wanted) && message.contains("429"), || {
        format!("status message is {message:?}, without 429 or {wanted:?}")
    })
}

/// What the client saw before it left, and that it is not all.
fn abort(call: &Traced<'_>, verdict: Verdict) -> Verdict {
    let text = call.span.output()["content"].as_str().unwrap_or_default().to_owned();
    let message = call.span.message().unwrap_or_default();
    let verdict = verdict
        .unless(text.starts_with("number 1, number 2, "), || format!("output begins with {}", shown(&json!(text))))
        .unless(["disconnected", "cut"].iter().any(|word| message.contains(word)), || {
            format!("status message {message:?} does not say that the answer is not whole")
        })
        .wants("metadata stream_complete", &reading(call.span, "meta stream_complete"), &json!(false));
    first_token(call, verdict)
}

/// How many vectors of how many numbers; the vectors themselves are not kept.
fn embeddings(call: &Traced<'_>, verdict: Verdict) -> Verdict {
    let output = call.span.output();
    let verdict = model_and_usage(call, &spoken(call), verdict);
    verdict.wants("output", &output, &json!({"count": 2, "dimensions": 3}))
}

/// The answer's JSON, before it was compressed.
fn spoken(call: &Traced<'_>) -> Value {
    let body = call.answer.body();
    let mut text = Vec::new();
    let is_gzip = body.starts_with(&[0x1F, 0x8B]);
    if is_gzip {
        let mut decoder = flate2::read::GzDecoder::new(body.as_slice());
        std::io::Read::read_to_end(&mut decoder, &mut text).expect("the kit's own gzip");
    } else {
        text = body;
    }
    serde_json::from_slice(&text).unwrap_or_default()
}

fn events(stream: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(stream);
    text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
}

/// `user`, `session`, `parameters`, or `meta KEY`; null where the trace says nothing.
fn reading(span: &Span, name: &str) -> Value {
    match name.split_once(' ') {
        Some((_, key)) => parsed(span.metadata(key).unwrap_or_default()),
        None if name == "user" => json!(span.user()),
        None if name == "session" => json!(span.session()),
        None => span.json("langfuse.observation.model.parameters").unwrap_or_default(),
    }
}

/// Objects travel as JSON text.
fn parsed(value: Value) -> Value {
    let object = value.as_str().and_then(|text| serde_json::from_str(text).ok()).filter(Value::is_object);
    object.unwrap_or(value)
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.chars().count() > SHOWN {
        true => format!("{}… ({} bytes)", text.chars().take(SHOWN).collect::<String>(), text.len()),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::RequestHead;

    /// The verdict on a large question of which the trace says `note` instead of an input.
    fn unread(host: Host, note: &str) -> String {
        let texts = [
            ("langfuse.trace.name", "/v1/chat/completions"),
            ("langfuse.trace.metadata.provider", "openai_compatible"),
            ("langfuse.trace.metadata.environment", "production"),
            ("langfuse.trace.metadata.model", "gpt-4-0613"),
            ("langfuse.observation.model.name", "gpt-4-0613"),
            ("langfuse.observation.output", r#"{"content":"hello"}"#),
            ("langfuse.observation.usage_details", r#"{"input":3,"output":2,"total":5}"#),
            ("langfuse.observation.metadata.usage_source", "provider"),
            ("langfuse.observation.metadata.finish_reason", "stop"),
            ("langfuse.observation.metadata.input_note", note),
            ("user.id", "user-12345"),
        ];
        let mut attributes: std::collections::BTreeMap<_, _> =
            texts.iter().map(|(key, text)| ((*key).to_owned(), json!(text))).collect();
        attributes.insert("langfuse.trace.metadata.status_code".into(), json!(200));
        attributes.insert("langfuse.trace.metadata.total_duration_ms".into(), json!(1.5));
        let span =
            Span { name: "chat_completion".into(), start: 1_000_000, end: 2_500_000, attributes, ..Span::default() };
        let head = RequestHead { method: "POST".into(), target: "/v1/chat/completions".into(), headers: Vec::new() };
        let question = Received::new(head, br#"{"messages":[{"role":"user","content":"long"}]}"#.to_vec());
        let answer = crate::demo::answers::said("hello", 3, 2);
        let call = Traced { name: "large-question", span: &span, question: &question, answer: &answer, host };
        judge(&call).to_string()
    }

    #[test]
    fn a_body_on_disk_is_a_note_where_nginx_may_write_it() {
        for host in [Host::Kong, Host::Nginx, Host::Unknown] {
            assert!(unread(host, ON_DISK).starts_with("PASS NOTE body on disk"), "{}", unread(host, ON_DISK));
        }
        assert!(unread(Host::Envoy, ON_DISK).starts_with("FAIL input is null"), "{}", unread(Host::Envoy, ON_DISK));
        assert!(unread(Host::Kong, "cut at its limit").starts_with("FAIL input"), "only for that reason");
    }
}
