//! Ollama's own API (not its OpenAI-compatible one): chat, generate and embeddings.
//!
//! Spec: <https://github.com/ollama/ollama/blob/main/docs/api.md>. Streams, the default, are one JSON object a line; the
//! last says `done` and has the counts, of which that of the prompt is missing where a cache had all of it.

use crate::provider::api::{Api, Operation, Stream};
use crate::provider::collect::{CallKey, Collector};
use crate::provider::count::{Count, UsageRules};
use crate::provider::message::Message;

const CHAT: Api = Api {
    family: "ollama.chat",
    provider: "ollama",
    paths: &["api/chat"],
    stream: Stream::Lines,
    usage: &USAGE,
    read,
    ..Api::BASE
};
const EMBED: Api = Api {
    family: "ollama.embeddings",
    operation: Operation::Embedding,
    stream: Stream::Told,
    read: read_embeddings,
    ..CHAT
};

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[
    CHAT,
    Api {
        family: "ollama.generate",
        operation: Operation::Completion,
        paths: &["api/generate"],
        // `context` is a conversation so far, as token ids.
        input: &["prompt", "suffix", "images", "context"],
        system: "system",
        ..CHAT
    },
    Api { paths: &["api/embed"], input: &["input"], ..EMBED },
    Api { paths: &["api/embeddings"], input: &["prompt"], ..EMBED },
];

static USAGE: UsageRules = UsageRules {
    fields: &[(Count::Input, &["prompt_eval_count"]), (Count::Output, &["eval_count"])],
    ..UsageRules::NONE
};

fn read(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.model(body.get("model"));
    // Of generate, and of chat.
    let said = body.get("message");
    for piece in [body.value(), said] {
        answer.reasoning(0, piece.get("thinking"));
    }
    answer.text(0, body.get("response"));
    answer.role(0, said.get("role"));
    answer.text(0, said.get("content"));
    for call in said.get("tool_calls").items() {
        let function = call.get("function");
        // Calls come whole, in old versions without an id.
        answer.tool_call(0, CallKey::New, call.get("id"), function.get("name"), function.get("arguments"));
    }
    answer.finish_reason(0, body.get("done_reason"));
    if body.get("done").is_true() {
        answer.usage(body.value());
        answer.end();
    }
}

/// How many vectors of how many dimensions, never the vectors.
fn read_embeddings(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.model(body.get("model"));
    answer.usage(body.value());
    // The older API has one vector alone.
    let one = body.get("embedding");
    if body.get("embeddings").is_array() {
        answer.vectors(message.children("embeddings"), body.at("embeddings/0"));
    } else if one.is_array() {
        answer.vectors(1, one);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, check_usage};

    #[test]
    fn usage() {
        check_usage(&[
            (
                "ollama.chat",
                r#"{"done":true,"prompt_eval_count":310,"eval_count":145}"#,
                r#"{"input":310,"output":145,"total":455}"#,
            ),
            ("ollama.generate", r#"{"done":true,"eval_count":38}"#, r#"{"output":38,"total":38}"#),
            ("ollama.embeddings", r#"{"prompt_eval_count":8}"#, r#"{"input":8,"total":8}"#),
            ("ollama.chat", r#"{"done":true}"#, ""),
        ]);
    }

    #[test]
    fn calls_of_tools_may_have_no_id_and_come_one_a_line() {
        let call = |name: &str| {
            format!(
                r#"{{"message":{{"content":"","tool_calls":[{{"function":{{"name":"{name}","arguments":{{"a":1}}}}}}]}}}}"#
            )
        };
        let found = answer("ollama.chat", &[&call("f"), &call("g"), r#"{"done":true}"#]);
        let output = found.output.unwrap();
        assert_eq!(output.matches(r#""arguments":"{\"a\":1}""#).count(), 2, "{output}");
        assert!(!found.unfinished);
    }

    #[test]
    fn a_completion_may_have_reasoning() {
        let found = answer("ollama.generate", &[r#"{"thinking":"t","response":"a","done":true}"#]);
        let output = r#"{"role":"assistant","content":"a","reasoning_content":"t"}"#;
        assert_eq!(found.output.as_deref(), Some(output));
    }

    #[test]
    fn an_error_ends_a_stream() {
        let found = answer("ollama.generate", &[r#"{"response":"a"}"#, r#"{"error":"out of memory"}"#]);
        assert_eq!(found.error.map(|error| error.message).as_deref(), Some("out of memory"));
        assert_eq!(found.output.as_deref(), Some(r#""a""#));
    }

    #[test]
    fn vectors_are_counted() {
        let output = |body| answer("ollama.embeddings", &[body]).output.unwrap();
        assert_eq!(output(r#"{"embeddings":[[1,2,3],[4,5,6]]}"#), r#"{"count":2,"dimensions":3}"#);
        assert_eq!(output(r#"{"embedding":[1,2,3]}"#), r#"{"count":1,"dimensions":3}"#);
    }
}
