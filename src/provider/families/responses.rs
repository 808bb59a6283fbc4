//! OpenAI's Responses API, streamed and not; also on Azure, and as others (`ChatGPT`, `OpenRouter`, `DeepSeek`, vLLM) have it.
//!
//! Spec: <https://platform.openai.com/docs/api-reference/responses>. A stream ends in an event with the whole response,
//! which replaces what was collected before it; where its `output` is empty (ChatGPT), or it never came, that counts.

use crate::json::{Fields, ObjectWriter, Value};
use crate::provider::ProviderError;
use crate::provider::api::{Api, Operation, When};
use crate::provider::collect::{CallKey, Collector};
use crate::provider::count::{Count, UsageRules};
use crate::provider::message::Message;

const RESPONSES: Api = Api {
    family: "openai.responses",
    provider: "openai_compatible",
    observation: Some("response"),
    paths: &["responses"],
    input: &["input", "tools", "prompt"],
    system: "instructions",
    usage: &USAGE,
    read,
    ..Api::BASE
};

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[
    Api {
        family: "azure.responses",
        paths: &["v1/responses", "responses/compact", "responses"],
        when: When::Any(&[When::Host("azure.com"), When::Header("api-key")]),
        ..RESPONSES
    },
    Api { paths: &["v1/responses", "responses/compact"], ..RESPONSES },
    Api {
        when: When::Any(&[
            When::Member("input"),
            When::Member("model"),
            When::Member("prompt"),
            When::Member("previous_response_id"),
        ]),
        ..RESPONSES
    },
    Api {
        family: "openai.responses.input_tokens",
        operation: Operation::CountTokens,
        observation: None,
        paths: &["responses/input_tokens"],
        usage: &UsageRules::NONE,
        read: read_count,
        ..RESPONSES
    },
];

/// `input_tokens` includes tokens read from and written to caches, `output_tokens` includes reasoning.
static USAGE: UsageRules = UsageRules {
    fields: &[
        (Count::Input, &["input_tokens"]),
        (Count::Output, &["output_tokens"]),
        (Count::Total, &["total_tokens"]),
        (Count::CacheRead, &["input_tokens_details/cached_tokens"]),
        (Count::CacheWrite, &["input_tokens_details/cache_write_tokens"]),
        (Count::Reasoning, &["output_tokens_details/reasoning_tokens"]),
        // As xAI and OpenRouter have it; OpenAI does not count them.
        (
            Count::WebSearches,
            &["server_side_tool_usage_details/web_search_calls", "server_tool_use/web_search_requests"],
        ),
    ],
    // OpenRouter's.
    cost: &["cost"],
    ..UsageRules::NONE
};

/// Items that ask for a tool or tell of its use: their type, and where they have id, name and arguments. Those that have
/// no name are called as their type. (What other tools of the provider's do is not told in the answer's message.)
const CALLS: &[(&str, [&str; 3])] = &[
    ("function_call", ["call_id", "name", "arguments"]),
    ("custom_tool_call", ["call_id", "name", "input"]),
    ("mcp_call", ["id", "name", "arguments"]),
    ("computer_call", ["call_id", "type", "action"]),
    ("local_shell_call", ["call_id", "type", "action"]),
    ("shell_call", ["call_id", "type", "action"]),
    ("apply_patch_call", ["call_id", "type", "operation"]),
];

fn read_count(answer: &mut Collector, message: &Message<'_>) {
    if let Some(tokens) = message.body.get("input_tokens").number() {
        let mut output = ObjectWriter::default();
        output.number("input_tokens", tokens);
        answer.summary(output.finish());
    }
}

fn read(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    let nested = Fields::of(body.get("response"));
    let response = if message.whole { body } else { &nested };
    answer.id(response.get("id"));
    answer.model(response.get("model"));
    answer.usage(response.get("usage"));
    answer.billed_at("service_tier", response.get("service_tier"));
    if message.whole {
        return read_end(answer, response);
    }
    let (delta, index) = (body.get("delta"), body.get("output_index").number().unwrap_or(0));
    match body.get("type").text().unwrap_or_default().as_ref() {
        "response.output_text.delta" => answer.text(0, delta),
        "response.refusal.delta" => answer.refusal(0, delta),
        "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => answer.reasoning(0, delta),
        "response.reasoning_summary_part.added" => answer.next_reasoning(0),
        "response.function_call_arguments.delta"
        | "response.mcp_call_arguments.delta"
        | "response.custom_tool_call_input.delta" => {
            answer.tool_call(0, CallKey::Index(index), Value::ABSENT, Value::ABSENT, delta);
        }
        "response.output_item.added" => read_call(answer, index, body.get("item"), false),
        "response.output_item.done" => read_item(answer, index, body.get("item"), false),
        "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => {
            read_end(answer, response);
            answer.end();
        }
        "error" => answer.fail(ProviderError::from_body(body.raw().as_bytes()).unwrap_or_default()),
        _ => {}
    }
}

/// A whole response.
fn read_end(answer: &mut Collector, response: &Fields<'_>) {
    let output = response.get("output");
    if output.items().next().is_some() && answer.restart() {
        for (index, item) in (0..).zip(output.items()) {
            read_item(answer, index, item, true);
        }
    }
    let status = response.get("status");
    // Of an error's body, it may be a number: that of HTTP.
    let status = if status.is_string() { status } else { Value::ABSENT };
    answer.finish_reason(0, response.at("incomplete_details/reason").or(status));
    if status.is("failed") {
        answer.fail(ProviderError::of_failure(response.get("error")));
    }
}

/// One item of the output. Where it is not `new`, pieces of it may have come before.
fn read_item(answer: &mut Collector, index: u64, item: Value<'_>, new: bool) {
    match item.get("type").text().unwrap_or_default().as_ref() {
        "message" => {
            for part in item.get("content").items() {
                let text = if part.get("type").is("output_text") { part.get("text") } else { Value::ABSENT };
                let refusal = part.get("refusal");
                if new || !answer.holds(0, text.or(refusal)) {
                    answer.text(0, text);
                    answer.refusal(0, refusal);
                }
            }
        }
        "reasoning" => {
            let summary = item.get("summary");
            let parts = if summary.items().next().is_some() { summary } else { item.get("content") };
            for text in parts.items().map(|part| part.get("text")) {
                if new || !answer.holds(0, text) {
                    answer.next_reasoning(0);
                    answer.reasoning(0, text);
                }
            }
        }
        "image_generation_call" if new || item.get("result").something().is_some() => {
            answer.media(0, item.get("result"), Value::ABSENT);
        }
        _ => read_call(answer, index, item, true),
    }
}

/// A call of a tool, with its arguments if it is `whole`.
fn read_call(answer: &mut Collector, index: u64, item: Value<'_>, whole: bool) {
    let kind = item.get("type");
    let Some((_, [id, name, arguments])) = CALLS.iter().find(|(known, _)| kind.is(known)) else { return };
    let key = CallKey::Index(index);
    answer.tool_call(0, key, item.get(id), item.get(name), Value::ABSENT);
    if whole {
        answer.tool_arguments(0, key, item.get(arguments));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::families::testing::{api, streamed, usage_details, whole};

    static API: Api = RESPONSES;

    #[test]
    fn usage() {
        for (name, usage, details) in [
            (
                "OpenAI",
                r#"{"input_tokens":100,"input_tokens_details":{"cached_tokens":60,"cache_write_tokens":10},
                    "output_tokens":50,"output_tokens_details":{"reasoning_tokens":30},"total_tokens":150}"#,
                r#"{"input":30,"input_cached_tokens":60,"input_cache_creation":10,"output":50,"total":150}"#,
            ),
            (
                "llama.cpp",
                r#"{"input_tokens":18,"output_tokens":6,"total_tokens":24,"input_tokens_details":{"cached_tokens":0}}"#,
                r#"{"input":18,"output":6,"total":24}"#,
            ),
            (
                "more reasoning than output",
                r#"{"input_tokens":1,"output_tokens":5,"output_tokens_details":{"reasoning_tokens":9}}"#,
                r#"{"input":1,"output":5,"total":6}"#,
            ),
            ("none", "null", "none"),
            ("odd", r#"{"input_tokens":"18","output_tokens":-1}"#, "none"),
        ] {
            assert_eq!(usage_details(&API, &[&format!("{{\"usage\":{usage}}}")]), details, "{name}");
        }
    }

    #[test]
    fn a_whole_response_replaces_what_was_collected() {
        let answer = streamed(
            &API,
            &[
                r#"{"type":"response.created","response":{"id":"r","model":"m","status":"in_progress","usage":null}}"#,
                r#"{"type":"response.output_text.delta","output_index":0,"delta":"Hel"}"#,
                r#"{"type":"response.completed","response":{"id":"r","status":"completed","incomplete_details":null,
                    "output":[{"type":"message","content":[{"type":"output_text","text":"Hello"}]},
                              {"type":"web_search_call","status":"completed"}],
                    "usage":{"input_tokens":1,"output_tokens":2}}}"#,
            ],
        );
        assert_eq!(answer.output.as_deref(), Some(r#"{"role":"assistant","content":"Hello"}"#));
        assert_eq!((answer.finish_reason.as_deref(), answer.unfinished), (Some("completed"), false));
        assert!(answer.usage.is_some());
    }

    #[test]
    fn without_a_whole_response_its_pieces_count_once() {
        let items = [
            r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning","summary":[]}}"#,
            r#"{"type":"response.reasoning_summary_part.added","output_index":0,"summary_index":0}"#,
            r#"{"type":"response.reasoning_summary_text.delta","output_index":0,"delta":"one"}"#,
            r#"{"type":"response.reasoning_summary_part.added","output_index":0,"summary_index":1}"#,
            r#"{"type":"response.reasoning_summary_text.delta","output_index":0,"delta":"two"}"#,
            r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","summary":[{"text":"one"},{"text":"two"}]}}"#,
            r#"{"type":"response.output_text.delta","output_index":1,"delta":"Hi"}"#,
            r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"message","content":[{"type":"output_text","text":"Hi"}]}}"#,
            r#"{"type":"response.output_item.done","output_index":2,"item":{"type":"message","content":[{"type":"output_text","text":" there"}]}}"#,
            r#"{"type":"response.output_item.added","output_index":3,"item":{"type":"function_call","call_id":"c","name":"f","arguments":""}}"#,
            r#"{"type":"response.function_call_arguments.delta","output_index":3,"delta":"{\"a\":"}"#,
            r#"{"type":"response.output_item.done","output_index":3,"item":{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"}}"#,
        ];
        let output = concat!(
            r#"{"role":"assistant","content":"Hi there","reasoning_content":"one\n\ntwo","tool_calls":"#,
            r#"[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}"#
        );
        let completed = r#"{"type":"response.completed","response":{"status":"completed","output":[],"usage":{}}}"#;
        let ended = streamed(&API, &[&items[..], &[completed]].concat());
        assert_eq!((ended.output.as_deref(), ended.unfinished), (Some(output), false));
        // Cut in the whole response, which then tells neither the end nor all of the output.
        let cut = r#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"reasoning"#;
        let cut = streamed(&API, &[&items[..], &[cut]].concat());
        assert_eq!((cut.output.as_deref(), cut.unfinished, cut.finish_reason), (Some(output), true, None));
    }

    #[test]
    fn failures() {
        let error = |answer: crate::provider::Answer| answer.error.map(|error| (error.message, error.code));
        let expected = |message: &str, code: &str| Some((message.to_owned(), Some(code.to_owned())));
        for (event, message, code) in [
            (r#"{"type":"error","code":"rate","message":"slow"}"#, "slow", "rate"),
            (r#"{"type":"error","error":{"type":"server","message":"m"}}"#, "m", "server"),
            (
                r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"m"}}}"#,
                "m",
                "server_error",
            ),
        ] {
            assert_eq!(error(streamed(&API, &[event])), expected(message, code), "{event}");
        }
        let body = r#"{"object":"response","status":"failed","error":{"code":"c","message":"m"},"output":[]}"#;
        assert_eq!(error(whole(&API, body)), expected("m", "c"));
        assert_eq!(whole(&API, r#"{"status":"failed","error":null}"#).error.unwrap().message, "failed");
        let refused = whole(&API, r#"{"status":401,"error":{"message":"Invalid key","type":"auth"}}"#);
        assert_eq!(refused.finish_reason, None);
        assert_eq!(error(refused), expected("Invalid key", "auth"));
    }

    #[test]
    fn what_items_become() {
        for (items, status, output, reason) in [
            (
                r#"{"type":"message","content":[{"type":"refusal","refusal":"no"}]}"#,
                r#""status":"completed""#,
                r#"{"role":"assistant","content":null,"refusal":"no"}"#,
                "completed",
            ),
            (
                r#"{"type":"image_generation_call","result":{"mime":"image/png","bytes":9}}"#,
                r#""status":"incomplete","incomplete_details":{"reason":"content_filter"}"#,
                r#"{"role":"assistant","content":[{"type":"text","text":"[image/png, 9 bytes]","placeholder":true}]}"#,
                "content_filter",
            ),
            (
                r#"{"type":"custom_tool_call","call_id":"c","name":"sql","input":"SELECT 1"}"#,
                r#""status":"incomplete","incomplete_details":null"#,
                r#"{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"sql","arguments":"SELECT 1"}}]}"#,
                "incomplete",
            ),
            (
                r#"{"type":"computer_call","call_id":"c","action":{"type":"wait"}}"#,
                r#""status":"completed""#,
                r#"{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"computer_call","arguments":"{\"type\":\"wait\"}"}}]}"#,
                "completed",
            ),
            // The same text twice is two texts.
            (
                r#"{"type":"message","content":[{"type":"output_text","text":"a"}]},{"type":"message","content":[{"type":"output_text","text":"a"}]}"#,
                r#""status":"completed""#,
                r#"{"role":"assistant","content":"aa"}"#,
                "completed",
            ),
        ] {
            let answer = whole(&API, &format!("{{\"output\":[{items}],{status}}}"));
            assert_eq!((answer.output.as_deref(), answer.finish_reason.as_deref()), (Some(output), Some(reason)));
        }
        let odd =
            whole(&API, r#"{"output":[1,null,{"type":7},{"type":"message","content":"x"}],"status":1.5,"id":[]}"#);
        assert_eq!((odd.output, odd.id), (None, None));
    }

    #[test]
    fn a_count_of_tokens_is_no_usage() {
        let answer =
            whole(api("openai.responses.input_tokens"), r#"{"object":"response.input_tokens","input_tokens":51}"#);
        assert_eq!((answer.output.as_deref(), answer.usage), (Some(r#"{"input_tokens":51}"#), None));
    }
}
