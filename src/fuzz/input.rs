//! What a target takes out of the fuzzer's bytes, and how these are split.

/// Divides the parts of an input, a line of its own.
const DIVIDER: &[u8] = b"\n---\n";

/// The bytes of one run: first a head of characters that choose, one each, then what is fed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// A number below `of`, which the next character tells: `0` is 0, `1` is 1, … and all others any. 0 at the end.
    pub(super) fn choose(&mut self, of: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(first.wrapping_sub(b'0')).checked_rem(of).unwrap_or(0)
    }

    /// One of `all`, chosen as [`Self::choose`] does.
    pub(super) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        let chosen = self.choose(all.len());
        *all.get(chosen).expect("a choice below the length")
    }

    /// Where a body is split is a choice like the others: of its last character, 0 is byte by byte.
    pub(super) fn seed(&mut self) -> u64 {
        self.choose(256) as u64
    }

    /// What is left, behind the end of the head's line.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0.strip_prefix(b"\n").unwrap_or(self.0)
    }
}

/// The part of `data` before the next divider, and what is behind it.
pub(super) fn part(data: &[u8]) -> (&[u8], &[u8]) {
    // Nothing may stand before it, not even the line's end.
    if let Some(rest) = DIVIDER.get(1..).and_then(|line| data.strip_prefix(line)) {
        return (&[], rest);
    }
    let at = data.windows(DIVIDER.len()).position(|window| window == DIVIDER);
    let (part, rest) = data.split_at(at.unwrap_or(data.len()));
    (part, rest.get(DIVIDER.len()..).unwrap_or_default())
}

/// `bytes` in pieces of any lengths, the same ones for the same seed; of each fourth seed (0 among them) byte by byte.
pub(super) fn pieces(bytes: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let longest = match seed % 4 {
            0 => 1,
            1 => 3,
            2 => 17,
            _ => 200,
        };
        let len = 1 + (state % longest) as usize;
        let (piece, behind) = rest.split_at(len.min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_chooses_and_parts_follow() {
        let mut input = Input::new(b"1z\nab\n---\n---\nc");
        assert_eq!((input.choose(3), input.pick(&["x", "y"])), (1, "x"));
        let (first, rest) = part(input.rest());
        assert_eq!((first, part(rest)), (&b"ab"[..], (&b""[..], &b"c"[..])));
        assert_eq!((Input::new(b"").choose(3), part(b"")), (0, (&b""[..], &b""[..])));
    }

    #[test]
    fn pieces_are_the_bytes() {
        let bytes: Vec<u8> = (0..=255).collect();
        for seed in 0..20 {
            let pieces = pieces(&bytes, seed);
            assert_eq!(pieces.concat(), bytes);
            assert!(pieces.len() > 1, "{seed}");
        }
        assert_eq!(pieces(&bytes, 0).len(), bytes.len());
    }
}
