//! Cutting a body where it hurts: a decoder must not depend on where the network cut it.

use super::script::Piece;
use std::collections::BTreeSet;
use std::time::Duration;

/// At most so many borders, to keep a body's travel short.
const MAX_BORDERS: usize = 39;
/// Pieces that follow each other at once may arrive in one read; this keeps them apart.
const BETWEEN: Duration = Duration::from_millis(1);

/// Cuts `bytes` into at most 40 pieces at places that depend only on `bytes` and `seed`: inside multi-byte characters,
/// inside CR LF and `data:` where there are any, some short runs of 1 to 37 bytes, and a few large pieces.
pub fn pieces_at_odd_places(bytes: &[u8], seed: u64) -> Vec<Piece> {
    let mut random = Random(seed);
    let mut borders = BTreeSet::new();
    choose(&mut random, &continuation_bytes(bytes), 7, &mut borders);
    choose(&mut random, &inside(bytes, b"\r\n"), 5, &mut borders);
    choose(&mut random, &inside(bytes, b"data:"), 7, &mut borders);
    short_runs(&mut random, bytes.len(), &mut borders);
    for _ in 0..8 {
        borders.insert(random.below(bytes.len()));
    }
    let borders = borders.into_iter().filter(|border| (1..bytes.len()).contains(border)).take(MAX_BORDERS);
    cut(bytes, borders)
}

fn cut(bytes: &[u8], borders: impl Iterator<Item = usize>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for end in borders.chain([bytes.len()]) {
        pieces.push(Piece { bytes: bytes[start..end].to_vec(), delay_before: BETWEEN });
        start = end;
    }
    pieces
}

/// Two runs of six short pieces, one at the very start.
fn short_runs(random: &mut Random, length: usize, borders: &mut BTreeSet<usize>) {
    for start in [0, random.below(length)] {
        let mut position = start;
        for _ in 0..6 {
            position += 1 + random.below(37);
            borders.insert(position);
        }
    }
}

fn choose(random: &mut Random, candidates: &[usize], most: usize, borders: &mut BTreeSet<usize>) {
    for _ in 0..most.min(candidates.len()) {
        borders.insert(candidates[random.below(candidates.len())]);
    }
}

/// Places before a byte that continues a UTF-8 character.
fn continuation_bytes(bytes: &[u8]) -> Vec<usize> {
    (1..bytes.len()).filter(|&place| bytes[place] & 0b1100_0000 == 0b1000_0000).collect()
}

/// Places inside the occurrences of `word`.
fn inside(bytes: &[u8], word: &[u8]) -> Vec<usize> {
    let starts = memchr::memmem::find_iter(bytes, word);
    starts.enumerate().map(|(count, start)| start + 1 + count % (word.len() - 1)).collect()
}

/// SplitMix64 (Steele, Lea, Flood 2014): a few lines instead of a dependency.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % (limit.max(1) as u64)).expect("below a usize")
    }
}
