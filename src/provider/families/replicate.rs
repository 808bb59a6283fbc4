//! Replicate: predictions of any model. What one is of is known to its maker alone, so input and output stay as they are;
//! only the tokens of a language model are joined.
//!
//! Spec: <https://replicate.com/docs/reference/http#predictions.create>. A prediction that is not waited for answers
//! before it has begun, and its stream has an address of its own.

use crate::provider::api::{Api, Operation};
use crate::provider::collect::Collector;
use crate::provider::count::{Count, UsageRules};
use crate::provider::message::Message;

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[Api {
    family: "replicate",
    provider: "replicate",
    operation: Operation::Other,
    paths: &["v1/predictions", "models/_/*/predictions", "deployments/_/*/predictions"],
    model: "version",
    input: &["input"],
    usage: &USAGE,
    read,
    ..Api::BASE
}];

/// Language models of Replicate's own state them.
static USAGE: UsageRules = UsageRules {
    fields: &[(Count::Input, &["input_token_count"]), (Count::Output, &["output_token_count"])],
    ..UsageRules::NONE
};

fn read(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.id(body.get("id"));
    answer.model(body.get("model"));
    answer.usage(body.get("metrics"));
    let output = body.get("output");
    if answer.counted(Count::Output).is_some() && output.is_array() {
        output.items().for_each(|token| answer.text(0, token));
    } else if let Some(output) = output.something() {
        answer.output(output);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, check_usage};

    #[test]
    fn usage() {
        check_usage(&[
            (
                "replicate",
                r#"{"metrics":{"input_token_count":5,"output_token_count":2,"predict_time":1.5}}"#,
                r#"{"input":5,"output":2,"total":7}"#,
            ),
            ("replicate", r#"{"metrics":{"predict_time":1.5}}"#, ""),
        ]);
    }

    #[test]
    fn tokens_are_joined_and_anything_else_stays() {
        let output = |body| answer("replicate", &[body]).output;
        let tokens = r#"{"output":["a"," b"],"metrics":{"output_token_count":2}}"#;
        assert_eq!(output(tokens).as_deref(), Some(r#"{"role":"assistant","content":"a b"}"#));
        assert_eq!(output(r#"{"output":["https://x/1.png"]}"#).as_deref(), Some(r#"["https://x/1.png"]"#));
        assert_eq!(output(r#"{"output":null,"status":"starting"}"#), None);
        let failed = answer("replicate", &[r#"{"id":"p","error":"CUDA","status":"failed"}"#]);
        assert_eq!(failed.error.map(|error| error.message).as_deref(), Some("CUDA"));
    }
}
