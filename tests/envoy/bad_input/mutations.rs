//! Calls with bytes replaced, doubled or taken away: they pass as they are, and each becomes a trace.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::client::Request;
use testkit::upstream::{Framing, Piece, Script, pieces_at_odd_places};

use crate::calls::{CHAT, answer, body_of, compressed, question, stream};
use crate::rig::Rig;

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
        // A prompt is what tells vLLM's path from another service's.
        let is_told = *path == "/generate";
        let body = if is_told { br#"{"prompt":"a"}"#.to_vec() } else { question().body };
        let request = Request {
            path: (*path).to_owned(),
            body: if seed.is_multiple_of(2) && !is_told { mutated(&body, seed) } else { body },
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
