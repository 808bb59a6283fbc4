//! Odd, broken and hostile calls through the real Envoy: each passes untouched, and its trace says what is known, or it
//! is skipped with a counted reason.

use std::net::SocketAddr;
use std::time::Duration;

use miniz_oxide::deflate::compress_to_vec;
use serde_json::{Value, json};
use testkit::client::{self, AbortAt, Exchange, Request, Response};
use testkit::http1::headers;
use testkit::langfuse::Span;
use testkit::upstream::{Ending, Framing, Piece, Script, pieces_at_odd_places};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{Rig, SOON, unwanted};

const CHAT: &str = "/v1/chat/completions";
const MIB: usize = 1024 * 1024;

type Wanted = Vec<(&'static str, Value)>;

/// One call, and what its trace must say.
struct Case {
    what: &'static str,
    request: Request,
    script: Script,
    wanted: Wanted,
}

fn case(what: &'static str, request: Request, script: Script, wanted: &[(&'static str, Value)]) -> Case {
    Case { what, request, script, wanted: wanted.to_vec() }
}

/// Sends all calls, one after another; asserts that each passed untouched and became a trace that says what it must.
async fn check(rig: &Rig, cases: Vec<Case>) {
    for (n, case) in cases.iter().enumerate() {
        let mut request = case.request.clone();
        request.path = format!("/case-{n}{}", request.path);
        let response = rig.replay(request, case.script.clone()).await;
        assert_eq!(response.status, case.script.status, "{}", case.what);
    }
    let spans = rig.take_spans(cases.len()).await;
    let of = |n: usize| {
        let prefix = format!("/case-{n}/");
        spans.iter().find(|span| span.text("langfuse.trace.name").is_some_and(|name| name.starts_with(&prefix)))
    };
    let wrong: Vec<String> = (0..)
        .zip(&cases)
        .flat_map(|(n, case)| match of(n) {
            Some(span) => unwanted(case.what, span, &case.wanted),
            None => vec![format!("{}: no trace", case.what)],
        })
        .collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn chat(body: &Value) -> Request {
    Request::post_json(CHAT, body, &[])
}

/// A plain question.
fn question() -> Request {
    chat(&json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}))
}

/// A chat request with these bytes as body.
fn raw(body: impl Into<Vec<u8>>) -> Request {
    Request { body: body.into(), ..question() }
}

fn answer_of(message: &Value, finish_reason: &str) -> Value {
    json!({
        "id": "c-1", "object": "chat.completion", "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    })
}

/// A plain answer.
fn answer() -> Script {
    Script::json(200, &answer_of(&json!({"role": "assistant", "content": "hello"}), "stop"))
}

fn usage() -> Value {
    json!({"input": 5, "output": 2, "total": 7})
}

fn delta(content: &str, finish_reason: &Value) -> String {
    let delta = if content.is_empty() { json!({}) } else { json!({"content": content}) };
    json!({"id": "c-2", "model": "gpt-4o-2024-08-06", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})
        .to_string()
}

/// `hel` + `lo é😀`, stop, usage, [DONE].
fn events() -> Vec<String> {
    vec![
        delta("hel", &Value::Null),
        delta("lo é😀", &Value::Null),
        delta("", &json!("stop")),
        json!({"id": "c-2", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}})
            .to_string(),
        "[DONE]".to_owned(),
    ]
}

fn stream() -> Script {
    Script::sse(&events(), Duration::ZERO)
}

/// What a whole answer or stream leaves in its trace.
fn whole(text: &'static str) -> [(&'static str, Value); 4] {
    [("level", json!("DEFAULT")), ("text", json!(text)), ("usage", usage()), ("model", json!("gpt-4o-2024-08-06"))]
}

/// RFC 1952, with an empty checksum: nobody on this way looks at it.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut body = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3];
    body.extend(compress_to_vec(bytes, 6));
    body.extend([0; 8]);
    body
}

/// The script with its body compressed and cut at odd places.
fn compressed(script: Script, seed: u64) -> Script {
    let pieces = pieces_at_odd_places(&gzip(&script.body()), seed);
    with_encoding(script.pieces(pieces), "gzip")
}

fn with_encoding(mut script: Script, encoding: &str) -> Script {
    script.headers.push(("content-encoding".into(), encoding.into()));
    script
}

fn with_type(script: Script, content_type: Option<&str>) -> Script {
    let headers = content_type.map(|kind| headers(&[("content-type", kind)])).unwrap_or_default();
    Script { headers, ..script }
}

fn body_of(text: impl Into<Vec<u8>>) -> Vec<Piece> {
    vec![Piece::from(text.into())]
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_requests() {
    let rig = Rig::start(json!({"max_input_bytes": 65536, "tags": ["a", "b"]})).await;
    let refused = || Script::json(400, &json!({"error": {"message": "cannot read that", "code": "bad_json"}}));
    let tool = json!([{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]);
    let history = json!([
        {"role": "user", "content": [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]},
        {"role": "assistant", "content": null, "tool_calls": tool},
        {"role": "tool", "tool_call_id": "t1", "content": "7"},
    ]);
    let user = |value: &[u8]| {
        chat(&json!({"model": "gpt-4o", "messages": [], "user": "of-body"})).with_header("X-User-Id", value)
    };
    let long = "x".repeat(201);
    let long_text = "long prompt ".repeat(20_000);
    let message = json!([{"role": "user", "content": long_text}]);
    let behind = raw(format!(r#"{{"messages":{message},"model":"gpt-behind","temperature":0.5}}"#));
    let behind_size = behind.body.len();
    let gzipped = Request { body: gzip(&question().body), ..question() }.with_header("content-encoding", "gzip");
    let not_gzipped = question().with_header("content-encoding", "gzip");
    let brotli = raw(*b"\x0b\x02\x80hello\x03").with_header("content-encoding", "br");
    let mut chunked = chat(&json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "y".repeat(40_000)}]}));
    chunked.headers.push(("transfer-encoding".into(), "chunked".into()));
    let at = |path: &str| Request { path: path.to_owned(), ..question() };
    let metadata =
        |metadata: Value| chat(&json!({"model": "gpt-4o", "messages": [], "metadata": metadata, "user": "u"}));
    check(
        &rig,
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
            case("an array", raw("[1,2]"), answer(), &[("input", json!([1, 2])), ("text", json!("hello"))]),
            case(
                "not UTF-8",
                raw(*b"{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"a\xFF\xFEb\"}]}"),
                answer(),
                &[("input", json!([{"role": "user", "content": "a\u{FFFD}\u{FFFD}b"}])), ("level", json!("DEFAULT"))],
            ),
            case("zero bytes", raw(vec![0; 1000]), answer(), &[("level", json!("DEFAULT")), ("usage", usage())]),
            case(
                "metadata null",
                metadata(Value::Null),
                answer(),
                &[("user", json!("u")), ("level", json!("DEFAULT"))],
            ),
            case(
                "metadata is text",
                metadata(json!("no object")),
                answer(),
                &[("user", json!("u")), ("level", json!("DEFAULT"))],
            ),
            case(
                "content null and arrays",
                chat(&json!({"model": "gpt-4o", "messages": history})),
                answer(),
                &[("input", history)],
            ),
            case("same header twice", user(b"a").with_header("X-User-Id", "a"), answer(), &[("user", json!("a"))]),
            case(
                "headers that contradict",
                user(b"a").with_header("X-User-Id", "b"),
                answer(),
                &[("user", json!("of-body"))],
            ),
            case("a header that is not UTF-8", user(b"\xFF\xFE"), answer(), &[("user", json!("of-body"))]),
            case(
                "id of 201",
                user(long.as_bytes()).with_header("X-Session-Id", long.clone()),
                answer(),
                &[("user", json!("of-body")), ("session", Value::Null)],
            ),
            case(
                "id of 200",
                user(&long.as_bytes()[1..]).with_header("X-Session-Id", &long[1..]),
                answer(),
                &[("user", json!(&long[1..])), ("session", json!(&long[1..]))],
            ),
            case(
                "header of 20 KB",
                user(&[b'z'; 20_000]).with_header("baggage", vec![b','; 20_000]),
                answer(),
                &[("user", json!("of-body")), ("text", json!("hello"))],
            ),
            case(
                "model behind the cut",
                behind,
                answer(),
                &[
                    ("meta:request_model", json!("gpt-behind")),
                    ("meta:temperature", json!(0.5)),
                    ("meta:input_note", json!("cut at its limit")),
                    ("meta:input_bytes", json!(behind_size)),
                    ("text", json!("hello")),
                ],
            ),
            case(
                "gzip",
                gzipped,
                answer(),
                &[("input", json!([{"role": "user", "content": "hi"}])), ("meta:input_note", Value::Null)],
            ),
            case(
                "says gzip, is plain",
                not_gzipped,
                answer(),
                &[
                    ("input", Value::Null),
                    ("meta:input_note", json!("corrupt content-encoding")),
                    ("text", json!("hello")),
                ],
            ),
            case(
                "br",
                brotli,
                answer(),
                &[("input", Value::Null), ("meta:input_note", json!("not decoded: br")), ("text", json!("hello"))],
            ),
            case(
                "chunked",
                chunked,
                answer(),
                &[("input", json!([{"role": "user", "content": "y".repeat(40_000)}])), ("text", json!("hello"))],
            ),
            case("odd path", at("/caf%C3%A9/%ff/v1/chat/completions?key=%00"), answer(), &[]),
            case(
                "query",
                at("/v1/chat/completions?api_key=abc&x=/health"),
                answer(),
                &[("trace", json!("/case-21/v1/chat/completions"))],
            ),
            case(
                "long path",
                at(&format!("/{}/v1/chat/completions", "p".repeat(5000))),
                answer(),
                &[("text", json!("hello"))],
            ),
            case(
                "tags that are there already",
                metadata(json!({"tags": ["a", "c", "c", "b"]})),
                answer(),
                &[("tags", json!(["a", "b", "c"]))],
            ),
            case(
                "parameters",
                chat(&json!({"model": "gpt-4o", "messages": [], "n": 1, "stop": ["\u{0}", "é"], "seed": null})),
                answer(),
                &[("parameters", json!({"n": 1, "stop": ["\u{0}", "é"], "seed": null}))],
            ),
        ],
    )
    .await;
    rig.wait_for_counter("captures_cut_reason=encoding", 2).await;
    assert_eq!(
        (rig.counter("captures_cut_reason=limit").await, rig.counter("captures_cut_reason=unreadable").await),
        (1, 0)
    );
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
    check(&rig, vec![case("facts", request, answer(), &wanted)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_answers() {
    let rig = Rig::start(json!({})).await;
    let hello = answer_of(&json!({"role": "assistant", "content": "hello"}), "stop").to_string();
    let sse = stream();
    let sse_text = sse.body();
    let error = json!({"error": {"message": "boom", "type": "server_error", "code": "overloaded"}});
    let unfinished = |body: Vec<u8>| Script { framing: Framing::Close, ..stream().pieces(body_of(body)) };
    // Cut inside é, and inside the JSON of the first chunk.
    let in_character = sse_text.iter().position(|byte| *byte == 0xC3).expect("é") + 1;
    let in_json = in_character - 20;
    let tool_calls = json!([{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let message = json!({"role": "assistant", "content": null, "tool_calls": tool_calls});
    let warning = |text: &str| [("level", json!("WARNING")), ("message", json!(text))];
    let no_end = "stream ended without [DONE] or finish_reason";
    let broken_event = [&b"data: {\"choices\":[{\"delta\":{\"content\":\"\xFF\xFE\"}}]}\n\n"[..], &sse_text].concat();
    let not_utf8 = hello
        .replace("hello", "X")
        .into_bytes()
        .iter()
        .flat_map(|byte| if *byte == b'X' { vec![0xFF, 0xFE] } else { vec![*byte] })
        .collect::<Vec<u8>>();
    let mut cases = vec![
        case(
            "null content with tool calls",
            question(),
            Script::json(200, &answer_of(&message, "tool_calls")),
            &[("output", message), ("meta:finish_reason", json!("tool_calls")), ("level", json!("DEFAULT"))],
        ),
        case("no content type", question(), with_type(answer(), None), &whole("hello")),
        case("JSON under event-stream", question(), with_type(answer(), Some("text/event-stream")), &whole("hello")),
        case("SSE under JSON", question(), with_type(stream(), Some("application/json")), &whole("hello é😀")),
        case("SSE without type", question(), with_type(stream(), None), &whole("hello é😀")),
        case("SSE, closing", question(), Script { framing: Framing::Close, ..stream() }, &whole("hello é😀")),
        case("JSON, closing", question(), Script { framing: Framing::Close, ..answer() }, &whole("hello")),
        case("gzip JSON", question(), compressed(answer(), 1), &whole("hello")),
        case(
            "gzip JSON, chunked",
            question(),
            Script { framing: Framing::Chunked, ..compressed(answer(), 2) },
            &whole("hello"),
        ),
        case("gzip SSE", question(), compressed(stream(), 3), &whole("hello é😀")),
        case(
            "says gzip, is plain",
            question(),
            with_encoding(answer(), "gzip"),
            &[
                ("meta:output_note", json!("corrupt content-encoding")),
                ("output", Value::Null),
                ("model", json!("gpt-4o")),
                ("meta:output_bytes", json!(hello.len())),
            ],
        ),
        case(
            "br",
            question(),
            with_encoding(answer().pieces(body_of(*b"\x0b\x02\x80hello\x03")), "br"),
            &[("meta:output_note", json!("not decoded: br")), ("output", Value::Null), ("level", json!("DEFAULT"))],
        ),
        case(
            "200 and nothing",
            question(),
            answer().pieces(Vec::new()),
            &[
                ("meta:status_code", json!(200)),
                ("output", Value::Null),
                ("usage", Value::Null),
                ("meta:usage_source", json!("missing")),
            ],
        ),
        case(
            "204",
            question(),
            Script { status: 204, ..Script::default() },
            &[("meta:status_code", json!(204)), ("output", Value::Null)],
        ),
        case(
            "302",
            question(),
            Script { status: 302, headers: headers(&[("location", "/x")]), ..Script::default() },
            &[("meta:status_code", json!(302))],
        ),
        case(
            "500 in HTML",
            question(),
            with_type(Script::json(500, &Value::Null).pieces(body_of("<html>oops</html>")), Some("text/html")),
            &[
                ("level", json!("ERROR")),
                ("message", json!("500 <html>oops</html>")),
                ("output", json!("<html>oops</html>")),
                ("cost", json!({"total": 0})),
            ],
        ),
        case(
            "500 and nothing",
            question(),
            Script { status: 500, ..Script::default() },
            &[("level", json!("ERROR")), ("cost", json!({"total": 0}))],
        ),
        case(
            "200 with an error",
            question(),
            Script::json(200, &error),
            &[
                ("level", json!("ERROR")),
                ("message", json!("error in the answer: overloaded: boom")),
                ("cost", json!({"total": 0})),
            ],
        ),
        case(
            "error in the stream",
            question(),
            Script::sse(&[events()[0].clone(), error.to_string()], Duration::ZERO),
            &[
                ("level", json!("ERROR")),
                ("message", json!("error in the answer: overloaded: boom")),
                ("text", json!("hel")),
            ],
        ),
        case(
            "error event",
            question(),
            stream().pieces(body_of(format!("event: error\ndata: {error}\n\n"))),
            &[("level", json!("ERROR")), ("message", json!("error in the answer: overloaded: boom"))],
        ),
        case(
            "length",
            question(),
            Script::json(200, &answer_of(&json!({"role": "assistant", "content": "hello"}), "length")),
            &warning("answer truncated: length"),
        ),
        case(
            "length, streamed",
            question(),
            Script::sse(&[events()[0].clone(), delta("", &json!("length")), "[DONE]".into()], Duration::ZERO),
            &warning("answer truncated: length"),
        ),
        case("closed inside a character", question(), unfinished(sse_text[..in_character].to_vec()), &warning(no_end)),
        case(
            "closed inside JSON",
            question(),
            unfinished(sse_text[..in_json].to_vec()),
            &[
                ("level", json!("WARNING")),
                ("message", json!(no_end)),
                ("text", json!("hel")),
                ("usage", Value::Null),
                ("meta:stream_complete", json!(false)),
            ],
        ),
        case(
            "an event that is not UTF-8",
            question(),
            stream().pieces(body_of(broken_event)),
            &[("text", json!("hello é😀")), ("meta:unread_messages", json!(1)), ("usage", usage())],
        ),
        case(
            "an answer that is not UTF-8",
            question(),
            answer().pieces(body_of(not_utf8)),
            &[("usage", usage()), ("model", json!("gpt-4o-2024-08-06"))],
        ),
        case(
            "choices of another type",
            question(),
            Script::json(200, &json!({"choices": {"a": 1}, "usage": "many", "model": 7})),
            &[("level", json!("DEFAULT")), ("model", json!("gpt-4o")), ("usage", Value::Null)],
        ),
        case("zero bytes", question(), answer().pieces(body_of(vec![0; 3000])), &[("meta:status_code", json!(200))]),
        case(
            "half JSON, closing",
            question(),
            Script { framing: Framing::Close, ..answer().pieces(body_of(&hello[..hello.len() - 70])) },
            &[("level", json!("WARNING")), ("text", json!("hello"))],
        ),
        case(
            "SSE closed before the first chunk",
            question(),
            unfinished(b": ping\n\n".to_vec()),
            &[("level", json!("WARNING"))],
        ),
    ];
    for (seed, (what, script)) in
        [("JSON in odd pieces", answer()), ("SSE in odd pieces", stream())].into_iter().enumerate()
    {
        let text = if what.starts_with('J') { "hello" } else { "hello é😀" };
        let pieces = pieces_at_odd_places(&script.body(), seed as u64);
        cases.push(case(what, question(), script.pieces(pieces), &whole(text)));
    }
    check(&rig, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies() {
    let rig = Rig::start(json!({})).await;
    let prompt = "p".repeat(50 * MIB);
    let request =
        raw(format!(r#"{{"model":"gpt-large","messages":[{{"role":"user","content":"{prompt}"}}],"user":"late"}}"#));
    let size = request.body.len();
    let text =
        |mib: usize| answer_of(&json!({"role": "assistant", "content": "t".repeat(mib * MIB)}), "stop").to_string();
    let (ten, twenty) = (text(10), text(20));
    let long_stream: Vec<String> = (0..200).map(|_| delta(&"s".repeat(20_000), &Value::Null)).chain(events()).collect();
    let sizes = (ten.len(), twenty.len());
    check(
        &rig,
        vec![
            case(
                "50 MB request",
                request,
                answer(),
                &[
                    ("level", json!("DEFAULT")),
                    ("text", json!("hello")),
                    ("meta:request_model", json!("gpt-large")),
                    ("usage", usage()),
                    ("meta:input_bytes", json!(size)),
                    ("meta:input_note", json!("longer than is looked at (16 MiB)")),
                ],
            ),
            case(
                "10 MB answer",
                question(),
                answer().pieces(body_of(ten)),
                &[
                    ("level", json!("DEFAULT")),
                    ("usage", usage()),
                    ("meta:output_bytes", json!(sizes.0)),
                    ("meta:output_note", json!("cut at its limit")),
                ],
            ),
            case(
                "20 MB answer",
                question(),
                answer().pieces(body_of(twenty)),
                &[
                    // What stands behind 16 MiB (here the model that answered and the usage) is not looked at.
                    ("level", json!("DEFAULT")),
                    ("model", json!("gpt-4o")),
                    ("usage", Value::Null),
                    ("meta:output_bytes", json!(sizes.1)),
                    ("meta:output_note", json!("longer than is looked at (16 MiB)")),
                ],
            ),
            case(
                "4 MB stream",
                question(),
                Script::sse(&long_stream, Duration::ZERO),
                &[("level", json!("DEFAULT")), ("usage", usage()), ("meta:output_note", json!("cut at its limit"))],
            ),
            case(
                "bomb",
                question(),
                with_encoding(answer().pieces(body_of(gzip(&vec![b' '; 40 * MIB]))), "gzip"),
                &[("meta:status_code", json!(200))],
            ),
        ],
    )
    .await;
    rig.wait_until_settled(5).await;
    assert_eq!(rig.dropped().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_not_traced_pass_and_are_counted() {
    let rig = Rig::start(json!({})).await;
    let with = |method: &str, path: &str| Request { method: method.into(), path: path.into(), ..Request::default() };
    for method in ["GET", "OPTIONS", "DELETE"] {
        assert_eq!(rig.replay(with(method, CHAT), answer()).await.status, 200);
    }
    let (id, head) = rig.scripted(with("HEAD", CHAT), answer());
    let response = client::send(rig.envoy.addr(), head.clone()).await;
    rig.assert_passed(&id, &head).await;
    assert_eq!((response.status, response.body.len()), (200, 0));
    rig.wait_for_counter("calls_skipped_reason=method", 4).await;

    for path in ["/", "/v1/chat/completions-log", "/x?y=/v1/chat/completions", "/v1/chat/completions%20"] {
        rig.replay(Request { path: path.into(), ..question() }, answer()).await;
    }
    rig.wait_for_counter("calls_skipped_reason=not_ai", 4).await;
    for path in ["/v1/models", "/health/v1/chat/completions"] {
        rig.replay(Request { path: path.into(), ..question() }, answer()).await;
    }
    rig.wait_for_counter("calls_skipped_reason=ignored_path", 2).await;

    let upgrade =
        |method: &str| with(method, CHAT).with_header("connection", "Upgrade").with_header("upgrade", "websocket");
    for method in ["GET", "POST"] {
        let (_, request) = rig.scripted(upgrade(method), Script::upgrade());
        let payload: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let (response, echoed) = client::upgrade(rig.envoy.addr(), request, &payload).await;
        assert!(response.status == 101 && echoed == payload, "{method}: {}", response.status);
    }
    rig.wait_for_counter("calls_skipped_reason=upgrade", 1).await;
    rig.wait_for_counter("calls_skipped_reason=method", 5).await;
    assert_eq!((rig.counter("traces_offered").await, rig.langfuse.spans().len()), (0, 0));
}

/// Sends `request`, leaves where `at` says, and gives the trace.
async fn abort(rig: &Rig, script: Script, at: AbortAt) -> Span {
    let (_, request) = rig.scripted(question(), script);
    client::send_and_abort(rig.envoy.addr(), request, at).await;
    rig.take_span().await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave() {
    let rig = Rig::start(json!({})).await;
    let hanging = |count: usize| Script::sse(&events()[..count], Duration::ZERO).ending(Ending::Hang);
    let asked = ("input", json!([{"role": "user", "content": "hi"}]));
    let left = |when: &str| {
        [("level", json!("WARNING")), ("message", json!(format!("client disconnected {when}"))), ("usage", Value::Null)]
    };
    let late = Script { delay_before_head: Duration::from_secs(60), ..answer() };
    let whole_length = stream().body().len();

    let mut wrong = Vec::new();
    let span = abort(&rig, late, AbortAt::BeforeResponse).await;
    wrong.extend(unwanted("before the answer", &span, &left("before the answer")));
    wrong.extend(unwanted(
        "before the answer",
        &span,
        &[asked, ("output", Value::Null), ("meta:status_code", Value::Null), ("model", json!("gpt-4o"))],
    ));
    let long = chat(&json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "y".repeat(10_000)}]}));
    client::send_and_abort(rig.envoy.addr(), long, AbortAt::RequestBytes(5000)).await;
    let span = rig.take_span().await;
    wrong.extend(unwanted("in the request", &span, &left("before the answer")));
    let span = abort(&rig, hanging(0), AbortAt::ResponseHeaders).await;
    wrong.extend(unwanted("after the head", &span, &left("mid-stream")));
    wrong.extend(unwanted("after the head", &span, &[("meta:status_code", json!(200)), ("output", Value::Null)]));
    let span = abort(&rig, hanging(1), AbortAt::ResponseBytes(1)).await;
    wrong.extend(unwanted("mid-stream", &span, &left("mid-stream")));
    wrong.extend(unwanted("mid-stream", &span, &[("text", json!("hel")), ("meta:stream_complete", json!(false))]));
    let half = answer_of(&json!({"role": "assistant", "content": "hello"}), "stop").to_string()[..130].to_owned();
    let span = abort(&rig, answer().pieces(body_of(half)).ending(Ending::Hang), AbortAt::ResponseBytes(130)).await;
    wrong.extend(unwanted("in a JSON answer", &span, &left("mid-stream")));
    let span = abort(&rig, hanging(5), AbortAt::ResponseBytes(whole_length)).await;
    wrong.extend(unwanted("after [DONE]", &span, &whole("hello é😀")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_dies_in_the_middle() {
    let rig = Rig::start(json!({})).await;
    let mut wrong = Vec::new();
    let body = stream().body();
    let in_character = body.iter().position(|byte| *byte == 0xC3).expect("é") + 1;
    let cut = |at: usize| stream().pieces(body_of(&body[..at]));
    for ending in [Ending::Cut, Ending::Reset] {
        for (what, script) in [
            ("chunked, in a character", cut(in_character)),
            ("chunked, in JSON", cut(in_character - 20)),
            ("content-length", Script { framing: Framing::ContentLength, ..cut(in_character) }),
        ] {
            let (_, request) = rig.scripted(question(), script.ending(ending));
            let response = client::send(rig.envoy.addr(), request).await;
            assert!(response.status == 200 && !response.complete, "{what} {ending:?}");
            assert!(body.starts_with(&response.body), "{what} {ending:?}: other bytes");
            let span = rig.take_span().await;
            let wanted = [
                ("level", json!("ERROR")),
                ("text", json!("hel")),
                ("usage", Value::Null),
                ("cost", json!({"total": 0})),
                ("meta:stream_complete", json!(false)),
            ];
            wrong.extend(unwanted(&format!("{what} {ending:?}"), &span, &wanted));
        }
    }
    // All has been said: what the connection does then is no matter.
    let (_, request) = rig.scripted(question(), stream().ending(Ending::Reset));
    client::send(rig.envoy.addr(), request).await;
    wrong.extend(unwanted("reset behind [DONE]", &rig.take_span().await, &whole("hello é😀")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Takes one request and resets the connection.
async fn reset_one(listener: &TcpListener) {
    let (mut stream, _): (TcpStream, SocketAddr) = listener.accept().await.expect("a connection");
    let mut buffer = [0; 1024];
    let _ = stream.read(&mut buffer).await;
    let _ = stream.flush().await;
    let _ = stream.set_zero_linger();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_never_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("its address");
    let rig = Rig::start_with(json!({}), |options| options.upstream = addr.into()).await;
    let (response, ()) = tokio::join!(client::send(rig.envoy.addr(), question()), reset_one(&listener));
    assert_eq!(response.status, 503);
    let failed = [
        ("level", json!("ERROR")),
        ("meta:status_code", json!(503)),
        ("cost", json!({"total": 0})),
        ("usage", Value::Null),
        ("model", json!("gpt-4o")),
    ];
    let mut wrong = unwanted("reset", &rig.take_span().await, &failed);

    drop(listener);
    let response = client::send(rig.envoy.addr(), question()).await;
    assert_eq!(response.status, 503);
    let span = rig.take_span().await;
    wrong.extend(unwanted("refused", &span, &failed));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let message = span.text("langfuse.observation.status_message").unwrap_or_default();
    assert!(message.starts_with("503 ") && message.contains("upstream"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_on_one_connection() {
    let rig = Rig::start(json!({})).await;
    rig.upstream.fallback(|request| {
        let asked: Value = serde_json::from_slice(request.body.as_deref()?).ok()?;
        let text = asked["messages"][0]["content"].as_str()?.to_owned();
        Some(match asked["stream"] == json!(true) {
            true => {
                Script::sse(&[delta(&text, &Value::Null), delta("", &json!("stop")), "[DONE]".into()], Duration::ZERO)
            }
            false => Script::json(200, &answer_of(&json!({"role": "assistant", "content": text}), "stop")),
        })
    });
    let make = |n: usize| {
        chat(
            &json!({"model": "gpt-4o", "stream": n.is_multiple_of(2), "messages": [{"role": "user", "content": format!("question {n}")}]}),
        )
    };
    let results = client::burst(rig.envoy.addr(), 50, 1, make).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|answer: &Response| answer.status == 200)));
    assert_eq!(rig.envoy.stat("http.listener_0.downstream_cx_total").await, 1, "one connection");
    let spans = rig.take_spans(50).await;
    let mut ids: Vec<_> = spans.iter().map(|span| (&span.trace_id, &span.span_id)).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 50);
    for span in &spans {
        assert_eq!(span.input()[0]["content"], span.output()["content"], "question and answer belong together");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_budget_that_is_used_up_costs_content_and_no_call() {
    let rig = Rig::start(json!({"memory_budget": MIB})).await;
    rig.upstream.fallback(|_| Some(Script { delay_before_head: Duration::from_millis(300), ..answer() }));
    let prompt = "p".repeat(400_000);
    let make = move |n: usize| {
        chat(&json!({"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}], "user": format!("u{n}")}))
    };
    let results = client::burst(rig.envoy.addr(), 40, 20, make).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|answer: &Response| answer.status == 200)));
    rig.wait_until_settled(40).await;
    assert!(rig.counter("captures_cut_reason=memory").await > 0);
    let spans =
        rig.langfuse.wait_for_spans(usize::try_from(rig.counter("traces_sent").await).expect("few"), SOON).await;
    rig.langfuse.assert_no_violations();
    let noted = |span: &&Span| span.metadata("input_note") == Some(json!("not kept: memory_budget used up"));
    let cut: Vec<&Span> = spans.iter().filter(noted).collect();
    assert!(!cut.is_empty(), "a gap is said");
    // A trace without content needs next to nothing: none is lost.
    assert_eq!(
        rig.dropped().await,
        0,
        "{:?}",
        rig.envoy.stats().await.iter().filter(|(name, _)| name.contains("dropped")).collect::<Vec<_>>()
    );
    for span in cut {
        let wanted = [("level", json!("DEFAULT")), ("usage", usage()), ("model", json!("gpt-4o-2024-08-06"))];
        let wrong = unwanted("short of memory", span, &wanted);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    // Memory comes back with the end of the calls.
    rig.langfuse.clear();
    let (id, request) = rig.scripted(question(), stream());
    client::send(rig.envoy.addr(), request.clone()).await;
    rig.assert_passed(&id, &request).await;
    let wrong = unwanted("afterwards", &rig.take_span().await, &whole("hello é😀"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_not_held_up() {
    let rig = Rig::start(json!({})).await;
    let (_, request) = rig.scripted(question(), Script::sse(&events()[..1], Duration::ZERO).ending(Ending::Hang));
    let mut exchange = Exchange::open(rig.envoy.addr(), request).await;
    // The upstream says no more: what it has said must have come through.
    assert!(tokio::time::timeout(SOON, exchange.read_at_least(20)).await.expect("in time").expect("a body"));
}

/// A frame of HTTP/2 (RFC 9113 section 4.1) on stream 1, or 0 for settings.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let stream = u8::from(kind != 4);
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Literal header fields without indexing (RFC 7541 section 6.2.2).
fn hpack(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cancels_an_http2_stream() {
    const HEADERS: u8 = 1;
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let rig = Rig::start(json!({})).await;
    let (id, _) = rig.scripted(question(), Script::sse(&events()[..1], Duration::ZERO).ending(Ending::Hang));
    let fields =
        [(":method", "POST"), (":scheme", "http"), (":path", CHAT), (":authority", "a"), ("x-replay-id", id.as_str())];
    let mut socket = TcpStream::connect(rig.envoy.addr()).await.expect("a connection");
    let request = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, &[]),
        frame(HEADERS, 4, &hpack(&fields)),
        frame(0, 1, &question().body),
    ]
    .concat();
    socket.write_all(&request).await.expect("the request");
    let mut received = Vec::new();
    while !received.windows(3).any(|bytes| bytes == b"hel") {
        assert!(socket.read_buf(&mut received).await.expect("the answer") > 0, "closed before the content");
    }
    socket.write_all(&frame(3, 0, &CANCEL)).await.expect("RST_STREAM");
    let wanted =
        [("level", json!("WARNING")), ("message", json!("client disconnected mid-stream")), ("text", json!("hel"))];
    let wrong = unwanted("RST_STREAM", &rig.take_span().await, &wanted);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `bytes` with some replaced, doubled or taken away; the same for the same seed (SplitMix64).
fn mutated(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut random = |below: usize| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        usize::try_from((mixed ^ (mixed >> 27)) % (below.max(1) as u64)).unwrap_or(0)
    };
    const HOSTILE: &[u8] = b"\0\"\\{}[],:\r\n\xFF\xC3\xF0-.e9";
    let mut out = bytes.to_vec();
    for _ in 0..1 + random(8) {
        let at = random(out.len());
        match random(4) {
            0 => out[at] = HOSTILE[random(HOSTILE.len())],
            1 => out.truncate(at.max(1)),
            2 => {
                let piece = out[at..(at + 1 + random(40)).min(out.len())].to_vec();
                out.splice(at..at, piece);
            }
            _ => out.insert(at, HOSTILE[random(HOSTILE.len())]),
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn mutated_calls_pass_and_each_becomes_a_trace() {
    const CALLS: u64 = 400;
    let rig = Rig::start(json!({"log_level": "warn"})).await;
    let generated = Script {
        framing: Framing::Chunked,
        ..Script::json(200, &Value::Null).pieces(body_of("{\"text\":[\"a b\"]}\n{\"text\":[\"a b c\"]}\n"))
    };
    let embedded = Script::json(
        200,
        &json!({"model": "e", "data": [{"index": 0, "embedding": [0.5, -1e-3]}], "usage": {"total_tokens": 3}}),
    );
    let kinds = [
        (CHAT, answer()),
        (CHAT, stream()),
        ("/generate", generated),
        ("/v1/embeddings", embedded),
        (CHAT, compressed(stream(), 9)),
        ("/v1/completions", answer()),
    ];
    for seed in 0..CALLS {
        let (path, script) = &kinds[usize::try_from(seed).expect("small") % kinds.len()];
        let body = question().body;
        let request = Request {
            path: (*path).to_owned(),
            body: if seed.is_multiple_of(2) { mutated(&body, seed) } else { body },
            ..question()
        };
        let pieces = pieces_at_odd_places(&mutated(&script.body(), seed), seed)
            .into_iter()
            .map(|piece| Piece { delay_before: Duration::ZERO, ..piece });
        rig.replay(request, script.clone().pieces(pieces.collect())).await;
    }
    rig.wait_until_settled(CALLS).await;
    assert!(rig.langfuse.violations().is_empty(), "{:#?}", rig.langfuse.violations());
    assert_eq!((rig.langfuse.spans().len() as u64, rig.dropped().await), (CALLS, 0));
    let log = rig.envoy.terminate().await;
    assert!(!log.contains("internal error") && !log.contains("Proxy-Wasm plugin in-VM backtrace"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_whose_lines_do_not_end_stay_within_the_budget() {
    const STREAMS: usize = 120;
    let rig = Rig::start(json!({"memory_budget": MIB})).await;
    let endless =
        stream().pieces(vec![Piece::from([&b"data: "[..], &vec![b'x'; 900_000]].concat())]).ending(Ending::Hang);
    let open = async |rig: &Rig| {
        let (_, request) = rig.scripted(question(), endless.clone());
        let mut exchange = Exchange::open(rig.envoy.addr(), request).await;
        assert!(exchange.read_at_least(900_000).await.expect("a body"));
        exchange
    };
    let first = open(&rig).await;
    let before = rig.envoy.memory_bytes();
    let mut others = Vec::new();
    for _ in 1..STREAMS {
        others.push(open(&rig).await);
    }
    let grown = rig.envoy.memory_bytes().saturating_sub(before);
    drop((first, others));
    rig.wait_for_counter("traces_offered", STREAMS as u64).await;
    assert!(grown < 40 * MIB as u64, "{} MiB more for {STREAMS} streams, with a budget of 1 MiB", grown / MIB as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_traced_while_others_hold_all_memory() {
    let rig = Rig::start(json!({"memory_budget": MIB})).await;
    let asking =
        |size: usize| chat(&json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "p".repeat(size)}]}));
    let mut holders = Vec::new();
    for size in [vec![300_000; 6], vec![8000; 40], vec![1000; 40], vec![10; 40]].concat() {
        let (_, request) = rig.scripted(asking(size), stream().pieces(body_of(": wait\n\n")).ending(Ending::Hang));
        let mut exchange = Exchange::open(rig.envoy.addr(), request).await;
        exchange.read_at_least(1).await.expect("the head");
        holders.push(exchange);
    }
    let held = holders.len() as u64;
    rig.replay(asking(200), answer()).await;
    rig.wait_for_counter("traces_offered", 1).await;
    rig.wait_until_settled(1).await;
    assert_eq!(rig.dropped().await, 0, "a trace without content needs next to nothing");
    let wanted = [
        ("level", json!("DEFAULT")),
        ("model", json!("gpt-4o-2024-08-06")),
        ("usage", usage()),
        ("meta:request_model", json!("gpt-4o")),
    ];
    let wrong = unwanted("without memory", &rig.take_span().await, &wanted);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    drop(holders);
    rig.wait_until_settled(held + 1).await;
    rig.langfuse.assert_no_violations();
}
