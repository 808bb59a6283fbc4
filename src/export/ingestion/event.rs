//! One span as the events of the legacy API: `trace-create`, and `generation-create` or another of its kind.
//!
//! What the server takes is in its schema (`packages/shared/src/server/ingestion/types.ts` of
//! <https://github.com/langfuse/langfuse>); whatever does not fit is left out or written as text, because an event that
//! does not fit is refused whole.

use super::Dialect;
use super::model;
use super::reader::{Span, Value};
use crate::export::iso;
use crate::json::{Object, Value as Json, write_string};

/// Langfuse refuses longer names of traces; counted as JavaScript counts, in UTF-16 units.
const NAME_MAX: usize = 1000;
/// JSON nested deeper is written as text: the server walks values recursively, and one that breaks it would take the
/// whole batch along.
const DEPTH_MAX: usize = 100;

const IS_APP_ROOT: &str = "langfuse.internal.is_app_root";
const IS_TRACE_ROOT: &str = "langfuse.internal.as_root";
const TRACE_METADATA: &str = "langfuse.trace.metadata.";
const OBSERVATION_METADATA: &str = "langfuse.observation.metadata.";

/// Endings of event ids behind the span's id.
pub(super) const TRACE_EVENT: &str = "-trace";
pub(super) const OBSERVATION_EVENT: &str = "-observation";

/// How an observation is said to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EventType {
    name: &'static str,
    body: Body,
}

/// Which fields the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Body {
    Event,
    Span,
    Generation,
}

/// A kind that servers know only since August 2025.
pub(super) fn is_new_kind(kind: &str) -> bool {
    matches!(kind, "embedding" | "agent" | "tool" | "chain" | "retriever" | "evaluator" | "guardrail")
}

impl EventType {
    fn of(kind: &str, dialect: Dialect) -> Self {
        let (name, body) = match kind {
            "event" => ("event-create", Body::Event),
            "generation" => ("generation-create", Body::Generation),
            "embedding" | "retriever" | "guardrail" if !dialect.embedding => ("generation-create", Body::Generation),
            _ if !dialect.embedding => ("span-create", Body::Span),
            "embedding" => ("embedding-create", Body::Generation),
            "agent" => ("agent-create", Body::Generation),
            "tool" => ("tool-create", Body::Generation),
            "chain" => ("chain-create", Body::Generation),
            "retriever" => ("retriever-create", Body::Generation),
            "evaluator" => ("evaluator-create", Body::Generation),
            "guardrail" => ("guardrail-create", Body::Generation),
            _ => ("span-create", Body::Span),
        };
        Self { name, body }
    }
}

/// Appends the events of `span`, separated by a comma.
///
/// The ids are made of the span's, so that a span that is sent again brings the same events. A span inside an
/// application's trace brings none for the trace: it would overwrite the application's. `content_on_trace` writes input
/// and output on the trace too, where Langfuse v2 and v3 show them.
pub(super) fn write_events(out: &mut String, span: &Span<'_>, dialect: Dialect, content_on_trace: bool) {
    let is = |key| span.get(key) == Some(&Value::Bool(true));
    let brings_trace = span.parent.is_none() || is(IS_APP_ROOT);
    // Whose parent may be in Langfuse brings a trace that may be there already: what it has is not overwritten.
    let content_on_trace = content_on_trace && (span.parent.is_none() || is(IS_TRACE_ROOT));
    if brings_trace {
        write_event(out, span, ("trace-create", TRACE_EVENT), span.start, |body| {
            trace_body(body, span, content_on_trace);
        });
        out.push(',');
    }
    let kind = EventType::of(span.text("langfuse.observation.type").unwrap_or_default(), dialect);
    write_event(out, span, (kind.name, OBSERVATION_EVENT), span.end, |body| {
        observation_body(body, span, kind.body, !brings_trace);
    });
}

fn write_event(out: &mut String, span: &Span<'_>, kind: (&str, &str), time: u64, fill: impl FnOnce(&mut Object<'_>)) {
    let mut event = Object::open(out);
    event.text("id", &(hex(&span.span_id) + kind.1));
    event.text("type", kind.0);
    event.text("timestamp", &iso(time));
    let mut body = Object::open(event.key("body"));
    fill(&mut body);
    body.close();
    event.close();
}

fn trace_body(body: &mut Object<'_>, span: &Span<'_>, content: bool) {
    body.text("id", &hex(&span.trace_id));
    body.text("timestamp", &iso(span.start));
    body.optional("name", span.text("langfuse.trace.name").map(cut));
    body.optional("userId", span.text("user.id").or_else(|| span.text("langfuse.user.id")));
    body.optional("sessionId", span.text("session.id").or_else(|| span.text("langfuse.session.id")));
    body.optional("environment", span.text("langfuse.environment"));
    body.optional("release", span.text("langfuse.release"));
    body.optional("version", span.text("langfuse.version"));
    if let Some(tags) = span.get("langfuse.trace.tags") {
        write_value(body.key("tags"), tags);
    }
    metadata(body, span, &[TRACE_METADATA], false);
    if content {
        input_and_output(body, span);
    }
}

fn observation_body(body: &mut Object<'_>, span: &Span<'_>, fields: Body, is_child: bool) {
    body.text("id", &hex(&span.span_id));
    body.text("traceId", &hex(&span.trace_id));
    body.optional("parentObservationId", span.parent.map(|parent| hex(&parent)).as_deref());
    body.text("name", cut(span.name));
    body.text("startTime", &iso(span.start));
    if fields >= Body::Span {
        body.text("endTime", &iso(span.end));
    }
    body.optional("environment", span.text("langfuse.environment"));
    body.optional("version", span.text("langfuse.version"));
    body.text("level", level(span));
    let message = span.text("langfuse.observation.status_message").or(span.failure.filter(|said| !said.is_empty()));
    body.optional("statusMessage", message);
    if fields == Body::Generation {
        model::write(body, span);
    }
    // Without an event of its own, what is said of the trace would be lost.
    let scopes = [OBSERVATION_METADATA, TRACE_METADATA];
    let scopes = if is_child { scopes.as_slice() } else { &[OBSERVATION_METADATA] };
    metadata(body, span, scopes, is_child);
    input_and_output(body, span);
}

/// One of the four words that the server knows, upper case.
fn level(span: &Span<'_>) -> &'static str {
    let said = span.text("langfuse.observation.level").unwrap_or_default();
    let known = ["DEBUG", "DEFAULT", "WARNING", "ERROR"].into_iter().find(|level| *level == said);
    known.unwrap_or(if span.failure.is_some() { "ERROR" } else { "DEFAULT" })
}

fn input_and_output(body: &mut Object<'_>, span: &Span<'_>) {
    for (key, attribute) in [("input", "langfuse.observation.input"), ("output", "langfuse.observation.output")] {
        if let Some(text) = span.text(attribute) {
            write_content(body.key(key), text);
        }
    }
}

/// JSON stays as it is written, number for number; anything else becomes a string.
fn write_content(out: &mut String, text: &str) {
    match Json::check(text) {
        Ok(json) if !is_deep(json.raw()) => out.push_str(json.raw()),
        _ => write_string(out, text),
    }
}

/// JSON is nested deeper than [`DEPTH_MAX`].
fn is_deep(json: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// Metadata of the scopes, a key of an earlier scope over that of a later one. With `context`, also user, session and
/// tags, for which an observation has no fields.
fn metadata(body: &mut Object<'_>, span: &Span<'_>, scopes: &[&str], context: bool) {
    let mut written: Vec<&str> = Vec::new();
    let mut metadata = Object::open(body.key("metadata"));
    let scoped = scopes.iter().flat_map(|scope| {
        span.attributes.iter().filter_map(move |(key, value)| Some((key.strip_prefix(scope)?, value)))
    });
    let names = [("user_id", "user.id"), ("session_id", "session.id"), ("tags", "langfuse.trace.tags")];
    let context = names.iter().filter(|_| context).filter_map(|(key, attribute)| Some((*key, span.get(attribute)?)));
    for (key, value) in scoped.chain(context) {
        if !written.contains(&key) {
            write_value(metadata.key(key), value);
            written.push(key);
        }
    }
    metadata.close();
}

#[inline(never)]
fn write_value(out: &mut String, value: &Value<'_>) {
    match value {
        Value::Text(text) => write_string(out, text),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) => out.push_str(itoa::Buffer::new().format(*number)),
        Value::Double(number) => write_double(out, *number),
        Value::Texts(texts) => {
            out.push('[');
            for (at, text) in texts.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_string(out, text);
            }
            out.push(']');
        }
    }
}

/// The shortest decimal that reads back as `number`, or the nearest of 15 digits behind the point. What JSON has no word
/// for (not a number, infinite) or no filter measures (9e14 and more: 2^53 tenths) is null.
///
/// The formatter of `core` would be the largest function of the module.
fn write_double(out: &mut String, number: f64) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let magnitude = number.abs();
    // Whole numbers up to 2^53 and powers of ten up to 10^22 are exact, so the quotient is what a parser would read.
    let scaled = |power: f64| Some((magnitude * power).round_ties_even()).filter(|scaled| *scaled < EXACT);
    let powers = (1..=15).scan(1.0, |power, digits| {
        *power *= 10.0;
        Some((digits, *power, scaled(*power)?))
    });
    let mut last = None;
    for (digits, power, scaled) in powers {
        last = Some((digits, scaled));
        if scaled / power == magnitude {
            break;
        }
    }
    let Some((digits, scaled)) = last else { return out.push_str("null") };
    if number < 0.0 {
        out.push('-');
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, from 0 to 2^53")]
    let scaled = scaled as u64;
    let unit = 10_u64.pow(digits);
    out.push_str(itoa::Buffer::new().format(scaled / unit));
    // The 1 before the fraction keeps its zeros.
    let fraction = unit + scaled % unit;
    out.push('.');
    out.push_str(itoa::Buffer::new().format(fraction).get(1..).unwrap_or_default());
}

fn cut(name: &str) -> &str {
    let mut left = NAME_MAX;
    for (at, character) in name.char_indices() {
        match left.checked_sub(character.len_utf16()) {
            Some(rest) => left = rest,
            None => return name.get(..at).unwrap_or_default(),
        }
    }
    name
}

#[inline(never)]
fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kinds_have_their_events_where_the_server_knows_them() {
        for (kind, new, old) in [
            ("generation", "generation-create", "generation-create"),
            ("embedding", "embedding-create", "generation-create"),
            ("span", "span-create", "span-create"),
            ("event", "event-create", "event-create"),
            ("tool", "tool-create", "span-create"),
            ("retriever", "retriever-create", "generation-create"),
            ("guardrail", "guardrail-create", "generation-create"),
            ("", "span-create", "span-create"),
        ] {
            let name = |embedding| EventType::of(kind, Dialect { embedding }).name;
            assert_eq!((name(true), name(false)), (new, old), "{kind}");
            assert_eq!(is_new_kind(kind), new != old, "{kind}");
        }
    }

    #[test]
    fn json_stays_as_written_and_the_rest_is_text() {
        let written = |text: &str| {
            let mut out = String::new();
            write_content(&mut out, text);
            out
        };
        for json in [r#"{"a": 1.50,"b":[12345678901234567890]}"#, "null", "\"x\"", "1e400", r#"["\ud800","{[{["]"#] {
            assert_eq!(written(json), json);
        }
        for (text, string) in
            [("plain", "\"plain\""), ("", "\"\""), ("{\"a\":", r#""{\"a\":""#), ("{} {}", "\"{} {}\"")]
        {
            assert_eq!(written(text), string);
        }
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(written(&nested(DEPTH_MAX)), nested(DEPTH_MAX));
        assert_eq!(written(&nested(DEPTH_MAX + 1)), format!("\"{}\"", nested(DEPTH_MAX + 1)));
    }

    fn double(number: f64) -> String {
        let mut out = String::new();
        write_double(&mut out, number);
        out
    }

    #[test]
    fn doubles_are_short_and_never_what_json_cannot_say() {
        for (number, written) in [
            (1250.5, "1250.5"),
            (1250.0, "1250.0"),
            (-0.15, "-0.15"),
            (0.0, "0.0"),
            (0.000_001_5, "0.0000015"),
            (1e-20, "0.000000000000000"),
            (900_000_000_000_000.5, "900000000000000.5"),
            (1e15, "null"),
            (f64::NAN, "null"),
            (f64::NEG_INFINITY, "null"),
        ] {
            assert_eq!(double(number), written);
        }
        assert_eq!(double(0.1 + 0.2), "0.300000000000000");
    }

    proptest! {
        #[test]
        fn what_is_measured_reads_back(thousandths in 0_u64..1 << 49, digits in 0_i32..6) {
            let number = thousandths as f64 / 10_f64.powi(digits);
            prop_assume!(number < 9e14);
            prop_assert_eq!(double(number).parse::<f64>().unwrap(), number);
        }

        #[test]
        fn any_double_is_json(bits: u64) {
            prop_assert!(serde_json::from_str::<Option<f64>>(&double(f64::from_bits(bits))).is_ok());
        }
    }

    #[test]
    fn names_are_cut_as_javascript_counts() {
        assert_eq!(cut(&"a".repeat(1000)).len(), 1000);
        assert_eq!(cut(&"a".repeat(1001)).len(), 1000);
        // Two UTF-16 units each.
        assert_eq!(cut(&"😀".repeat(501)).chars().count(), 500);
        assert_eq!(cut(&("a".to_owned() + &"😀".repeat(500))).chars().count(), 500);
    }
}
