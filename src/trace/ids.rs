//! Ids of traces and spans (W3C Trace Context sizes: <https://www.w3.org/TR/trace-context/#traceparent-header>).
//!
//! `random_get` is weak on WasmX (`random()` seeded with process id and time: two containers may repeat it), so each id
//! hashes together the random seed of the VM, a counter, the clock, the context id, and what the host knows of the
//! request (its id and connection).

use std::fmt;
use std::hash::{BuildHasher, RandomState};

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
    /// Keyed by the VM's randomness.
    seed: RandomState,
    made: u64,
}

impl Default for IdSource {
    fn default() -> Self {
        Self { seed: RandomState::new(), made: 0 }
    }
}

impl IdSource {
    /// Ids for a call that began at `now_ns` in the context `context_id`; `request` is what the host knows of it.
    pub fn next(&mut self, now_ns: u64, context_id: u32, request: &[u8]) -> (TraceId, SpanId) {
        self.made = self.made.wrapping_add(1);
        let word = |part: u8| self.seed.hash_one((part, self.made, now_ns, context_id, request));
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

    #[test]
    fn calls_differ_also_where_all_but_one_input_is_equal() {
        let source = IdSource::default();
        let mut seen = HashSet::new();
        for worker in 0..100_u32 {
            // The same seed and counter in each "worker".
            let mut same = IdSource { seed: source.seed.clone(), made: 0 };
            let (trace, span) = same.next(1, 2, format!("request-{worker}").as_bytes());
            assert!(seen.insert((trace, span)));
        }
        assert_eq!(not_zero([0; 8]), [0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
