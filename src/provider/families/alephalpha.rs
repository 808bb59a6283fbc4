//! Aleph Alpha: completions.
//!
//! Spec: <https://docs.aleph-alpha.com/api/complete/>. A stream has chunks, a summary of each completion, and one of all.

use crate::json::Value;
use crate::provider::api::{Api, Operation, When};
use crate::provider::collect::Collector;
use crate::provider::count::{Count, UsageRules};
use crate::provider::message::Message;

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[Api {
    family: "alephalpha",
    provider: "alephalpha",
    operation: Operation::Completion,
    paths: &["complete"],
    when: When::Member("maximum_tokens"),
    input: &["prompt"],
    usage: &USAGE,
    read,
    ..Api::BASE
}];

static USAGE: UsageRules = UsageRules {
    fields: &[(Count::Input, &["num_tokens_prompt_total"]), (Count::Output, &["num_tokens_generated"])],
    ..UsageRules::NONE
};

fn read(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.model(body.get("model_version"));
    answer.usage(body.value());
    for (index, completion) in (0..).zip(body.get("completions").items()) {
        read_completion(answer, index, completion);
    }
    if let Some(index) = body.get("index").number() {
        read_completion(answer, index, body.value());
    }
}

fn read_completion(answer: &mut Collector, index: u64, completion: Value<'_>) {
    answer.text(index, completion.get("completion"));
    answer.finish_reason(index, completion.get("finish_reason"));
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, check_usage};

    #[test]
    fn usage() {
        let raw = r#"{"num_tokens_prompt_total":9,"num_tokens_generated":1000}"#;
        check_usage(&[("alephalpha", raw, r#"{"input":9,"output":1000,"total":1009}"#)]);
    }

    #[test]
    fn a_stream_has_chunks_and_summaries() {
        let events = [
            r#"{"type":"stream_chunk","index":0,"completion":" a"}"#,
            r#"{"type":"stream_chunk","index":0,"completion":" b"}"#,
            r#"{"type":"stream_summary","index":0,"model_version":"2022-04","finish_reason":"end_of_text"}"#,
            r#"{"type":"completion_summary","num_tokens_prompt_total":3,"num_tokens_generated":2}"#,
        ];
        let whole = answer("alephalpha", &events);
        assert_eq!((whole.output.as_deref(), whole.unfinished), (Some(r#"" a b""#), false));
        assert_eq!((whole.model.as_deref(), whole.finish_reason.as_deref()), (Some("2022-04"), Some("end_of_text")));
        assert_eq!(whole.usage.unwrap().buckets.to_json(), r#"{"input":3,"output":2,"total":5}"#);
    }
}
