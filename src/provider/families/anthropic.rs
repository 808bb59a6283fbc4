//! Anthropic's Messages API, streamed and not, and its counting of tokens; also on Vertex AI.
//!
//! Spec: <https://docs.anthropic.com/en/api/messages>, <https://docs.anthropic.com/en/docs/build-with-claude/streaming>,
//! <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude>.

use crate::json::{Fields, Value};
use crate::provider::api::{Api, Operation, When};
use crate::provider::block::Block;
use crate::provider::collect::{CallKey, Collector};
use crate::provider::count::{Count, UsageRules};
use crate::provider::message::Message;

/// `v1/messages` is a path that other services have, too: the header that the API demands tells, or what a body has.
const IS_ANTHROPIC: When = When::Any(&[When::Header("anthropic-version"), When::Member("messages")]);
const MESSAGES: Api = Api {
    family: "anthropic.messages",
    provider: "anthropic",
    input: &["messages", "tools"],
    system: "system",
    usage: &USAGE,
    read,
    ..Api::BASE
};
/// Nothing is read of its answer, which is `{"input_tokens":N}` and shown as that: these tokens are not used, so that
/// nothing is to be priced.
const COUNT_TOKENS: Api = Api {
    family: "anthropic.count_tokens",
    operation: Operation::CountTokens,
    usage: &UsageRules::NONE,
    read: |_, _| {},
    ..MESSAGES
};

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[
    Api { paths: &["v1/messages"], when: IS_ANTHROPIC, ..MESSAGES },
    Api { paths: &["v1/messages/count_tokens"], when: IS_ANTHROPIC, ..COUNT_TOKENS },
    // Vertex has no verb for it, but a model of that name.
    Api { paths: &["publishers/anthropic/models/count-tokens:rawPredict"], ..COUNT_TOKENS },
    Api { family: "vertex.rawPredict", paths: &["publishers/anthropic/models/*:rawPredict"], ..MESSAGES },
    Api { family: "vertex.streamRawPredict", paths: &["publishers/anthropic/models/*:streamRawPredict"], ..MESSAGES },
];

/// `input_tokens` excludes what is read from and written to caches, `output_tokens` includes thinking. A stream states
/// usage at its start and, cumulatively, at its end, where some of it may be missing.
static USAGE: UsageRules = UsageRules {
    fields: &[
        (Count::Input, &["input_tokens"]),
        (Count::Output, &["output_tokens"]),
        (Count::CacheRead, &["cache_read_input_tokens"]),
        (Count::CacheWrite, &["cache_creation_input_tokens"]),
        (Count::CacheWrite5m, &["cache_creation/ephemeral_5m_input_tokens"]),
        (Count::CacheWrite1h, &["cache_creation/ephemeral_1h_input_tokens"]),
        (Count::Reasoning, &["output_tokens_details/thinking_tokens"]),
        (Count::WebSearches, &["server_tool_use/web_search_requests"]),
    ],
    input_includes_cache: false,
    merges: true,
    iterates: true,
    billed_at: &[("service_tier", "service_tier"), ("speed", "speed")],
    // OpenRouter's.
    cost: &["cost"],
    ..UsageRules::NONE
};

/// Reads a message, or an event of a stream of one.
pub(super) fn read(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    match body.get("type").text().as_deref() {
        Some("message_start") => read_message(answer, &Fields::of(body.get("message"))),
        Some("content_block_start") => {
            Block::read(body.get("content_block")).add_piece_to(answer, 0, index(body));
        }
        Some("content_block_delta") => read_delta(answer, index(body), body.get("delta")),
        Some("content_block_stop") => answer.end_tool_call(0, index(body)),
        Some("message_delta") => {
            read_stop(answer, &Fields::of(body.get("delta")));
            answer.usage(body.get("usage"));
        }
        Some("message_stop") => answer.end(),
        _ if message.whole => read_message(answer, body),
        _ => {}
    }
}

/// The number of the block that an event is about.
fn index(event: &Fields<'_>) -> u64 {
    event.get("index").number().unwrap_or(0)
}

/// A whole message, or the empty one that a stream begins with.
fn read_message(answer: &mut Collector, message: &Fields<'_>) {
    answer.id(message.get("id"));
    answer.model(message.get("model"));
    answer.role(0, message.get("role"));
    for block in message.get("content").items() {
        Block::read(block).add_to(answer, 0);
    }
    read_stop(answer, message);
    answer.usage(message.get("usage"));
}

/// Why a message ended.
fn read_stop(answer: &mut Collector, of: &Fields<'_>) {
    answer.finish_reason(0, of.get("stop_reason"));
    answer.refusal(0, of.at("stop_details/explanation"));
}

fn read_delta(answer: &mut Collector, index: u64, delta: Value<'_>) {
    answer.text(0, delta.get("text"));
    answer.reasoning(0, delta.get("thinking"));
    let arguments = delta.get("partial_json");
    if arguments.is_string() {
        answer.tool_call(0, CallKey::Index(index), Value::ABSENT, Value::ABSENT, arguments);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{api, stream, usage_details, whole};
    use crate::provider::{Asked, Skip, find};

    const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","model":"claude-x","role":"assistant","content":[],"stop_reason":null,"usage":{"input_tokens":10,"cache_read_input_tokens":7,"cache_creation_input_tokens":5,"cache_creation":{"ephemeral_5m_input_tokens":2,"ephemeral_1h_input_tokens":3},"output_tokens":1}}}"#;
    const STOP: &str = r#"{"type":"message_stop"}"#;

    #[test]
    fn paths_tell_the_api() {
        for (path, family) in [
            ("/v1/messages?beta=true", Ok("anthropic.messages")),
            ("/anthropic/v1/messages/", Ok("anthropic.messages")),
            ("/v1/messages/count_tokens", Ok("anthropic.count_tokens")),
            ("/v1/threads/thread_1/messages", Err(Skip::NotAi)),
            ("/v1/messages/batches", Err(Skip::NotAi)),
            ("/v1/projects/p/locations/l/publishers/anthropic/models/c%401:rawPredict", Ok("vertex.rawPredict")),
            ("/v1/publishers/anthropic/models/c@1:streamRawPredict", Ok("vertex.streamRawPredict")),
            ("/v1/publishers/anthropic/models/count-tokens:rawPredict", Ok("anthropic.count_tokens")),
            ("/v1/publishers/meta/models/m:rawPredict", Err(Skip::NotAi)),
        ] {
            assert_eq!(find(path.as_bytes(), &[], &[]).map(|route| route.api().unwrap().family), family, "{path}");
        }
        let model = find(b"/v1/publishers/anthropic/models/claude-x%401:rawPredict", &[], &[]).unwrap().model;
        assert_eq!(model.as_deref(), Some("claude-x@1"));
    }

    #[test]
    fn messages_of_another_service_are_not_traced() {
        let is_traced = |header: &str, member: &str| {
            let mut route = find(b"/v1/messages", &[], &[]).unwrap();
            let (has_header, has_member) = (|name: &str| name == header, |name: &str| Some(name == member));
            let asked = Asked { host: Some(""), has_header: Some(&has_header), has_member: None, model: None };
            route.narrow(&asked);
            let open = route.is_open();
            route.narrow(&Asked { host: None, has_header: None, has_member: Some(&has_member), model: None });
            (open, route.api().is_some())
        };
        assert_eq!(is_traced("anthropic-version", ""), (false, true));
        assert_eq!(is_traced("", "messages"), (true, true));
        assert_eq!(is_traced("", "text"), (true, false));
    }

    #[test]
    fn blocks_of_a_stream_are_put_together() {
        let answer = stream(
            api("vertex.streamRawPredict"),
            &[
                ("message_start", START),
                ("", r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#),
                ("", r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#),
                ("", r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}"#),
                (
                    "",
                    r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"x"}}"#,
                ),
                ("", r#"{"type":"ping"}"#),
                (
                    "",
                    r#"{"type":"content_block_start","index":2,"content_block":{"type":"text","text":"","citations":[]}}"#,
                ),
                ("", r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"It "}}"#),
                (
                    "",
                    r#"{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"cited_text":"no"}}}"#,
                ),
                ("", r#"{"type":"content_block_stop","index":2}"#),
                (
                    "",
                    r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"t1","name":"a","input":{}}}"#,
                ),
                (
                    "",
                    r#"{"type":"content_block_start","index":4,"content_block":{"type":"mcp_tool_use","id":"t2","name":"b","input":{}}}"#,
                ),
                (
                    "",
                    r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"{\"x\""}}"#,
                ),
                (
                    "",
                    r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":":1}"}}"#,
                ),
                ("", r#"{"type":"content_block_stop","index":3}"#),
                ("", r#"{"type":"content_block_stop","index":4}"#),
                (
                    "",
                    r#"{"type":"content_block_start","index":5,"content_block":{"type":"web_search_tool_result","tool_use_id":"t2","content":[{"type":"text","text":"no"}]}}"#,
                ),
                ("", r#"{"type":"content_block_start","index":6,"content_block":{"type":"text","text":"is."}}"#),
                ("", r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":20}}"#),
                ("", STOP),
            ],
        );
        assert_eq!(
            answer.output.as_deref(),
            Some(
                r#"{"role":"assistant","content":"It is.","reasoning_content":"hm","tool_calls":[{"id":"t1","type":"function","function":{"name":"a","arguments":"{}"}},{"id":"t2","type":"function","function":{"name":"b","arguments":"{\"x\":1}"}}]}"#
            )
        );
        assert_eq!((answer.id.as_deref(), answer.model.as_deref()), (Some("msg_1"), Some("claude-x")));
        assert_eq!((answer.finish_reason.as_deref(), answer.unfinished), (Some("tool_use"), false));
    }

    #[test]
    fn an_error_inside_a_stream_is_told_with_its_kind() {
        let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        for event in ["error", ""] {
            let answer = stream(api("anthropic.messages"), &[("message_start", START), (event, error)]);
            let found = answer.error.unwrap();
            assert_eq!((found.message.as_str(), found.code.as_deref()), ("Overloaded", Some("overloaded_error")));
        }
        let cut = stream(api("anthropic.messages"), &[("message_start", START)]);
        assert!(cut.unfinished && cut.error.is_none());
    }

    #[test]
    fn a_refusal_says_why() {
        let refusal =
            r#""stop_reason":"refusal","stop_details":{"type":"refusal","category":"bio","explanation":"No."}"#;
        let body = format!(r#"{{"type":"message","role":"assistant","content":[],{refusal}}}"#);
        let delta = format!(r#"{{"type":"message_delta","delta":{{{refusal}}}}}"#);
        let api = api("anthropic.messages");
        for answer in [whole(api, &body), stream(api, &[("", START), ("", &delta), ("", STOP)])] {
            assert_eq!(answer.output.as_deref(), Some(r#"{"role":"assistant","content":null,"refusal":"No."}"#));
            assert_eq!(answer.finish_reason.as_deref(), Some("refusal"));
        }
    }

    #[test]
    fn odd_messages_cost_only_themselves() {
        let odd = r#"{"type":"message","id":null,"model":1,"content":[7,null,{"type":"text"},{"type":"text","text":"a"}],"usage":null}"#;
        assert!(whole(api("anthropic.messages"), odd).output.unwrap().contains(r#""content":"a""#));
        for odd in
            [r#"{"type":"content_block_start"}"#, r#"{"type":"content_block_stop"}"#, r#"{"type":7}"#, "[]", "null"]
        {
            assert_eq!(stream(api("anthropic.messages"), &[("", odd)]).unread_messages, 0, "{odd}");
        }
    }

    #[test]
    fn what_a_call_is_billed_at_is_told_by_its_answer() {
        let body = r#"{"type":"message","content":[],"usage":{"input_tokens":1,"output_tokens":2,"service_tier":"priority","speed":"fast"}}"#;
        let fast = [("service_tier", "priority".to_owned()), ("speed", "fast".to_owned())];
        assert_eq!(whole(api("anthropic.messages"), body).billed_at, fast);
        let events =
            [("", START), ("", r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":2}}"#), ("", STOP)];
        assert_eq!(stream(api("anthropic.messages"), &events).billed_at, []);
    }

    #[test]
    fn iterations_are_told_where_they_say_more_than_their_sum() {
        let told = |iterations: &str| {
            let body = format!(r#"{{"content":[],"usage":{{"input_tokens":1,"iterations":{iterations}}}}}"#);
            whole(api("anthropic.messages"), &body).iterations
        };
        let two = r#"[{"type":"message","input_tokens":1},{"type":"advisor_message","input_tokens":1}]"#;
        assert_eq!(told(two).as_deref(), Some(two));
        assert_eq!(told(r#"[{"type":"message","input_tokens":1}]"#), None);
        assert_eq!((told("[]"), told("null")), (None, None));
        assert_eq!(told(&format!("[{}1]", "1,".repeat(8192))), None, "longer than is kept");
    }

    #[test]
    fn golden_usage() {
        let whole = |usage: &str| format!(r#"{{"type":"message","content":[],"usage":{usage}}}"#);
        let delta = |usage: &str| format!(r#"{{"type":"message_delta","delta":{{}},"usage":{usage}}}"#);
        for (name, usage, expected) in [
            ("plain", r#"{"input_tokens":10,"output_tokens":5}"#, r#"{"input":10,"output":5,"total":15}"#),
            (
                "caches beside the input, thinking inside the output",
                r#"{"input_tokens":10,"cache_read_input_tokens":100,"cache_creation_input_tokens":50,"cache_creation":{"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":30},"output_tokens":5,"output_tokens_details":{"thinking_tokens":2}}"#,
                r#"{"input":10,"input_cached_tokens":100,"input_cache_creation_5m":20,"input_cache_creation_1h":30,"output":5,"total":165}"#,
            ),
            (
                "a cache of no stated time",
                r#"{"input_tokens":1,"cache_creation_input_tokens":50,"cache_creation":null,"output_tokens":5}"#,
                r#"{"input":1,"input_cache_creation":50,"output":5,"total":56}"#,
            ),
            (
                "iterations are summed as they are billed: no fallback that declined, no advisor",
                r#"{"input_tokens":100,"output_tokens":20,"cache_read_input_tokens":7,"iterations":[
                    {"type":"compaction","input_tokens":180,"output_tokens":35,"cache_read_input_tokens":9,"cache_creation_input_tokens":30,"cache_creation":{"ephemeral_1h_input_tokens":30}},
                    {"type":"message","input_tokens":60,"output_tokens":15,"cache_read_input_tokens":7},
                    {"type":"advisor_message","model":"other","input_tokens":1000,"output_tokens":1000},
                    {"type":"fallback_message","input_tokens":90,"output_tokens":5},
                    {"type":"message","input_tokens":40,"output_tokens":5}]}"#,
                r#"{"input":280,"input_cached_tokens":16,"input_cache_creation_1h":30,"output":55,"total":381}"#,
            ),
            (
                "iterations that say nothing leave the counts above them",
                r#"{"input_tokens":10,"output_tokens":5,"iterations":[{"type":"message"},{"type":"other","input_tokens":9},7,null]}"#,
                r#"{"input":10,"output":5,"total":15}"#,
            ),
            ("null", "null", "none"),
        ] {
            assert_eq!(usage_details(api("anthropic.messages"), &[&whole(usage)]), expected, "{name}");
        }
        for (name, usage, expected) in [
            (
                "the rest is as the start had it",
                r#"{"output_tokens":20}"#,
                r#"{"input":10,"input_cached_tokens":7,"input_cache_creation_5m":2,"input_cache_creation_1h":3,"output":20,"total":42}"#,
            ),
            (
                "the last word counts",
                r#"{"input_tokens":30,"cache_read_input_tokens":0,"cache_creation_input_tokens":9,"output_tokens":20}"#,
                r#"{"input":30,"input_cache_creation":4,"input_cache_creation_5m":2,"input_cache_creation_1h":3,"output":20,"total":59}"#,
            ),
        ] {
            assert_eq!(usage_details(api("anthropic.messages"), &[START, &delta(usage), STOP]), expected, "{name}");
        }
        assert_eq!(usage_details(api("anthropic.count_tokens"), &[r#"{"input_tokens":641}"#]), "none");
    }
}
