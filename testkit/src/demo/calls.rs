//! The seven calls. The first three are those of the predecessor's guide (sections 4 to 6), bodies and headers as printed there.

use crate::client::{AbortAt, Request, Response, send, send_and_abort};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The path of every call.
const PATH: &str = "/v1/chat/completions";
/// Where the seventh call's client has seen enough.
const ENOUGH: usize = 700;

/// A call to make.
pub(super) struct Call {
    pub(super) title: &'static str,
    request: Request,
    abort: Option<AbortAt>,
}

/// A call that was made.
pub(super) struct Made {
    pub(super) title: &'static str,
    response: Response,
    /// Nanoseconds since 1970 before and after: the call's span starts between.
    pub(super) between: (u64, u64),
}

impl Call {
    pub(super) fn describe(&self) -> String {
        let shown = |name: &&str| crate::http1::header(&self.request.headers, name).is_some();
        let names = ["X-User-Id", "X-Session-Id", "X-Chat-Id", "X-Organization-Id"];
        let header =
            |name: &str| format!("{name}: {}", crate::http1::header(&self.request.headers, name).unwrap_or("-"));
        let headers: Vec<String> = names.iter().filter(|name| shown(name)).map(|name| header(name)).collect();
        format!("POST {PATH}  {} bytes  {}", self.request.body.len(), headers.join("  ")).trim_end().to_owned()
    }

    pub(super) async fn make(self, addr: SocketAddr) -> Made {
        let before = now();
        let response = match self.abort {
            Some(at) => send_and_abort(addr, self.request, at).await,
            None => send(addr, self.request).await,
        };
        Made { title: self.title, response, between: (before, now()) }
    }
}

impl Made {
    /// A call without an answer, for tests.
    #[cfg(test)]
    pub(super) fn at(before: u64, after: u64) -> Self {
        Self { title: "", response: Response::default(), between: (before, after) }
    }

    pub(super) fn describe(&self) -> String {
        let Response { status, body, chunks, complete, duration, .. } = &self.response;
        let end = if *complete { "" } else { ", left before the end" };
        format!("{status}, {} bytes in {chunks} pieces, {:.0} ms{end}", body.len(), duration.as_secs_f64() * 1e3)
    }

    /// What went wrong before any tracing: the gateway gave no answer.
    pub(super) fn failure(&self) -> Option<String> {
        (self.response.status == 0).then(|| format!("\"{}\" got no answer from the gateway", self.title))
    }
}

/// All calls, for this model. Locally the sixth meets a rate limit; elsewhere it asks for a model that does not exist.
pub(super) fn calls(model: &str, api_key: Option<&str>, is_local: bool) -> Vec<Call> {
    let mut calls = guide(model);
    calls.extend([stream(model), tool_call(model), upstream_error(model, is_local), client_abort(model)]);
    if let Some(key) = api_key {
        for call in &mut calls {
            call.request = call.request.clone().with_header("Authorization", format!("Bearer {key}"));
        }
    }
    calls
}

fn guide(model: &str) -> Vec<Call> {
    let hello =
        json!({"model": model, "messages": user("Explain quantum computing"), "temperature": 0.7, "max_tokens": 500});
    let headers = json!({"model": model, "messages": user("What is machine learning?")});
    let metadata = json!({"model": model, "messages": user("Recommend a movie"), "metadata": {
        "user_id": "user-12345", "chat_id": "chat-789", "project_id": "project-xyz",
        "features": {"web_search": true, "image_generation": false},
        "variables": {"user_tier": "premium", "language": "en"},
    }});
    let who = ("X-User-Id", "user-12345");
    let context = [who, ("X-Session-Id", "session-abc"), ("X-Chat-Id", "chat-789"), ("X-Organization-Id", "org-acme")];
    vec![
        call("hello world (guide, section 4)", &hello, &[who]),
        call("context in headers (guide, section 5)", &headers, &context),
        call("metadata in the body (guide, section 6)", &metadata, &[who]),
    ]
}

fn stream(model: &str) -> Call {
    let body = json!({"model": model, "messages": user("Write a haiku about rivers"), "stream": true,
        "stream_options": {"include_usage": true}});
    call("a stream", &body, &[("X-User-Id", "user-12345"), ("X-Session-Id", "session-abc")])
}

fn tool_call(model: &str) -> Call {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let weather = json!({"name": "get_weather", "description": "The weather of a city", "parameters": parameters});
    let body = json!({"model": model, "messages": user("What is the weather in Paris?"),
        "tools": [{"type": "function", "function": weather}]});
    call("a tool call", &body, &[("X-User-Id", "user-12345")])
}

fn upstream_error(model: &str, is_local: bool) -> Call {
    let model = if is_local { model } else { "no-such-model" };
    let body = json!({"model": model, "messages": user("This one is refused")});
    call("an upstream error", &body, &[("X-User-Id", "user-12345")])
}

fn client_abort(model: &str) -> Call {
    let body = json!({"model": model, "messages": user("Count to one thousand in words"), "stream": true});
    let call = call("a client that leaves mid-stream", &body, &[("X-User-Id", "user-12345")]);
    Call { abort: Some(AbortAt::ResponseBytes(ENOUGH)), ..call }
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

fn call(title: &'static str, body: &Value, headers: &[(&str, &str)]) -> Call {
    Call { title, request: Request::post_json(PATH, body, headers), abort: None }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_nanos()).expect("a clock before 2554")
}
