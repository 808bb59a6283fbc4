//! Odd requests: bodies that cannot be read, fields of other types, headers, paths and encodings of all kinds.

use serde_json::{Value, json};
use testkit::client::Request;
use testkit::upstream::Script;

use super::case::{Case, case, check};
use crate::calls::{answer, asking, chat, gzip, question, raw, usage};
use crate::rig::Rig;

/// A request that gets the plain answer.
fn asked(what: &'static str, request: Request, wanted: &[(&'static str, Value)]) -> Case {
    case(what, request, answer(), wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_requests() {
    let rig = Rig::start(json!({"max_input_bytes": 65536, "tags": ["a", "b"]})).await;
    let cases = [
        refused_bodies(),
        odd_bodies(),
        odd_fields(),
        user_headers(),
        id_lengths(),
        encodings(),
        long_bodies(),
        paths(),
    ];
    check(&rig, cases.concat()).await;
    rig.wait_for_counter("captures_cut_reason=encoding", 2).await;
    assert_eq!(
        (rig.counter("captures_cut_reason=limit").await, rig.counter("captures_cut_reason=unreadable").await),
        (1, 0)
    );
}

fn refused_bodies() -> Vec<Case> {
    let refused = || Script::json(400, &json!({"error": {"message": "cannot read that", "code": "bad_json"}}));
    vec![
        case(
            "not JSON",
            raw("not json"),
            refused(),
            &[
                ("level", json!("ERROR")),
                ("message", json!("400 bad_json: cannot read that")),
                ("input", json!("not json")),
                ("cost", json!({"total": 0})),
                ("meta:status_code", json!(400)),
                ("model", Value::Null),
            ],
        ),
        case(
            "cut JSON",
            raw(r#"{"model":"gpt-4o","messages":[{"role":"user","content":"tell me ab"#),
            refused(),
            &[
                ("model", json!("gpt-4o")),
                ("input", json!([{"role": "user", "content": "tell me ab"}])),
                ("level", json!("ERROR")),
            ],
        ),
        case("empty", raw(""), refused(), &[("input", Value::Null), ("level", json!("ERROR"))]),
    ]
}

fn odd_bodies() -> Vec<Case> {
    vec![
        asked("an array", raw("[1,2]"), &[("input", json!([1, 2])), ("text", json!("hello"))]),
        asked(
            "not UTF-8",
            raw(*b"{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"a\xFF\xFEb\"}]}"),
            &[("input", json!([{"role": "user", "content": "a\u{FFFD}\u{FFFD}b"}])), ("level", json!("DEFAULT"))],
        ),
        asked("zero bytes", raw(vec![0; 1000]), &[("level", json!("DEFAULT")), ("usage", usage())]),
    ]
}

fn odd_fields() -> Vec<Case> {
    let metadata =
        |metadata: Value| chat(&json!({"model": "gpt-4o", "messages": [], "metadata": metadata, "user": "u"}));
    let without_harm = [("user", json!("u")), ("level", json!("DEFAULT"))];
    let tool = json!([{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]);
    let history = json!([
        {"role": "user", "content": [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]},
        {"role": "assistant", "content": null, "tool_calls": tool},
        {"role": "tool", "tool_call_id": "t1", "content": "7"},
    ]);
    vec![
        asked("metadata null", metadata(Value::Null), &without_harm),
        asked("metadata is text", metadata(json!("no object")), &without_harm),
        asked(
            "tags that are there already",
            metadata(json!({"tags": ["a", "c", "c", "b"]})),
            &[("tags", json!(["a", "b", "c"]))],
        ),
        asked("content null and arrays", chat(&json!({"model": "gpt-4o", "messages": history})), &[("input", history)]),
        asked(
            "parameters",
            chat(&json!({"model": "gpt-4o", "messages": [], "n": 1, "stop": ["\u{0}", "é"], "seed": null})),
            &[("parameters", json!({"n": 1, "stop": ["\u{0}", "é"]}))],
        ),
    ]
}

/// A request whose header names one user and whose body another.
fn of_user(value: &[u8]) -> Request {
    chat(&json!({"model": "gpt-4o", "messages": [], "user": "of-body"})).with_header("X-User-Id", value)
}

fn user_headers() -> Vec<Case> {
    let of_body = [("user", json!("of-body"))];
    vec![
        asked("same header twice", of_user(b"a").with_header("X-User-Id", "a"), &[("user", json!("a"))]),
        asked("headers that contradict", of_user(b"a").with_header("X-User-Id", "b"), &of_body),
        asked("a header that is not UTF-8", of_user(b"\xFF\xFE"), &of_body),
        asked(
            "header of 20 KB",
            of_user(&[b'z'; 20_000]).with_header("baggage", vec![b','; 20_000]),
            &[("user", json!("of-body")), ("text", json!("hello"))],
        ),
    ]
}

/// Langfuse takes ids of up to 200 characters.
fn id_lengths() -> Vec<Case> {
    let long = "x".repeat(201);
    let allowed = &long[1..];
    vec![
        asked(
            "id of 201",
            of_user(long.as_bytes()).with_header("X-Session-Id", long.clone()),
            &[("user", json!("of-body")), ("session", Value::Null)],
        ),
        asked(
            "id of 200",
            of_user(allowed.as_bytes()).with_header("X-Session-Id", allowed),
            &[("user", json!(allowed)), ("session", json!(allowed))],
        ),
    ]
}

fn encodings() -> Vec<Case> {
    let gzipped = Request { body: gzip(&question().body), ..question() }.with_header("content-encoding", "gzip");
    let not_gzipped = question().with_header("content-encoding", "gzip");
    let mut broken = gzip(&question().body);
    broken[10..].fill(0xFF);
    let corrupt = Request { body: broken, ..question() }.with_header("content-encoding", "gzip");
    let brotli = raw(*b"\x0b\x02\x80hello\x03").with_header("content-encoding", "br");
    vec![
        asked(
            "gzip",
            gzipped,
            &[("input", json!([{"role": "user", "content": "hi"}])), ("meta:input_note", Value::Null)],
        ),
        asked(
            "says gzip, is plain",
            not_gzipped,
            &[
                ("input", json!([{"content": "hi", "role": "user"}])),
                ("meta:input_note", json!("content-encoding says gzip; the body is not compressed")),
                ("text", json!("hello")),
            ],
        ),
        case(
            "corrupt gzip",
            corrupt,
            answer(),
            &[("input", Value::Null), ("meta:input_note", json!("corrupt content-encoding")), ("text", json!("hello"))],
        ),
        asked(
            "br",
            brotli,
            &[("input", Value::Null), ("meta:input_note", json!("not decoded: br")), ("text", json!("hello"))],
        ),
    ]
}

fn long_bodies() -> Vec<Case> {
    let message = json!([{"role": "user", "content": "long prompt ".repeat(20_000)}]);
    let behind = raw(format!(r#"{{"messages":{message},"model":"gpt-behind","temperature":0.5}}"#));
    let behind_size = behind.body.len();
    let text = "y".repeat(40_000);
    let mut chunked = asking(&text);
    chunked.headers.push(("transfer-encoding".into(), "chunked".into()));
    vec![
        asked(
            "model behind the cut",
            behind,
            &[
                ("meta:request_model", json!("gpt-behind")),
                ("meta:temperature", json!(0.5)),
                ("meta:input_note", json!("cut at its limit")),
                ("meta:input_bytes", json!(behind_size)),
                ("text", json!("hello")),
            ],
        ),
        asked("chunked", chunked, &[("input", json!([{"role": "user", "content": text}])), ("text", json!("hello"))]),
    ]
}

fn paths() -> Vec<Case> {
    let at = |path: &str| Request { path: path.to_owned(), ..question() };
    vec![
        asked("odd path", at("/caf%C3%A9/%ff/v1/chat/completions?key=%00"), &[]),
        asked("query", at("/v1/chat/completions?api_key=abc&x=/health"), &[]).with_trace_path("/v1/chat/completions"),
        asked("long path", at(&format!("/{}/v1/chat/completions", "p".repeat(5000))), &[("text", json!("hello"))]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_the_caller_cannot_stand_in_for_facts() {
    let rig = Rig::start(json!({})).await;
    let metadata = json!({"model": "x", "caller_model": "y", "status_code": 1, "a.b": 1, "__proto__": {"c": 1}});
    let request = chat(&json!({"model": "gpt-4o", "messages": [], "metadata": metadata}));
    let wanted = [
        ("model", json!("gpt-4o-2024-08-06")),
        ("meta:model", json!("gpt-4o-2024-08-06")),
        ("meta:status_code", json!(200)),
        ("meta:a.b", json!("1")),
    ];
    check(&rig, vec![asked("facts", request, &wanted)]).await;
}
