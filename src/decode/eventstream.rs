//! `application/vnd.amazon.eventstream`, the binary framing of AWS (Bedrock), fed in any pieces.
//!
//! Spec: <https://docs.aws.amazon.com/lexv2/latest/dg/event-stream-encoding.html>; all numbers are big-endian:
//!
//! ```text
//! message = total:u32 headers-length:u32 crc:u32 (of the 8 bytes before) headers payload crc:u32 (of all before)
//! header  = name-length:u8 name type:u8 value
//! value   = type 0, 1 (true, false): none | 2: 1 byte | 3: 2 | 4: 4 | 5, 8: 8 | 9: 16 | 6, 7: length:u16 bytes
//! ```

use super::buffer::Buffer;
use super::crc::crc32;
use crate::budget::Lease;

/// Bytes of a prelude: both lengths and their checksum.
pub(super) const PRELUDE: usize = 12;
/// Bytes of the checksum behind the payload.
const CRC: usize = 4;
/// Type of a header whose value is a string.
const STRING: u8 = 7;

/// One message.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// `:message-type`: `event`, `exception` (one that the service models) or `error`; empty where there is none.
    pub message_type: &'a [u8],
    /// `:event-type`, `:exception-type` or `:error-code`.
    pub kind: &'a [u8],
    /// `:error-message`: an `error` says in headers what an `exception` says in its payload.
    pub error_message: &'a [u8],
    /// The payload; of Bedrock a JSON text.
    pub payload: &'a [u8],
}

/// What a prelude says.
#[derive(Clone, Copy)]
struct Lengths {
    /// Of the message behind its prelude: headers, payload and checksum.
    rest: usize,
    headers: usize,
}

/// Push parser; the frames are the same for any split of the bytes.
#[derive(Debug)]
pub struct EventStreamDecoder {
    prelude: [u8; PRELUDE],
    /// Bytes of the prelude that are there.
    filled: usize,
    /// What came of the message behind its prelude; empty while it comes in one piece.
    body: Buffer,
    /// Bytes of the message that are still to come.
    left: usize,
    /// Length of the headers of the message in work.
    headers: usize,
    /// The message in work is longer than may be kept: the rest of it is passed over.
    too_long: bool,
    broken: bool,
    oversize: u32,
}

impl EventStreamDecoder {
    /// A decoder for messages of up to `max` bytes behind their preludes, which takes its memory from the budget of
    /// `lease`.
    #[must_use]
    pub fn new(max: usize, lease: &Lease) -> Self {
        Self {
            prelude: [0; PRELUDE],
            filled: 0,
            body: Buffer::new(max, lease.another()),
            left: 0,
            headers: 0,
            too_long: false,
            broken: false,
            oversize: 0,
        }
    }

    /// Messages that were longer than the limit (or than the budget had room for) and passed over.
    #[must_use]
    pub fn oversize(&self) -> u32 {
        self.oversize
    }

    /// A checksum or a length was wrong. Nothing marks where a message begins, so all behind it is passed over; AWS's
    /// own clients give up there, too.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// What came so far ends inside a message.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.filled > 0 && !self.broken
    }

    /// Takes the next bytes; calls `on_frame` for each message that they complete.
    pub fn push(&mut self, mut bytes: &[u8], on_frame: &mut impl FnMut(Frame<'_>)) {
        while !bytes.is_empty() && !self.broken {
            let missing = if self.filled < PRELUDE { PRELUDE - self.filled } else { self.left };
            let (piece, rest) = bytes.split_at(missing.min(bytes.len()));
            bytes = rest;
            match self.filled {
                PRELUDE => self.take_body(piece, on_frame),
                _ => self.take_prelude(piece),
            }
        }
    }

    fn take_prelude(&mut self, piece: &[u8]) {
        let free = self.prelude.iter_mut().skip(self.filled);
        free.zip(piece).for_each(|(slot, byte)| *slot = *byte);
        self.filled += piece.len();
        if self.filled < PRELUDE {
            return;
        }
        let Some(Lengths { rest, headers }) = read_prelude(&self.prelude) else { return self.break_off() };
        (self.left, self.headers) = (rest, headers);
        if rest > self.body.max() {
            self.pass_over();
        }
    }

    fn take_body(&mut self, piece: &[u8], on_frame: &mut impl FnMut(Frame<'_>)) {
        self.left -= piece.len();
        let is_whole = self.left == 0 && self.body.is_empty();
        if !is_whole && !self.too_long && !self.body.append(piece) {
            self.pass_over();
        }
        if self.left > 0 {
            return;
        }
        if !std::mem::take(&mut self.too_long) {
            let body = if is_whole { piece } else { self.body.bytes() };
            match read_body(&self.prelude, body, self.headers) {
                Some(frame) => on_frame(frame),
                None => return self.break_off(),
            }
        }
        self.body.clear();
        self.filled = 0;
    }

    fn pass_over(&mut self) {
        self.too_long = true;
        self.oversize = self.oversize.saturating_add(1);
        self.body.clear();
    }

    fn break_off(&mut self) {
        self.broken = true;
        self.body.clear();
    }
}

/// The bytes begin like a message: a prelude with the right checksum.
pub(super) fn is_event_stream(bytes: &[u8]) -> bool {
    bytes.first_chunk().is_some_and(|prelude| read_prelude(prelude).is_some())
}

fn read_prelude(prelude: &[u8; PRELUDE]) -> Option<Lengths> {
    let (total, rest) = take_u32(prelude)?;
    let (headers, crc) = take_u32(rest)?;
    let is_right = take_u32(crc)?.0 == crc32(0, prelude.get(..8)?);
    let (total, headers) = (usize::try_from(total).ok()?, usize::try_from(headers).ok()?);
    let rest = total.checked_sub(PRELUDE)?;
    (is_right && headers <= rest.checked_sub(CRC)?).then_some(Lengths { rest, headers })
}

/// The message of a prelude and what came behind it; none where its checksum or a header is wrong.
fn read_body<'a>(prelude: &[u8], body: &'a [u8], headers: usize) -> Option<Frame<'a>> {
    let (message, crc) = body.split_at_checked(body.len().checked_sub(CRC)?)?;
    if take_u32(crc)?.0 != crc32(crc32(0, prelude), message) {
        return None;
    }
    let (mut headers, payload) = message.split_at_checked(headers)?;
    let mut frame = Frame { payload, ..Frame::default() };
    while let Some((&length, rest)) = headers.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(length))?;
        let (&kind, rest) = rest.split_first()?;
        let (value, rest) = take_value(kind, rest)?;
        headers = rest;
        match name {
            _ if kind != STRING => {}
            b":message-type" => frame.message_type = value,
            b":event-type" | b":exception-type" | b":error-code" => frame.kind = value,
            b":error-message" => frame.error_message = value,
            _ => {}
        }
    }
    Some(frame)
}

/// The value of a header of type `kind`, and what is behind it.
fn take_value(kind: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = match kind {
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        9 => 16,
        6 | STRING => {
            let (length, rest) = bytes.split_first_chunk()?;
            return rest.split_at_checked(usize::from(u16::from_be_bytes(*length)));
        }
        _ => return None,
    };
    bytes.split_at_checked(length)
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}
