//! Content encodings of bodies: gzip and deflate are inflated as the chunks pass, others are named and left alone.
//!
//! Specs: RFC 9110 section 8.4 <https://www.rfc-editor.org/rfc/rfc9110#section-8.4>, RFC 1952 (gzip), RFC 1950 (zlib).

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use crate::budget::Lease;

/// What a `content-encoding` header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// The body is as it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or (from some servers) bare RFC 1951.
    Deflate,
    /// Not read by this filter (br, zstd, chains): the trace names it.
    Other(String),
}

impl Encoding {
    /// Reads the header's value; an empty one is identity.
    #[must_use]
    pub fn from_header(value: &[u8]) -> Self {
        match value.trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Self::Identity,
            b"gzip" | b"x-gzip" => Self::Gzip,
            b"deflate" => Self::Deflate,
            other => {
                Self::Other(String::from_utf8_lossy(other.get(..other.len().min(64)).unwrap_or(other)).into_owned())
            }
        }
    }
}

/// Bytes inflated of one body at the most: a bomb of 1 MB inflates to 1 GB.
const OUTPUT_MAX: usize = 16 * 1024 * 1024;
/// Bytes inflated of one piece at the most: all of it is read in one callback, while the gateway waits.
const PIECE_MAX: usize = 4 * 1024 * 1024;
/// Bytes that may be inflated whatever they were made of, and beyond that, how many of each compressed byte. Event
/// streams, which repeat themselves most, reach some 15.
const RATIO: (usize, usize) = (1024 * 1024, 32);
/// Members of one gzip body that are read; each costs a cleared window, however small it is.
const MEMBERS_MAX: u32 = 16;
/// What an inflater in work holds, for the budget.
const STATE_SIZE: usize = 64 * 1024;
/// Bytes inflated per step; bounds what is held, not what is read.
const STEP: usize = 16 * 1024;
/// Longest gzip header (file name and comment) that is read.
const HEADER_MAX: usize = 4096;

/// Why inflating stopped before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InflateError {
    /// The bytes are not of the announced encoding.
    Corrupt,
    /// More than may be read: 16 MiB of output, 4 MiB of one piece, 32 times the compressed size beyond 1 MiB, or 16
    /// gzip members.
    TooLong,
    /// The VM's budget is used up.
    NoMemory,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    /// In a gzip header; of a later member where `first` is false.
    Header {
        first: bool,
    },
    /// Not known yet whether the deflate body has a zlib header.
    DeflateStart,
    Data,
    /// In the eight bytes behind a gzip member.
    Trailer {
        left: usize,
    },
    Done,
    Failed(InflateError),
}

/// Inflates a body fed in any pieces.
pub struct Inflater {
    stage: Stage,
    gzip: bool,
    header: Vec<u8>,
    state: Option<Box<InflateState>>,
    /// Scratch for one step, kept across chunks.
    out: Vec<u8>,
    lease: Lease,
    members: u32,
    consumed: usize,
    produced: usize,
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater").field("stage", &self.stage).field("produced", &self.produced).finish_non_exhaustive()
    }
}

impl Inflater {
    /// An inflater for `encoding`, in memory from `lease`; none where the body is not to be inflated.
    #[must_use]
    pub fn new(encoding: &Encoding, lease: Lease) -> Option<Self> {
        let (stage, gzip) = match encoding {
            Encoding::Gzip => (Stage::Header { first: true }, true),
            Encoding::Deflate => (Stage::DeflateStart, false),
            Encoding::Identity | Encoding::Other(_) => return None,
        };
        Some(Self {
            stage,
            gzip,
            header: Vec::new(),
            state: None,
            out: Vec::new(),
            lease,
            members: 0,
            consumed: 0,
            produced: 0,
        })
    }

    /// Takes the next bytes; calls `on_bytes` with what they inflate to.
    pub fn push(&mut self, mut bytes: &[u8], on_bytes: &mut impl FnMut(&[u8])) {
        self.consumed = self.consumed.saturating_add(bytes.len());
        let by_ratio = RATIO.0.saturating_add(self.consumed.saturating_mul(RATIO.1));
        let limit = by_ratio.min(OUTPUT_MAX).min(self.produced.saturating_add(PIECE_MAX));
        while !bytes.is_empty() {
            bytes = match self.stage {
                Stage::Header { first } => self.read_header(bytes, first),
                Stage::DeflateStart => self.start_deflate(bytes),
                Stage::Data => self.inflate(bytes, limit, on_bytes),
                Stage::Trailer { left } => self.skip_trailer(bytes, left),
                Stage::Done | Stage::Failed(_) => return,
            };
        }
    }

    /// Why the body could not be read to its end.
    #[must_use]
    pub fn error(&self) -> Option<InflateError> {
        match self.stage {
            Stage::Failed(error) => Some(error),
            _ => None,
        }
    }

    fn read_header<'a>(&mut self, bytes: &'a [u8], first: bool) -> &'a [u8] {
        let before = self.header.len();
        self.header.extend_from_slice(bytes.get(..bytes.len().min(HEADER_MAX)).unwrap_or_default());
        match gzip_header_len(&self.header) {
            HeaderLen::Known(len) => {
                self.start(DataFormat::Raw);
                self.header.clear();
                bytes.get(len.saturating_sub(before)..).unwrap_or_default()
            }
            HeaderLen::More if self.header.len() <= HEADER_MAX => bytes.get(HEADER_MAX..).unwrap_or_default(),
            // Bytes behind the last member that are no member (padding) are not an error.
            _ if !first => self.stop(Stage::Done),
            _ => self.stop(Stage::Failed(InflateError::Corrupt)),
        }
    }

    fn start_deflate<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let zlib = bytes.first().is_some_and(|cmf| cmf & 0x0F == 8 && cmf >> 4 <= 7);
        self.start(if zlib { DataFormat::Zlib } else { DataFormat::Raw });
        bytes
    }

    fn start(&mut self, format: DataFormat) {
        self.members += 1;
        if self.members > MEMBERS_MAX {
            self.stop(Stage::Failed(InflateError::TooLong));
            return;
        }
        if self.state.is_none() && !self.lease.grow(STATE_SIZE) {
            self.stage = Stage::Failed(InflateError::NoMemory);
            return;
        }
        match self.state.as_mut() {
            Some(state) => state.reset(format),
            None => self.state = Some(InflateState::new_boxed(format)),
        }
        self.out.resize(STEP, 0);
        self.stage = Stage::Data;
    }

    fn inflate<'a>(&mut self, mut bytes: &'a [u8], limit: usize, on_bytes: &mut impl FnMut(&[u8])) -> &'a [u8] {
        let Some(state) = self.state.as_mut() else { return &[] };
        loop {
            let step = inflate(state, bytes, &mut self.out, MZFlush::None);
            bytes = bytes.get(step.bytes_consumed..).unwrap_or_default();
            on_bytes(self.out.get(..step.bytes_written).unwrap_or_default());
            self.produced = self.produced.saturating_add(step.bytes_written);
            if self.produced > limit {
                return self.stop(Stage::Failed(InflateError::TooLong));
            }
            match step.status {
                Ok(MZStatus::StreamEnd) => {
                    self.stage = if self.gzip { Stage::Trailer { left: 8 } } else { Stage::Done };
                    return bytes;
                }
                // "No progress possible" means that the input is used up.
                Ok(_) | Err(MZError::Buf) if bytes.is_empty() && step.bytes_written < STEP => return bytes,
                Ok(_) if step.bytes_consumed + step.bytes_written > 0 => {}
                _ => return self.stop(Stage::Failed(InflateError::Corrupt)),
            }
        }
    }

    fn skip_trailer<'a>(&mut self, bytes: &'a [u8], left: usize) -> &'a [u8] {
        let skipped = left.min(bytes.len());
        let left = left - skipped;
        self.stage = if left == 0 { Stage::Header { first: false } } else { Stage::Trailer { left } };
        bytes.get(skipped..).unwrap_or_default()
    }

    fn stop(&mut self, stage: Stage) -> &'static [u8] {
        self.stage = stage;
        (self.state, self.out, self.header) = (None, Vec::new(), Vec::new());
        self.lease.shrink(self.lease.held());
        &[]
    }
}

enum HeaderLen {
    Known(usize),
    More,
    Invalid,
}

/// Length of the gzip header at the start of `bytes` (RFC 1952 section 2.3).
fn gzip_header_len(bytes: &[u8]) -> HeaderLen {
    const MAGIC: [u8; 3] = [0x1F, 0x8B, 8];
    if !bytes.iter().zip(MAGIC).all(|(byte, magic)| *byte == magic) {
        return HeaderLen::Invalid;
    }
    let (Some(&flags), true) = (bytes.get(3), bytes.len() >= 10) else { return HeaderLen::More };
    let mut len = 10;
    if flags & 4 != 0 {
        let (Some(&low), Some(&high)) = (bytes.get(len), bytes.get(len + 1)) else { return HeaderLen::More };
        len += 2 + usize::from(u16::from_le_bytes([low, high]));
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            let text = bytes.get(len..).unwrap_or_default();
            let Some(end) = memchr::memchr(0, text) else { return HeaderLen::More };
            len += end + 1;
        }
    }
    len += if flags & 2 != 0 { 2 } else { 0 };
    if bytes.len() < len { HeaderLen::More } else { HeaderLen::Known(len) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};
    use proptest::prelude::*;

    fn gzip(text: &[u8], flags: u8, fields: &[u8]) -> Vec<u8> {
        let mut body = vec![0x1F, 0x8B, 8, flags, 0, 0, 0, 0, 0, 3];
        body.extend_from_slice(fields);
        body.extend(compress_to_vec(text, 6));
        body.extend([0; 8]);
        body
    }

    fn inflated(encoding: &Encoding, pieces: &[&[u8]]) -> (Vec<u8>, Option<InflateError>) {
        let mut inflater = Inflater::new(encoding, Budget::new(1 << 20).export_lease()).unwrap();
        let mut out = Vec::new();
        pieces.iter().for_each(|piece| inflater.push(piece, &mut |bytes| out.extend_from_slice(bytes)));
        (out, inflater.error())
    }

    #[test]
    fn reads_headers_of_every_kind() {
        for (value, expected) in [
            (&b""[..], Encoding::Identity),
            (b" GZIP ", Encoding::Gzip),
            (b"deflate", Encoding::Deflate),
            (b"gzip, br", Encoding::Other("gzip, br".to_owned())),
        ] {
            assert_eq!(Encoding::from_header(value), expected);
        }
    }

    #[test]
    fn inflates_gzip_with_optional_fields_several_members_and_both_deflates() {
        let text = b"some text, some text, some text".repeat(2000);
        let mut inflater = Inflater::new(&Encoding::Gzip, Budget::new(10).export_lease()).unwrap();
        inflater.push(&gzip(b"x", 0, &[]), &mut |_| panic!("nothing can be inflated without memory"));
        assert_eq!(inflater.error(), Some(InflateError::NoMemory));
        let fields = [&[3, 0, 1, 2, 3][..], b"name\0", b"comment\0", &[0, 0]].concat();
        let mut body = gzip(&text, 4 | 8 | 16 | 2, &fields);
        body.extend(gzip(b"and more", 0, &[]));
        body.extend([0, 0, 0]);
        let both = [&text[..], b"and more"].concat();
        assert_eq!(inflated(&Encoding::Gzip, &[&body]), (both, None));
        assert_eq!(inflated(&Encoding::Deflate, &[&compress_to_vec_zlib(&text, 6)]), (text.clone(), None));
        assert_eq!(inflated(&Encoding::Deflate, &[&compress_to_vec(&text, 6)]), (text, None));
    }

    #[test]
    fn a_wrong_header_is_corrupt_and_a_bomb_is_cut() {
        assert_eq!(inflated(&Encoding::Gzip, &[b"{\"a\":1}"]), (Vec::new(), Some(InflateError::Corrupt)));
        let mut broken = gzip(&b"text".repeat(100), 0, &[]);
        broken[12..20].fill(0xFF);
        assert_eq!(inflated(&Encoding::Gzip, &[&broken]).1, Some(InflateError::Corrupt));
        let bomb = gzip(&vec![0; OUTPUT_MAX], 0, &[]);
        let (out, error) = inflated(&Encoding::Gzip, &[&bomb]);
        assert!(out.len() <= RATIO.0 + bomb.len() * RATIO.1 + STEP && error == Some(InflateError::TooLong));
        let members = gzip(b"", 0, &[]).repeat(17);
        assert_eq!(inflated(&Encoding::Gzip, &[&members]).1, Some(InflateError::TooLong));
        assert_eq!(inflated(&Encoding::Gzip, &[&members[..members.len() / 17 * 16]]).1, None);
        let bytewise: Vec<&[u8]> = bomb.chunks(1).collect();
        assert_eq!(inflated(&Encoding::Gzip, &bytewise).1, Some(InflateError::TooLong));
    }

    #[test]
    fn a_cut_body_gives_what_had_arrived() {
        let text = b"abcdefgh".repeat(50_000);
        let body = gzip(&text, 0, &[]);
        let (out, error) = inflated(&Encoding::Gzip, &[&body[..body.len() / 2]]);
        assert!(!out.is_empty() && text.starts_with(&out) && error.is_none());
    }

    proptest! {
        #[test]
        fn any_split_inflates_to_the_same(text in prop::collection::vec(any::<u8>(), 0..3000), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let body = gzip(&text, 8, b"n\0");
            let mut borders: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
            borders.extend([0, body.len()]);
            borders.sort_unstable();
            let pieces: Vec<&[u8]> = borders.windows(2).map(|w| &body[w[0]..w[1]]).collect();
            prop_assert_eq!(inflated(&Encoding::Gzip, &pieces), (text, None));
        }

        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..300), gzip_start in any::<bool>()) {
            let start: &[u8] = if gzip_start { &[0x1F, 0x8B, 8] } else { &[] };
            inflated(&Encoding::Gzip, &[start, &body]);
            inflated(&Encoding::Deflate, &[&body]);
        }
    }
}
