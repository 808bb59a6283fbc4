//! Exchanges that these tests make.

use serde_json::json;
use wasm_host::{Exchange, Framing, Request, Response};

/// A chat of which the answer comes in one piece, framed by its length.
pub fn chat() -> Exchange {
    let answer = json!({
        "id": "chatcmpl-1",
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello!"}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    });
    Exchange::new(request(false, "Hi"), Response::json(200, answer.to_string()))
}

/// A chat of which the answer comes as a stream of events.
pub fn stream() -> Exchange {
    let event = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"c2\",\"model\":\"m2\",\"choices\":[{{\"index\":0,\"delta\":{{{delta}}}{finish}}}]}}\n\n"
        )
    };
    let pieces = [
        event(r#""role":"assistant","content":"Hel""#, ""),
        event(r#""content":"lo!""#, ""),
        event("", r#","finish_reason":"stop""#),
        "data: {\"id\":\"c2\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12}}\n\n"
            .to_owned(),
        "data: [DONE]\n\n".to_owned(),
    ];
    let pieces = pieces.into_iter().map(String::into_bytes).collect();
    Exchange::new(request(true, "Hi"), Response::of(200, "text/event-stream", pieces, Framing::Chunked))
}

/// A request for a chat, its body in two pieces.
pub fn request(stream: bool, prompt: &str) -> Request {
    let body = json!({
        "messages": [{"role": "user", "content": prompt}],
        "model": "gpt-4o-mini",
        "stream": stream,
    })
    .to_string()
    .into_bytes();
    let (first, second) = body.split_at(body.len() / 2);
    let mut request = Request::post("/v1/chat/completions", "").header("X-User-Id", "jo").header("X-Request-Id", "r-1");
    request.body = vec![first.to_vec(), second.to_vec()];
    request
}
