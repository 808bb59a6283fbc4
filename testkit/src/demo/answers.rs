//! What the demo's model says. Shapes: <https://platform.openai.com/docs/api-reference/chat>.

use crate::upstream::{Received, Script};
use serde_json::{Value, json};
use std::time::Duration;

/// The model that answers, as providers do: the one asked for, with its date.
const MODEL: &str = "gpt-4-0613";
/// Between two pieces of a stream.
const PACE: Duration = Duration::from_millis(30);

/// The answer to a call of the demo, told by its question.
pub(crate) fn answer(request: &Received) -> Option<Script> {
    let body: Value = serde_json::from_slice(request.body.as_deref()?).ok()?;
    let question = body["messages"][0]["content"].as_str()?;
    Some(match question {
        "Explain quantum computing" => {
            said("Qubits hold superpositions; gates make their amplitudes interfere.", 11, 42)
        }
        "What is machine learning?" => said("Fitting a function to examples instead of writing it down.", 12, 38),
        "Recommend a movie" => said("Arrival (2016): linguistics, time, and a hard choice.", 10, 33),
        "Write a haiku about rivers" => haiku(),
        "What is the weather in Paris?" => tool_call(),
        "This one is refused" => rate_limited(),
        "Count to one thousand in words" => endless(),
        _ => return None,
    })
}

/// A whole answer with this text and usage.
pub(crate) fn said(text: &str, prompt: u64, completion: u64) -> Script {
    whole(&json!({"role": "assistant", "content": text}), "stop", prompt, completion)
}

fn tool_call() -> Script {
    let function = json!({"name": "get_weather", "arguments": "{\"city\":\"Paris\"}"});
    let call = json!({"id": "call_demo", "type": "function", "function": function});
    whole(&json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls", 57, 15)
}

fn whole(message: &Value, finish: &str, prompt: u64, completion: u64) -> Script {
    let choice = json!({"index": 0, "message": message, "finish_reason": finish});
    let answer = json!({"id": "chatcmpl-demo", "object": "chat.completion", "created": 1_795_318_664, "model": MODEL,
        "choices": [choice], "usage": usage(prompt, completion)});
    Script { delay_before_head: PACE, ..Script::json(200, &answer) }
}

fn usage(prompt: u64, completion: u64) -> Value {
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion})
}

fn haiku() -> Script {
    let words = [
        "Slow ",
        "water ",
        "turning,\n",
        "stones ",
        "remember ",
        "every ",
        "song,\n",
        "the ",
        "sea ",
        "calls ",
        "them ",
        "home.",
    ];
    let mut events = vec![chunk(&json!({"role": "assistant", "content": ""}), None)];
    events.extend(words.iter().map(|word| chunk(&json!({"content": word}), None)));
    events.push(chunk(&json!({}), Some("stop")));
    events.push(event(&json!([]), &usage(13, 19)));
    events.push("[DONE]".to_owned());
    Script::sse(&events, PACE)
}

/// Long enough that nobody waits for its end.
fn endless() -> Script {
    let words = (1..=1000).map(|number| chunk(&json!({"content": format!("number {number}, ")}), None));
    Script::sse(&words.collect::<Vec<_>>(), PACE)
}

fn chunk(delta: &Value, finish: Option<&str>) -> String {
    event(&json!([{"index": 0, "delta": delta, "finish_reason": finish}]), &Value::Null)
}

fn event(choices: &Value, usage: &Value) -> String {
    json!({"id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": 1_795_318_664, "model": MODEL,
        "choices": choices, "usage": usage})
    .to_string()
}

fn rate_limited() -> Script {
    let error = json!({"message": "Rate limit reached for gpt-4 in organization org-demo on tokens per min",
        "type": "tokens", "param": null, "code": "rate_limit_exceeded"});
    let mut script = Script::json(429, &json!({"error": error}));
    script.headers.push(("retry-after".into(), b"20".to_vec()));
    script
}
