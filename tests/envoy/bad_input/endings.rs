//! Calls that end before their answer does: the client leaves, the upstream dies, or never answers.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::client::{self, AbortAt};
use testkit::langfuse::Span;
use testkit::upstream::{Ending, Framing, Script};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::calls::{
    CHAT, answer, asking, body_of, events, inside_character, inside_json, question, saying, stream, whole,
};
use crate::rig::{Rig, unwanted};

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
    let long = asking(&"y".repeat(10_000));
    client::send_and_abort(rig.envoy.addr(), long, AbortAt::RequestBytes(5000)).await;
    let span = rig.take_span().await;
    wrong.extend(unwanted("in the request", &span, &left("before the answer")));
    let span = abort(&rig, hanging(0), AbortAt::ResponseHeaders).await;
    wrong.extend(unwanted("after the head", &span, &left("mid-stream")));
    wrong.extend(unwanted("after the head", &span, &[("meta:status_code", json!(200)), ("output", Value::Null)]));
    let span = abort(&rig, hanging(1), AbortAt::ResponseBytes(1)).await;
    wrong.extend(unwanted("mid-stream", &span, &left("mid-stream")));
    wrong.extend(unwanted("mid-stream", &span, &[("text", json!("hel")), ("meta:stream_complete", json!(false))]));
    let half = saying("hello", "stop").to_string()[..130].to_owned();
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
    let cut = |at: usize| stream().pieces(body_of(&body[..at]));
    for ending in [Ending::Cut, Ending::Reset] {
        // What had arrived of the last event is read.
        for (what, text, script) in [
            ("chunked, in a character", "hello ", cut(inside_character())),
            ("chunked, in JSON", "hel", cut(inside_json())),
            ("content-length", "hello ", Script { framing: Framing::ContentLength, ..cut(inside_character()) }),
        ] {
            let (_, request) = rig.scripted(question(), script.ending(ending));
            let response = client::send(rig.envoy.addr(), request).await;
            assert!(response.status == 200 && !response.complete, "{what} {ending:?}");
            assert!(body.starts_with(&response.body), "{what} {ending:?}: other bytes");
            let span = rig.take_span().await;
            let wanted = [
                ("level", json!("ERROR")),
                ("text", json!(text)),
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
    let message = span.message().unwrap_or_default();
    assert!(message.starts_with("503 ") && message.contains("upstream"), "{message}");
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
