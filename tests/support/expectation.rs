//! Compares what was read of a recorded call with what a cassette says an extractor must read (the cassettes' README
//! lists the fields).

use serde_json::{Value, json};
use testkit::cassettes::Cassette;

/// All recorded calls; none (and a loud word on stderr) where the cassettes are absent.
pub fn corpus() -> Vec<Cassette> {
    let mut cassettes = testkit::cassettes::load(&[]).unwrap_or_default();
    if let Some(only) = std::env::var_os("FAMILY") {
        cassettes.retain(|cassette| cassette.id.contains(only.to_str().unwrap()));
        return cassettes;
    }
    assert!(cassettes.is_empty() || cassettes.len() > 270, "only {} cassettes", cassettes.len());
    println!("{} recorded calls", cassettes.len());
    cassettes
}

/// Expectations that are wrong, or differ from what a trace should say: cassette, field, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "d013_anthropic.messages_anthropic_stream_200",
        "usage",
        "OpenRouter states the cost, which the expectation leaves out",
    ),
    (
        "d016_anthropic.messages_anthropic_stream_200",
        "tool_calls",
        "the expectation lost the pieces of the arguments (its second reader, noted beside it, has them)",
    ),
    (
        "d055_bedrock.invoke_bedrock_json_200",
        "usage",
        "the guardrail took the output's tokens out of the body; the header has them, which the expectation leaves out",
    ),
    (
        "d196_openai.completions_portkey_json_200",
        "output_text",
        "a chat message under a completions path: its content is the output; the expectation looks at `text` only",
    ),
    (
        "d022_azure.chat_azure_json_200",
        "level",
        "status 200 with an error object in place of choices: the call failed, which the expectation does not say",
    ),
    (
        "d180_openai.chat_snowflake_json_200",
        "tool_calls",
        "the expectation counts the empty object `function_call: {arguments: \"\", name: \"\"}` as a call",
    ),
    (
        "d177_openai.chat_perplexity_stream_200",
        "usage",
        "Perplexity states the cost as an object, which the expectation leaves out",
    ),
    (
        "d075_cohere.v2.chat_cohere_json_200",
        "reasoning_text",
        "the plan of the tools, which Cohere calls a chain of thought; the expectation has a field of its own for it",
    ),
    (
        "d079_cohere.v2.chat_cohere_stream_200",
        "reasoning_text",
        "the plan of the tools, which Cohere calls a chain of thought; the expectation has a field of its own for it",
    ),
    (
        "d077_cohere.v2.chat_cohere_stream_200",
        "usage",
        "Cohere states reasoning tokens (304 of 346), which the expectation leaves out",
    ),
    ("d120_openai.audio_openrouter_json_200", "usage", "OpenRouter states the cost, which the expectation leaves out"),
    (
        "d178_openai.chat_perplexity_stream_200",
        "usage",
        "Perplexity states the cost as an object, which the expectation leaves out",
    ),
    (
        "d095_gemini.generateContent_local_json_200",
        "family",
        "`publishers/google/models` is a path of Vertex AI; the expectation goes by the host, which is a gateway's",
    ),
    (
        "d098_gemini.interactions_gemini_stream_200",
        "tool_calls",
        "both calls stand in `step.start` and `arguments_delta`, which the expectation does not read",
    ),
    (
        "d100_gemini.interactions_google_stream_200",
        "reasoning_text",
        "the reasoning stands in deltas of type `thought_summary`, which the expectation does not read",
    ),
];

/// Finish reasons with which an answer is not whole, or was withheld.
const WARNINGS: &[&str] = &[
    "length",
    "max_tokens",
    "max_output_tokens",
    "maximum_tokens",
    "incomplete",
    "content_filter",
    "guardrail_intervened",
    "refusal",
    "safety",
];

/// Every field in which `found` (what `Call::explain` says) is not what `cassette` expects, as readable lines.
pub fn differences(cassette: &Cassette, found: &Value) -> Vec<String> {
    let fields = [
        "family",
        "operation",
        "stream",
        "status",
        "model",
        "request_model",
        "response_model",
        "response_id",
        "output_text",
        "reasoning_text",
        "tool_calls",
        "finish_reason",
        "usage",
        "error",
        "level",
    ];
    let wrong = |field: &&str| {
        let (wanted, got) = (normal(field, &wanted(field, cassette)), normal(field, &found[*field]));
        let fits = match *field {
            // Other words around the provider's message do no harm.
            "error" => got.as_str().unwrap_or_default().contains(wanted.as_str().unwrap_or_default()),
            _ => got == wanted,
        };
        (!fits && !is_exception(&cassette.id, field))
            .then(|| format!("{}: {field}: expected {wanted}, got {got}", cassette.id))
    };
    fields.iter().filter_map(wrong).collect()
}

fn is_exception(id: &str, field: &str) -> bool {
    EXCEPTIONS.iter().any(|(known, exempt, _)| *known == id && *exempt == field)
}

fn wanted(field: &str, cassette: &Cassette) -> Value {
    match field {
        "level" => level(cassette).into(),
        _ => cassette.expected[field].clone(),
    }
}

fn level(cassette: &Cassette) -> &'static str {
    let expected = &cassette.expected;
    let reason = expected["finish_reason"].as_str().unwrap_or_default().to_ascii_lowercase();
    match expected["error"].is_null() {
        false => "ERROR",
        true if WARNINGS.contains(&reason.as_str()) => "WARNING",
        // Langfuse made up tokens of what was never answered.
        true if cassette.response.body.is_empty() => "WARNING",
        true => "DEFAULT",
    }
}

/// What does not matter is taken away.
fn normal(field: &str, value: &Value) -> Value {
    match field {
        // An empty one is none.
        "output_text" | "response_id" | "finish_reason" => match value {
            Value::Null => "".into(),
            Value::Number(number) => number.to_string().into(),
            other => other.clone(),
        },
        // White space between parts does not matter.
        "reasoning_text" => value.as_str().unwrap_or_default().split_whitespace().collect::<String>().into(),
        "error" => value["message"].as_str().unwrap_or_default().into(),
        "tool_calls" => value.as_array().into_iter().flatten().map(tool_call).collect(),
        "usage" => {
            let counts = value.as_object().into_iter().flatten().filter(|(_, count)| count.as_f64() != Some(0.0));
            counts.map(|(name, count)| (name.clone(), json!(count.as_f64()))).collect()
        }
        _ => value.clone(),
    }
}

fn tool_call(call: &Value) -> Value {
    let arguments = call["arguments"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let id = call["id"].as_str().unwrap_or_default();
    json!([id, call["name"], arguments.unwrap_or_else(|| call["arguments"].clone())])
}
