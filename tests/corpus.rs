//! The recorded calls through the core, natively: the expected trace, the same for any split of the bytes, and
//! never a panic for a stream that is cut anywhere.

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

use expectation::{corpus, differences};
use feed::Exchange;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use testkit::upstream::{Piece, pieces_at_odd_places};

const SETTINGS: &str = "{}";

#[test]
fn every_recorded_call_is_read_as_expected() {
    let wrong: Vec<String> =
        corpus().iter().flat_map(|cassette| differences(cassette, &Exchange::of(cassette).explain(SETTINGS))).collect();
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// Three recordings whose bill was wrong or may be: prices of Langfuse's own table (dollars for a million tokens,
/// `worker/src/constants/default-model-prices.json`), and what they make of the tokens that are sent, worked out by hand.
#[test]
fn recordings_cost_what_their_tokens_do() {
    let (sonnet_5, flash) = (
        [("input", 2.0), ("input_cached_tokens", 0.2), ("input_cache_creation_5m", 2.5), ("output", 10.0)],
        [("input", 0.3), ("input_cached_tokens", 0.03), ("input_cache_creation_5m", 0.0), ("output", 2.5)],
    );
    for (id, prices, dollars) in [
        // 4 × 2 + 14210 × 0.2 + 426 × 2.5 + 290 × 10 = 8 + 2842 + 1065 + 2900: 15 of the 290 are thinking.
        ("d005", sonnet_5, 0.006_815),
        // 2411 × 2 + 145 × 10 = 4822 + 1450: two iterations of 1128 + 1283 and 135 + 10, without the advisor's, 47 thinking.
        ("d015", sonnet_5, 0.006_272),
        // (32 + 2395) × 0.3 + (41 + 47) × 2.5 = 728.1 + 220: the prompts of tools, and thoughts.
        ("d094", flash, 0.000_948_1),
    ] {
        let Some(cassette) = corpus().into_iter().find(|cassette| cassette.id.starts_with(id)) else { continue };
        let explained = Exchange::of(&cassette).explain(SETTINGS);
        let buckets = explained["usage_details"].as_object().unwrap();
        let price = |bucket: &str| prices.iter().find(|(name, _)| *name == bucket).expect(bucket).1;
        let parts = buckets.iter().filter(|(bucket, _)| *bucket != "total");
        let cost: f64 = parts.map(|(bucket, tokens)| tokens.as_f64().unwrap() * price(bucket) / 1e6).sum();
        assert!((cost - dollars).abs() < 1e-12, "{id}: {cost}, not {dollars}: {buckets:?}");
    }
}

/// What left its bucket is said beside it, and the buckets of every recording are ones that Langfuse has prices for.
#[test]
fn what_left_a_bucket_is_said_in_metadata() {
    for cassette in &corpus() {
        let span = Exchange::of(cassette).span(SETTINGS);
        let stated = |name: &str| cassette.expected["usage"][name].as_u64().filter(|tokens| *tokens > 0);
        for (count, key) in [("reasoning_tokens", "reasoning_tokens"), ("tool_use_prompt_tokens", "tool_use_tokens")] {
            let said = span.metadata(key).and_then(|said| said.as_u64());
            assert!(stated(count).is_none_or(|tokens| said == Some(tokens)), "{}: {key} is {said:?}", cassette.id);
        }
        let names = span.usage().into_keys().filter(|name| name.contains("reasoning") || name.contains("tool_use"));
        assert_eq!(names.count(), 0, "{}", cassette.id);
    }
}

#[test]
fn any_split_gives_the_same_span() {
    for cassette in &corpus() {
        let whole = Exchange::of(cassette).span_bytes(SETTINGS);
        let split = |request: Vec<&[u8]>, response: Vec<&[u8]>| {
            Exchange { request, response, ..Exchange::of(cassette) }.span_bytes(SETTINGS)
        };
        for seed in 0..4 {
            let request = pieces_at_odd_places(&cassette.request.body, seed);
            let response = pieces_at_odd_places(&cassette.response.body, seed + 100);
            let bytes = |piece: &'_ Piece| piece.bytes.to_vec();
            let (request, response): (Vec<_>, Vec<_>) =
                (request.iter().map(bytes).collect(), response.iter().map(bytes).collect());
            let same = split(request.iter().map(Vec::as_slice).collect(), response.iter().map(Vec::as_slice).collect());
            assert!(same == whole, "{} split with seed {seed}", cassette.id);
        }
        let same = split(cassette.request.body.chunks(1).collect(), cassette.response.body.chunks(1).collect());
        assert!(same == whole, "{} byte by byte", cassette.id);
    }
}

#[test]
fn a_compressed_answer_is_read_as_the_plain_one() {
    for cassette in &corpus() {
        let whole = Exchange::of(cassette).explain(SETTINGS);
        for (encoding, body) in [
            ("gzip", gzip(&cassette.response.body)),
            ("zstd", compress_to_vec(cassette.response.body.as_slice(), CompressionLevel::Fastest)),
        ] {
            let mut exchange = Exchange::of(cassette);
            exchange.response_headers.push(("content-encoding", encoding.as_bytes()));
            exchange.response = body.chunks(100).collect();
            assert_eq!(exchange.explain(SETTINGS), whole, "{} as {encoding}", cassette.id);
            // zstd tells when the content came no more.
            let timed = |exchange: &Exchange<'_>| exchange.span(SETTINGS).time_to_first_token_ms().is_some();
            assert_eq!(timed(&exchange), timed(&Exchange::of(cassette)) && encoding == "gzip", "{}", cassette.id);
        }
    }
}

#[test]
fn a_stream_cut_anywhere_is_a_warning_with_what_had_arrived() {
    let mut compared = 0;
    for cassette in corpus().iter().filter(|cassette| cassette.expected["stream"] == true) {
        let whole = Exchange::of(cassette).explain(SETTINGS);
        let whole_text = whole["output_text"].as_str().unwrap_or_default();
        let mut before = String::new();
        for cut in cuts(&cassette.response.body) {
            let mut exchange = Exchange::of(cassette);
            exchange.response = vec![&cassette.response.body[..cut]];
            exchange.end_of_stream = false;
            exchange.details = Some("downstream_remote_disconnect");
            let span = exchange.span(SETTINGS);
            let level = span.level();
            let error_had_arrived = level == "ERROR" && !cassette.expected["error"].is_null();
            assert!(level == "WARNING" || error_had_arrived, "{} cut at {cut}: {level}", cassette.id);
            let explained = exchange.explain(SETTINGS);
            let text = explained["output_text"].as_str().unwrap_or_default();
            assert!(whole_text.starts_with(text), "{} cut at {cut}: {text} is no beginning of the answer", cassette.id);
            assert!(text.starts_with(&before), "{} cut at {cut}: {text} has lost {before}", cassette.id);
            if let Some(arrived) = arrived_text(&cassette.response.body[..cut]) {
                assert!(text.starts_with(&arrived), "{} cut at {cut}: {text} is less than {arrived}", cassette.id);
                compared += usize::from(!arrived.is_empty());
            }
            text.clone_into(&mut before);
        }
    }
    assert!(compared > 1000 || corpus().len() < 270, "only {compared} texts were compared with what had arrived");
}

/// Where streams are cut: at all borders of messages, at steps, and at random.
fn cuts(body: &[u8]) -> Vec<usize> {
    let done = end_of_messages(body);
    let mut cuts = event_borders(body);
    cuts.extend((0..done).step_by(body.len() / 40 + 1));
    for seed in 0..2 {
        let lengths = pieces_at_odd_places(body, seed);
        cuts.extend(lengths.iter().scan(0, |at, piece| {
            *at += piece.bytes.len();
            Some(*at)
        }));
    }
    // What is cut off behind that was not missed: the answer is whole.
    cuts.retain(|cut| *cut < done);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// The text of the whole lines of a stream of OpenAI's chats or responses, or Anthropic's messages, read with another
/// parser; none of other streams.
fn arrived_text(body: &[u8]) -> Option<String> {
    let whole_lines = body.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let lines = String::from_utf8_lossy(&body[..whole_lines]);
    let mut text = String::new();
    for line in lines.lines().filter_map(|line| line.strip_prefix("data:")) {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let piece = match event["type"].as_str() {
            None if event["choices"].is_array() => &event["choices"][0]["delta"]["content"],
            Some("content_block_delta") => &event["delta"]["text"],
            Some("response.output_text.delta") => &event["delta"],
            Some(known) if known.starts_with("response.") || known.starts_with("content_") => continue,
            Some("message_start" | "message_delta" | "message_stop" | "ping") => continue,
            _ => return None,
        };
        // Several choices are several texts.
        if event["choices"][0]["index"].as_u64().is_some_and(|index| index > 0) {
            return None;
        }
        text.push_str(piece.as_str().unwrap_or_default());
    }
    Some(text)
}

/// Where the last message ends that says anything; `[DONE]` behind it says nothing new.
fn end_of_messages(body: &[u8]) -> usize {
    let done = body.windows(6).position(|window| window == b"[DONE]").unwrap_or(body.len());
    let bracket = body[..done].iter().rposition(|byte| matches!(byte, b'}' | b']'));
    let is_binary = body.first() == Some(&0);
    if is_binary { body.len() } else { bracket.unwrap_or(done) }
}

/// Where messages end: behind each line, or behind each frame of an event stream.
fn event_borders(body: &[u8]) -> Vec<usize> {
    let is_binary = body.first() == Some(&0);
    let mut borders = vec![0];
    while let Some(rest) = body.get(*borders.last().unwrap()..).filter(|rest| !rest.is_empty()) {
        let length = |rest: &[u8]| u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let line = |rest: &[u8]| rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        borders.push(borders.last().unwrap() + if is_binary { length(rest) } else { line(rest) });
    }
    borders
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let header = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3];
    [&header[..], &miniz_oxide::deflate::compress_to_vec(body, 6), &[0; 8]].concat()
}
