//! The recorded calls as batches of the legacy ingestion API: each event is one that Langfuse takes, and they say what
//! the span says.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

#[path = "support/expectation.rs"]
mod expectation;
#[path = "support/feed.rs"]
mod feed;

use ai_tracing::export::ingestion::{BODY_MAX, Dialect, encode_batch, read_reply};
use expectation::corpus;
use feed::Exchange;
use testkit::client::{Request, send};
use testkit::langfuse::{Generation, Span, StandIn, StandInOptions, read_ingestion};

const SETTINGS: &str = r#"{"tags":["kong"],"release":"r1","version":"v1"}"#;

/// One call by ingestion, on a server that knows these events.
fn by_ingestion(exchange: &Exchange<'_>, generation: Generation) -> Span {
    let dialect = Dialect { embedding: generation == Generation::V3 };
    let batch = encode_batch(&[exchange.span_bytes(SETTINGS)], dialect, BODY_MAX);
    let (mut spans, violations) = read_ingestion(&batch.body, generation).unwrap();
    assert!(violations.is_empty(), "{violations:#?}");
    assert_eq!((batch.spans, spans.len()), (1, 1));
    spans.remove(0)
}

#[test]
fn both_apis_say_the_same() {
    for cassette in &corpus() {
        let exchange = Exchange::of(cassette);
        let (legacy, otlp) = (by_ingestion(&exchange, Generation::V3), exchange.span(SETTINGS));
        let facts = |span: &Span| {
            let texts =
                ["release", "version", "environment", "trace.name", "observation.type", "observation.cost_details"];
            // Plain spans have no cost in the legacy API.
            let is_plain = span.text("langfuse.observation.type") == Some("span");
            let said = |key: &&str| !(is_plain && key.ends_with("cost_details"));
            let texts = texts.into_iter().filter(said);
            let texts: Vec<_> = texts.map(|key| span.text(&format!("langfuse.{key}")).map(str::to_owned)).collect();
            let times = (span.start, span.end, span.time_to_first_token_ms());
            let ids = (span.trace_id.clone(), span.span_id.clone(), span.tags());
            (times, ids, texts, span.level().to_owned(), span.input(), span.output(), span.all_metadata())
        };
        assert_eq!(facts(&legacy), facts(&otlp), "{}", cassette.id);
        let counts = |span: &Span| span.usage().into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>();
        assert_eq!(counts(&legacy), counts(&otlp), "{}", cassette.id);
        // Nor have they parameters.
        let is_plain = |span: &Span| span.text("langfuse.observation.type") == Some("span");
        let parameters = |span: &Span| span.json("langfuse.observation.model.parameters").filter(|_| !is_plain(span));
        let keys =
            |span: &Span| parameters(span).map(|all| all.as_object().unwrap().keys().cloned().collect::<Vec<_>>());
        assert_eq!(keys(&legacy), keys(&otlp), "{}", cassette.id);
    }
}

#[test]
fn a_server_of_version_2_takes_every_recorded_call() {
    for cassette in &corpus() {
        let span = by_ingestion(&Exchange::of(cassette), Generation::V2);
        let otlp = Exchange::of(cassette).span(SETTINGS);
        assert_eq!(span.usage().get("total"), otlp.usage().get("total"), "{}", cassette.id);
    }
}

/// The answer of the stand-in to the whole corpus, sent in as many batches as it takes.
#[tokio::test]
async fn the_corpus_is_taken_and_said_to_be() {
    let langfuse = StandIn::start(StandInOptions { generation: Generation::V3, ..Default::default() }).await;
    let cassettes = corpus();
    let spans: Vec<Vec<u8>> = cassettes.iter().enumerate().map(|(at, cassette)| numbered(cassette, at)).collect();
    let mut left = spans.as_slice();
    while !left.is_empty() {
        let batch = encode_batch(left, Dialect::default(), 1_000_000);
        let (sent, rest) = left.split_at(batch.spans);
        let headers = testkit::http1::headers(&[
            ("authorization", "Basic cGstbGYtdGVzdGtpdDpzay1sZi10ZXN0a2l0LXNlY3JldA=="),
            ("content-type", "application/json"),
        ]);
        let path = "/api/public/ingestion".to_owned();
        let answer = send(langfuse.addr(), Request { method: "POST".into(), path, headers, body: batch.body }).await;
        assert_eq!(answer.status, 207, "{}", answer.text());
        let reply = read_reply(&answer.body, sent);
        assert!(reply.readable && !reply.not_accepted && !reply.unknown_type);
        assert!(reply.items.iter().all(|item| *item == ai_tracing::export::ingestion::Item::Taken));
        left = rest;
    }
    assert_eq!(langfuse.spans().len(), spans.len());
    langfuse.assert_no_violations();
}

/// The span of a cassette, under ids of its own.
fn numbered(cassette: &testkit::cassettes::Cassette, at: usize) -> Vec<u8> {
    let mut bytes = Exchange::of(cassette).span_bytes(SETTINGS);
    let number = (at as u64 + 1).to_be_bytes();
    bytes[10..18].copy_from_slice(&number);
    bytes[20..28].copy_from_slice(&number);
    bytes
}
