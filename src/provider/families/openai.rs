//! OpenAI-compatible APIs: chat completions, completions and embeddings, streamed and not; also as Azure's deployments.
//!
//! Spec: <https://platform.openai.com/docs/api-reference/chat>, and what compatible servers send in its place
//! (docs/design.md, "Dialects").

use crate::json::{Fields, Value};
use crate::provider::api::{Api, Operation};
use crate::provider::collect::{CallKey, Collector};
use crate::provider::count::{Count, UsageRules};
use crate::provider::message::Message;

pub(super) const PROVIDER: &str = "openai_compatible";
pub(super) const CHAT: Api =
    Api { family: "openai.chat", provider: PROVIDER, usage: &USAGE, read: read_chat, ..Api::BASE };
const COMPLETION: Api =
    Api { family: "openai.completions", operation: Operation::Completion, input: &["prompt", "suffix"], ..CHAT };
const EMBEDDING: Api = Api {
    family: "openai.embeddings",
    operation: Operation::Embedding,
    input: &["input"],
    read: read_embeddings,
    ..CHAT
};

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[
    Api { family: "azure.chat", paths: &["deployments/*/chat/completions"], ..CHAT },
    Api { family: "azure.completions", paths: &["deployments/*/completions"], ..COMPLETION },
    Api { family: "azure.embeddings", paths: &["deployments/*/embeddings"], ..EMBEDDING },
    // `agents` are Mistral's.
    Api { paths: &["chat/completions", "agents/completions"], ..CHAT },
    Api { paths: &["completions"], ..COMPLETION },
    Api { paths: &["embeddings"], ..EMBEDDING },
];

/// `prompt_tokens` includes cached, audio and cache-write tokens, `completion_tokens` includes reasoning and audio.
pub(super) static USAGE: UsageRules = UsageRules {
    fields: &[
        (Count::Input, &["prompt_tokens"]),
        (Count::Output, &["completion_tokens"]),
        (Count::Total, &["total_tokens"]),
        // Then as DeepSeek, Mistral, and Together or Hugging Face have it.
        (
            Count::CacheRead,
            &["prompt_tokens_details/cached_tokens", "prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens"],
        ),
        (Count::CacheWrite, &["prompt_tokens_details/cache_write_tokens"]),
        (Count::InputAudio, &["prompt_tokens_details/audio_tokens"]),
        (Count::OutputAudio, &["completion_tokens_details/audio_tokens"]),
        // Then as Copilot has it.
        (Count::Reasoning, &["completion_tokens_details/reasoning_tokens", "reasoning_tokens"]),
        (Count::AcceptedPrediction, &["completion_tokens_details/accepted_prediction_tokens"]),
        (Count::RejectedPrediction, &["completion_tokens_details/rejected_prediction_tokens"]),
    ],
    // Perplexity's cost is an object, OpenRouter's a number.
    cost: &["cost/total_cost", "cost"],
    ..UsageRules::NONE
};

/// A chat, or a piece of one; also a completion.
pub(super) fn read_chat(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.id(body.get("id"));
    answer.model(body.get("model"));
    // Groq has a place of its own for usage.
    let usage = body.get("usage");
    answer.usage(if usage.is_nothing() { body.at("x_groq/usage") } else { usage });
    answer.billed_at("service_tier", body.get("service_tier"));
    for choice in body.get("choices").items() {
        read_choice(answer, choice, message.whole);
    }
    // Writer's old stream of completions: the text itself, and no end of its own.
    let value = body.get("value");
    if value.is_string() {
        answer.text(0, value);
        answer.has_no_end();
    }
}

/// A choice, or a piece of one.
pub(super) fn read_choice(answer: &mut Collector, choice: Value<'_>, whole: bool) {
    let choice = Fields::of(choice);
    let index = choice.get("index").number().unwrap_or(0);
    let message = choice.get("message");
    if message.is_object() && whole {
        answer.whole_message(index, message);
    }
    let delta = choice.get("delta").or(if whole { Value::ABSENT } else { message });
    if delta.is_object() {
        read_message(answer, index, delta);
    }
    // Together sends the same text twice, as `text` and in `delta`.
    if delta.get("content").is_nothing() && !message.is_object() {
        answer.text(index, choice.get("text"));
    }
    answer.finish_reason(index, choice.get("finish_reason"));
}

/// A message, or a piece of one.
pub(in crate::provider) fn read_message(answer: &mut Collector, index: u64, message: Value<'_>) {
    let message = Fields::of(message);
    answer.role(index, message.get("role"));
    read_content(answer, index, message.get("content"), 0);
    // Servers that send both names send the same text twice.
    let reasoning = message.get("reasoning_content");
    let named = reasoning.non_empty().is_some();
    answer.reasoning(index, if named { reasoning } else { message.get("reasoning") });
    answer.refusal(index, message.get("refusal"));
    for call in message.get("tool_calls").items() {
        read_tool_call(answer, index, call);
    }
    answer.function_call(index, message.get("function_call"));
    answer.audio(index, message.get("audio"));
}

/// Thinking parts in thinking parts that are followed.
const THINKING_DEPTH_MAX: u32 = 3;

/// Text, or (Mistral) parts of text and thinking.
fn read_content(answer: &mut Collector, index: u64, content: Value<'_>, depth: u32) {
    if content.is_string() {
        if depth == 0 { answer.text(index, content) } else { answer.reasoning(index, content) }
    }
    for part in content.items() {
        let thinking = part.get("thinking");
        if !thinking.is_nothing() && depth < THINKING_DEPTH_MAX {
            read_content(answer, index, thinking, depth + 1);
        } else {
            read_content(answer, index, part.get("text"), depth);
        }
    }
}

fn read_tool_call(answer: &mut Collector, index: u64, call: Value<'_>) {
    let (id, function) = (call.get("id"), call.get("function").or(call.get("custom")));
    let id_text = id.non_empty();
    let key = match (call.get("index").number(), &id_text) {
        (Some(number), _) => CallKey::Index(number),
        // Old Mistral streams have no index: the id tells calls apart; a piece without one goes on with the last.
        (None, Some(id)) => CallKey::Id(id),
        (None, None) => CallKey::Last,
    };
    // A custom tool's input is a text of its own form.
    let arguments = function.get("arguments").or(function.get("input"));
    answer.tool_call(index, key, id, function.get("name"), arguments);
}

/// How many vectors of how many dimensions, never the vectors.
fn read_embeddings(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.id(body.get("id"));
    answer.model(body.get("model"));
    answer.usage(body.get("usage"));
    if body.get("data").is_array() {
        answer.vectors(message.children("data"), body.at("data/0/embedding"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, api, streamed};

    /// What a stream makes of these pieces of tool calls: id, name and arguments of each.
    fn calls(pieces: &[&str]) -> Vec<[String; 3]> {
        let event = |piece: &&str| format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{piece}]}}}}]}}"#);
        let events: Vec<String> = pieces.iter().map(event).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let output = streamed(api("openai.chat"), &[&events[..], &["[DONE]"]].concat()).output.unwrap();
        let output: serde_json::Value = serde_json::from_str(&output).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let call = |call: &serde_json::Value| {
            [text(&call["id"]), text(&call["function"]["name"]), text(&call["function"]["arguments"])]
        };
        output["tool_calls"].as_array().unwrap().iter().map(call).collect()
    }

    fn owned<const N: usize>(calls: [[&str; 3]; N]) -> Vec<[String; 3]> {
        calls.iter().map(|call| call.map(str::to_owned)).collect()
    }

    #[test]
    fn calls_of_one_index_are_told_apart_by_their_ids() {
        let two = calls(&[
            r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\""}}"#,
            r#"{"index":0,"function":{"arguments":":12"}}"#,
            r#"{"index":0,"function":{"arguments":"34}"}}"#,
            r#"{"index":0,"id":"b","function":{"name":"g","arguments":""}}"#,
            r#"{"index":0,"function":{"arguments":"{}"}}"#,
            r#"{"index":0,"id":"a","function":{"arguments":" "}}"#,
        ]);
        assert_eq!(two, owned([["a", "f", "{\"x\":1234} "], ["b", "g", "{}"]]));
        // Servers that make an id for each piece name the call once.
        let one = calls(&[
            r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}"#,
            r#"{"index":0,"id":"b","function":{"name":"","arguments":"}"}}"#,
            r#"{"index":0,"id":"c","function":{"arguments":" "}}"#,
        ]);
        assert_eq!(one, owned([["a", "f", "{} "]]));
        // An id that comes later is that of the call.
        let late =
            calls(&[r#"{"index":0,"function":{"name":"f"}}"#, r#"{"index":0,"id":"a","function":{"name":"f"}}"#]);
        assert_eq!(late, owned([["a", "f", ""]]));
    }

    #[test]
    fn custom_tools_are_called_with_a_text() {
        let custom = calls(&[
            r#"{"index":0,"id":"a","type":"custom","custom":{"name":"sql","input":""}}"#,
            r#"{"index":0,"custom":{"input":"SELECT"}}"#,
            r#"{"index":0,"custom":{"input":" 1"}}"#,
        ]);
        assert_eq!(custom, owned([["a", "sql", "SELECT 1"]]));
    }

    #[test]
    fn the_tier_is_that_of_the_answer() {
        let tier = |messages: &[&str]| answer("openai.chat", messages).billed_at;
        let is = |word: &str| vec![("service_tier", word.to_owned())];
        assert_eq!(tier(&[r#"{"choices":[],"service_tier":"flex"}"#]), is("flex"));
        assert_eq!(tier(&[r#"{"service_tier":"priority"}"#, r#"{"service_tier":"default"}"#, "{}"]), is("default"));
        assert_eq!(tier(&[r#"{"service_tier":"auto"}"#, r#"{"service_tier":null}"#, r#"{"service_tier":""}"#]), []);
    }
}
