//! vLLM's own `/generate` (not the OpenAI-compatible server).
//!
//! Source: `vllm/entrypoints/api_server.py`. Each object `{"text":[…]}` holds prompt and output together; a stream
//! repeats all text so far in each object, one a line (older servers: one a NUL). No usage, no model, no content type.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Answer, ProviderError, one_or_several};
use crate::budget::Lease;
use crate::json::{close_truncated, parse, write_string};

#[derive(Deserialize)]
struct Generated<'a> {
    #[serde(borrow)]
    text: Vec<Cow<'a, str>>,
}

/// Collects the objects of an answer: the last one is the whole of it.
#[derive(Debug)]
pub struct Generation {
    prompt: Option<String>,
    last: Vec<u8>,
    max: usize,
    lease: Lease,
    cut: bool,
    memory_short: bool,
    messages: u32,
}

impl Generation {
    /// An answer to `prompt`, of which `max` bytes are kept, in memory from `lease`.
    #[must_use]
    pub fn new(prompt: Option<String>, max: usize, lease: Lease) -> Self {
        Self { prompt, last: Vec::new(), max, lease, cut: false, memory_short: false, messages: 0 }
    }

    /// Takes one object; true where it brings output (the first one may hold the prompt alone).
    pub fn message(&mut self, json: &[u8]) -> bool {
        self.messages = self.messages.saturating_add(1);
        let kept = json.get(..json.len().min(self.max)).unwrap_or(json);
        if kept.len() > self.lease.held() && !self.lease.grow(kept.len() - self.lease.held()) {
            (self.memory_short, self.cut) = (true, true);
            return true;
        }
        self.cut = kept.len() < json.len();
        self.last.clear();
        self.last.extend_from_slice(kept);
        let prompt = self.prompt.as_deref().map_or(0, str::len);
        parse::<Generated<'_>>(json).is_some_and(|answer| answer.text.iter().any(|text| text.len() > prompt))
    }

    /// Output was lost because the VM's budget was used up.
    #[must_use]
    pub fn memory_short(&self) -> bool {
        self.memory_short
    }

    /// Output was lost, to the call's limit or to the VM's budget.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// More than one object has arrived: the answer is a stream.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.messages > 1
    }

    /// The answer so far.
    #[must_use]
    pub fn finish(&self) -> Answer {
        let whole = serde_json::from_slice::<serde::de::IgnoredAny>(&self.last).is_ok();
        let json = if whole { Cow::Borrowed(&self.last) } else { Cow::Owned(close_truncated(&self.last)) };
        let texts = parse::<Generated<'_>>(&json).map(|answer| answer.text).unwrap_or_default();
        let outputs: Vec<String> = texts.iter().map(|text| self.output(text)).collect();
        Answer {
            output: one_or_several(outputs).or_else(|| self.unknown(&json)),
            error: texts.is_empty().then(|| error(&self.last)).flatten(),
            unfinished: !whole && !self.last.is_empty() && !self.cut,
            ..Answer::default()
        }
    }

    /// An answer of another shape is shown as it is.
    fn unknown(&self, json: &[u8]) -> Option<String> {
        (!json.is_empty() && self.max > 0).then(|| String::from_utf8_lossy(json).into_owned())
    }

    /// The text without the prompt before it, as JSON.
    fn output(&self, text: &str) -> String {
        let output = self.prompt.as_deref().and_then(|prompt| text.strip_prefix(prompt)).unwrap_or(text);
        let mut json = String::new();
        write_string(&mut json, output);
        json
    }
}

/// An error is an object with an `error` or `detail`; anything else is an answer that is not understood.
fn error(json: &[u8]) -> Option<ProviderError> {
    let members = crate::json::object_members(json);
    let reported = members.iter().any(|(key, _)| matches!(key.as_ref(), "error" | "detail"));
    reported.then(|| ProviderError::from_body(json)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    fn generation(prompt: &str, messages: &[&str]) -> (Answer, Vec<bool>) {
        let mut generation = Generation::new(Some(prompt.to_owned()), 1024, Budget::new(4096).export_lease());
        let content = messages.iter().map(|message| generation.message(message.as_bytes())).collect();
        (generation.finish(), content)
    }

    #[test]
    fn the_last_object_without_the_prompt_is_the_output() {
        let (answer, content) =
            generation("Hi", &[r#"{"text":["Hi"]}"#, r#"{"text":["Hi th"]}"#, r#"{"text":["Hi there"]}"#]);
        assert_eq!((answer.output.as_deref(), content), (Some("\" there\""), vec![false, true, true]));
        let (answer, _) = generation("a", &[r#"{"text":["ab","ac"]}"#]);
        assert_eq!(answer.output.as_deref(), Some(r#"["b","c"]"#));
    }

    #[test]
    fn a_cut_object_gives_what_had_arrived_and_an_error_is_one() {
        let (answer, _) = generation("a", &[r#"{"text":["a long"#]);
        assert_eq!((answer.output.as_deref(), answer.unfinished), (Some("\" long\""), true));
        let (answer, _) = generation("a", &[r#"{"detail":"no"}"#]);
        assert_eq!(answer.error.unwrap().message, "no");
        let (answer, _) = generation("a", &[r#"{"generated_text":"x"}"#]);
        assert_eq!((answer.output.as_deref(), answer.error), (Some(r#"{"generated_text":"x"}"#), None));
    }
}
