//! The answer of the ingestion API: 207 with each event's own status
//! (<https://api.reference.langfuse.com/#tag/ingestion>).

use super::event::{OBSERVATION_EVENT, TRACE_EVENT, is_new_kind};
use super::reader::Span;
use crate::json::{Value, close_truncated};

/// What became of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// All its events were taken.
    Taken,
    /// To be sent again: the server had trouble of its own, or another dialect or API has to be used
    /// ([`Answer::unknown_type`], [`Answer::not_accepted`]). Events that were taken before may come again: their ids
    /// are the same.
    Retry,
    /// Refused for good, or never sent because it could not be read.
    Refused,
}

/// What the server said of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// One for each span, in their order.
    pub items: Vec<Item>,
    /// The server takes no traces by this API (Langfuse v4, `events_only`): send them by OTLP. Their items are
    /// [`Item::Retry`].
    pub not_accepted: bool,
    /// The server does not know the newer types: encode with [`super::Dialect::embedding`] `false` from now on. The
    /// items of the events refused for it are [`Item::Retry`]. Of a batch of that dialect no server should say so; one
    /// that does must not be asked again at once.
    pub unknown_type: bool,
    /// The body is an answer of this API, and whole. `false` on the self check means that something else answers
    /// at this address.
    pub readable: bool,
}

/// Reads the body of a 2xx answer to a batch of these spans.
///
/// A body that cannot be read, or only to where it was cut, leaves the spans that it does not mention as taken. The
/// status has said that the batch arrived; an answer that is cut once is cut every time, and traces would be sent again
/// and again that Langfuse has. The work is linear in the body, which the caller bounds.
#[must_use]
pub fn read_reply(body: &[u8], spans: &[Vec<u8>]) -> Answer {
    let readable = errors(body);
    let repaired = if readable.is_some() { Vec::new() } else { close_truncated(body) };
    let errors = readable.or_else(|| errors(&repaired)).unwrap_or_default();
    let mut sent = Sent::all(spans);
    let mut answer = Answer {
        items: vec![Item::Refused; spans.len()],
        not_accepted: false,
        unknown_type: false,
        readable: readable.is_some(),
    };
    for sent in &sent {
        answer.set(sent.at, Item::Taken);
    }
    sent.sort_unstable_by_key(|sent| sent.span);
    for refusal in errors.items().filter_map(Refusal::read) {
        if let Ok(found) = sent.binary_search_by_key(&refusal.span, |sent| sent.span)
            && let Some(sent) = sent.get(found)
        {
            answer.add(&refusal, sent);
        }
    }
    answer
}

impl Answer {
    fn set(&mut self, at: usize, item: Item) {
        self.items.get_mut(at).into_iter().for_each(|place| *place = item);
    }

    fn add(&mut self, refusal: &Refusal, sent: &Sent) {
        let unknown_type = refusal.of_type && sent.is_new_kind;
        self.not_accepted |= refusal.not_accepted;
        self.unknown_type |= unknown_type;
        let again = refusal.not_accepted || unknown_type || matches!(refusal.status, 408 | 429 | 500..=599);
        let item = if again { Item::Retry } else { Item::Refused };
        let before = self.items.get(sent.at).copied().unwrap_or(item);
        self.set(sent.at, item.max(before));
    }
}

/// What an answer needs to know of a span that was sent.
struct Sent {
    span: u64,
    /// Its place in the batch.
    at: usize,
    is_new_kind: bool,
}

impl Sent {
    /// Those that could be read.
    fn all(spans: &[Vec<u8>]) -> Vec<Self> {
        spans.iter().enumerate().filter_map(|(at, bytes)| Self::read(at, bytes)).collect()
    }

    fn read(at: usize, bytes: &[u8]) -> Option<Self> {
        let span = Span::read(bytes).ok()?;
        let kind = span.text("langfuse.observation.type").unwrap_or_default();
        Some(Self { span: u64::from_be_bytes(span.span_id), at, is_new_kind: is_new_kind(kind) })
    }
}

/// The list of errors; none where the body is no answer of this API.
fn errors(body: &[u8]) -> Option<Value<'_>> {
    let answer = Value::parse(body)?;
    let list = |name: &str| Some(answer.get(name)).filter(|list| list.is_array());
    // An answer without errors may leave the list out.
    list("errors").or_else(|| list("successes").map(|_| Value::ABSENT))
}

/// An event that was not taken.
struct Refusal {
    span: u64,
    status: u64,
    not_accepted: bool,
    /// The event's type is the reason.
    of_type: bool,
}

impl Refusal {
    fn read(error: Value<'_>) -> Option<Self> {
        let text = error.raw();
        let id = error.get("id").text()?;
        let observation = id.strip_suffix(OBSERVATION_EVENT);
        let span = u64::from_str_radix(observation.or_else(|| id.strip_suffix(TRACE_EVENT))?, 16).ok()?;
        Some(Self {
            span,
            status: error.get("status").number().unwrap_or_default(),
            not_accepted: text.contains("Event type not accepted") || text.contains("events_only"),
            // The word of the server's validation for a union without a member of this `type`.
            of_type: observation.is_some() && text.contains("discriminator"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::span_of;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn span(id: u8) -> Vec<u8> {
        span_of("generation", id)
    }

    fn id(id: u8, event: &str) -> String {
        format!("{:016x}{event}", u64::from_be_bytes([id; 8]))
    }

    fn error(of: u8, event: &str, status: u64) -> Value {
        json!({"id": id(of, event), "status": status, "message": "Invalid request data", "error": "…"})
    }

    fn read(errors: &[Value], spans: &[Vec<u8>]) -> Answer {
        let successes = json!([{"id": "any", "status": 201}]);
        read_reply(json!({"successes": successes, "errors": errors}).to_string().as_bytes(), spans)
    }

    #[test]
    fn a_span_is_taken_where_all_its_events_are() {
        let spans = [1, 2, 3, 4, 5].map(span);
        let errors = [
            error(1, TRACE_EVENT, 400),
            error(2, OBSERVATION_EVENT, 500),
            error(4, OBSERVATION_EVENT, 429),
            error(4, TRACE_EVENT, 400),
            error(5, OBSERVATION_EVENT, 408),
        ];
        let answer = read(&errors, &spans);
        assert_eq!(answer.items, [Item::Refused, Item::Retry, Item::Taken, Item::Refused, Item::Retry]);
        assert!(answer.readable && !answer.not_accepted && !answer.unknown_type);
    }

    #[test]
    fn what_is_not_ours_or_not_understood_changes_nothing() {
        let odd = [json!(null), json!(1), json!({"id": 7, "status": 400}), json!({"id": "unknown", "status": 400})];
        let foreign = [error(9, TRACE_EVENT, 400), json!({"id": "zz-trace", "status": 500})];
        let errors: Vec<Value> = odd.into_iter().chain(foreign).collect();
        assert_eq!(read(&errors, &[span(1)]).items, [Item::Taken]);
        // Without a status that says otherwise, a refusal is for good.
        assert_eq!(read(&[json!({"id": id(1, TRACE_EVENT)})], &[span(1)]).items, [Item::Refused]);
    }

    #[test]
    fn a_server_that_wants_otlp_is_recognised() {
        let mut refused = error(1, OBSERVATION_EVENT, 400);
        refused["message"] = json!("Event type not accepted");
        let answer = read(&[refused], &[span(1)]);
        assert_eq!((answer.not_accepted, answer.items), (true, vec![Item::Retry]));
        let mut refused = error(1, OBSERVATION_EVENT, 400);
        refused["error"] = json!("… when LANGFUSE_MIGRATION_V4_WRITE_MODE is events_only …");
        assert!(read(&[refused], &[span(1)]).not_accepted);
    }

    #[test]
    fn a_server_that_does_not_know_embeddings_is_recognised() {
        let refusal = |text: &str| {
            let mut refused = error(1, OBSERVATION_EVENT, 400);
            refused["error"] = json!(text);
            refused
        };
        // zod 3 and zod 4.
        for text in [
            r#"[{"code":"invalid_union_discriminator","options":["trace-create"],"path":["type"]}]"#,
            r#"[{"code":"invalid_union","note":"No matching discriminator","discriminator":"type","path":["type"]}]"#,
        ] {
            let answer = read(&[refusal(text)], &[span_of("embedding", 1)]);
            assert_eq!((answer.unknown_type, answer.items), (true, vec![Item::Retry]));
            let answer = read(&[refusal(text)], &[span(1)]);
            assert_eq!((answer.unknown_type, answer.items), (false, vec![Item::Refused]), "a generation is known");
        }
        let answer =
            read(&[refusal(r#"[{"code":"invalid_type","path":["body","name"]}]"#)], &[span_of("embedding", 1)]);
        assert_eq!((answer.unknown_type, answer.items), (false, vec![Item::Refused]));
    }

    #[test]
    fn a_body_that_is_no_answer_leaves_spans_taken() {
        for body in ["", "{}", "[]", "null", "<html>", "{\"errors\":{}}", "{\"errors\":[", "\u{0}"] {
            let answer = read_reply(body.as_bytes(), &[span(1), Vec::new()]);
            assert_eq!((answer.readable, answer.items), (false, vec![Item::Taken, Item::Refused]), "{body:?}");
        }
        assert!(read_reply(br#"{"successes":[],"errors":[]}"#, &[]).readable);
        assert!(read_reply(br#"{"successes":[]}"#, &[]).readable);
    }

    #[test]
    fn a_cut_body_counts_as_far_as_it_goes() {
        let errors = [error(1, TRACE_EVENT, 400), error(2, TRACE_EVENT, 503), error(3, TRACE_EVENT, 400)];
        let body = json!({"errors": errors, "successes": []}).to_string();
        let cut = body.find(&id(3, "")).unwrap();
        let answer = read_reply(&body.as_bytes()[..cut], &[1, 2, 3].map(span));
        assert_eq!((answer.readable, answer.items), (false, vec![Item::Refused, Item::Retry, Item::Taken]));
    }

    proptest! {
        #[test]
        fn any_body_is_read(body in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(read_reply(&body, &[span(1), span(2)]).items.len(), 2);
        }

        #[test]
        fn any_cut_and_damage_is_read(at in 0_usize..400, byte in any::<u8>(), cut in 0_usize..400) {
            let errors = [error(1, TRACE_EVENT, 400), error(2, OBSERVATION_EVENT, 503)];
            let mut body = json!({"errors": errors, "successes": []}).to_string().into_bytes();
            let length = body.len();
            body[at % length] = byte;
            body.truncate(cut.max(1));
            prop_assert_eq!(read_reply(&body, &[span(1), span(2)]).items.len(), 2);
        }
    }
}
