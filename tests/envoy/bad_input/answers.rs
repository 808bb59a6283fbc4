//! Odd answers: under wrong labels, encoded, cut in pieces, failed, unfinished, broken.

use std::time::Duration;

use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use testkit::http1::headers;
use testkit::upstream::{Framing, Script, pieces_at_odd_places};

use super::case::{Case, case, check};
use crate::calls::{
    answer, answer_of, body_of, compressed, delta, events, gzip, inside_character, inside_json, question, saying,
    stream, usage, whole, with_encoding, with_type,
};
use crate::rig::Rig;

/// An answer to the plain question.
fn answered(what: &'static str, script: Script, wanted: &[(&'static str, Value)]) -> Case {
    case(what, question(), script, wanted)
}

fn warning(text: &str) -> [(&'static str, Value); 2] {
    [("level", json!("WARNING")), ("message", json!(text))]
}

fn closing(script: Script) -> Script {
    Script { framing: Framing::Close, ..script }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_answers() {
    let rig = Rig::start(json!({})).await;
    let cases = [
        shapes(),
        types_and_framings(),
        encodings(),
        statuses(),
        errors_under_200(),
        truncated(),
        unfinished(),
        broken_bytes(),
        odd_pieces(),
    ];
    check(&rig, cases.concat()).await;
}

fn shapes() -> Vec<Case> {
    let tool_calls = json!([{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let message = json!({"role": "assistant", "content": null, "tool_calls": tool_calls});
    vec![
        answered(
            "null content with tool calls",
            Script::json(200, &answer_of(&message, "tool_calls")),
            &[("output", message), ("meta:finish_reason", json!("tool_calls")), ("level", json!("DEFAULT"))],
        ),
        answered(
            "choices of another type",
            Script::json(200, &json!({"choices": {"a": 1}, "usage": "many", "model": 7})),
            &[("level", json!("DEFAULT")), ("model", json!("gpt-4o")), ("usage", Value::Null)],
        ),
    ]
}

fn types_and_framings() -> Vec<Case> {
    vec![
        answered("no content type", with_type(answer(), None), &whole("hello")),
        answered("JSON under event-stream", with_type(answer(), Some("text/event-stream")), &whole("hello")),
        answered("SSE under JSON", with_type(stream(), Some("application/json")), &whole("hello é😀")),
        answered("SSE without type", with_type(stream(), None), &whole("hello é😀")),
        answered("SSE, closing", closing(stream()), &whole("hello é😀")),
        answered("JSON, closing", closing(answer()), &whole("hello")),
    ]
}

fn encodings() -> Vec<Case> {
    let chunked = Script { framing: Framing::Chunked, ..compressed(answer(), 2) };
    let zstd = compress_to_vec(stream().body().as_slice(), CompressionLevel::Fastest);
    let zstd = pieces_at_odd_places(&zstd, 4);
    vec![
        answered("gzip JSON", compressed(answer(), 1), &whole("hello")),
        answered("gzip JSON, chunked", chunked, &whole("hello")),
        answered("gzip SSE", compressed(stream(), 3), &whole("hello é😀")),
        answered("zstd SSE", with_encoding(stream().pieces(zstd), "zstd"), &whole("hello é😀")),
        answered(
            "says gzip, is plain",
            with_encoding(answer(), "gzip"),
            &noted("content-encoding says gzip; the body is not compressed", answer().body().len()),
        ),
        answered(
            "says nothing, is gzip",
            answer().pieces(body_of(gzip(&answer().body()))),
            &noted("content-encoding says nothing; the body is gzip", gzip(&answer().body()).len()),
        ),
        answered(
            "br",
            with_encoding(answer().pieces(body_of(*b"\x0b\x02\x80hello\x03")), "br"),
            &[("meta:output_note", json!("not decoded: br")), ("output", Value::Null), ("level", json!("DEFAULT"))],
        ),
    ]
}

/// An answer that is read, and what is said of its encoding.
fn noted(note: &str, bytes: usize) -> Vec<(&'static str, Value)> {
    let mut expected = whole("hello").to_vec();
    expected.extend([("meta:output_note", json!(note)), ("meta:output_bytes", json!(bytes))]);
    expected
}

fn statuses() -> Vec<Case> {
    let html = Script::json(500, &Value::Null).pieces(body_of("<html>oops</html>"));
    vec![
        answered(
            "200 and nothing",
            answer().pieces(Vec::new()),
            &[
                ("meta:status_code", json!(200)),
                ("output", Value::Null),
                ("usage", Value::Null),
                ("meta:usage_source", json!("missing")),
            ],
        ),
        answered(
            "204",
            Script { status: 204, ..Script::default() },
            &[("meta:status_code", json!(204)), ("output", Value::Null)],
        ),
        answered(
            "302",
            Script { status: 302, headers: headers(&[("location", "/x")]), ..Script::default() },
            &[("meta:status_code", json!(302))],
        ),
        answered(
            "500 in HTML",
            with_type(html, Some("text/html")),
            &[
                ("level", json!("ERROR")),
                ("message", json!("500 <html>oops</html>")),
                ("output", json!("<html>oops</html>")),
                ("cost", json!({"total": 0})),
            ],
        ),
        answered(
            "500 and nothing",
            Script { status: 500, ..Script::default() },
            &[("level", json!("ERROR")), ("cost", json!({"total": 0}))],
        ),
    ]
}

fn errors_under_200() -> Vec<Case> {
    let error = json!({"error": {"message": "boom", "type": "server_error", "code": "overloaded"}});
    let said = [("level", json!("ERROR")), ("message", json!("error in the answer: overloaded: boom"))];
    let and = |more: (&'static str, Value)| [&said[..], &[more]].concat();
    vec![
        answered("200 with an error", Script::json(200, &error), &and(("cost", json!({"total": 0})))),
        answered(
            "error in the stream",
            Script::sse(&[events()[0].clone(), error.to_string()], Duration::ZERO),
            &and(("text", json!("hel"))),
        ),
        answered("error event", stream().pieces(body_of(format!("event: error\ndata: {error}\n\n"))), &said),
    ]
}

fn truncated() -> Vec<Case> {
    let wanted = warning("answer truncated: length");
    vec![
        answered("length", Script::json(200, &saying("hello", "length")), &wanted),
        answered(
            "length, streamed",
            Script::sse(&[events()[0].clone(), delta("", &json!("length")), "[DONE]".into()], Duration::ZERO),
            &wanted,
        ),
    ]
}

fn unfinished() -> Vec<Case> {
    let (json, sse) = (answer().body(), stream().body());
    let closed_stream = |bytes: &[u8]| closing(stream().pieces(body_of(bytes)));
    let no_end = warning("stream ended without [DONE] or finish_reason");
    let first_event = [("text", json!("hel")), ("usage", Value::Null), ("meta:stream_complete", json!(false))];
    vec![
        answered("closed inside a character", closed_stream(&sse[..inside_character()]), &no_end),
        answered("closed inside JSON", closed_stream(&sse[..inside_json()]), &[&no_end[..], &first_event[..]].concat()),
        answered(
            "half JSON, closing",
            closing(answer().pieces(body_of(&json[..json.len() - 70]))),
            &[("level", json!("WARNING")), ("text", json!("hello"))],
        ),
        answered("SSE closed before the first chunk", closed_stream(b": ping\n\n"), &[("level", json!("WARNING"))]),
    ]
}

fn broken_bytes() -> Vec<Case> {
    let broken_event = b"data: {\"choices\":[{\"delta\":{\"content\":\"\xFF\xFE\"}}]}\n\n";
    let not_utf8: Vec<u8> = saying("X", "stop")
        .to_string()
        .bytes()
        .flat_map(|byte| if byte == b'X' { vec![0xFF, 0xFE] } else { vec![byte] })
        .collect();
    vec![
        answered(
            "an event that is not UTF-8",
            stream().pieces(body_of([&broken_event[..], &stream().body()].concat())),
            &[("text", json!("\u{FFFD}\u{FFFD}hello é😀")), ("usage", usage())],
        ),
        answered(
            "an answer that is not UTF-8",
            answer().pieces(body_of(not_utf8)),
            &[("usage", usage()), ("model", json!("gpt-4o-2024-08-06"))],
        ),
        answered("zero bytes", answer().pieces(body_of(vec![0; 3000])), &[("meta:status_code", json!(200))]),
    ]
}

fn odd_pieces() -> Vec<Case> {
    let cut = |script: Script, seed: u64| {
        let pieces = pieces_at_odd_places(&script.body(), seed);
        script.pieces(pieces)
    };
    vec![
        answered("JSON in odd pieces", cut(answer(), 0), &whole("hello")),
        answered("SSE in odd pieces", cut(stream(), 1), &whole("hello é😀")),
    ]
}
