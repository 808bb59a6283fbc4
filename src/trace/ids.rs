//! Ids of traces and spans (W3C Trace Context sizes: <https://www.w3.org/TR/trace-context/#traceparent-header>).
//!
//! `random_get` is weak on WasmX (`random()` seeded with process id and time: two containers may repeat it), so each id
//! hashes together the random seed of the VM, a counter, the clock, the context id, and what the host knows of the
//! request (its id and connection).

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// 16 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// 8 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// Makes ids; one in a VM.
#[derive(Debug)]
pub struct IdSource {
    /// The VM's randomness.
    seed: [u64; 2],
    made: u64,
}

impl IdSource {
    /// A source whose ids depend on `seed`.
    #[must_use]
    pub fn new(seed: [u64; 2]) -> Self {
        Self { seed, made: 0 }
    }

    /// Ids for a call that began at `now_ns` in the context `context_id`; `known_by` is what the host knows it by.
    pub fn next(&mut self, now_ns: u64, context_id: u32, known_by: &[&[u8]]) -> (TraceId, SpanId) {
        self.made = self.made.wrapping_add(1);
        let word = |part: u8| {
            // SipHash: what a caller can choose (a request id) must not be able to make two ids equal.
            let mut hasher = DefaultHasher::new();
            (self.seed, part, self.made, now_ns, context_id, known_by).hash(&mut hasher);
            hasher.finish()
        };
        let (high, low) = (word(0), word(1));
        let trace = u128::from(high) << 64 | u128::from(low);
        // The span id is the trace id mixed once more (SplitMix64): as unique as that is.
        let span = splitmix(high.rotate_left(32) ^ low);
        (TraceId(not_zero(trace.to_be_bytes())), SpanId(not_zero(span.to_be_bytes())))
    }
}

/// Finalizer of SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
fn splitmix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// An id of zeros means "none": one bit more makes it an id.
fn not_zero<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    if bytes.iter().all(|byte| *byte == 0)
        && let Some(last) = bytes.last_mut()
    {
        *last = 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Ten million ids of 64 workers whose random seeds, counters, clocks and context ids are equal (containers that
    /// were started together on WasmX): only what nginx knows the request by tells them apart.
    #[test]
    fn ten_million_ids_of_workers_with_equal_seeds_and_clocks_are_distinct() {
        const WORKERS: u64 = 64;
        const CALLS: u64 = 10_000_000 / WORKERS;
        let seed = [1, 2];
        let (mut traces, mut spans) = (Vec::new(), Vec::new());
        for worker in 0..WORKERS {
            let mut source = IdSource::new(seed);
            for call in 0..CALLS {
                // The clock counts milliseconds; a context id is used again by the next request.
                let (now, context) = (1_795_318_280_000_000_000 + call / 8 * 1_000_000, 2);
                // nginx's `$request_id` is random; here it is a number that each request has of its own.
                let request = (worker * CALLS + call).to_be_bytes();
                let connection = (call / 16).to_string();
                let (trace, span) = source.next(now, context, &[b"", &request, connection.as_bytes()]);
                traces.push(u128::from_be_bytes(trace.0));
                spans.push(u64::from_be_bytes(span.0));
            }
        }
        assert_eq!((traces.len(), spans.len()), (10_000_000, 10_000_000));
        traces.sort_unstable();
        spans.sort_unstable();
        assert!(traces.windows(2).all(|pair| pair.first() != pair.last()), "a trace id came twice");
        assert!(spans.windows(2).all(|pair| pair.first() != pair.last()), "a span id came twice");
    }

    #[test]
    fn each_thing_that_the_host_knows_makes_another_id() {
        let id = |known_by: &[&[u8]]| IdSource::new([1, 2]).next(1, 2, known_by);
        let ids = [
            id(&[b"", b"", b""]),
            id(&[b"1", b"", b""]),
            id(&[b"", b"1", b""]),
            id(&[b"", b"", b"1"]),
            id(&[b"", b"", b"11"]),
            IdSource::new([1, 3]).next(1, 2, &[b"", b"", b""]),
        ];
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }

    #[test]
    fn an_id_is_never_zero() {
        assert_eq!(not_zero([0; 8]), [0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
