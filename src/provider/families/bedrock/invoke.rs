//! Bedrock's InvokeModel: bodies as the model's vendor has them. They are told by the names of their members, since an
//! inference profile does not name the vendor.
//!
//! Spec: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html>; of a stream
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html>: each event
//! holds a piece of the vendor's own stream, `{"bytes":base64}`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::super::{anthropic, openai};
use super::{EMBEDDING_ANSWER, converse};
use crate::json::{Fields, Value};
use crate::provider::collect::{CallKey, Collector};
use crate::provider::count::Count;
use crate::provider::message::Message;
use crate::provider::vectors::{Element, by_name};

/// Events of Converse that Nova's pieces hold, by their names.
const NOVA_EVENTS: [&str; 6] =
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"];
/// Lists of choices: Titan's, Cohere's, Mistral's and AI21's.
const LISTS: [&str; 4] = ["results", "generations", "outputs", "completions"];
/// Where a choice has its text: Titan's; Cohere's and Mistral's; AI21's; Llama's; that of Claude 2.
const TEXTS: [&str; 5] = ["outputText", "text", "data/text", "generation", "completion"];
/// Where it says why it ended: Titan's; Cohere's; that of Llama, Mistral and Claude; AI21's.
const REASONS: [&str; 4] = ["completionReason", "finish_reason", "stop_reason", "finishReason/reason"];
/// What all streams end with.
const METRICS: &str = "amazon-bedrock-invocationMetrics";

/// Reads an answer, or an event of a stream.
pub(super) fn read(answer: &mut Collector, message: &Message<'_>) {
    let bytes = message.body.get("bytes").non_empty().filter(|_| !message.whole);
    let Some(bytes) = bytes else { return read_body(answer, message) };
    let piece = BASE64_STANDARD.decode(bytes.as_bytes()).unwrap_or_default();
    let Some(body) = Value::parse(&piece) else { return answer.missed() };
    let body = &Fields::of(body);
    answer.read_error(body);
    read_body(answer, &Message { body, ..*message });
}

fn read_body(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    // Old models of Anthropic's answer with a text, and say so.
    if body.get("type").is_string() && !body.get("completion").is_string() {
        anthropic::read(answer, message);
    } else {
        let event = NOVA_EVENTS.iter().map(|name| body.get(name)).find(|event| event.is_object());
        match event {
            Some(event) => converse::read_body(answer, &Fields::of(event)),
            None => converse::read_body(answer, body),
        }
        read_texts(answer, message);
        read_vectors(answer, message);
    }
    read_metrics(answer, body.get(METRICS));
}

/// Answers of choices, and of plain texts.
fn read_texts(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    // What such a body calls its model is not how Bedrock knows it: the path has the exact name.
    answer.id(body.get("generation_id").or(body.get("id")));
    for choice in body.get("choices").items() {
        openai::read_choice(answer, choice, message.whole);
        // Mistral's, DeepSeek's.
        if choice.get("finish_reason").is_nothing() {
            answer.finish_reason(choice.get("index").number().unwrap_or(0), choice.get("stop_reason"));
        }
    }
    for choices in LISTS {
        for (number, choice) in (0..).zip(body.get(choices).items()) {
            read_text(answer, number, &Fields::of(choice));
        }
    }
    read_text(answer, 0, body);
    // Cohere's.
    for call in body.get("tool_calls").items() {
        answer.tool_call(0, CallKey::New, Value::ABSENT, call.get("name"), call.get("parameters"));
    }
    read_counts(answer, body);
}

/// A choice, or a body that is one.
fn read_text(answer: &mut Collector, number: u64, choice: &Fields<'_>) {
    let index = choice.get("index").number().unwrap_or(number);
    let text = TEXTS.iter().map(|path| choice.at(path)).find(|text| text.is_string());
    answer.text(index, text.unwrap_or_default());
    let reason = REASONS.iter().map(|path| choice.at(path)).find(|reason| !reason.is_nothing());
    answer.finish_reason(index, reason.unwrap_or_default());
}

/// Tokens as Titan and Llama count them.
fn read_counts(answer: &mut Collector, body: &Fields<'_>) {
    let input = body.get("inputTextTokenCount").or(body.get("prompt_token_count"));
    answer.count(Count::Input, input.number());
    let results = body.get("results").items().filter_map(|result| result.get("tokenCount").number());
    let output = body.get("totalOutputTextTokenCount").or(body.get("generation_token_count"));
    answer.count(Count::Output, results.reduce(u64::saturating_add).or(output.number()));
}

/// What Bedrock itself measured, where the vendor did not say it.
fn read_metrics(answer: &mut Collector, metrics: Value<'_>) {
    if !metrics.is_object() {
        return;
    }
    for (count, name) in [
        (Count::Input, "inputTokenCount"),
        (Count::Output, "outputTokenCount"),
        (Count::CacheRead, "cacheReadInputTokenCount"),
        (Count::CacheWrite, "cacheWriteInputTokenCount"),
    ] {
        answer.count_if_missing(count, metrics.get(name).number());
    }
    answer.end();
}

/// Vectors: Titan's one, or the list of Cohere and others; each also by type of number.
fn read_vectors(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    // Titan writes even bits as numbers.
    let one = body.get("embedding").or(by_name(body.get("embeddingsByType")).unwrap_or_default().1);
    if one.is_array() {
        answer.is_of(&EMBEDDING_ANSWER);
        return answer.vectors(1, one);
    }
    let all = body.get("embeddings");
    let (counted, element, vectors) = match by_name(all) {
        Some((name, vectors)) => ("texts", Element::named(&name), vectors),
        None => ("embeddings", Element::Float, all),
    };
    if vectors.is_array() {
        let first = vectors.at("0");
        answer.is_of(&EMBEDDING_ANSWER);
        answer.vectors_of(element, message.children(counted), first.get("embedding").or(first));
    }
}
