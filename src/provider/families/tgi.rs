//! Hugging Face's Text Generation Inference: its own API (not its OpenAI-compatible one).
//!
//! Spec: <https://huggingface.github.io/text-generation-inference/>. `/generate` answers with an object, `/` with one in
//! an array; a stream has a token an event, and with the last all of the text. `/generate` is also a path of vLLM's.

use crate::json::Value;
use crate::provider::api::{Api, Operation, When};
use crate::provider::collect::Collector;
use crate::provider::count::{Count, UsageRules};
use crate::provider::message::Message;

const GENERATE: Api = Api {
    family: "native.generate",
    provider: "tgi",
    operation: Operation::Completion,
    paths: &["generate", "/"],
    when: When::Member("inputs"),
    input: &["inputs"],
    usage: &USAGE,
    count_headers: &[(Count::Input, "x-prompt-tokens"), (Count::Output, "x-generated-tokens")],
    read,
    ..Api::BASE
};

/// See the module's documentation.
pub(super) const APIS: &[Api] =
    &[GENERATE, Api { family: "native.generate_stream", paths: &["generate_stream"], ..GENERATE }];

/// In `details`, which are there where they were asked for; headers may have told already.
pub(super) static USAGE: UsageRules = UsageRules {
    fields: &[(Count::Input, &["input_length"]), (Count::Output, &["generated_tokens"])],
    merges: true,
    ..UsageRules::NONE
};

pub(super) fn read(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    if !body.is_array() {
        return read_generation(answer, 0, body.value());
    }
    for (index, generation) in (0..).zip(body.items()) {
        read_generation(answer, index, generation);
    }
}

fn read_generation(answer: &mut Collector, index: u64, body: Value<'_>) {
    let token = body.get("token");
    if !token.get("special").is_true() {
        answer.text(index, token.get("text"));
    }
    let details = body.get("details");
    answer.usage(details);
    answer.finish_reason(index, details.get("finish_reason"));
    // It comes with the last token, and repeats the others.
    if let Some(text) = body.get("generated_text").text() {
        answer.set_text(index, &text);
        answer.end();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, check_usage};

    #[test]
    fn usage() {
        check_usage(&[
            ("native.generate_stream", r#"{"generated_text":"a"}"#, ""),
            (
                "native.generate_stream",
                r#"{"generated_text":"a","details":{"finish_reason":"length","generated_tokens":10,"input_length":11}}"#,
                r#"{"input":11,"output":10,"total":21}"#,
            ),
        ]);
    }

    #[test]
    fn a_stream_ends_with_its_whole_text_and_has_tokens_that_are_no_text() {
        let events = [
            r#"{"index":1,"token":{"id":5,"text":" a","special":false},"generated_text":null,"details":null}"#,
            r#"{"index":2,"token":{"id":6,"text":" b","special":false},"generated_text":null,"details":null}"#,
            r#"{"index":3,"token":{"id":2,"text":"</s>","special":true},"generated_text":" a b","details":null}"#,
        ];
        let whole = answer("native.generate_stream", &events);
        assert_eq!((whole.output.as_deref(), whole.unfinished), (Some(r#"" a b""#), false));
        let cut = answer("native.generate_stream", events.get(..2).unwrap());
        assert_eq!((cut.output.as_deref(), cut.unfinished), (Some(r#"" a b""#), true));
        let end = r#"{"index":3,"token":{"id":2,"text":"</s>","special":true},"generated_text":" a"#;
        let cut = answer("native.generate_stream", &[events[0], events[1], end]);
        assert_eq!((cut.output.as_deref(), cut.unfinished), (Some(r#"" a b""#), true), "cut in what it repeats");
    }
}
