//! Scripted answers arrive as scripted: borders, framings, endings; and the raw client sees it all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test equipment: a failed assumption must stop the run"
)]

use serde_json::json;
use std::time::Duration;
use testkit::cassettes::{Cassette, load};
use testkit::client::{AbortAt, Exchange, Request, burst, post_json, send, send_and_abort, upgrade};
use testkit::upstream::{
    BenchUpstream, Ending, Framing, KEPT_BODY, Piece, REPLAY_HEADER, Script, Upstream, pieces_at_odd_places,
};

const SOON: Duration = Duration::from_secs(5);

fn replay(id: &str) -> Request {
    Request { method: "POST".into(), path: "/v1/chat/completions?x=1".into(), ..Request::default() }
        .with_header(REPLAY_HEADER, id)
}

fn script(framing: Framing, ending: Ending) -> Script {
    let pieces = ["data: one\n\n", "data: two\n\n", "data: three\n\n"].map(Piece::from).to_vec();
    Script { status: 200, pieces, framing, ending, ..Script::default() }
}

#[tokio::test]
async fn every_framing_delivers_the_body() {
    let upstream = Upstream::start().await;
    for framing in [Framing::ContentLength, Framing::Chunked, Framing::Close] {
        let script = script(framing, Ending::Complete);
        upstream.script("s", script.clone());
        let answer = send(upstream.addr(), replay("s")).await;
        assert_eq!((answer.status, answer.complete, answer.body), (200, true, script.body()), "{framing:?}");
        if framing == Framing::Chunked {
            assert_eq!(answer.chunks, 3);
        }
    }
}

#[tokio::test]
async fn broken_endings_are_incomplete() {
    let upstream = Upstream::start().await;
    for framing in [Framing::ContentLength, Framing::Chunked] {
        for ending in [Ending::Cut, Ending::Reset] {
            let script = script(framing, ending);
            upstream.script("s", script.clone());
            let answer = send(upstream.addr(), replay("s")).await;
            assert_eq!((answer.complete, answer.body), (false, script.body()), "{framing:?} {ending:?}");
        }
    }
}

#[tokio::test]
async fn delayed_pieces_arrive_as_separate_reads() {
    let upstream = Upstream::start().await;
    let delay = Duration::from_millis(20);
    let pieces = ["one", "two", "three"].map(|text| Piece { bytes: text.into(), delay_before: delay }).to_vec();
    upstream.script("s", script(Framing::ContentLength, Ending::Complete).pieces(pieces));
    let answer = send(upstream.addr(), replay("s")).await;
    assert_eq!((answer.chunks, answer.text().as_str()), (3, "onetwothree"));
    assert!(answer.duration >= 3 * delay && answer.time_to_first_byte.unwrap() < answer.duration);
}

#[tokio::test]
async fn clients_that_leave_are_noticed() {
    let upstream = Upstream::start().await;
    upstream.script("s", script(Framing::Chunked, Ending::Hang));
    for at in [AbortAt::ResponseHeaders, AbortAt::ResponseBytes(12)] {
        let answer = send_and_abort(upstream.addr(), replay("s"), at).await;
        assert_eq!((answer.status, answer.complete), (200, false));
    }
    upstream.wait_until_gone("s", 2, SOON).await;
    let mut exchange = Exchange::open(upstream.addr(), replay("s")).await;
    assert_eq!(exchange.status().await.unwrap(), 200);
    assert!(exchange.read_at_least(20).await.unwrap() && exchange.body().starts_with(b"data: one"));
    drop(exchange);
    upstream.wait_until_gone("s", 3, SOON).await;
    send_and_abort(upstream.addr(), replay("s"), AbortAt::RequestBytes(10)).await;
    assert_eq!(upstream.received("s").len(), 3);
}

#[tokio::test]
async fn requests_are_kept_as_they_came() {
    let upstream = Upstream::start().await;
    let body = "prompt ".repeat(5000).into_bytes();
    let request = Request { body: body.clone(), ..replay("s") }.with_header("x-raw", b"caf\xe9".to_vec());
    send(upstream.addr(), request.clone()).await;
    send(upstream.addr(), request.with_header("transfer-encoding", "chunked")).await;
    for received in upstream.wait_for_received("s", 2, SOON).await {
        assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", "/v1/chat/completions?x=1"));
        assert!(received.headers.contains(&("x-raw".into(), b"caf\xe9".to_vec())));
        assert_eq!(received.body.as_deref(), Some(body.as_slice()));
    }
    let large = vec![b'x'; KEPT_BODY + 1];
    send(upstream.addr(), Request { body: large.clone(), ..replay("large") }).await;
    let received = &upstream.received("large")[0];
    assert!(received.body.is_none() && received.has_body(&large) && !received.has_body(&body));
}

#[tokio::test]
async fn head_unknown_ids_fallback_and_upgrade() {
    let upstream = Upstream::start().await;
    assert_eq!(send(upstream.addr(), replay("nobody")).await.status, 404);
    upstream.script("s", script(Framing::ContentLength, Ending::Complete));
    let head = send(upstream.addr(), Request { method: "HEAD".into(), ..replay("s") }).await;
    assert_eq!((head.status, head.complete, head.body.len()), (200, true, 0));
    upstream.fallback(|request| (request.path == "/hello").then(|| Script::json(201, &json!({"hello": 1}))));
    let answer = post_json(upstream.addr(), "/hello", &json!({"a": 1}), &[("x-user-id", "u")]).await;
    assert_eq!((answer.status, answer.json()["hello"].as_u64()), (201, Some(1)));
    assert_eq!(upstream.received("")[0].header("x-user-id"), Some("u"));
    upstream.script("ws", Script::upgrade());
    let request = replay("ws").with_header("connection", "upgrade").with_header("upgrade", "websocket");
    let (answer, echoed) = upgrade(upstream.addr(), request, b"hello").await;
    assert_eq!((answer.status, echoed.as_slice()), (101, b"hello".as_slice()));
}

#[test]
fn odd_pieces_cut_where_it_hurts() {
    let body = "data: {\"text\":\"größe 🙂 日本\"}\r\n\r\n".repeat(30).into_bytes();
    let pieces = pieces_at_odd_places(&body, 7);
    assert_eq!(pieces, pieces_at_odd_places(&body, 7), "the same seed cuts the same");
    assert_ne!(pieces, pieces_at_odd_places(&body, 8));
    assert_eq!(pieces.iter().flat_map(|piece| piece.bytes.clone()).collect::<Vec<_>>(), body);
    assert!((10..=40).contains(&pieces.len()), "{}", pieces.len());
    let starts = |test: fn(&[u8]) -> bool| pieces.iter().filter(|piece| test(&piece.bytes)).count();
    assert!(starts(|bytes| std::str::from_utf8(bytes).is_err()) >= 4, "inside characters");
    assert!(starts(|bytes| bytes[0] == b'\n') >= 1, "inside CR LF");
    assert!(starts(|bytes| bytes.starts_with(b"ata:") || bytes.starts_with(b"ta:")) >= 1, "inside data:");
    for short in [&b""[..], b"x", b"xy"] {
        assert_eq!(pieces_at_odd_places(short, 1).iter().map(|piece| piece.bytes.len()).sum::<usize>(), short.len());
    }
}

#[tokio::test]
async fn bench_answers() {
    let upstream = BenchUpstream::start().await;
    let whole = post_json(upstream.addr(), "/v1/chat/completions", &json!({"stream": false}), &[]).await;
    assert_eq!(whole.json()["usage"]["total_tokens"], 185);
    assert!((900..1200).contains(&whole.body.len()), "{}", whole.body.len());
    let answers =
        burst(upstream.addr(), 20, 4, |_| Request::post_json("/v1/chat/completions", &json!({"stream": true}), &[]))
            .await;
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.complete, answer.chunks), (200, true, 102));
        assert!(answer.text().ends_with("data: [DONE]\n\n"));
    }
}

#[tokio::test]
async fn cassettes_replay_as_recorded() {
    let Ok(cassettes) = load(&["openai.chat", "anthropic."]) else { return };
    assert!(cassettes.len() > 50, "{}", cassettes.len());
    let upstream = Upstream::start().await;
    for cassette in &cassettes {
        let pieces = pieces_at_odd_places(&cassette.response.body, 1);
        upstream.script(&cassette.id, Script::from(cassette).pieces(pieces));
        let answer = send(upstream.addr(), to_request(cassette)).await;
        assert_eq!(
            (answer.status, &answer.body),
            (cassette.response.status, &cassette.response.body),
            "{}",
            cassette.id
        );
        assert!(upstream.received(&cassette.id)[0].has_body(&cassette.request.body), "{}", cassette.id);
        assert!(cassette.expected.is_object(), "{}", cassette.id);
    }
}

fn to_request(cassette: &Cassette) -> Request {
    let request = &cassette.request;
    Request {
        method: request.method.clone(),
        path: cassette.target(),
        headers: request.headers.clone(),
        body: request.body.clone(),
    }
    .with_header(REPLAY_HEADER, cassette.id.as_str())
}
