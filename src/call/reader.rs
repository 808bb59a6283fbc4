//! Reads the decoded bytes of an answer: finds its framing, takes it apart into messages, and has them collected.

use std::rc::Rc;

use super::request::{MEMBER_MAX, SCAN_MAX};
use crate::budget::Budget;
use crate::decode::{EventStreamDecoder, Frame, Framing, LineDecoder, MESSAGE_MAX, Sniffed, Sniffer, SseDecoder};
use crate::json::{Document, Limits};
use crate::provider::{Answer, Api, Collector, Operation, ProviderError, Stream};

/// How the body is framed.
#[derive(Debug)]
enum Body {
    /// Not known yet.
    Unknown(Sniffer),
    /// One text: JSON, or anything that no stream is.
    Text(Document),
    /// Server-sent events.
    Events(SseDecoder),
    /// Messages of AWS's event stream.
    Frames(EventStreamDecoder),
    /// One JSON text a line.
    Lines(LineDecoder, u32),
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Reader {
    body: Body,
    collector: Collector,
    api: &'static Api,
    budget: Rc<Budget>,
    limit: usize,
    failed: bool,
    /// The request asked for a stream.
    pub stream_asked: bool,
}

impl Reader {
    /// Reads an answer of `api`, of which `limit` bytes are kept.
    pub(super) fn new(api: &'static Api, content_type: &[u8], failed: bool, limit: usize, budget: &Rc<Budget>) -> Self {
        Self {
            body: Body::Unknown(Sniffer::new(content_type)),
            collector: Collector::new(api, limit, budget.capture_lease()),
            api,
            budget: Rc::clone(budget),
            limit,
            failed,
            stream_asked: false,
        }
    }

    /// What collects the answer.
    pub(super) fn collector(&mut self) -> &mut Collector {
        &mut self.collector
    }

    /// Takes the next bytes; true where they bring content of a stream.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        if let Body::Unknown(sniffer) = &mut self.body {
            let Some(Sniffed { framing, before, skip }) = sniffer.push(bytes) else { return false };
            self.body = self.body_of(framing);
            self.feed(&before);
            return self.feed(bytes.get(skip..).unwrap_or_default());
        }
        self.feed(bytes)
    }

    fn feed(&mut self, bytes: &[u8]) -> bool {
        let mut content = false;
        let collector = &mut self.collector;
        match &mut self.body {
            Body::Unknown(_) => {}
            Body::Text(document) => document.push(bytes),
            Body::Events(decoder) => {
                decoder.push(bytes, &mut |event| content |= collector.event(event.name, event.data));
            }
            Body::Frames(decoder) => decoder.push(bytes, &mut |frame| content |= read_frame(collector, &frame)),
            Body::Lines(decoder, lines) => decoder.push(bytes, &mut |line| {
                *lines = lines.saturating_add(1);
                content |= collector.event(b"", line);
            }),
        }
        content && self.is_stream()
    }

    fn body_of(&self, framing: Framing) -> Body {
        let lease = self.budget.capture_lease();
        match (framing, self.api.stream) {
            (Framing::Json, Stream::Lines) if !self.failed => {
                Body::Lines(LineDecoder::new(MESSAGE_MAX.max(self.limit), lease), 0)
            }
            (Framing::Sse, _) => Body::Events(SseDecoder::new(MESSAGE_MAX, &lease)),
            (Framing::EventStream, _) => Body::Frames(EventStreamDecoder::new(MESSAGE_MAX, &lease)),
            (Framing::Json | Framing::Raw, _) => {
                let limits = Limits { head: self.limit, member: MEMBER_MAX };
                Body::Text(Document::new(limits, lease))
            }
        }
    }

    /// No more will come: what is still held back is read.
    pub(super) fn finish(&mut self) {
        if let Body::Unknown(sniffer) = &mut self.body
            && let Some(Sniffed { framing, before, .. }) = sniffer.finish()
        {
            self.body = self.body_of(framing);
            self.feed(&before);
        }
        let collector = &mut self.collector;
        match &mut self.body {
            Body::Events(decoder) => decoder.finish(&mut |event| collector.last_event(event.name, event.data)),
            Body::Lines(decoder, lines) => decoder.finish(&mut |line| {
                *lines = lines.saturating_add(1);
                collector.last_event(b"", line);
            }),
            Body::Text(document) => collector.document(document),
            // A message that is not whole has no checksum: nothing of it is to be trusted.
            Body::Frames(_) | Body::Unknown(_) => {}
        }
    }

    /// The answer is a stream.
    pub(super) fn is_stream(&self) -> bool {
        match &self.body {
            Body::Events(_) | Body::Frames(_) => true,
            Body::Lines(_, lines) => self.stream_asked || *lines > 1,
            Body::Unknown(_) | Body::Text(_) => false,
        }
    }

    /// Bytes that are still worth reading.
    pub(super) fn room(&self) -> usize {
        match &self.body {
            Body::Text(document) => SCAN_MAX.saturating_sub(document.seen()),
            _ => usize::MAX,
        }
    }

    /// The answer says itself that it is whole.
    pub(super) fn is_closed(&self) -> bool {
        match &self.body {
            Body::Text(document) => document.is_closed(),
            Body::Events(_) | Body::Frames(_) => self.collector.is_done(),
            Body::Unknown(_) | Body::Lines(..) => false,
        }
    }

    /// What the answer says, once it was finished.
    pub(super) fn answer(&self) -> Answer {
        let mut answer = self.collector.finish();
        match &self.body {
            Body::Unknown(_) => answer.unfinished = false,
            Body::Events(decoder) => answer.unread_messages = answer.unread_messages.saturating_add(decoder.oversize()),
            Body::Frames(decoder) => {
                let missed = decoder.oversize().saturating_add(u32::from(decoder.is_broken()));
                answer.unread_messages = answer.unread_messages.saturating_add(missed);
                // What stood behind a broken message is not known.
                answer.unfinished |= decoder.is_broken();
            }
            Body::Lines(decoder, _) => {
                answer.unread_messages = answer.unread_messages.saturating_add(decoder.oversize());
            }
            Body::Text(document) => {
                answer.unfinished = document.is_open();
                if self.failed && answer.error.is_none() {
                    answer.error = ProviderError::from_body(document.head());
                }
            }
        }
        answer
    }

    /// The body as it was sent, where it is one text.
    pub(super) fn text(&self) -> Option<&Document> {
        match &self.body {
            Body::Text(document) => Some(document),
            _ => None,
        }
    }

    /// Output was lost because the VM's budget was used up.
    pub(super) fn memory_short(&self) -> bool {
        self.collector.memory_short() || self.text().is_some_and(Document::memory_short)
    }

    /// Output was lost to `max_output_bytes`. The vectors of an embedding are never kept and never missed.
    pub(super) fn is_cut(&self) -> bool {
        let text_is_cut = self.text().is_some_and(|document| !document.is_whole());
        (self.collector.is_cut() || text_is_cut) && self.api.operation != Operation::Embedding
    }
}

/// Reads a message of an event stream; true where it brings content.
fn read_frame(collector: &mut Collector, frame: &Frame<'_>) -> bool {
    match frame.message_type {
        b"exception" => collector.exception(frame.kind, frame.payload),
        b"error" => collector.exception(frame.kind, frame.error_message),
        _ => return collector.event(frame.kind, frame.payload),
    }
    false
}
