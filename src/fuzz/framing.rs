//! The framings of streams: any split gives the same messages, none is longer than its limit, and a budget that is used
//! up costs messages and nothing else.

use super::Input;
use super::frames::frames;
use super::input::pieces;
use crate::budget::{Budget, Lease};
use crate::decode::{ArraySplitter, EventStreamDecoder, LineDecoder, SseDecoder};

/// Longest messages that are kept.
const LIMITS: [usize; 4] = [1 << 20, 64, 8, 0];

/// What a decoder made of a stream: its messages (each as it may be shown), and all that it tells at the end.
type Seen = (Vec<String>, String);

/// Takes limit, split and body of an input.
fn head(data: &[u8]) -> (usize, u64, &[u8]) {
    let mut input = Input::new(data);
    (input.pick(&LIMITS), input.seed(), input.rest())
}

/// Feeds `body` whole and in pieces.
fn check((max, seed, body): (usize, u64, &[u8]), read: fn(&[&[u8]], usize, Lease) -> Seen) {
    let budget = Budget::new(64 << 20);
    let whole = read(&[body], max, budget.export_lease());
    for seed in [0, seed] {
        assert_eq!(read(&pieces(body, seed), max, budget.export_lease()), whole, "split by {seed}");
    }
    assert_eq!(budget.used(), 0, "all is given back");
    let small = Budget::new(2048);
    read(&pieces(body, seed), max, small.export_lease());
    assert_eq!(small.used(), 0, "all is given back");
}

fn shown(bytes: &[u8], max: usize) -> String {
    assert!(bytes.len() <= max, "{} bytes of {max}", bytes.len());
    bytes.escape_ascii().to_string()
}

/// Server-sent events.
pub(super) fn sse(data: &[u8]) {
    check(head(data), |pieces, max, lease| {
        let mut seen = Vec::new();
        let mut decoder = SseDecoder::new(max, &lease);
        let mut keep = |event: crate::decode::SseEvent<'_>| {
            seen.push(format!("{} {}", shown(event.name, 256), shown(event.data, max)));
        };
        pieces.iter().for_each(|piece| decoder.push(piece, &mut keep));
        decoder.finish(&mut keep);
        (seen, format!("{} too long", decoder.oversize()))
    });
}

/// Lines.
pub(super) fn lines(data: &[u8]) {
    check(head(data), |pieces, max, lease| {
        let mut seen = Vec::new();
        let mut decoder = LineDecoder::new(max, lease);
        let mut keep = |line: &[u8]| {
            assert!(!line.is_empty() && !line.contains(&b'\n'), "a line");
            seen.push(shown(line, max));
        };
        pieces.iter().for_each(|piece| decoder.push(piece, &mut keep));
        decoder.finish(&mut keep);
        (seen, format!("{} too long", decoder.oversize()))
    });
}

/// Elements of a JSON array; of one that is JSON, they are what a parser reads.
pub(super) fn array(data: &[u8]) {
    let (max, seed, body) = head(data);
    let read = |pieces: &[&[u8]], max, lease| {
        let mut seen = Vec::new();
        let mut splitter = ArraySplitter::new(max, lease);
        pieces.iter().for_each(|piece| splitter.push(piece, &mut |element| seen.push(shown(element, max))));
        let end = (splitter.oversize(), splitter.is_closed(), shown(splitter.open_element(), max));
        (seen, format!("{end:?}"))
    };
    check((max, seed, body), read);
    if let Ok(serde_json::Value::Array(expected)) = serde_json::from_slice(body) {
        let mut elements = Vec::new();
        let mut splitter = ArraySplitter::new(1 << 20, Budget::new(1 << 30).export_lease());
        splitter.push(body, &mut |element| {
            elements.push(serde_json::from_slice::<serde_json::Value>(element).expect("JSON"));
        });
        assert!(splitter.is_closed() && elements == expected, "{elements:?} of {expected:?}");
    }
}

/// Messages of an event stream: the bytes as they are, and the lines among them as messages that are whole.
pub(super) fn event_stream(data: &[u8]) {
    let (max, seed, body) = head(data);
    let read = |pieces: &[&[u8]], max, lease: Lease| {
        let mut seen = Vec::new();
        let mut decoder = EventStreamDecoder::new(max, &lease);
        pieces.iter().for_each(|piece| {
            decoder.push(piece, &mut |frame| {
                shown(frame.payload, max);
                seen.push(format!("{frame:?}"));
            });
        });
        (seen, format!("{} {} {}", decoder.oversize(), decoder.is_broken(), decoder.is_open()))
    };
    check((max, seed, body), read);
    let (built, count) = frames(body);
    check((max, seed, &built), read);
    let (seen, _) = read(&[&built], 1 << 20, Budget::new(1 << 30).export_lease());
    assert_eq!(seen.len(), count, "each message is read");
}
