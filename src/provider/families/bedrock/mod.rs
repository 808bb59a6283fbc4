//! AWS Bedrock: Converse, which is the same for all models, and InvokeModel, whose bodies are the vendor's own; both
//! streamed (as AWS event streams) and not.
//!
//! Spec: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>,
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html>.

mod converse;
mod invoke;

use crate::json::Value;
use crate::provider::api::{Api, Operation, When};
use crate::provider::collect::Collector;
use crate::provider::count::{Count, UsageRules};

const CONVERSE: Api = Api {
    family: "bedrock.converse",
    provider: "bedrock",
    model: "",
    input: &["messages", "toolConfig"],
    system: "system",
    has_parts: true,
    usage: &USAGE,
    count_headers: COUNT_HEADERS,
    id_header: "x-amzn-requestid",
    error_header: "x-amzn-errortype",
    read: converse::read,
    ..Api::BASE
};
const INVOKE: Api = Api {
    family: "bedrock.invoke",
    // Of Anthropic, Nova and who follows OpenAI; then of Llama, Mistral and AI21, of Titan, and of Cohere.
    input: &["messages", "prompt", "inputText", "message", "chat_history", "documents", "tools", "toolConfig"],
    read: invoke::read,
    ..CONVERSE
};

/// An inference profile does not name its model: then the answer tells.
static EMBEDDING_ANSWER: Api = EMBEDDING;
const EMBEDDING: Api = Api {
    operation: Operation::Embedding,
    paths: INVOKE_PATHS,
    when: When::Model("embed"),
    // Titan's and Nova's, then Cohere's.
    input: &["inputText", "inputImage", "singleEmbeddingParams", "texts", "images", "inputs"],
    ..INVOKE
};

/// The id of a model may be an ARN, whose `/` some clients and proxies do not encode.
const CONVERSE_PATHS: &[&str] = &["model/*/converse", "model/_/*/converse"];
const CONVERSE_STREAM_PATHS: &[&str] = &["model/*/converse-stream", "model/_/*/converse-stream"];
const INVOKE_PATHS: &[&str] = &["model/*/invoke", "model/_/*/invoke"];
const INVOKE_STREAM_PATHS: &[&str] = &["model/*/invoke-with-response-stream", "model/_/*/invoke-with-response-stream"];

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[
    Api { paths: CONVERSE_PATHS, ..CONVERSE },
    Api { family: "bedrock.converse_stream", paths: CONVERSE_STREAM_PATHS, ..CONVERSE },
    EMBEDDING,
    Api { paths: INVOKE_PATHS, ..INVOKE },
    Api { family: "bedrock.invoke_stream", paths: INVOKE_STREAM_PATHS, ..INVOKE },
];

/// Of InvokeModel; what a body says itself counts more.
const COUNT_HEADERS: &[(Count, &str)] = &[
    (Count::Input, "x-amzn-bedrock-input-token-count"),
    (Count::Output, "x-amzn-bedrock-output-token-count"),
    (Count::CacheRead, "x-amzn-bedrock-cache-read-input-token-count"),
    (Count::CacheWrite, "x-amzn-bedrock-cache-write-input-token-count"),
];

/// The input excludes what is read from and written to caches, the total includes it. Names of Converse and Nova, of
/// Anthropic, and of who follows OpenAI.
static USAGE: UsageRules = UsageRules {
    fields: &[
        (Count::Input, &["inputTokens", "input_tokens", "prompt_tokens"]),
        (Count::Output, &["outputTokens", "output_tokens", "completion_tokens"]),
        (Count::Total, &["totalTokens", "total_tokens"]),
        (Count::CacheRead, &["cacheReadInputTokens", "cacheReadInputTokenCount", "cache_read_input_tokens"]),
        (Count::CacheWrite, &["cacheWriteInputTokens", "cacheWriteInputTokenCount", "cache_creation_input_tokens"]),
        (Count::CacheWrite5m, &["cache_creation/ephemeral_5m_input_tokens"]),
        (Count::CacheWrite1h, &["cache_creation/ephemeral_1h_input_tokens"]),
        (Count::Reasoning, &["output_tokens_details/thinking_tokens"]),
    ],
    input_includes_cache: false,
    merges: true,
    // Of Claude, by InvokeModel.
    iterates: true,
    billed_at: &[("service_tier", "service_tier"), ("speed", "speed")],
    ..UsageRules::NONE
};

fn read_usage(answer: &mut Collector, usage: Value<'_>) {
    answer.usage(usage);
    // What is written to the cache stays for five minutes, unless this says more.
    for detail in usage.get("cacheDetails").items().filter(|detail| detail.get("ttl").is("1h")) {
        answer.count(Count::CacheWrite1h, detail.get("inputTokens").number());
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{api, stream, usage_details, whole};
    use crate::provider::{Answer, Asked, find};
    use base64::Engine;

    /// The answer of pieces of a vendor's stream.
    fn pieces(pieces: &[&str]) -> Answer {
        let encoded = |piece| base64::prelude::BASE64_STANDARD.encode(piece);
        let events: Vec<String> =
            pieces.iter().map(|piece| format!(r#"{{"bytes":"{}","p":"abc"}}"#, encoded(piece))).collect();
        stream(api("bedrock.invoke_stream"), &events.iter().map(|data| ("chunk", data.as_str())).collect::<Vec<_>>())
    }

    fn invoke(body: &str) -> Answer {
        whole(api("bedrock.invoke"), body)
    }

    fn summary(answer: &Answer) -> (Option<&str>, Option<&str>, bool) {
        (answer.output.as_deref(), answer.finish_reason.as_deref(), answer.unfinished)
    }

    /// Text, finish reason, and the usage that is sent.
    fn said(answer: &Answer) -> (String, &str, String) {
        let output: serde_json::Value = serde_json::from_str(answer.output.as_deref().unwrap_or("{}")).unwrap();
        let usage = answer.usage.as_ref().map_or_else(String::new, |usage| usage.buckets.to_json());
        (
            output["content"].as_str().unwrap_or_default().to_owned(),
            answer.finish_reason.as_deref().unwrap_or_default(),
            usage,
        )
    }

    #[test]
    fn paths_tell_api_and_model() {
        for (path, family, model) in [
            ("/model/amazon.nova-lite-v1%3A0/converse", "bedrock.converse", "amazon.nova-lite-v1:0"),
            ("/bedrock/model/a.b:0/converse-stream", "bedrock.converse_stream", "a.b:0"),
            (
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.a.b-v1%3A0/invoke",
                "bedrock.invoke",
                "arn:aws:bedrock:us-east-1:1:inference-profile/us.a.b-v1:0",
            ),
            (
                "/model/arn:aws:bedrock:us-east-1:1:inference-profile/us.a.b-v1:0/invoke",
                "bedrock.invoke",
                "us.a.b-v1:0",
            ),
            ("/model/a.b/invoke-with-response-stream", "bedrock.invoke_stream", "a.b"),
        ] {
            let mut route = find(path.as_bytes(), &[], &[]).unwrap();
            let model_of_path = route.model.clone();
            route.narrow(&Asked { host: None, has_header: None, has_member: None, model: model_of_path.as_deref() });
            assert_eq!((route.api().unwrap().family, model_of_path.as_deref()), (family, Some(model)), "{path}");
            assert_eq!(route.api().unwrap().operation.name(), "chat");
        }
        let mut route = find(b"/model/amazon.titan-embed-text-v2%3A0/invoke", &[], &[]).unwrap();
        route.narrow(&Asked {
            host: None,
            has_header: None,
            has_member: None,
            model: Some("amazon.titan-embed-text-v2:0"),
        });
        assert_eq!(route.api().unwrap().operation.name(), "embedding");
    }

    #[test]
    fn a_converse_stream_is_put_together() {
        let events = [
            ("messageStart", r#"{"role":"assistant","p":"a"}"#),
            ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"hm"}},"p":"a"}"#),
            ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"s"}},"p":"a"}"#),
            ("contentBlockStop", r#"{"contentBlockIndex":0,"p":"a"}"#),
            ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"text":"Hi"},"p":"a"}"#),
            ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"citation":{"title":"no"}},"p":"a"}"#),
            (
                "contentBlockStart",
                r#"{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"t1","name":"a"}},"p":"a"}"#,
            ),
            ("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"toolUse":{"input":"{\"x\""}},"p":"a"}"#),
            ("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"toolUse":{"input":":1}"}},"p":"a"}"#),
            ("contentBlockStop", r#"{"contentBlockIndex":2,"p":"a"}"#),
            (
                "contentBlockStart",
                r#"{"contentBlockIndex":3,"start":{"toolUse":{"toolUseId":"t2","name":"b"}},"p":"a"}"#,
            ),
            ("contentBlockStop", r#"{"contentBlockIndex":3,"p":"a"}"#),
            ("messageStop", r#"{"stopReason":"tool_use","p":"a"}"#),
            (
                "metadata",
                r#"{"metrics":{"latencyMs":1},"usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3},"p":"a"}"#,
            ),
        ];
        let expected = r#"{"role":"assistant","content":"Hi","reasoning_content":"hm","tool_calls":[{"id":"t1","type":"function","function":{"name":"a","arguments":"{\"x\":1}"}},{"id":"t2","type":"function","function":{"name":"b","arguments":"{}"}}]}"#;
        let answer = stream(api("bedrock.converse_stream"), &events);
        assert_eq!(summary(&answer), (Some(expected), Some("tool_use"), false));
        assert_eq!(answer.usage.unwrap().buckets.to_json(), r#"{"input":1,"output":2,"total":3}"#);
        // As Nova's own pieces.
        let wrapped: Vec<String> = events.iter().map(|(name, data)| format!(r#"{{"{name}":{data}}}"#)).collect();
        let answer = pieces(&wrapped.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(summary(&answer), (Some(expected), Some("tool_use"), false));
        assert!(stream(api("bedrock.converse_stream"), events.get(..4).unwrap()).unfinished);
    }

    #[test]
    fn a_converse_answer_has_cited_text_and_withheld_text() {
        let body = r#"{"output":{"message":{"role":"assistant","content":[{"citationsContent":{"content":[{"text":"A"}],"citations":[]}},{"text":"B"},{"reasoningContent":{"redactedContent":"x"}},{"toolResult":{"toolUseId":"t","content":[{"text":"no"}]}}]}},"stopReason":"guardrail_intervened","metrics":{}}"#;
        let expected = r#"{"role":"assistant","content":"AB"}"#;
        assert_eq!(
            summary(&whole(api("bedrock.converse"), body)),
            (Some(expected), Some("guardrail_intervened"), false)
        );
    }

    #[test]
    fn each_vendors_body_is_read() {
        for (vendor, body, expected) in [
            (
                "Titan",
                r#"{"inputTextTokenCount":5,"results":[{"tokenCount":7,"outputText":"T","completionReason":"LENGTH"}]}"#,
                ("T", "LENGTH", r#"{"input":5,"output":7,"total":12}"#),
            ),
            (
                "Llama",
                r#"{"generation":"L","prompt_token_count":5,"generation_token_count":7,"stop_reason":"stop"}"#,
                ("L", "stop", r#"{"input":5,"output":7,"total":12}"#),
            ),
            (
                "Claude 2",
                r#"{"completion":" C","stop_reason":"stop_sequence","stop":"\n\nHuman:"}"#,
                (" C", "stop_sequence", ""),
            ),
            (
                "Claude 2, which says what it is",
                r#"{"type":"completion","completion":" C","stop_reason":"stop_sequence","stop":"\n\nHuman:"}"#,
                (" C", "stop_sequence", ""),
            ),
            (
                "Command",
                r#"{"id":"c","generations":[{"id":"g","text":"G","finish_reason":"COMPLETE"}],"prompt":"p"}"#,
                ("G", "COMPLETE", ""),
            ),
            (
                "Command R",
                r#"{"response_id":"r","text":"R","generation_id":"g","finish_reason":"MAX_TOKENS","chat_history":[]}"#,
                ("R", "MAX_TOKENS", ""),
            ),
            ("Mistral", r#"{"outputs":[{"text":"M","stop_reason":"length"}]}"#, ("M", "length", "")),
            (
                "Mistral's chat",
                r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"M"},"stop_reason":"stop"}]}"#,
                ("M", "stop", ""),
            ),
            ("DeepSeek", r#"{"choices":[{"text":"D","stop_reason":"stop"}]}"#, ("D", "stop", "")),
            (
                "gpt-oss",
                r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"O"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#,
                ("O", "stop", r#"{"input":5,"output":7,"total":12}"#),
            ),
            (
                "Jurassic",
                r#"{"id":1234,"prompt":{"text":"p"},"completions":[{"data":{"text":"J"},"finishReason":{"reason":"endoftext"}}]}"#,
                ("J", "endoftext", ""),
            ),
            ("nobody's", r#"{"weird":[1]}"#, ("", "", "")),
        ] {
            let answer = invoke(body);
            let (text, reason, usage) = said(&answer);
            assert_eq!((text.as_str(), reason, usage.as_str()), expected, "{vendor}");
        }
        assert_eq!(invoke(r#"{"id":1234,"completions":[]}"#).id.as_deref(), Some("1234"));
        let tools =
            invoke(r#"{"text":"","tool_calls":[{"name":"f","parameters":{"x":1}}],"finish_reason":"COMPLETE"}"#);
        assert!(tools.output.unwrap().contains(r#""function":{"name":"f","arguments":"{\"x\":1}"}"#));
        let two = invoke(
            r#"{"generations":[{"text":"a","finish_reason":"COMPLETE"},{"text":"b","finish_reason":"COMPLETE"}]}"#,
        );
        assert!(two.output.unwrap().starts_with('['));
    }

    #[test]
    fn each_vendors_stream_is_read() {
        const METRICS: &str = r#""amazon-bedrock-invocationMetrics":{"inputTokenCount":5,"outputTokenCount":7}"#;
        let usage = r#"{"input":5,"output":7,"total":12}"#;
        for (vendor, first, last, expected) in [
            (
                "Titan",
                r#"{"outputText":"a","index":0,"completionReason":null}"#,
                r#"{"outputText":"b","index":0,"totalOutputTextTokenCount":7,"completionReason":"FINISH""#,
                ("ab", "FINISH"),
            ),
            (
                "Llama",
                r#"{"generation":"a","prompt_token_count":5,"generation_token_count":1,"stop_reason":null}"#,
                r#"{"generation":"b","prompt_token_count":null,"generation_token_count":7,"stop_reason":"length""#,
                ("ab", "length"),
            ),
            (
                "Claude 2",
                r#"{"completion":"a","stop_reason":null}"#,
                r#"{"completion":"b","stop_reason":"max_tokens""#,
                ("ab", "max_tokens"),
            ),
            (
                "Command R",
                r#"{"event_type":"text-generation","text":"ab","is_finished":false}"#,
                r#"{"event_type":"stream-end","response":{"text":"ab"},"finish_reason":"COMPLETE","is_finished":true"#,
                ("ab", "COMPLETE"),
            ),
            (
                "Mistral",
                r#"{"outputs":[{"text":"a","stop_reason":null}]}"#,
                r#"{"outputs":[{"text":"b","stop_reason":"stop"}]"#,
                ("ab", "stop"),
            ),
            (
                "Mistral's chat",
                r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"stop_reason":null}]}"#,
                r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"b"},"stop_reason":"stop"}]"#,
                ("ab", "stop"),
            ),
            (
                "gpt-oss",
                r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#,
                r#"{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}]"#,
                ("ab", "stop"),
            ),
            (
                "Anthropic",
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ab"}}"#,
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}"#,
                ("ab", "end_turn"),
            ),
        ] {
            let last = format!("{last},{METRICS}}}");
            let answer = pieces(&[first, &last]);
            let (text, reason, counted) = said(&answer);
            assert_eq!(
                ((text.as_str(), reason), counted.as_str(), answer.unfinished),
                (expected, usage, false),
                "{vendor}"
            );
            assert!(pieces(&[first]).unfinished, "{vendor}");
        }
    }

    #[test]
    fn pieces_that_are_none_are_counted() {
        let answer = stream(
            api("bedrock.invoke_stream"),
            &[
                ("chunk", r#"{"bytes":"!!"}"#),
                ("chunk", r#"{"bytes":"e30="}"#),
                ("chunk", r#"{"bytes":7}"#),
                ("chunk", r#"{"bytes":"e30"}"#),
            ],
        );
        assert_eq!((answer.unread_messages, answer.unfinished), (2, true));
        let error =
            pieces(&[r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#]).error.unwrap();
        assert_eq!((error.message.as_str(), error.code.as_deref()), ("Overloaded", Some("overloaded_error")));
    }

    #[test]
    fn vectors_are_counted_and_not_kept() {
        for (body, expected) in [
            (r#"{"embedding":[1,2,3],"inputTextTokenCount":4}"#, r#"{"count":1,"dimensions":3}"#),
            (r#"{"embeddingsByType":{"binary":[1,0]},"inputTextTokenCount":4}"#, r#"{"count":1,"dimensions":2}"#),
            (r#"{"embeddings":[[1,2],[3,4]],"id":"e","texts":["a","b"]}"#, r#"{"count":2,"dimensions":2}"#),
            (r#"{"embeddings":{"int8":[[1,2],[3,4]]},"texts":["a","b"]}"#, r#"{"count":2,"dimensions":2}"#),
            (r#"{"embeddings":[{"embeddingType":"TEXT","embedding":[1,2]}]}"#, r#"{"count":1,"dimensions":2}"#),
        ] {
            assert_eq!(invoke(body).output.as_deref(), Some(expected), "{body}");
        }
        let bits = r#"{"embeddings":{"binary":[[1,-2]]},"texts":["a"]}"#;
        assert_eq!(invoke(bits).output.as_deref(), Some(r#"{"count":1,"dimensions":16}"#));
        assert_eq!(
            usage_details(api("bedrock.invoke"), &[r#"{"embedding":[1],"inputTextTokenCount":4}"#]),
            r#"{"input":4,"total":4}"#
        );
    }

    #[test]
    fn golden_usage() {
        for (name, usage, expected) in [
            (
                "plain",
                r#"{"inputTokens":10,"outputTokens":5,"totalTokens":15}"#,
                r#"{"input":10,"output":5,"total":15}"#,
            ),
            (
                "caches beside the input and in the total, by either name",
                r#"{"inputTokens":11,"outputTokens":264,"totalTokens":1303,"cacheReadInputTokens":1028,"cacheReadInputTokenCount":1028,"cacheWriteInputTokenCount":0}"#,
                r#"{"input":11,"input_cached_tokens":1028,"output":264,"total":1303}"#,
            ),
            (
                "caches of an hour",
                r#"{"inputTokens":3,"outputTokens":7,"totalTokens":110,"cacheWriteInputTokens":100,"cacheDetails":[{"inputTokens":60,"ttl":"5m"},{"inputTokens":40,"ttl":"1h"}]}"#,
                r#"{"input":3,"input_cache_creation":60,"input_cache_creation_1h":40,"output":7,"total":110}"#,
            ),
            (
                "no input stated: what the total holds beside all that is named",
                r#"{"outputTokens":4,"totalTokens":7,"cacheReadInputTokens":1}"#,
                r#"{"input":2,"input_cached_tokens":1,"output":4,"total":7}"#,
            ),
            (
                "Anthropic's names",
                r#"{"input_tokens":3,"output_tokens":44,"cache_read_input_tokens":9511,"cache_creation_input_tokens":1956,"cache_creation":{"ephemeral_5m_input_tokens":1956}}"#,
                r#"{"input":3,"input_cached_tokens":9511,"input_cache_creation_5m":1956,"output":44,"total":11514}"#,
            ),
        ] {
            let body = format!(r#"{{"usage":{usage}}}"#);
            assert_eq!(usage_details(api("bedrock.converse"), &[&body]), expected, "{name}");
        }
    }
}
