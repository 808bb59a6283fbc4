//! Zstandard (RFC 8878 <https://www.rfc-editor.org/rfc/rfc8878>), as RFC 9659 has it for HTTP: windows of 8 MiB at most.
//!
//! `ruzstd` decodes; it is fed one block at a time, so that what a piece may become is bounded before it is made. It gives
//! bytes out only when they leave the window or the frame ends: what arrived is right, when it arrived is not known.

use ruzstd::decoding::FrameDecoder;

use super::{DecodeError, Quota};
use crate::budget::Lease;

/// Largest window; also that of the whole content where a frame says so.
const WINDOW_MAX: u64 = 8 * 1024 * 1024;
/// Largest block, compressed or not.
const BLOCK_MAX: usize = 128 * 1024;
/// Tables, literals, sequences and one held block, and what the decoder's ring has beyond the window, for the budget.
const STATE_SIZE: usize = 1280 * 1024;
/// Bytes handed out per step.
const STEP: usize = 16 * 1024;
/// What a frame is charged, however little it holds: some servers end one at each flush.
const FRAME_COST: usize = 1024;
const MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    /// In a frame's header, or that of a frame to be skipped.
    Header,
    Block,
    /// Bytes of a skippable frame.
    Skip(usize),
    Done,
}

/// See the module's documentation.
pub(super) struct Zstd {
    decoder: FrameDecoder,
    stage: Stage,
    /// The unfinished header or block.
    held: Vec<u8>,
    has_checksum: bool,
    has_begun: bool,
    lease: Lease,
}

impl Zstd {
    pub(super) fn new(lease: Lease) -> Self {
        let decoder = FrameDecoder::new();
        Self { decoder, stage: Stage::Header, held: Vec::new(), has_checksum: false, has_begun: false, lease }
    }

    /// Takes the next bytes; calls `on_bytes` with what they decode to.
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
                Stage::Header => self.read_header(bytes, quota)?,
                Stage::Block => self.read_block(bytes, quota, on_bytes)?,
                Stage::Skip(left) => self.skip(bytes, left),
                Stage::Done => return Ok(()),
            };
        }
        Ok(())
    }

    /// No more will come: an empty last block makes the decoder give out what it holds of a cut frame.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub(super) fn finish(&mut self, quota: &Quota, on_bytes: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
        if self.stage != Stage::Block {
            return Ok(());
        }
        self.stage = Stage::Done;
        quota.allow_late();
        self.decode(&[1, 0, 0, 0, 0, 0, 0], quota, on_bytes)
    }

    /// Holds bytes until there are `wanted`; what is left of `bytes`, or nothing where more must come.
    fn hold<'a>(&mut self, bytes: &'a [u8], wanted: usize) -> Option<&'a [u8]> {
        let (taken, rest) = bytes.split_at(wanted.saturating_sub(self.held.len()).min(bytes.len()));
        self.held.extend_from_slice(taken);
        (self.held.len() >= wanted).then_some(rest)
    }

    fn read_header<'a>(&mut self, bytes: &'a [u8], quota: &Quota) -> Result<&'a [u8], DecodeError> {
        let Some(rest) = self.hold(bytes, 5) else { return Ok(&[]) };
        let known = self.held.starts_with(&MAGIC);
        // Bytes behind the last frame that are no frame (padding) are not an error.
        if !known && !is_skippable(&self.held) {
            self.stage = Stage::Done;
            return if self.has_begun { Ok(&[]) } else { Err(DecodeError::Corrupt) };
        }
        let descriptor = self.held.get(4).copied().unwrap_or_default();
        let Some(rest) = self.hold(rest, if known { header_len(descriptor) } else { 8 }) else { return Ok(&[]) };
        self.has_begun = true;
        if !quota.take(FRAME_COST) {
            return Err(DecodeError::TooLong);
        }
        let header = std::mem::take(&mut self.held);
        if known {
            self.begin_frame(&header)?;
        } else {
            self.stage = Stage::Skip(usize::try_from(number(header.get(4..8))).unwrap_or(usize::MAX));
        }
        Ok(rest)
    }

    fn begin_frame(&mut self, header: &[u8]) -> Result<(), DecodeError> {
        let window = window(header);
        if window > WINDOW_MAX {
            return Err(DecodeError::TooLong);
        }
        // The decoder's ring has a power of two, and both the old and the new one while it grows.
        let ring = usize::try_from(window).unwrap_or(usize::MAX).checked_next_power_of_two().unwrap_or(usize::MAX);
        let wanted = (ring / 2).saturating_mul(3).saturating_add(STATE_SIZE);
        if !self.lease.grow(wanted.saturating_sub(self.lease.held())) {
            return Err(DecodeError::NoMemory);
        }
        self.decoder.set_max_window_size(WINDOW_MAX);
        self.decoder.init(header).map_err(|_| DecodeError::Corrupt)?;
        self.has_checksum = header.get(4).is_some_and(|descriptor| descriptor & 4 != 0);
        self.stage = Stage::Block;
        Ok(())
    }

    /// One block: its header of three bytes, and its content.
    fn read_block<'a>(
        &mut self,
        bytes: &'a [u8],
        quota: &Quota,
        on_bytes: &mut dyn FnMut(&[u8]),
    ) -> Result<&'a [u8], DecodeError> {
        let Some(rest) = self.hold(bytes, 3) else { return Ok(&[]) };
        let head = usize::try_from(number(self.held.get(..3))).unwrap_or_default();
        let (is_last, kind, size) = (head & 1 == 1, head >> 1 & 3, head >> 3);
        if kind == 3 || size > BLOCK_MAX {
            return Err(DecodeError::Corrupt);
        }
        // The decoder wants the checksum with the last block.
        let checksum = if is_last && self.has_checksum { 4 } else { 0 };
        let content = if kind == 1 { 1 } else { size } + checksum;
        let Some(rest) = self.hold(rest, 3 + content) else { return Ok(&[]) };
        let block = std::mem::take(&mut self.held);
        if kind == 2 && literals_len(block.get(3..).unwrap_or_default()) > BLOCK_MAX {
            return Err(DecodeError::Corrupt);
        }
        if is_last {
            quota.allow_late();
            self.stage = Stage::Header;
        }
        self.decode(&block, quota, on_bytes)?;
        Ok(rest)
    }

    fn decode(&mut self, block: &[u8], quota: &Quota, on_bytes: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
        let mut out = vec![0; STEP];
        let mut block = block;
        loop {
            let (_, written) = self.decoder.decode_from_to(block, &mut out).map_err(|_| DecodeError::Corrupt)?;
            block = &[];
            if written == 0 {
                return Ok(());
            }
            on_bytes(out.get(..written).unwrap_or_default());
            if !quota.take(written) {
                return Err(DecodeError::TooLong);
            }
        }
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: usize) -> &'a [u8] {
        let (skipped, rest) = bytes.split_at(left.min(bytes.len()));
        let left = left - skipped.len();
        self.stage = if left == 0 { Stage::Header } else { Stage::Skip(left) };
        rest
    }
}

/// A frame that holds no content begins like this.
pub(super) fn is_skippable(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..])
}

/// How many literals a compressed block says that it has (RFC 8878 section 3.1.1.3.1.1): the decoder makes them unasked.
fn literals_len(block: &[u8]) -> usize {
    let at = |index: usize| usize::from(block.get(index).copied().unwrap_or_default());
    let (kind, format) = (at(0) & 3, at(0) >> 2 & 3);
    match (kind < 2, format) {
        (true, 0 | 2) => at(0) >> 3,
        (true, 1) => at(0) >> 4 | at(1) << 4,
        (true, _) => at(0) >> 4 | at(1) << 4 | at(2) << 12,
        (false, 0 | 1) => at(0) >> 4 | (at(1) & 0x3F) << 4,
        (false, 2) => at(0) >> 4 | at(1) << 4 | (at(2) & 3) << 12,
        (false, _) => at(0) >> 4 | at(1) << 4 | (at(2) & 0x3F) << 12,
    }
}

/// Up to eight bytes, the lowest first.
fn number(bytes: Option<&[u8]>) -> u64 {
    bytes.unwrap_or_default().iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Length of a frame's header, magic number included (RFC 8878 section 3.1.1.1).
fn header_len(descriptor: u8) -> usize {
    let single_segment = descriptor & 0x20 != 0;
    5 + usize::from(!single_segment) + dictionary_len(descriptor) + content_size_len(descriptor)
}

fn dictionary_len(descriptor: u8) -> usize {
    [0, 1, 2, 4].get(usize::from(descriptor & 3)).copied().unwrap_or_default()
}

fn content_size_len(descriptor: u8) -> usize {
    match descriptor >> 6 {
        0 => usize::from(descriptor & 0x20 != 0),
        flag => 1 << flag,
    }
}

/// The window that a header asks for, in bytes.
fn window(header: &[u8]) -> u64 {
    let descriptor = header.get(4).copied().unwrap_or_default();
    if descriptor & 0x20 == 0 {
        let byte = header.get(5).copied().unwrap_or_default();
        let base = 1_u64 << (10 + (byte >> 3));
        return base + base / 8 * u64::from(byte & 7);
    }
    let at = 5 + dictionary_len(descriptor);
    let size = number(header.get(at..));
    if content_size_len(descriptor) == 2 { size + 256 } else { size }
}
