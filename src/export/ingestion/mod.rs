//! The legacy ingestion API, `POST /api/public/ingestion`: the way in of Langfuse v2, v3 before 3.22, and v4 in its
//! `legacy` and `dual` modes (<https://api.reference.langfuse.com/#tag/ingestion>).
//!
//! ```text
//! queue: OTLP spans → reader → event (+ model) → {"batch":[…]}     207 {successes, errors} → reply → one item a span
//! ```
//!
//! Spans are transcoded when a batch is sent. Everything is made from the span alone, so that the same span gives the
//! same events, with the same ids, on every try: the server keeps one of them.

mod event;
mod model;
mod reader;
mod reply;

pub use reply::{Answer, Item, read_reply};

/// Largest body that is sent, bytes. Langfuse documents 3.5 MB and refuses more than 4.5 MB.
pub const BODY_MAX: usize = 3_400_000;

/// Which events the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// `embedding-create` and the other types that came with it (Langfuse v3 from August 2025). Without them an
    /// embedding is sent as a generation, an agent, a tool, … as a span.
    pub embedding: bool,
}

impl Default for Dialect {
    /// The newest: a server that does not know it says so ([`Answer::unknown_type`]).
    fn default() -> Self {
        Self { embedding: true }
    }
}

/// A request's body and how many spans it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// JSON, not compressed: the server reads no other encoding.
    pub body: Vec<u8>,
    /// The leading spans that the body stands for. One that could not be read is among them and has no event;
    /// [`read_reply`] gives it as refused.
    pub spans: usize,
}

const HEAD: &str = r#"{"batch":["#;
const TAIL: &str = "]}";

/// Encodes as many leading spans as fit into `max_bytes`, at least one; no spans give `{"batch":[]}`, which the server
/// answers without storing anything.
///
/// A span that would not fit alone is sent without the copies of input and output on its trace; the observation keeps
/// them. Should it still not fit, the body is longer than `max_bytes`.
#[must_use]
pub fn encode_batch(spans: &[Vec<u8>], dialect: Dialect, max_bytes: usize) -> Batch {
    let expected = spans.iter().map(|span| span.len() * 2 + 512).fold(0, usize::saturating_add);
    let mut out = String::with_capacity(expected.min(max_bytes).saturating_add(HEAD.len() + TAIL.len()));
    out.push_str(HEAD);
    let mut taken = 0;
    for bytes in spans {
        if let Ok(span) = reader::Span::read(bytes) {
            let before = out.len();
            if before > HEAD.len() {
                out.push(',');
            }
            write_span(&mut out, &span, dialect, max_bytes);
            if out.len() + TAIL.len() > max_bytes && before > HEAD.len() {
                out.truncate(before);
                break;
            }
        }
        taken += 1;
    }
    out.push_str(TAIL);
    Batch { body: out.into_bytes(), spans: taken }
}

/// The events of one span. What they are must not depend on the spans beside it.
fn write_span(out: &mut String, span: &reader::Span<'_>, dialect: Dialect, max_bytes: usize) {
    let before = out.len();
    event::write_events(out, span, dialect, true);
    if HEAD.len() + out.len() - before + TAIL.len() > max_bytes {
        out.truncate(before);
        event::write_events(out, span, dialect, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::otlp::encode_span;
    use crate::trace::{Level, MetadataValue, Observation, SpanId, Times, TraceId, Verdict};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::borrow::Cow;

    const START: u64 = 1_795_318_664_000_000_000;

    /// Encodes an observation that has everything, after `change`.
    fn span(change: impl FnOnce(&mut Observation<'_>)) -> Vec<u8> {
        let mut observation = Observation {
            trace_id: TraceId([0x0a; 16]),
            span_id: SpanId([0xb7; 8]),
            parent: None,
            is_app_root: false,
            is_trace_root: false,
            trace_state: "",
            kind: "generation",
            name: "chat_completion",
            trace_name: Some(Cow::Borrowed("/v1/chat/completions")),
            times: Times { start: START, first_content: Some(START + 400_000_000), end: START + 1_250_000_000 },
            verdict: Verdict { level: Level::Warning, message: Some("stream cut".to_owned()) },
            model: Some("gpt-4o-mini"),
            parameters: Some(r#"{"temperature":0.70,"format":{"type":"x"}}"#.to_owned()),
            input: Some(Cow::Borrowed(r#"[{"role": "user","content":"h\u00e9"}]"#)),
            output: Some(Cow::Borrowed("hello \"you\"")),
            usage_details: Some(r#"{"input":130,"input_cached_tokens":20,"output":25,"total":175}"#.to_owned()),
            cost_details: Some(r#"{"total":0}"#.into()),
            user: Some("user-1"),
            session: Some("sess-1"),
            tags: vec!["gateway", "kong"],
            environment: "staging",
            release: Some("r1"),
            version: Some("v1"),
            prompt: None,
            trace_metadata: vec![
                ("provider".into(), "openai".into()),
                ("status_code".into(), MetadataValue::Int(-1)),
                ("total_duration_ms".into(), MetadataValue::Float(1250.5)),
            ],
            metadata: vec![("stream_complete".into(), MetadataValue::Bool(true)), ("note".into(), "a \"b\"".into())],
        };
        change(&mut observation);
        encode_span(&observation)
    }

    /// The encoded span of an observation that has everything.
    pub(super) fn full_span() -> Vec<u8> {
        span(|_| {})
    }

    /// The full span of another kind, under the span id of eight times `id`.
    pub(super) fn span_of(kind: &'static str, id: u8) -> Vec<u8> {
        span(|observation| (observation.kind, observation.span_id) = (kind, SpanId([id; 8])))
    }

    /// The full span inside an application's: `parent_span_id` is field 4.
    fn child_span() -> Vec<u8> {
        let mut bytes = full_span();
        bytes.extend_from_slice(b"\x22\x08\x11\x11\x11\x11\x11\x11\x11\x11");
        bytes
    }

    fn encode(spans: &[Vec<u8>]) -> Batch {
        encode_batch(spans, Dialect::default(), BODY_MAX)
    }

    fn events(spans: &[Vec<u8>]) -> Vec<Value> {
        let body: Value = serde_json::from_slice(&encode(spans).body).unwrap();
        body["batch"].as_array().unwrap().clone()
    }

    #[test]
    fn a_full_observation_becomes_these_bytes() {
        let expected = concat!(
            r#"{"batch":[{"id":"b7b7b7b7b7b7b7b7-trace","type":"trace-create","timestamp":"2026-11-22T03:37:44.000Z","#,
            r#""body":{"id":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","timestamp":"2026-11-22T03:37:44.000Z","#,
            r#""name":"/v1/chat/completions","userId":"user-1","sessionId":"sess-1","environment":"staging","#,
            r#""release":"r1","version":"v1","tags":["gateway","kong"],"#,
            r#""metadata":{"provider":"openai","status_code":-1,"total_duration_ms":1250.5},"#,
            r#""input":[{"role": "user","content":"h\u00e9"}],"output":"hello \"you\""}},"#,
            r#"{"id":"b7b7b7b7b7b7b7b7-observation","type":"generation-create","timestamp":"2026-11-22T03:37:45.250Z","#,
            r#""body":{"id":"b7b7b7b7b7b7b7b7","traceId":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","#,
            r#""name":"chat_completion","startTime":"2026-11-22T03:37:44.000Z","endTime":"2026-11-22T03:37:45.250Z","#,
            r#""environment":"staging","version":"v1","level":"WARNING","statusMessage":"stream cut","#,
            r#""completionStartTime":"2026-11-22T03:37:44.400Z","model":"gpt-4o-mini","#,
            r#""modelParameters":{"temperature":0.70,"format":"{\"type\":\"x\"}"},"#,
            r#""usageDetails":{"input":130,"input_cached_tokens":20,"output":25,"total":175},"#,
            r#""usage":{"input":150,"output":25,"total":175,"unit":"TOKENS"},"costDetails":{"total":0},"#,
            r#""metadata":{"stream_complete":true,"note":"a \"b\""},"#,
            r#""input":[{"role": "user","content":"h\u00e9"}],"output":"hello \"you\""}}]}"#,
        );
        let batch = encode(&[full_span()]);
        assert_eq!(String::from_utf8(batch.body).unwrap(), expected);
        assert_eq!(batch.spans, 1);
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let bare = span(|observation| {
            (observation.parameters, observation.input, observation.output) = (None, None, None);
            (observation.usage_details, observation.cost_details) = (None, None);
            (observation.model, observation.user, observation.session) = (None, None, None);
            (observation.times.first_content, observation.tags) = (None, Vec::new());
            observation.verdict = Verdict { level: Level::Default, message: None };
        });
        let events = events(&[bare]);
        for absent in ["userId", "sessionId", "tags", "input", "output"] {
            assert_eq!(events[0]["body"].get(absent), None, "{absent}");
        }
        for absent in [
            "model",
            "modelParameters",
            "usage",
            "usageDetails",
            "costDetails",
            "completionStartTime",
            "statusMessage",
            "input",
            "output",
            "parentObservationId",
            "promptName",
        ] {
            assert_eq!(events[1]["body"].get(absent), None, "{absent}");
        }
        assert_eq!(events[1]["body"]["level"], "DEFAULT");
    }

    #[test]
    fn a_child_leaves_the_applications_trace_alone() {
        let events = events(&[child_span()]);
        assert_eq!((events.len(), &events[0]["type"]), (1, &json!("generation-create")));
        let body = &events[0]["body"];
        assert_eq!(body["parentObservationId"], "1111111111111111");
        let metadata = json!({
            "stream_complete": true, "note": "a \"b\"", "provider": "openai", "status_code": -1,
            "total_duration_ms": 1250.5, "user_id": "user-1", "session_id": "sess-1", "tags": ["gateway", "kong"],
        });
        assert_eq!(body["metadata"], metadata, "nothing that was said of the trace is lost");
    }

    #[test]
    fn a_child_of_a_span_that_langfuse_does_not_know_brings_its_trace() {
        let mut bytes = child_span();
        // KeyValue {key: langfuse.internal.is_app_root, value: {bool_value: true}}.
        bytes.extend_from_slice(b"\x4a\x23\x0a\x1dlangfuse.internal.is_app_root\x12\x02\x10\x01");
        let events = events(&[bytes]);
        let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["trace-create", "generation-create"]);
        assert_eq!(events[1]["body"]["parentObservationId"], "1111111111111111");
    }

    #[test]
    fn no_spans_are_an_empty_batch() {
        assert_eq!(encode(&[]), Batch { body: br#"{"batch":[]}"#.to_vec(), spans: 0 });
    }

    #[test]
    fn a_batch_takes_what_fits_and_at_least_one() {
        let spans = vec![full_span(); 5];
        let one = encode(&spans[..1]).body.len();
        for (max, taken) in [(0, 1), (one, 1), (one * 3, 3), (BODY_MAX, 5)] {
            let batch = encode_batch(&spans, Dialect::default(), max);
            assert_eq!(batch.spans, taken, "{max}");
            assert!(batch.body.len() <= max || taken == 1);
            assert!(serde_json::from_slice::<Value>(&batch.body).is_ok());
        }
    }

    #[test]
    fn a_large_span_says_its_content_once() {
        let large = |bytes: usize| span(|observation| observation.input = Some(Cow::Owned("x".repeat(bytes))));
        let bodies = |bytes: usize| encode(&[large(bytes), full_span()]);
        assert_eq!(bodies(1_000_000).spans, 2);
        let batch = bodies(2_000_000);
        assert!(batch.spans == 2 && batch.body.len() < 2_100_000, "{} bytes", batch.body.len());
        let batch: Value = serde_json::from_slice(&batch.body).unwrap();
        assert_eq!(batch["batch"][0]["body"].get("input"), None);
        assert_eq!(batch["batch"][1]["body"]["input"].as_str().map(str::len), Some(2_000_000));
        assert_eq!(batch["batch"][2]["body"]["input"][0]["role"], "user", "the next one is as it would be alone");
        assert_eq!(bodies(BODY_MAX).spans, 1);
    }

    #[test]
    fn a_span_that_cannot_be_read_costs_the_others_nothing() {
        let batch = encode(&[b"\xff".to_vec(), full_span(), Vec::new()]);
        assert_eq!((batch.spans, batch.body), (3, encode(&[full_span()]).body));
        assert_eq!(encode(&[Vec::new()]), Batch { body: encode(&[]).body, spans: 1 });
    }

    #[test]
    fn an_old_server_gets_embeddings_as_generations() {
        let embedding = span(|observation| observation.kind = "embedding");
        assert_eq!(events(std::slice::from_ref(&embedding))[1]["type"], "embedding-create");
        let batch = encode_batch(&[embedding], Dialect { embedding: false }, BODY_MAX);
        let batch: Value = serde_json::from_slice(&batch.body).unwrap();
        assert_eq!(batch["batch"][1]["type"], "generation-create");
    }

    #[test]
    fn a_span_has_no_model_and_an_event_no_end() {
        let body = |kind| events(&[span(|observation| observation.kind = kind)])[1]["body"].clone();
        assert_eq!((body("span").get("model"), body("span")["endTime"].is_string()), (None, true));
        assert_eq!((body("event").get("model"), body("event").get("endTime")), (None, None));
        assert!(body("tool")["model"].is_string());
    }

    proptest! {
        #[test]
        fn any_text_makes_a_valid_batch(text in any::<String>(), key in any::<String>()) {
            let spans = [span(|observation| {
                observation.input = Some(Cow::Owned(text.clone()));
                observation.parameters = Some(text.clone());
                observation.usage_details = Some(text.clone());
                observation.trace_name = Some(Cow::Owned(text.clone()));
                observation.trace_metadata.push((Cow::Owned(key.clone()), text.clone().into()));
            })];
            let event = &events(&spans)[0]["body"];
            let plain = serde_json::from_str::<Value>(&text).unwrap_or(Value::String(text));
            prop_assert_eq!(&event["input"], &plain);
        }

        #[test]
        fn any_spans_in_any_room_make_a_valid_batch(
            spans in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                Just(full_span()),
                (0_usize..600).prop_map(|cut| full_span()[..cut].to_vec()),
            ], 0..6),
            max in 0_usize..8000,
        ) {
            let batch = encode_batch(&spans, Dialect::default(), max);
            prop_assert!(serde_json::from_slice::<Value>(&batch.body).is_ok());
            prop_assert!(batch.spans <= spans.len() && (batch.spans > 0 || spans.is_empty()));
            prop_assert_eq!(&batch, &encode_batch(&spans, Dialect::default(), max), "the same on every try");
        }
    }
}
