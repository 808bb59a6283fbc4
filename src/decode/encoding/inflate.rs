//! gzip and deflate: RFC 1952 <https://www.rfc-editor.org/rfc/rfc1952>, RFC 1950 (zlib), RFC 1951 (bare deflate, which
//! some servers send as `deflate`).

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use super::{DecodeError, Quota};
use crate::budget::Lease;

/// What a gzip member is charged, however little it holds: its window is cleared. Some servers end one at each flush.
const MEMBER_COST: usize = 4 * 1024;
/// What an inflater in work holds, for the budget.
const STATE_SIZE: usize = 80 * 1024;
/// The inflater's window, and the most that is inflated per step.
const WINDOW: usize = 32 * 1024;
/// Longest gzip header (file name and comment) that is read.
const HEADER_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    /// In a gzip header; of a later member where `first` is false.
    Header {
        first: bool,
    },
    /// At the start of deflated data.
    Start(DataFormat),
    Data,
    /// In the eight bytes behind a gzip member.
    Trailer {
        left: usize,
    },
    Done,
}

/// See the module's documentation.
pub(super) struct Inflater {
    stage: Stage,
    gzip: bool,
    header: Vec<u8>,
    state: Option<Box<InflateState>>,
    /// Scratch for one step, kept across chunks.
    out: Vec<u8>,
    /// How much of its ring the inflater has filled.
    filled: usize,
    lease: Lease,
}

impl Inflater {
    /// For a body of gzip members.
    pub(super) fn gzip(lease: Lease) -> Self {
        Self::new(Stage::Header { first: true }, lease)
    }

    /// For a body of deflated data, with a zlib header or bare.
    pub(super) fn deflate(zlib: bool, lease: Lease) -> Self {
        Self::new(Stage::Start(if zlib { DataFormat::Zlib } else { DataFormat::Raw }), lease)
    }

    fn new(stage: Stage, lease: Lease) -> Self {
        let gzip = matches!(stage, Stage::Header { .. });
        Self { stage, gzip, header: Vec::new(), state: None, out: Vec::new(), filled: 0, lease }
    }

    /// Takes the next bytes; calls `on_bytes` with what they inflate to.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        quota: &Quota,
        on_bytes: &mut dyn FnMut(&[u8]),
    ) -> Result<(), DecodeError> {
        while !bytes.is_empty() {
            bytes = match self.stage {
                Stage::Header { first } => self.read_header(bytes, first, quota)?,
                Stage::Start(format) => {
                    self.start(format, quota)?;
                    bytes
                }
                Stage::Data => self.inflate(bytes, quota, on_bytes)?,
                Stage::Trailer { left } => self.skip_trailer(bytes, left),
                Stage::Done => return Ok(()),
            };
        }
        Ok(())
    }

    fn read_header<'a>(&mut self, bytes: &'a [u8], first: bool, quota: &Quota) -> Result<&'a [u8], DecodeError> {
        let before = self.header.len();
        self.header.extend_from_slice(bytes.get(..bytes.len().min(HEADER_MAX)).unwrap_or_default());
        match gzip_header_len(&self.header) {
            HeaderLen::Known(len) => {
                self.start(DataFormat::Raw, quota)?;
                self.header.clear();
                Ok(bytes.get(len.saturating_sub(before)..).unwrap_or_default())
            }
            HeaderLen::More if self.header.len() <= HEADER_MAX => Ok(bytes.get(HEADER_MAX..).unwrap_or_default()),
            // Bytes behind the last member that are no member (padding) are not an error.
            _ if !first => {
                self.stage = Stage::Done;
                Ok(&[])
            }
            _ => Err(DecodeError::Corrupt),
        }
    }

    fn start(&mut self, format: DataFormat, quota: &Quota) -> Result<(), DecodeError> {
        if !quota.take(MEMBER_COST) {
            return Err(DecodeError::TooLong);
        }
        if self.state.is_none() && !self.lease.grow(STATE_SIZE) {
            return Err(DecodeError::NoMemory);
        }
        match self.state.as_mut() {
            Some(state) => state.reset(format),
            None => self.state = Some(InflateState::new_boxed(format)),
        }
        self.out.resize(WINDOW, 0);
        self.filled = 0;
        self.stage = Stage::Data;
        Ok(())
    }

    fn inflate<'a>(
        &mut self,
        mut bytes: &'a [u8],
        quota: &Quota,
        on_bytes: &mut dyn FnMut(&[u8]),
    ) -> Result<&'a [u8], DecodeError> {
        let Some(state) = self.state.as_mut() else { return Ok(&[]) };
        loop {
            // No more than fits behind what its ring holds: the inflater would make more, and hold it back, and after an
            // error it gives out nothing.
            let room = self.out.get_mut(self.filled..).unwrap_or_default();
            let step = inflate(state, bytes, room, MZFlush::None);
            bytes = bytes.get(step.bytes_consumed..).unwrap_or_default();
            on_bytes(room.get(..step.bytes_written).unwrap_or_default());
            self.filled = (self.filled + step.bytes_written) % WINDOW;
            if !quota.take(step.bytes_written) {
                return Err(DecodeError::TooLong);
            }
            match step.status {
                Ok(MZStatus::StreamEnd) => {
                    self.stage = if self.gzip { Stage::Trailer { left: 8 } } else { Stage::Done };
                    return Ok(bytes);
                }
                // Without input, too, more may come out: a few bits may stand for much.
                Ok(_) | Err(MZError::Buf) if step.bytes_consumed + step.bytes_written > 0 => {}
                // "No progress possible" means that the input is used up.
                Ok(_) | Err(MZError::Buf) if bytes.is_empty() => return Ok(bytes),
                _ => return Err(DecodeError::Corrupt),
            }
        }
    }

    fn skip_trailer<'a>(&mut self, bytes: &'a [u8], left: usize) -> &'a [u8] {
        let skipped = left.min(bytes.len());
        let left = left - skipped;
        self.stage = if left == 0 { Stage::Header { first: false } } else { Stage::Trailer { left } };
        bytes.get(skipped..).unwrap_or_default()
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
