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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
    use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
    use proptest::prelude::*;

    /// Message type, kind, error message, payload.
    type Seen = (String, String, String, Vec<u8>);

    struct Outcome {
        frames: Vec<Seen>,
        oversize: u32,
        broken: bool,
        open: bool,
    }

    fn decode(max: usize, pieces: &[&[u8]]) -> Outcome {
        let mut frames = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut decoder = EventStreamDecoder::new(max, &Budget::new(4 << 20).export_lease());
        for piece in pieces {
            decoder.push(piece, &mut |frame| {
                let (message_type, kind) = (text(frame.message_type), text(frame.kind));
                frames.push((message_type, kind, text(frame.error_message), frame.payload.to_vec()));
            });
        }
        Outcome { frames, oversize: decoder.oversize(), broken: decoder.is_broken(), open: decoder.is_open() }
    }

    fn assert_same(a: &Outcome, b: &Outcome) {
        assert_eq!(a.frames, b.frames);
        assert_eq!((a.oversize, a.broken, a.open), (b.oversize, b.broken, b.open));
    }

    fn string(name: &'static str, value: &str) -> Header {
        Header::new(name, HeaderValue::String(value.to_owned().into()))
    }

    /// A message as AWS's own writer makes it.
    fn message(headers: Vec<Header>, payload: &[u8]) -> Vec<u8> {
        let message = headers.into_iter().fold(Message::new(payload.to_vec()), Message::add_header);
        let mut bytes = Vec::new();
        write_message_to(&message, &mut bytes).unwrap();
        bytes
    }

    fn event(kind: &str, payload: &[u8]) -> Vec<u8> {
        message(vec![string(":event-type", kind), string(":message-type", "event")], payload)
    }

    /// Headers of all types, an exception, an error, and an empty message.
    fn stream() -> Vec<u8> {
        let all_types = vec![
            Header::new("true", HeaderValue::Bool(true)),
            Header::new("false", HeaderValue::Bool(false)),
            Header::new("byte", HeaderValue::Byte(-1)),
            Header::new("i16", HeaderValue::Int16(-1)),
            Header::new("i32", HeaderValue::Int32(-1)),
            Header::new("i64", HeaderValue::Int64(-1)),
            Header::new("bytes", HeaderValue::ByteArray(vec![0; 300].into())),
            Header::new("time", HeaderValue::Timestamp(std::time::SystemTime::UNIX_EPOCH.into())),
            Header::new("uuid", HeaderValue::Uuid(1)),
            Header::new(":event-type", HeaderValue::Int32(1)),
            string(":message-type", "event"),
        ];
        let exception = vec![string(":message-type", "exception"), string(":exception-type", "throttlingException")];
        let error = vec![
            string(":message-type", "error"),
            string(":error-code", "InternalError"),
            string(":error-message", "An internal server error occurred"),
        ];
        [
            event("contentBlockDelta", b"{\"delta\":{\"text\":\"h\xC3\xA9\"}}"),
            message(all_types, b"{}"),
            message(exception, b"{\"message\":\"slow down\"}"),
            message(error, b""),
            message(Vec::new(), b""),
        ]
        .concat()
    }

    fn seen(message_type: &str, kind: &str, error_message: &str, payload: &[u8]) -> Seen {
        (message_type.to_owned(), kind.to_owned(), error_message.to_owned(), payload.to_vec())
    }

    #[test]
    fn reads_what_the_writer_of_aws_makes() {
        let outcome = decode(1024, &[&stream()]);
        let expected = [
            seen("event", "contentBlockDelta", "", b"{\"delta\":{\"text\":\"h\xC3\xA9\"}}"),
            seen("event", "", "", b"{}"),
            seen("exception", "throttlingException", "", b"{\"message\":\"slow down\"}"),
            seen("error", "InternalError", "An internal server error occurred", b""),
            seen("", "", "", b""),
        ];
        assert_eq!(outcome.frames, expected);
        assert_eq!((outcome.oversize, outcome.broken, outcome.open), (0, false, false));
    }

    #[test]
    fn reads_recordings_as_the_reader_of_aws_does() {
        let families = ["bedrock.converse_stream", "bedrock.invoke_stream"];
        let Ok(cassettes) = testkit::cassettes::load(&families) else { return };
        let mut frames = 0;
        for cassette in cassettes.iter().filter(|cassette| cassette.response.status == 200) {
            let body = cassette.response.body.as_slice();
            let (mut rest, mut expected) = (body, Vec::new());
            while !rest.is_empty() {
                expected.push(read_message_from(&mut rest).unwrap().payload().to_vec());
            }
            let outcome = decode(1 << 20, &body.chunks(7).collect::<Vec<_>>());
            assert_same(&decode(1 << 20, &[body]), &outcome);
            assert!(outcome.frames.iter().all(|frame| frame.0 == "event" && !frame.1.is_empty()), "{}", cassette.id);
            assert_eq!(
                outcome.frames.into_iter().map(|frame| frame.3).collect::<Vec<_>>(),
                expected,
                "{}",
                cassette.id
            );
            assert!(!outcome.broken && !outcome.open && is_event_stream(body), "{}", cassette.id);
            frames += expected.len();
        }
        assert!(frames > 20, "{frames}");
    }

    #[test]
    fn a_message_over_the_limit_is_passed_over_by_its_length() {
        let (long, short) = (event("x", &[b'x'; 100]), event("x", b"short"));
        let all = [&long[..], &short].concat();
        let at_limit = decode(long.len() - PRELUDE, &[&all]);
        assert_eq!((at_limit.frames.len(), at_limit.oversize), (2, 0));
        let under = decode(long.len() - PRELUDE - 1, &[&all]);
        assert_eq!((under.frames, under.oversize), (vec![seen("event", "x", "", b"short")], 1));
        // Four gigabytes are announced and never kept.
        let mut huge = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0].to_vec();
        huge.extend(crc32(0, &huge).to_be_bytes());
        let budget = Budget::new(1 << 20);
        let mut decoder = EventStreamDecoder::new(1 << 20, &budget.export_lease());
        decoder.push(&huge, &mut |_| panic!());
        (0..1000).for_each(|_| decoder.push(&[7; 10_000], &mut |_| panic!()));
        assert_eq!((decoder.oversize(), decoder.is_open(), budget.used()), (1, true, 0));
    }

    #[test]
    fn a_used_up_budget_passes_over_what_does_not_fit() {
        let budget = Budget::new(2048);
        let mut decoder = EventStreamDecoder::new(1 << 20, &budget.export_lease());
        let mut seen = 0;
        for message in [event("x", &[0; 5000]), event("x", b"small")] {
            message.chunks(1000).for_each(|piece| decoder.push(piece, &mut |_| seen += 1));
        }
        assert_eq!((seen, decoder.oversize(), decoder.is_broken()), (1, 1, false));
        assert!(budget.used() <= 2048);
    }

    #[test]
    fn any_flipped_bit_breaks_the_stream_off_and_a_cut_leaves_it_open() {
        let (first, second) = (event("a", b"one"), event("b", b"two"));
        let stream = [&first[..], &second].concat();
        for at in 0..second.len() * 8 {
            let mut bytes = stream.clone();
            bytes[first.len() + at / 8] ^= 1 << (at % 8);
            let outcome = decode(1024, &[&bytes, &stream]);
            assert_eq!((outcome.frames.len(), outcome.broken, outcome.open), (1, true, false), "bit {at}");
        }
        for cut in 1..second.len() {
            let outcome = decode(1024, &[&stream[..first.len() + cut]]);
            assert_eq!((outcome.frames.len(), outcome.broken, outcome.open), (1, false, true), "cut at {cut}");
        }
    }

    /// A message with right checksums around whatever stands in it.
    fn sealed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let total = PRELUDE + headers.len() + payload.len() + CRC;
        let lengths = [total, headers.len()].map(|length| u32::try_from(length).unwrap().to_be_bytes());
        let mut bytes = lengths.concat();
        bytes.extend(crc32(0, &bytes).to_be_bytes());
        bytes.extend([headers, payload].concat());
        bytes.extend(crc32(0, &bytes).to_be_bytes());
        bytes
    }

    #[test]
    fn nonsense_behind_right_checksums_breaks_the_stream_off() {
        let mut short = 15u32.to_be_bytes().to_vec();
        short.extend([0; 4]);
        short.extend(crc32(0, &short).to_be_bytes());
        let mut headers_too_long = [0, 0, 0, 16, 0, 0, 0, 1].to_vec();
        headers_too_long.extend(crc32(0, &headers_too_long).to_be_bytes());
        for bytes in [short, headers_too_long, sealed(b"\x05ab", b""), sealed(b"\x01a\x0A", b""), sealed(b"\x01a", b"")]
        {
            let outcome = decode(1024, &[&bytes, &sealed(b"", b"")]);
            assert!(outcome.broken && outcome.frames.is_empty(), "{bytes:?}");
        }
    }

    fn split<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut borders: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        borders.extend([0, bytes.len()]);
        borders.sort_unstable();
        borders.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_frames(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12), max in 0usize..600) {
            let stream = stream();
            assert_same(&decode(max, &split(&stream, &cuts)), &decode(max, &[&stream]));
        }

        #[test]
        fn never_panics(headers in prop::collection::vec(any::<u8>(), 0..40), tail in prop::collection::vec(any::<u8>(), 0..40), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
            let bytes = [sealed(&headers, b"x"), tail].concat();
            assert_same(&decode(30, &split(&bytes, &cuts)), &decode(30, &[&bytes]));
        }
    }
}
