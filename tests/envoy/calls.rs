//! A plain question and its plain answers, what these leave in a trace, and the ways to make them odd.

use std::time::Duration;

use miniz_oxide::deflate::compress_to_vec;
use serde_json::{Value, json};
use testkit::client::Request;
use testkit::http1::headers;
use testkit::upstream::{Piece, Script, pieces_at_odd_places};

pub const CHAT: &str = "/v1/chat/completions";
pub const MIB: usize = 1024 * 1024;

pub fn chat(body: &Value) -> Request {
    Request::post_json(CHAT, body, &[])
}

/// A question with this text.
pub fn asking(text: &str) -> Request {
    chat(&json!({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}))
}

/// A plain question.
pub fn question() -> Request {
    asking("hi")
}

/// A chat request with these bytes as body.
pub fn raw(body: impl Into<Vec<u8>>) -> Request {
    Request { body: body.into(), ..question() }
}

pub fn answer_of(message: &Value, finish_reason: &str) -> Value {
    json!({
        "id": "c-1", "object": "chat.completion", "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    })
}

/// An answer with this text.
pub fn saying(text: &str, finish_reason: &str) -> Value {
    answer_of(&json!({"role": "assistant", "content": text}), finish_reason)
}

/// A plain answer.
pub fn answer() -> Script {
    Script::json(200, &saying("hello", "stop"))
}

pub fn delta(content: &str, finish_reason: &Value) -> String {
    let delta = if content.is_empty() { json!({}) } else { json!({"content": content}) };
    json!({"id": "c-2", "model": "gpt-4o-2024-08-06", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})
        .to_string()
}

/// `hel` + `lo é😀`, stop, usage, [DONE].
pub fn events() -> Vec<String> {
    vec![
        delta("hel", &Value::Null),
        delta("lo é😀", &Value::Null),
        delta("", &json!("stop")),
        json!({"id": "c-2", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}})
            .to_string(),
        "[DONE]".to_owned(),
    ]
}

pub fn stream() -> Script {
    Script::sse(&events(), Duration::ZERO)
}

/// Where the bytes of [`stream`] are to be cut so that the cut is inside é.
pub fn inside_character() -> usize {
    stream().body().iter().position(|byte| *byte == 0xC3).expect("é") + 1
}

/// Where the bytes of [`stream`] are to be cut so that the cut is inside the JSON of the second event.
pub fn inside_json() -> usize {
    inside_character() - 20
}

pub fn usage() -> Value {
    json!({"input": 5, "output": 2, "total": 7})
}

/// What a whole answer or stream leaves in its trace.
pub fn whole(text: &'static str) -> [(&'static str, Value); 4] {
    [("level", json!("DEFAULT")), ("text", json!(text)), ("usage", usage()), ("model", json!("gpt-4o-2024-08-06"))]
}

/// RFC 1952, with an empty checksum: nobody on this way looks at it.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut body = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3];
    body.extend(compress_to_vec(bytes, 6));
    body.extend([0; 8]);
    body
}

/// The script with its body compressed and cut at odd places.
pub fn compressed(script: Script, seed: u64) -> Script {
    let pieces = pieces_at_odd_places(&gzip(&script.body()), seed);
    with_encoding(script.pieces(pieces), "gzip")
}

pub fn with_encoding(mut script: Script, encoding: &str) -> Script {
    script.headers.push(("content-encoding".into(), encoding.into()));
    script
}

pub fn with_type(script: Script, content_type: Option<&str>) -> Script {
    let headers = content_type.map(|kind| headers(&[("content-type", kind)])).unwrap_or_default();
    Script { headers, ..script }
}

pub fn body_of(text: impl Into<Vec<u8>>) -> Vec<Piece> {
    vec![Piece::from(text.into())]
}
