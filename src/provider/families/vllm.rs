//! vLLM's own `/generate` (not its OpenAI-compatible server).
//!
//! Source: `vllm/entrypoints/api_server.py`. Each object `{"text":[…]}` holds prompt and output together; a stream
//! repeats all text so far in each object, one a line (older servers: one a NUL). No usage, no model, no content type.

use crate::provider::ProviderError;
use crate::provider::api::{Api, Operation, Stream, When};
use crate::provider::collect::Collector;
use crate::provider::message::Message;

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[Api {
    family: "native.generate",
    provider: "vllm",
    operation: Operation::Completion,
    paths: &["generate"],
    when: When::Member("prompt"),
    input: &["prompt"],
    stream: Stream::Lines,
    read,
    ..Api::BASE
}];

fn read(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    let texts = body.get("text");
    if !texts.is_array() {
        if let Some(detail) = body.get("detail").something() {
            answer.fail(
                ProviderError::from_value(detail)
                    .or_else(|| ProviderError::from_body(body.raw().as_bytes()))
                    .unwrap_or_default(),
            );
        } else if body.get("error").is_nothing() && !answer.reads_cut() {
            answer.output(body.value());
        }
        return answer.has_no_end();
    }
    let prompt = answer.prompt.take();
    for (index, text) in (0..).zip(texts.items()) {
        let text = text.text().unwrap_or_default();
        let asked = prompt.as_deref().unwrap_or_default();
        let output = match text.strip_prefix(asked) {
            Some(output) => output,
            // No more than a piece of the prompt had arrived.
            None if answer.reads_cut() && asked.starts_with(text.as_ref()) => continue,
            None => &text,
        };
        answer.set_text(index, output);
    }
    answer.prompt = prompt;
    // Nothing tells the last object from the others.
    answer.has_no_end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    #[test]
    fn a_cut_text_takes_nothing_back() {
        for (cut, expected) in [
            (r#"{"te"#, r#"" b c""#),
            (r#"{"text": ["#, r#"" b c""#),
            (r#"{"text": ["a"#, r#"" b c""#),
            (r#"{"text": ["aa"#, r#"" b c""#),
            (r#"{"text": ["aa b"#, r#"" b c""#),
            (r#"{"text": ["aa b c d"#, r#"" b c d""#),
        ] {
            let mut collector = Collector::new(&APIS[0], 1 << 16, Budget::new(1 << 20).capture_lease());
            collector.prompt = Some("aa".to_owned());
            collector.event(b"", br#"{"text": ["aa b c"]}"#);
            collector.last_event(b"", cut.as_bytes());
            assert_eq!(collector.finish().output.as_deref(), Some(expected), "{cut}");
        }
    }
}
