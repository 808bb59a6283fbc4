//! Gemini's APIs: content, streamed and not, embeddings, counts of tokens, and interactions. [`super::vertex`] has the same
//! under its own paths.
//!
//! Spec: <https://ai.google.dev/api>. A stream of content is a JSON array, or (`alt=sse`) server-sent events; nothing but a
//! finish reason tells its end.

use crate::json::{ObjectWriter, Value};
use crate::provider::ProviderError;
use crate::provider::api::{Api, Operation, Stream};
use crate::provider::block::Block;
use crate::provider::collect::{CallKey, Collector};
use crate::provider::count::{Count, UsageRules};
use crate::provider::message::Message;

const PROVIDER: &str = "gemini";
pub(super) const CONTENT: Api = Api {
    family: "gemini.generateContent",
    provider: PROVIDER,
    paths: &["models/*:generateContent", "tunedModels/*:generateContent"],
    // A body names none, or names it another way than the path.
    model: "",
    input: &["contents", "tools", "toolConfig"],
    system: "systemInstruction",
    has_parts: true,
    usage: &USAGE,
    read: read_content,
    ..Api::BASE
};
pub(super) const CONTENT_STREAM: Api = Api {
    family: "gemini.streamGenerateContent",
    paths: &["models/*:streamGenerateContent", "tunedModels/*:streamGenerateContent"],
    stream: Stream::Array,
    ..CONTENT
};
pub(super) const COUNT_TOKENS: Api = Api {
    family: "gemini.countTokens",
    operation: Operation::CountTokens,
    paths: &["models/*:countTokens", "tunedModels/*:countTokens"],
    usage: &UsageRules::NONE,
    read: read_count,
    ..CONTENT
};
pub(super) const EMBEDDING: Api = Api {
    family: "gemini.embed",
    operation: Operation::Embedding,
    paths: &["models/*:embedContent"],
    input: &["content"],
    system: "",
    has_parts: false,
    read: read_embeddings,
    ..CONTENT
};

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[
    CONTENT,
    CONTENT_STREAM,
    COUNT_TOKENS,
    EMBEDDING,
    Api { paths: &["models/*:batchEmbedContents"], input: &["requests"], ..EMBEDDING },
    Api {
        family: "gemini.interactions",
        provider: PROVIDER,
        paths: &["v1beta/interactions", "locations/_/interactions"],
        input: &["input", "tools"],
        system: "systemInstruction",
        usage: &INTERACTION_USAGE,
        read: read_interaction,
        ..Api::BASE
    },
];

/// `promptTokenCount` includes cached tokens; thoughts and the prompts of tools stand beside.
static USAGE: UsageRules = UsageRules {
    fields: &[
        (Count::Input, &["promptTokenCount"]),
        (Count::Output, &["candidatesTokenCount"]),
        (Count::Total, &["totalTokenCount"]),
        (Count::CacheRead, &["cachedContentTokenCount"]),
        (Count::Reasoning, &["thoughtsTokenCount"]),
        (Count::ToolUse, &["toolUsePromptTokenCount"]),
    ],
    output_includes_reasoning: false,
    billed_at: &[("service_tier", "serviceTier")],
    ..UsageRules::NONE
};

static INTERACTION_USAGE: UsageRules = UsageRules {
    fields: &[
        (Count::Input, &["total_input_tokens"]),
        (Count::Output, &["total_output_tokens"]),
        (Count::Total, &["total_tokens"]),
        (Count::CacheRead, &["total_cached_tokens"]),
        (Count::Reasoning, &["total_thought_tokens"]),
        (Count::ToolUse, &["total_tool_use_tokens"]),
    ],
    output_includes_reasoning: false,
    ..UsageRules::NONE
};

fn read_content(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.id(body.get("responseId"));
    answer.model(body.get("modelVersion"));
    answer.usage(body.get("usageMetadata"));
    for (place, candidate) in (0..).zip(body.get("candidates").items()) {
        let index = candidate.get("index").number().unwrap_or(place);
        candidate.at("content/parts").items().for_each(|part| read_part(answer, index, part));
        answer.finish_reason(index, candidate.get("finishReason"));
    }
    // There are no candidates then. Numbers are those of another enum than the reasons to finish have.
    let blocked = body.at("promptFeedback/blockReason");
    let named = if blocked.is_string() { Some(blocked) } else { blocked.number().and(Value::parse(br#""SAFETY""#)) };
    answer.finish_reason(0, named.unwrap_or_default());
}

fn read_part(answer: &mut Collector, index: u64, part: Value<'_>) {
    let call = part.get("functionCall");
    if call.is_object() && call.get("name").is_nothing() {
        // A piece of streamed arguments, which stands as it was sent: paths and values, no JSON of its own.
        return answer.tool_call(index, CallKey::Last, Value::ABSENT, Value::ABSENT, call.get("partialArgs"));
    }
    let media = part.get("inlineData").or(part.get("inline_data"));
    if media.is_object() {
        return answer.media(index, media.get("data"), media.get("mimeType").or(media.get("mime_type")));
    }
    if answer.is_cut_off(part) && part.get("thought").is_nothing() {
        // Whether it is text or a thought stands behind it.
        return;
    }
    match Block::read(part) {
        // Without arguments, and none to come.
        Block::Call(id, name, arguments) if arguments.is_nothing() && !call.get("willContinue").is_true() => {
            Block::Call(id, name, Value::parse(b"{}").unwrap_or_default()).add_to(answer, index);
        }
        block => block.add_to(answer, index),
    }
}

fn read_count(answer: &mut Collector, message: &Message<'_>) {
    if let Some(tokens) = message.body.get("totalTokens").number() {
        let mut output = ObjectWriter::default();
        output.number("totalTokens", tokens);
        answer.summary(output.finish());
    }
}

fn read_embeddings(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.usage(body.get("usageMetadata"));
    let (one, several) = (body.get("embedding"), body.get("embeddings"));
    if one.is_object() {
        answer.vectors(1, one.get("values"));
    } else if several.is_array() {
        answer.vectors(message.children("embeddings"), several.at("0/values"));
    }
}

fn read_interaction(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    let interaction = if message.whole { body.value() } else { body.get("interaction") };
    answer.id(interaction.get("id"));
    answer.model(interaction.get("model"));
    answer.usage(interaction.get("usage").or(body.at("metadata/usage")));
    let index = body.get("index").number().unwrap_or(0);
    match body.get("event_type").text().unwrap_or_default().as_ref() {
        "step.start" | "content.start" => read_step(answer, index, body.get("step").or(body.get("content")), false),
        "step.delta" | "content.delta" => read_step(answer, index, body.get("delta"), false),
        // As the first version of the API named it.
        "interaction.completed" | "interaction.complete" => read_end(answer, interaction),
        _ if message.whole => {
            let steps = interaction.get("steps").or(interaction.get("outputs"));
            (0..).zip(steps.items()).for_each(|(index, step)| read_step(answer, index, step, true));
            read_end(answer, interaction);
        }
        _ => {}
    }
}

fn read_end(answer: &mut Collector, interaction: Value<'_>) {
    let status = interaction.get("status");
    answer.finish_reason(0, status);
    if status.is("failed") {
        answer.fail(ProviderError::of_failure(interaction.get("error")));
    }
}

/// A step of an interaction, or a piece of one.
fn read_step(answer: &mut Collector, index: u64, step: Value<'_>, whole: bool) {
    match step.get("type").text().unwrap_or_default().as_ref() {
        "text" => answer.text(0, step.get("text")),
        "image" | "audio" | "video" => answer.media(0, step.get("data"), step.get("mime_type")),
        "thought_summary" => answer.reasoning(0, step.at("content/text")),
        "thought" => {
            for part in step.get("summary").items() {
                answer.next_reasoning(0);
                answer.reasoning(0, part.get("text"));
            }
        }
        "model_output" => {
            step.get("content").items().for_each(|part| match part.get("text") {
                text if text.is_string() => answer.text(0, text),
                _ => answer.media(0, part.get("data"), part.get("mime_type")),
            });
        }
        "function_call" => {
            let arguments = step.get("arguments");
            // A stream begins with none, and sends them as text.
            let none = !whole && arguments.members().next().is_none();
            let arguments = if none { Value::ABSENT } else { arguments };
            answer.tool_call(0, CallKey::Index(index), step.get("id"), step.get("name"), arguments);
        }
        "arguments_delta" => {
            answer.tool_call(0, CallKey::Index(index), Value::ABSENT, Value::ABSENT, step.get("arguments"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::families::testing::{streamed, usage_details, whole};

    static API: Api = CONTENT_STREAM;
    static INTERACTIONS: &Api = &APIS[5];

    #[test]
    fn a_part_that_was_cut_before_it_says_what_it_is_is_not_taken_for_text() {
        let event = |text: &str| format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}}}}]}}"#);
        for (cut, expected) in [
            (r#"{"candidates":[{"content":{"parts":[{"text":"hmm"#, r#"{"role":"assistant","content":"a"}"#),
            (
                r#"{"candidates":[{"content":{"parts":[{"text":"hmm","thought":true,"x"#,
                r#"{"role":"assistant","content":"a","reasoning_content":"hmm"}"#,
            ),
            (r#"{"candidates":[{"content":{"parts":[{"text":"b"}],"ro"#, r#"{"role":"assistant","content":"ab"}"#),
        ] {
            let answer = streamed(&API, &[&event("a"), cut]);
            assert_eq!(answer.output.as_deref(), Some(expected), "{cut}");
        }
    }

    #[test]
    fn usage() {
        for (name, usage, details) in [
            (
                "cached, thoughts and tools",
                r#"{"promptTokenCount":1107,"candidatesTokenCount":21,"totalTokenCount":2340,
                    "cachedContentTokenCount":1081,"thoughtsTokenCount":41,"toolUsePromptTokenCount":1171}"#,
                r#"{"input":1197,"input_cached_tokens":1081,"output":62,"total":2340}"#,
            ),
            (
                "no candidates",
                r#"{"promptTokenCount":87,"totalTokenCount":165,"thoughtsTokenCount":78}"#,
                r#"{"input":87,"output":78,"total":165}"#,
            ),
            (
                "more thoughts than candidates",
                r#"{"promptTokenCount":8,"candidatesTokenCount":2,"thoughtsTokenCount":12,"totalTokenCount":22}"#,
                r#"{"input":8,"output":14,"total":22}"#,
            ),
            (
                "a total that is one less",
                r#"{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":14}"#,
                r#"{"input":10,"output":5,"total":15}"#,
            ),
            ("none", "{}", "none"),
        ] {
            assert_eq!(usage_details(&API, &[&format!("{{\"usageMetadata\":{usage}}}")]), details, "{name}");
        }
        let cumulative = [
            r#"{"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":15,"totalTokenCount":24}}"#,
            r#"{"usageMetadata":{"promptTokenCount":87,"totalTokenCount":87}}"#,
        ];
        assert_eq!(usage_details(&API, &cumulative), r#"{"input":87,"total":87}"#);
        let interaction = r#"{"usage":{"total_input_tokens":53,"total_output_tokens":269,"total_thought_tokens":279,
            "total_cached_tokens":3,"total_tool_use_tokens":0,"total_tokens":601}}"#;
        let details = r#"{"input":50,"input_cached_tokens":3,"output":548,"total":601}"#;
        assert_eq!(usage_details(INTERACTIONS, &[interaction]), details);
    }

    #[test]
    fn what_parts_become() {
        for (parts, output) in [
            (r#"{"text":"a"},{"text":"b"}"#, r#"{"role":"assistant","content":"ab"}"#),
            (
                r#"{"text":"t","thought":true},{"text":"a","thought":false}"#,
                r#"{"role":"assistant","content":"a","reasoning_content":"t"}"#,
            ),
            (
                r#"{"text":"a"},{"inlineData":{"mimeType":"image/png","data":"aGk="}},{"inlineData":{"mimeType":"audio/wav","data":{"mime":"x","bytes":9}}}"#,
                concat!(
                    r#"{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"text","text":"[image/png, 2 bytes, "#,
                    r#"sha256 8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4]","placeholder":true},"#,
                    r#"{"type":"text","text":"[audio/wav, 9 bytes]","placeholder":true}]}"#
                ),
            ),
            (
                r#"{"functionCall":{"name":"f","args":{"a":1}}},{"functionCall":{"id":"2","name":"f"}}"#,
                concat!(
                    r#"{"role":"assistant","content":null,"tool_calls":[{"id":"","type":"function","#,
                    r#""function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"2","type":"function","#,
                    r#""function":{"name":"f","arguments":"{}"}}]}"#
                ),
            ),
            (
                r#"{"functionCall":{"name":"f","willContinue":true}},{"functionCall":{"partialArgs":[{"jsonPath":"$.a"}]}},{"functionCall":{}}"#,
                concat!(
                    r#"{"role":"assistant","content":null,"tool_calls":[{"id":"","type":"function","#,
                    r#""function":{"name":"f","arguments":"[{\"jsonPath\":\"$.a\"}]"}}]}"#
                ),
            ),
        ] {
            let body = format!(r#"{{"candidates":[{{"content":{{"role":"model","parts":[{parts}]}}}}]}}"#);
            assert_eq!(whole(&API, &body).output.as_deref(), Some(output), "{parts}");
        }
        let two =
            r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}},{"index":1,"content":{"parts":[{"text":"b"}]}}]}"#;
        let both = r#"[{"role":"assistant","content":"a"},{"role":"assistant","content":"b"}]"#;
        assert_eq!(whole(&API, two).output.as_deref(), Some(both));
        assert_eq!(whole(&API, r#"{"candidates":[7,{"content":[]}],"responseId":1}"#).output, None);
    }

    #[test]
    fn how_streams_end() {
        let piece = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#;
        for (last, reason) in [
            (r#"{"candidates":[{"finishReason":"MAX_TOKENS"}]}"#, Some("MAX_TOKENS")),
            (r#"{"candidates":[{"finishReason":2}]}"#, Some("2")),
            (r#"{"promptFeedback":{"blockReason":"OTHER"}}"#, Some("OTHER")),
            (r#"{"promptFeedback":{"blockReason":1}}"#, Some("SAFETY")),
            (r#"{"candidates":[{"content":{}}]}"#, None),
            (r#"{"candidates":[{"finishReason":"STOP"}],"usageMeta"#, None),
        ] {
            let answer = streamed(&API, &[piece, last]);
            assert_eq!((answer.finish_reason.as_deref(), answer.unfinished), (reason, reason.is_none()), "{last}");
        }
        let failed = streamed(&API, &[piece, r#"{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}"#]);
        assert_eq!(failed.error.unwrap().message, "busy");
    }

    #[test]
    fn interactions() {
        let events = [
            r#"{"event_type":"interaction.created","interaction":{"id":"v1","model":"m","status":"in_progress"}}"#,
            r#"{"event_type":"step.start","index":0,"step":{"type":"thought"}}"#,
            r#"{"event_type":"step.delta","index":0,"delta":{"type":"thought_summary","content":{"type":"text","text":"t"}}}"#,
            r#"{"event_type":"step.start","index":1,"step":{"type":"function_call","id":"c","name":"f","arguments":{}}}"#,
            r#"{"event_type":"step.delta","index":1,"delta":{"type":"arguments_delta","arguments":"{\"a\":1}"}}"#,
            r#"{"event_type":"content.delta","index":2,"delta":{"type":"text","text":"a"}}"#,
        ];
        let output = concat!(
            r#"{"role":"assistant","content":"a","reasoning_content":"t","tool_calls":"#,
            r#"[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}"#
        );
        let end = r#"{"event_type":"interaction.completed","interaction":{"status":"requires_action","usage":{}}}"#;
        let answer = streamed(INTERACTIONS, &[&events[..], &[end]].concat());
        assert_eq!((answer.output.as_deref(), answer.unfinished), (Some(output), false));
        assert_eq!(answer.finish_reason.as_deref(), Some("requires_action"));
        assert!(streamed(INTERACTIONS, &events).unfinished);
        let body = r#"{"status":"failed","steps":[{"type":"model_output","content":[{"type":"text","text":"a"},
            {"type":"image","data":"aGk="}]}],"error":{"message":"m"}}"#;
        let failed = whole(INTERACTIONS, body);
        let output = failed.output.unwrap();
        assert!(
            output.contains(r#""text":"a"}"#) && output.contains("[application/octet-stream, 2 bytes, "),
            "{output}"
        );
        assert_eq!(failed.error.unwrap().message, "m");
    }

    #[test]
    fn vectors_and_tokens_are_counted() {
        let one =
            r#"{"embedding":{"values":[0.1,0.2,0.3]},"usageMetadata":{"promptTokenCount":4,"totalTokenCount":4}}"#;
        let answer = whole(&APIS[3], one);
        assert_eq!(answer.output.as_deref(), Some(r#"{"count":1,"dimensions":3}"#));
        assert!(answer.usage.is_some());
        let several = whole(&APIS[3], r#"{"embeddings":[{"values":[0.1,0.2]},{"values":[0.3,0.4]}]}"#);
        assert_eq!(several.output.as_deref(), Some(r#"{"count":2,"dimensions":2}"#));
        let count = whole(&COUNT_TOKENS, r#"{"totalTokens":12,"promptTokensDetails":[]}"#);
        assert_eq!((count.output.as_deref(), count.usage), (Some(r#"{"totalTokens":12}"#), None));
    }
}
