//! One JSON text a line (NDJSON, <https://github.com/ndjson/ndjson-spec>); vLLM's `/generate` also ends texts with NUL.

use memchr::memchr3;

use super::buffer::Buffer;
use crate::budget::Lease;

/// Push parser of delimited texts; the same for any split of the bytes.
#[derive(Debug)]
pub struct LineDecoder {
    line: Buffer,
    too_long: bool,
    max: usize,
    oversize: u32,
}

impl LineDecoder {
    /// A decoder for lines of up to `max` bytes, which takes its memory from `lease`.
    #[must_use]
    pub fn new(max: usize, lease: Lease) -> Self {
        Self { line: Buffer::new(max, lease), too_long: false, max, oversize: 0 }
    }

    /// Lines that were longer than the limit and passed over.
    #[must_use]
    pub fn oversize(&self) -> u32 {
        self.oversize
    }

    /// Takes the next bytes; calls `on_line` for each line that they complete (never for an empty one).
    pub fn push(&mut self, mut bytes: &[u8], on_line: &mut impl FnMut(&[u8])) {
        while let Some(end) = memchr3(b'\n', b'\r', 0, bytes) {
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            if self.line.is_empty() && !self.too_long && line.len() <= self.max {
                if !line.is_empty() {
                    on_line(line);
                }
                continue;
            }
            self.keep(line);
            self.finish(on_line);
        }
        self.keep(bytes);
    }

    /// The stream has ended: delivers a line without its end.
    pub fn finish(&mut self, on_line: &mut impl FnMut(&[u8])) {
        if std::mem::take(&mut self.too_long) {
            self.oversize = self.oversize.saturating_add(1);
        } else if !self.line.is_empty() {
            on_line(self.line.bytes());
        }
        self.line.clear();
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.too_long |= self.too_long || !self.line.append(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use proptest::prelude::*;

    fn lines(max: usize, pieces: &[&[u8]]) -> (Vec<String>, u32) {
        let mut seen = Vec::new();
        let mut keep = |line: &[u8]| seen.push(String::from_utf8_lossy(line).into_owned());
        let mut decoder = LineDecoder::new(max, Budget::new(1 << 20).export_lease());
        pieces.iter().for_each(|piece| decoder.push(piece, &mut keep));
        decoder.finish(&mut keep);
        (seen, decoder.oversize())
    }

    #[test]
    fn reads_lines_by_newline_and_nul_and_passes_over_long_ones() {
        let all = (vec!["{\"a\":1}".to_owned(), "{}".to_owned(), "end".to_owned()], 1);
        assert_eq!(lines(8, &[b"{\"a\":1}\r\n{}\0\n123456789\nend"]), all);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(text in "[a-z\n\r\0]{0,60}", cut in any::<prop::sample::Index>()) {
            let (a, b) = text.as_bytes().split_at(cut.index(text.len() + 1));
            prop_assert_eq!(lines(5, &[a, b]), lines(5, &[text.as_bytes()]));
        }
    }
}
