//! What the scripted LLM answers to each call. Shapes: <https://platform.openai.com/docs/api-reference>, and
//! `vllm/entrypoints/api_server.py` for `/generate`.

use crate::demo::answers as demo;
use crate::http1::headers;
use crate::upstream::{Received, Script};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

/// Text of the big answer: about a megabyte, and below the filter's default `max_output_bytes` with all around it.
const BIG: usize = 1_000_000;

/// The answer to a call of this name.
pub(super) fn answer(name: &str, request: &Received) -> Option<Script> {
    Some(match name {
        "stream-without-usage" => without_usage(demo::answer(request)?),
        "embeddings" => Script::json(200, &embeddings()),
        "completions" => Script::json(200, &completion()),
        "generate" => Script::json(200, &json!({"text": ["San Francisco is a city of hills and fog."]})),
        "large-question" => at_once("Received.", 50_000, 3),
        "large-answer" => at_once(&"All work and no play. ".repeat(BIG / 22), 9, 240_000),
        "gzip" => gzip(&at_once("This travelled compressed.", 9, 4)),
        "models" => Script::json(200, &json!({"object": "list", "data": [{"id": "gpt-4", "object": "model"}]})),
        "get" | "head" => Script::json(200, &json!({"object": "list", "data": []})),
        "slow" => Script { delay_before_head: Duration::from_secs(4), ..at_once("Too late.", 8, 2) },
        "quick" | "unavailable" | "refusing" | "dead" | "breaking" => at_once("Done.", 8, 2),
        _ => return demo::answer(request),
    })
}

fn at_once(text: &str, prompt: u64, completion: u64) -> Script {
    Script { delay_before_head: Duration::ZERO, ..demo::said(text, prompt, completion) }
}

/// As from a server that does not know `stream_options`.
fn without_usage(mut script: Script) -> Script {
    script.pieces.retain(|piece| !String::from_utf8_lossy(&piece.bytes).contains("\"choices\":[]"));
    script
}

fn embeddings() -> Value {
    let vector = |index: u64| json!({"object": "embedding", "index": index, "embedding": [0.25, -0.5, 0.125]});
    json!({"object": "list", "data": [vector(0), vector(1)], "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 8, "total_tokens": 8}})
}

fn completion() -> Value {
    let choice = json!({"text": " there was a gateway.", "index": 0, "logprobs": null, "finish_reason": "stop"});
    json!({"id": "cmpl-smoke", "object": "text_completion", "created": 1_795_318_664, "model": "gpt-3.5-turbo-instruct",
        "choices": [choice], "usage": {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9}})
}

fn gzip(script: &Script) -> Script {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&script.body()).expect("writing to memory");
    let body = encoder.finish().expect("writing to memory");
    let mut coded = script.clone().pieces(vec![body.into()]);
    coded.headers.extend(headers(&[("content-encoding", "gzip")]));
    coded
}
