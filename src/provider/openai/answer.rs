//! A chat, completion or embeddings answer that is one JSON text, read from its top-level members.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage::read_usage;
use super::wire::{CHOICES_MAX, Groq};
use crate::budget::Budget;
use crate::json::{Document, Few, Limits, Number, ObjectWriter, Text, close_truncated, is_null, parse};
use crate::provider::{Answer, ProviderError, one_or_several};

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Number,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Text<'a>,
}

/// Reads the answer of a chat or completion; messages stay as they were sent, up to `limit` bytes of them.
#[must_use]
pub fn read_answer(document: &Document, limit: usize) -> Answer {
    let mut answer = read_facts(document);
    let Some(choices) = document.get("choices") else { return answer };
    let kept = choices.value.get(..choices.value.len().min(limit)).unwrap_or_default();
    let whole = choices.complete && kept.len() == choices.value.len();
    let json = if whole { Cow::Borrowed(kept) } else { Cow::Owned(close_truncated(kept)) };
    let mut choices = parse::<Few<Choice<'_>, CHOICES_MAX>>(&json).unwrap_or_default().items;
    choices.sort_by_key(|choice| choice.index.0);
    answer.finish_reason = choices.first().and_then(|choice| choice.finish_reason.non_empty().map(str::to_owned));
    let output = |choice: &Choice<'_>| choice.message.or(choice.text).map(|raw| raw.get().to_owned());
    answer.output = one_or_several(choices.iter().filter_map(output).collect());
    answer
}

/// Reads the answer of an embeddings call: how many vectors of how many dimensions, never the vectors.
#[must_use]
pub fn read_embeddings(document: &Document) -> Answer {
    let mut answer = read_facts(document);
    if let Some(data) = document.get("data") {
        let mut summary = ObjectWriter::default();
        summary.number("count", u64::from(data.children));
        if let Some(dimensions) = dimensions(data.value) {
            summary.number("dimensions", dimensions);
        }
        answer.output = Some(summary.finish());
    }
    answer
}

fn read_facts(document: &Document) -> Answer {
    let text = |key| document.text(key);
    let whole = |key: &str| document.get(key).filter(|member| member.complete && !is_null(member.value));
    let groq = whole("x_groq").and_then(|member| parse::<Groq<'_>>(member.value)).and_then(|groq| groq.usage);
    Answer {
        id: text("id"),
        model: text("model"),
        usage: whole("usage")
            .and_then(|member| read_usage(member.value))
            .or_else(|| groq.and_then(|raw| read_usage(raw.get().as_bytes()))),
        error: whole("error").and_then(|member| ProviderError::from_value(member.value)),
        ..Answer::default()
    }
}

/// Bytes of the first vector that are looked at.
const VECTOR_MAX: usize = 256 * 1024;

/// Dimensions of the first vector of `data`: numbers of its array, or 4-byte floats of its base64 text.
fn dimensions(data: &[u8]) -> Option<u64> {
    let first = data.strip_prefix(b"[")?;
    let limits = Limits { head: VECTOR_MAX, member: 0 };
    let mut element = Document::new(limits, Budget::new(VECTOR_MAX).export_lease());
    element.push(first.get(..first.len().min(VECTOR_MAX))?);
    let vector = element.get("embedding").filter(|member| member.complete)?;
    match vector.value.first()? {
        b'[' => Some(u64::from(vector.children)),
        b'"' => {
            let digits = vector.value.iter().filter(|byte| !matches!(byte, b'"' | b'=' | b'\\')).count();
            u64::try_from(digits * 3 / 4 / 4).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(body: &str, head: usize) -> Document {
        let mut document = Document::new(Limits { head, member: 4096 }, Budget::new(1 << 20).export_lease());
        document.push(body.as_bytes());
        document
    }

    const CHAT: &str = r#"{"id":"c1","model":"m","choices":[{"index":1,"message":{"content":"b"},"finish_reason":"length"},{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;

    #[test]
    fn messages_stay_verbatim_and_in_the_order_of_their_index() {
        let answer = read_answer(&document(CHAT, 4096), 4096);
        assert_eq!(answer.output.as_deref(), Some(r#"[{"role":"assistant","content":"a"},{"content":"b"}]"#));
        assert_eq!((answer.finish_reason.as_deref(), answer.id.as_deref()), (Some("stop"), Some("c1")));
        assert_eq!(answer.usage.unwrap().total, Some(3));
    }

    #[test]
    fn a_cut_answer_keeps_its_beginning_and_its_usage() {
        let body = CHAT.replace(r#""b""#, &format!("\"{}\"", "b".repeat(5000)));
        let answer = read_answer(&document(&body, 200), 200);
        assert!(answer.output.unwrap().starts_with(r#"{"content":"bbbb"#));
        assert_eq!(answer.usage.unwrap().total, Some(3), "usage stands behind what was cut");
    }

    #[test]
    fn embeddings_are_counted_also_behind_the_cap() {
        for (vector, dimensions) in [("[0.5,-1e-3,2]", 3), ("\"AACAPwAAAEAAAEBA\"", 3)] {
            let one = format!(r#"{{"index":0,"embedding":{vector}}}"#);
            let body = format!(r#"{{"data":[{}],"usage":{{"total_tokens":9}}}}"#, vec![one.as_str(); 50].join(", "));
            for head in [100, 100_000] {
                let answer = read_embeddings(&document(&body, head));
                let summary = format!(r#"{{"count":50,"dimensions":{dimensions}}}"#);
                assert_eq!(answer.output.as_deref(), Some(summary.as_str()), "head {head}");
                assert_eq!(answer.usage.unwrap().total, Some(9));
            }
        }
    }
}
