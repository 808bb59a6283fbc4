//! OpenAI-compatible moderations: verdicts on texts and images, as they were sent.
//!
//! Spec: <https://platform.openai.com/docs/api-reference/moderations>.

use super::openai;
use crate::provider::api::{Api, Operation, When};
use crate::provider::collect::Collector;
use crate::provider::message::Message;

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[
    Api { paths: &["v1/moderations"], ..MODERATION },
    Api { paths: &["moderations"], when: When::Any(&[When::Member("input"), When::Member("model")]), ..MODERATION },
];

const MODERATION: Api = Api {
    family: "openai.moderations",
    provider: openai::PROVIDER,
    operation: Operation::Moderation,
    input: &["input"],
    // Mistral states usage.
    usage: &openai::USAGE,
    read,
    ..Api::BASE
};

fn read(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.id(body.get("id"));
    answer.model(body.get("model"));
    answer.usage(body.get("usage"));
    let results = body.get("results");
    if results.is_array() {
        answer.output(results);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, api};

    #[test]
    fn verdicts_stay_as_they_are() {
        let found = answer("openai.moderations", &[r#"{"id":"m","model":"o","results":[{"flagged":true}]}"#]);
        assert_eq!(found.output.as_deref(), Some(r#"[{"flagged":true}]"#));
        assert_eq!(api("openai.moderations").operation.kind(), "guardrail");
    }
}
