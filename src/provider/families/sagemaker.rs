//! Amazon SageMaker's endpoints: a model behind them has the API of its own server, mostly TGI's or OpenAI's.
//!
//! Spec: <https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html>. Its answer in an
//! event stream (`invocations-response-stream`) is not read.

use super::{openai, tgi};
use crate::provider::api::{Api, Operation};
use crate::provider::collect::Collector;
use crate::provider::count::{Count, UsageRules};
use crate::provider::message::Message;

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[Api {
    family: "sagemaker",
    provider: "sagemaker",
    operation: Operation::Other,
    paths: &["endpoints/*/invocations"],
    input: &["inputs"],
    usage: &USAGE,
    read,
    ..Api::BASE
}];

/// OpenAI's and TGI's.
static USAGE: UsageRules = UsageRules {
    fields: &[
        (Count::Input, &["prompt_tokens", "input_length"]),
        (Count::Output, &["completion_tokens", "generated_tokens"]),
        (Count::Total, &["total_tokens"]),
    ],
    merges: true,
    ..UsageRules::NONE
};

fn read(answer: &mut Collector, message: &Message<'_>) {
    if message.body.get("choices").is_array() {
        openai::read_chat(answer, message);
    } else {
        tgi::read(answer, message);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, check_usage};

    #[test]
    fn usage() {
        check_usage(&[
            (
                "sagemaker",
                r#"{"generated_text":"a","details":{"generated_tokens":1,"input_length":2}}"#,
                r#"{"input":2,"output":1,"total":3}"#,
            ),
            (
                "sagemaker",
                r#"{"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3}}"#,
                r#"{"input":2,"output":1,"total":3}"#,
            ),
        ]);
    }

    #[test]
    fn answers_have_the_shape_of_the_server_behind() {
        let output = |body| answer("sagemaker", &[body]).output;
        let chat = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"a"}}]}"#;
        assert_eq!(output(chat).as_deref(), Some(r#"{"role":"assistant","content":"a"}"#));
        assert_eq!(output(r#"[{"generated_text":"a"}]"#).as_deref(), Some(r#"{"role":"assistant","content":"a"}"#));
        assert_eq!(output(r#"{"predictions":[1]}"#), None, "the body is shown as it is");
    }
}
