//! llama.cpp's own `/completion` and `/infill` (not its OpenAI-compatible API).
//!
//! Spec: <https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md>. A stream has a piece of text an event;
//! the last has `stop`, the counts and why it ended, and there is no `[DONE]`.

use crate::provider::api::{Api, Operation, When};
use crate::provider::collect::Collector;
use crate::provider::count::{Count, UsageRules};
use crate::provider::message::Message;

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[Api {
    family: "llamacpp.completion",
    provider: "llamacpp",
    operation: Operation::Completion,
    paths: &["completion", "infill"],
    when: When::Any(&[When::Member("prompt"), When::Member("input_prefix")]),
    input: &["prompt", "input_prefix", "input_suffix", "input_extra"],
    usage: &USAGE,
    read,
    ..Api::BASE
}];

/// The tokens of the whole prompt, of which some came from the cache.
static USAGE: UsageRules = UsageRules {
    fields: &[
        (Count::Input, &["tokens_evaluated"]),
        (Count::Output, &["tokens_predicted"]),
        (Count::CacheRead, &["timings/cache_n"]),
    ],
    ..UsageRules::NONE
};

fn read(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    let index = body.get("index").number().unwrap_or(0);
    answer.model(body.get("model"));
    answer.text(index, body.get("content"));
    // Pieces count as they go; what counts is the last.
    if body.get("stop").is_true() {
        answer.usage(body.value());
        answer.finish_reason(index, body.get("stop_type"));
        answer.end();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, check_usage};

    #[test]
    fn a_completion_and_a_stream_of_one_are_read() {
        let end = r#""stop":true,"model":"m.gguf","tokens_predicted":2,"tokens_evaluated":5,"stop_type":"limit","timings":{"cache_n":4}"#;
        let whole = answer("llamacpp.completion", &[&format!(r#"{{"index":0,"content":"ab",{end}}}"#)]);
        let streamed = answer(
            "llamacpp.completion",
            &[
                r#"{"index":0,"content":"a","stop":false,"tokens_predicted":1,"tokens_evaluated":5}"#,
                r#"{"index":0,"content":"b","stop":false,"tokens_predicted":2,"tokens_evaluated":5}"#,
                &format!(r#"{{"index":0,"content":"",{end}}}"#),
            ],
        );
        for read in [&whole, &streamed] {
            assert_eq!(read.output.as_deref(), Some("\"ab\""));
            assert_eq!((read.model.as_deref(), read.finish_reason.as_deref()), (Some("m.gguf"), Some("limit")));
            assert!(!read.unfinished);
        }
        assert_eq!(whole.usage, streamed.usage);
        let cut = answer("llamacpp.completion", &[r#"{"content":"a","stop":false,"tokens_predicted":1}"#; 2]);
        assert!(cut.unfinished && cut.usage.is_none());
    }

    #[test]
    fn usage() {
        check_usage(&[(
            "llamacpp.completion",
            r#"{"content":"ab","stop":true,"tokens_predicted":2,"tokens_evaluated":5,"timings":{"cache_n":4}}"#,
            r#"{"input":1,"input_cached_tokens":4,"output":2,"total":7}"#,
        )]);
    }
}
