//! Server-sent events, fed in any pieces.
//!
//! Spec: WHATWG HTML, section 9.2.6 <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>:
//!
//! ```abnf
//! stream  = [ bom ] *event
//! event   = *( comment / field ) end-of-line
//! comment = colon *any-char end-of-line
//! field   = 1*name-char [ colon [ space ] *any-char ] end-of-line
//! end-of-line = ( cr lf / cr / lf )
//! ```
//!
//! Two departures, both because a tap reads what real servers send: an event that the end of the stream left without
//! its blank line is delivered, and a field named `error` (llama-box) is an event `error` with that data.

use memchr::memchr2;

use super::buffer::Buffer;
use crate::budget::Lease;

/// One event: its name (empty = `message`) and its data lines joined by `\n`.
#[derive(Debug, PartialEq, Eq)]
pub struct SseEvent<'a> {
    /// The `event` field.
    pub name: &'a [u8],
    /// The `data` fields.
    pub data: &'a [u8],
}

/// Push parser; the events are the same for any split of the bytes.
#[derive(Debug)]
pub struct SseDecoder {
    /// An unfinished line; empty while lines arrive whole.
    line: Buffer,
    /// A line has begun that is not ended; of one that is too long nothing may be kept.
    line_begun: bool,
    name: Vec<u8>,
    data: Buffer,
    has_data: bool,
    /// The event in work is longer than may be kept: the rest of it is passed over.
    too_long: bool,
    /// The last byte was `\r`: a `\n` that follows belongs to it.
    after_cr: bool,
    at_start: bool,
    oversize: u32,
}

impl SseDecoder {
    /// A decoder for events of up to `max` bytes, which takes its memory from the budget of `lease`.
    #[must_use]
    pub fn new(max: usize, lease: &Lease) -> Self {
        Self {
            line: Buffer::of_json(max, lease.another()),
            line_begun: false,
            name: Vec::new(),
            data: Buffer::new(max, lease.another()),
            has_data: false,
            too_long: false,
            after_cr: false,
            at_start: true,
            oversize: 0,
        }
    }

    /// Events that were longer than the limit and passed over.
    #[must_use]
    pub fn oversize(&self) -> u32 {
        self.oversize
    }

    /// Takes the next bytes; calls `on_event` for each event that they complete.
    pub fn push(&mut self, mut bytes: &[u8], on_event: &mut impl FnMut(SseEvent<'_>)) {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                return self.keep_line(bytes);
            };
            let (line, rest) = bytes.split_at(end);
            if let Some(data) = self.whole_event(line, rest) {
                on_event(SseEvent { name: &self.name, data });
                self.name.clear();
                self.at_start = false;
                bytes = rest.get(2..).unwrap_or_default();
                continue;
            }
            self.after_cr = rest.first() == Some(&b'\r');
            bytes = rest.get(1..).unwrap_or_default();
            self.end_line(line, on_event);
        }
    }

    /// The stream has ended: delivers an event that still awaits its blank line.
    pub fn finish(&mut self, on_event: &mut impl FnMut(SseEvent<'_>)) {
        if self.line_begun {
            self.end_line(&[], on_event);
        }
        self.end_event(on_event);
    }

    /// The data of an event whose one data line is `line` and which ends behind it: the common case, without a copy.
    fn whole_event<'a>(&self, line: &'a [u8], rest: &[u8]) -> Option<&'a [u8]> {
        let plain = !self.line_begun
            && line.len() <= self.line.direct_max()
            && !self.has_data
            && !self.too_long
            && rest.starts_with(b"\n\n");
        let value = line.strip_prefix(b"data:").filter(|_| plain)?;
        Some(value.strip_prefix(b" ").unwrap_or(value))
    }

    fn keep_line(&mut self, bytes: &[u8]) {
        self.line_begun |= !bytes.is_empty();
        // Of an event that is too long nothing more is kept.
        self.too_long |= self.too_long || !self.line.append(bytes);
    }

    fn end_line(&mut self, tail: &[u8], on_event: &mut impl FnMut(SseEvent<'_>)) {
        if !self.line_begun && tail.len() <= self.line.direct_max() {
            return self.take_line(tail, on_event);
        }
        self.keep_line(tail);
        self.too_long |= !self.line.end();
        self.line_begun = false;
        if self.too_long {
            self.at_start = false;
            return self.line.clear();
        }
        // The buffer is put back: a stream whose lines are split is split many times.
        let empty = Buffer::new(0, self.line.another_lease());
        let line = std::mem::replace(&mut self.line, empty);
        self.take_line(line.bytes(), on_event);
        self.line = line;
        self.line.clear();
    }

    fn take_line(&mut self, line: &[u8], on_event: &mut impl FnMut(SseEvent<'_>)) {
        let bom = std::mem::take(&mut self.at_start).then(|| line.strip_prefix(b"\xEF\xBB\xBF")).flatten();
        let line = bom.unwrap_or(line);
        if line.is_empty() {
            return self.end_event(on_event);
        }
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => self.take_data(value),
            b"event" => set_name(&mut self.name, value),
            b"error" => {
                set_name(&mut self.name, b"error");
                self.take_data(value);
            }
            _ => {}
        }
    }

    fn take_data(&mut self, value: &[u8]) {
        let separator: &[u8] = if self.has_data { b"\n" } else { b"" };
        self.too_long |= self.too_long || !self.data.append(separator) || !self.data.append(value);
        self.has_data = true;
    }

    fn end_event(&mut self, on_event: &mut impl FnMut(SseEvent<'_>)) {
        if self.too_long {
            self.oversize = self.oversize.saturating_add(1);
        } else if self.has_data {
            on_event(SseEvent { name: &self.name, data: self.data.bytes() });
        }
        self.name.clear();
        self.data.clear();
        (self.has_data, self.too_long) = (false, false);
    }
}

/// Longest event name that is kept; real ones have some 40 bytes.
const NAME_MAX: usize = 256;

fn set_name(name: &mut Vec<u8>, value: &[u8]) {
    name.clear();
    name.extend_from_slice(value.get(..value.len().min(NAME_MAX)).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use proptest::prelude::*;

    fn events(max: usize, pieces: &[&[u8]]) -> (Vec<(String, String)>, u32) {
        let mut seen = Vec::new();
        let mut keep = |event: SseEvent<'_>| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            seen.push((text(event.name), text(event.data)));
        };
        let mut decoder = SseDecoder::new(max, &Budget::new(1 << 20).export_lease());
        pieces.iter().for_each(|piece| decoder.push(piece, &mut keep));
        decoder.finish(&mut keep);
        (seen, decoder.oversize())
    }

    const STREAM: &[u8] =
        "\u{FEFF}: comment\r\ndata: {\"a\":\"é😀\"}\r\n\r\nevent: ping\n\n\nevent:x\rdata:one\rdata: two\r\rid\n\
         error: {\"m\":1}\n\ndata\n\ndata: [DONE]"
            .as_bytes();

    #[test]
    fn reads_every_line_end_comments_names_and_an_unfinished_last_event() {
        let expected = [("", "{\"a\":\"é😀\"}"), ("x", "one\ntwo"), ("error", "{\"m\":1}"), ("", ""), ("", "[DONE]")];
        let expected: Vec<_> = expected.map(|(n, d)| (n.to_owned(), d.to_owned())).into();
        assert_eq!(events(1024, &[STREAM]), (expected, 0));
    }

    #[test]
    fn a_used_up_budget_passes_over_what_does_not_fit() {
        let budget = Budget::new(2048);
        let mut decoder = SseDecoder::new(1 << 20, &budget.export_lease());
        let mut seen = 0;
        decoder.push(&[b'x'; 5000], &mut |_| seen += 1);
        decoder.push(b"\n\ndata: small\n\n", &mut |_| seen += 1);
        assert_eq!((seen, decoder.oversize()), (1, 1));
        assert!(budget.used() <= 2048);
    }

    #[test]
    fn an_event_over_the_limit_is_passed_over_and_counted() {
        let long = format!("data: {}\n\ndata: b\n\n", "x".repeat(50));
        let all = (vec![(String::new(), "b".to_owned())], 1);
        assert_eq!(events(20, &[long.as_bytes()]), all);
        let bytes: Vec<&[u8]> = long.as_bytes().chunks(1).collect();
        assert_eq!(events(20, &bytes), all);
        assert_eq!(events(60, &[long.as_bytes()]).1, 0);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(cuts in prop::collection::vec(0..STREAM.len(), 0..12)) {
            let mut borders = cuts;
            borders.extend([0, STREAM.len()]);
            borders.sort_unstable();
            let pieces: Vec<&[u8]> = borders.windows(2).map(|w| &STREAM[w[0]..w[1]]).collect();
            prop_assert_eq!(events(1024, &pieces), events(1024, &[STREAM]));
        }

        #[test]
        fn never_panics_and_holds_no_more_than_the_limit(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..10)) {
            let mut decoder = SseDecoder::new(32, &Budget::new(1 << 20).export_lease());
            for piece in &pieces {
                decoder.push(piece, &mut |event| assert!(event.data.len() <= 32));
                prop_assert!(decoder.line.bytes().len() <= 32 && decoder.data.bytes().len() <= 32);
            }
        }
    }
}
