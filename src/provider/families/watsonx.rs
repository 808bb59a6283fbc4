//! IBM watsonx.ai: text generation, and chat, which is OpenAI's but for the name of the model.
//!
//! Spec: <https://cloud.ibm.com/apidocs/watsonx-ai>. Of a stream, the first message counts the input, and each later one
//! the output so far.

use super::openai;
use crate::provider::api::{Api, Operation};
use crate::provider::collect::Collector;
use crate::provider::count::Count;
use crate::provider::message::Message;

const CHAT: Api = Api {
    family: "watsonx.chat",
    provider: "watsonx",
    paths: &["deployments/*/text/chat", "deployments/*/text/chat_stream", "v1/text/chat", "v1/text/chat_stream"],
    model: "model_id",
    usage: &openai::USAGE,
    read: read_chat,
    ..Api::BASE
};

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[
    CHAT,
    Api {
        family: "watsonx",
        operation: Operation::Completion,
        paths: &[
            "deployments/*/text/generation",
            "deployments/*/text/generation_stream",
            "text/generation",
            "text/generation_stream",
            // As the beta had it.
            "generation/text",
            "generation/text_stream",
        ],
        input: &["input"],
        read: read_generation,
        ..CHAT
    },
];

fn read_chat(answer: &mut Collector, message: &Message<'_>) {
    answer.model(message.body.get("model_id"));
    openai::read_chat(answer, message);
}

fn read_generation(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.model(body.get("model_id"));
    for (index, result) in (0..).zip(body.get("results").items()) {
        answer.text(index, result.get("generated_text"));
        answer.count_if_missing(Count::Input, result.get("input_token_count").number());
        answer.count(Count::Output, result.get("generated_token_count").number());
        let reason = result.get("stop_reason");
        if !reason.is("not_finished") {
            answer.finish_reason(index, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, check_usage};

    #[test]
    fn usage() {
        check_usage(&[
            (
                "watsonx",
                r#"{"results":[{"generated_token_count":2,"input_token_count":7}]}"#,
                r#"{"input":7,"output":2,"total":9}"#,
            ),
            (
                "watsonx.chat",
                r#"{"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}"#,
                r#"{"input":7,"output":2,"total":9}"#,
            ),
        ]);
    }

    #[test]
    fn the_input_is_counted_first_and_the_output_last() {
        let found = answer(
            "watsonx",
            &[
                r#"{"results":[{"generated_text":"","generated_token_count":0,"input_token_count":8,"stop_reason":"not_finished"}]}"#,
                r#"{"results":[{"generated_text":"a","generated_token_count":1,"input_token_count":0,"stop_reason":"not_finished"}]}"#,
            ],
        );
        assert_eq!(found.usage.unwrap().buckets.to_json(), r#"{"input":8,"output":1,"total":9}"#);
        assert_eq!((found.finish_reason, found.unfinished), (None, true));
    }

    #[test]
    fn a_chat_is_one_of_openai_s() {
        let found = answer(
            "watsonx.chat",
            &[
                r#"{"id":"c","model_id":"m","choices":[{"index":0,"finish_reason":null,"delta":{"role":"assistant","content":"a"}}]}"#,
                r#"{"id":"c","model_id":"m","choices":[{"index":0,"finish_reason":"stop","delta":{"content":""}}]}"#,
            ],
        );
        assert_eq!((found.model.as_deref(), found.unfinished), (Some("m"), false));
        assert_eq!(found.output.as_deref(), Some(r#"{"role":"assistant","content":"a"}"#));
    }
}
