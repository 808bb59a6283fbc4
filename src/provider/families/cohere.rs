//! Cohere's own API: chat and embed in versions 1 and 2, generate, and rerank, whose shape Jina, Voyage and llama.cpp share.
//!
//! Spec: <https://docs.cohere.com/reference/about>. Tokens are those that the model read and wrote (`tokens`); what is
//! billed is less, and a count of its own.

use crate::json::{Fields, Value};
use crate::provider::ProviderError;
use crate::provider::api::{Api, Operation, Stream, When};
use crate::provider::block::Block;
use crate::provider::collect::{CallKey, Collector};
use crate::provider::count::{Count, UsageRules};
use crate::provider::message::Message;
use crate::provider::vectors::{Element, by_name};

const CHAT: Api = Api { provider: "cohere", usage: &USAGE, read: read_v2_chat, ..Api::BASE };
const EMBED: Api = Api {
    operation: Operation::Embedding,
    // Of version 2, `inputs` holds texts and images.
    input: &["texts", "images", "inputs"],
    read: read_embed,
    ..CHAT
};
const RERANK: Api =
    Api { operation: Operation::Rerank, input: &["query", "documents", "texts"], read: read_rerank, ..CHAT };

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[
    Api {
        family: "cohere.v1.chat",
        paths: &["v1/chat"],
        when: When::Member("message"),
        input: &["message", "chat_history", "documents", "tools", "tool_results"],
        system: "preamble",
        stream: Stream::Lines,
        read: read_v1,
        ..CHAT
    },
    Api {
        family: "cohere.v1.generate",
        operation: Operation::Completion,
        paths: &["v1/generate"],
        input: &["prompt"],
        stream: Stream::Lines,
        read: read_v1,
        ..CHAT
    },
    Api { family: "cohere.v2.chat", paths: &["v2/chat"], input: &["messages", "tools", "documents"], ..CHAT },
    Api { family: "cohere.v1.embed", paths: &["v1/embed"], ..EMBED },
    Api { family: "cohere.v2.embed", paths: &["v2/embed"], ..EMBED },
    Api { family: "cohere.v2.rerank", paths: &["v2/rerank"], ..RERANK },
    Api { family: "cohere.v1.rerank", paths: &["v1/rerank"], ..RERANK },
    Api {
        family: "cohere.v1.rerank",
        paths: &["rerank"],
        when: When::Any(&[When::Member("query"), When::Member("documents")]),
        ..RERANK
    },
];

/// `usage` of version 2, `meta` of version 1; then as Jina, Voyage and llama.cpp have it.
static USAGE: UsageRules = UsageRules {
    fields: &[
        (Count::Input, &["tokens/input_tokens", "billed_units/input_tokens", "prompt_tokens"]),
        (Count::Output, &["tokens/output_tokens", "billed_units/output_tokens", "completion_tokens"]),
        (Count::Total, &["total_tokens"]),
        (Count::CacheRead, &["cached_tokens"]),
        (Count::Reasoning, &["tokens/reasoning_tokens"]),
        (Count::BilledInput, &["billed_units/input_tokens"]),
        (Count::BilledOutput, &["billed_units/output_tokens"]),
        (Count::SearchUnits, &["billed_units/search_units"]),
    ],
    ..UsageRules::NONE
};

/// Version 1: an answer, or an event of its stream, the last of which repeats the answer as `response`.
fn read_v1(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    // An error's id is that of the request.
    if body.get("message").is_string() {
        return;
    }
    // The call of tools repeats the text of their plan.
    let repeats = body.get("event_type").is("tool-calls-generation");
    read_v1_answer(answer, body, !repeats || answer.is_empty());
    read_tool_call_delta(answer, body.get("tool_call_delta"));
    let response = body.get("response");
    if response.is_object() {
        let missing = answer.is_empty();
        read_v1_answer(answer, &Fields::of(response), missing);
    }
    if let Some(error) = ProviderError::from_value(body.get("err")) {
        answer.fail(error);
    }
    if body.get("is_finished").is_true() {
        answer.end();
    }
}

/// An answer of version 1, `with_text` or without what was read already.
fn read_v1_answer(answer: &mut Collector, body: &Fields<'_>, with_text: bool) {
    answer.id(body.get("generation_id").or(body.get("id")));
    answer.usage(body.get("meta"));
    for (index, generation) in (0..).zip(body.get("generations").items()) {
        read_v1_text(answer, index, generation, with_text);
    }
    read_v1_text(answer, body.get("index").number().unwrap_or(0), body.value(), with_text);
    for (index, call) in (0..).zip(body.get("tool_calls").items()) {
        let key = CallKey::Index(index);
        answer.tool_call(0, key, Value::ABSENT, call.get("name"), Value::ABSENT);
        answer.tool_arguments(0, key, call.get("parameters"));
    }
}

fn read_v1_text(answer: &mut Collector, index: u64, body: Value<'_>, with_text: bool) {
    if with_text {
        answer.text(index, body.get("text"));
    }
    answer.finish_reason(index, body.get("finish_reason"));
}

/// A piece of the plan, or of a tool call.
fn read_tool_call_delta(answer: &mut Collector, delta: Value<'_>) {
    answer.text(0, delta.get("text"));
    if let Some(index) = delta.get("index").number() {
        answer.tool_call(0, CallKey::Index(index), Value::ABSENT, delta.get("name"), delta.get("parameters"));
    }
}

/// Version 2: an answer, or an event of its stream, whose `delta` has a piece of one.
fn read_v2_chat(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    let delta = body.get("delta");
    let outer = if delta.is_object() { delta } else { body.value() };
    let said = outer.get("message");
    // An error's id is that of the request.
    if said.is_string() {
        return;
    }
    answer.id(body.get("id"));
    answer.usage(outer.get("usage"));
    answer.role(0, said.get("role"));
    // The plan is a chain of thought that comes before calls of tools, and no part of the answer's text.
    answer.reasoning(0, said.get("tool_plan"));
    let content = said.get("content");
    for block in content.items().chain(content.something().filter(|content| !content.is_array())) {
        Block::read(block).add_to(answer, 0);
    }
    read_v2_tool_calls(answer, body.get("index").number(), said.get("tool_calls"));
    answer.finish_reason(0, outer.get("finish_reason"));
    if let Some(error) = ProviderError::from_value(delta.get("error")) {
        answer.fail(error);
    }
}

/// All tool calls, or a piece of the one of that index.
fn read_v2_tool_calls(answer: &mut Collector, index: Option<u64>, calls: Value<'_>) {
    let piece = calls.something().filter(|calls| calls.is_object());
    let piece = piece.map(|call| (index.map_or(CallKey::Last, CallKey::Index), call));
    for (key, call) in calls.items().map(|call| (CallKey::New, call)).chain(piece) {
        let function = call.get("function");
        answer.tool_call(0, key, call.get("id"), function.get("name"), function.get("arguments"));
    }
}

/// How many vectors of how many dimensions, never the vectors.
fn read_embed(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.usage(body.get("meta"));
    let embeddings = body.get("embeddings");
    if embeddings.is_nothing() {
        return;
    }
    answer.id(body.get("id"));
    // By type: the same vectors as numbers, as bytes, as base64.
    let (element, vectors) = match by_name(embeddings) {
        Some((name, vectors)) => (Element::named(&name), vectors),
        None => (Element::Float, embeddings),
    };
    // What was embedded is repeated, and can be counted when the vectors were too long to be kept.
    let inputs = message.children("texts").saturating_add(message.children("images"));
    let counted = || match embeddings.is_array() {
        true => message.children("embeddings"),
        false => u64::try_from(vectors.items().count()).unwrap_or(u64::MAX),
    };
    answer.vectors_of(element, if inputs > 0 { inputs } else { counted() }, vectors.at("0"));
}

/// The order of the documents, as it was sent.
fn read_rerank(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.model(body.get("model"));
    answer.usage(body.get("usage").or(body.get("meta")));
    let results = body.get("results").or(body.get("data"));
    if results.is_array() {
        answer.id(body.get("id"));
        answer.output(results);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, check_usage};

    #[test]
    fn usage() {
        check_usage(&[
            (
                "cohere.v2.chat",
                r#"{"usage":{"billed_units":{"input_tokens":84,"output_tokens":314},"cached_tokens":1008,
                    "tokens":{"input_tokens":1501,"output_tokens":346,"reasoning_tokens":304}}}"#,
                r#"{"input":493,"input_cached_tokens":1008,"output":346,"total":1847}"#,
            ),
            (
                "cohere.v1.generate",
                r#"{"meta":{"billed_units":{"input_tokens":7,"output_tokens":129}}}"#,
                r#"{"input":7,"output":129,"total":136}"#,
            ),
            ("cohere.v1.embed", r#"{"meta":{"billed_units":{"images":1}}}"#, ""),
            ("cohere.v1.rerank", r#"{"meta":{"billed_units":{"search_units":1}}}"#, ""),
            ("cohere.v1.rerank", r#"{"usage":{"total_tokens":43}}"#, r#"{"input":43,"total":43}"#),
        ]);
    }

    #[test]
    fn version_1_streams_calls_of_tools_and_repeats_them() {
        let events = [
            r#"{"is_finished":false,"event_type":"stream-start","generation_id":"g"}"#,
            r#"{"is_finished":false,"event_type":"tool-calls-chunk","tool_call_delta":{"text":"I will"}}"#,
            r#"{"is_finished":false,"event_type":"tool-calls-chunk","tool_call_delta":{"index":0,"name":"f"}}"#,
            r#"{"is_finished":false,"event_type":"tool-calls-chunk","tool_call_delta":{"index":0,"parameters":"{\"a\""}}"#,
            r#"{"is_finished":false,"event_type":"tool-calls-generation","text":"I will","tool_calls":[{"name":"f","parameters":{"a":1}}]}"#,
            r#"{"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE","response":{"text":"I will","tool_calls":[{"name":"f","parameters":{"a":1}}],"meta":{"tokens":{"input_tokens":1}}}}"#,
        ];
        let whole = answer("cohere.v1.chat", &events);
        let output = r#"{"role":"assistant","content":"I will","tool_calls":[{"id":"","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}"#;
        assert_eq!((whole.output.as_deref(), whole.unfinished), (Some(output), false));
        assert_eq!(whole.finish_reason.as_deref(), Some("COMPLETE"));
        assert!(answer("cohere.v1.chat", events.get(..5).unwrap()).unfinished);
        // An older server sends no pieces.
        let whole = answer("cohere.v1.chat", &[events[0], events[5]]);
        assert_eq!(whole.output.as_deref(), Some(output));
    }

    #[test]
    fn errors_in_a_stream() {
        let error = |family, event| answer(family, &["{}", event]).error.map(|error| error.message);
        let v1 = r#"{"event_type":"stream-error","is_finished":true,"finish_reason":"ERROR","err":"down"}"#;
        let v2 = r#"{"type":"message-end","delta":{"finish_reason":"ERROR","error":"down"}}"#;
        assert_eq!(error("cohere.v1.generate", v1).as_deref(), Some("down"));
        assert_eq!(error("cohere.v2.chat", v2).as_deref(), Some("down"));
    }

    #[test]
    fn vectors_by_type_are_counted_by_what_was_embedded() {
        let embed = |body| answer("cohere.v2.embed", &[body]).output.unwrap_or_default();
        let by_type = r#"{"embeddings":{"int8":[[1,2],[3,4]]},"texts":["a","b"],"images":[]}"#;
        assert_eq!(embed(by_type), r#"{"count":2,"dimensions":2}"#);
        let bits = r#"{"embeddings":{"ubinary":[[255,0],[1,2]],"float":[]},"texts":["a","b"]}"#;
        assert_eq!(embed(bits), r#"{"count":2,"dimensions":16}"#);
        assert_eq!(embed(r#"{"embeddings":{"base64":["AAAAAAAAAAA="]}}"#), r#"{"count":1,"dimensions":2}"#);
        assert_eq!(embed(r#"{"id":"r","message":"no such model"}"#), "");
    }
}
