//! Reads the decoded bytes of an answer: finds its framing, takes it apart into messages, and has them collected.

use std::rc::Rc;

use super::request::{MEMBER_MAX, SCAN_MAX};
use crate::budget::Budget;
use crate::decode::{
    ArraySplitter, EventStreamDecoder, Frame, Framing, HashBudget, LineDecoder, MESSAGE_MAX, MediaContent, MediaEnd,
    MediaFilter, Sniffed, Sniffer, SseDecoder,
};
use crate::json::{Document, Limits};
use crate::provider::{Answer, Api, Collector, Custom, Operation, ProviderError, Stream};

/// How the body is framed.
#[derive(Debug)]
enum Body {
    /// Not known yet.
    Unknown(Sniffer),
    /// One text: JSON, its media replaced, or anything that no stream is.
    Text(Box<(Document, MediaFilter)>),
    /// Audio or an image.
    Media(Box<(MediaContent, HashBudget)>),
    /// Server-sent events.
    Events(SseDecoder),
    /// Messages of AWS's event stream.
    Frames(EventStreamDecoder),
    /// One JSON text a line.
    Lines(LineDecoder, u32),
    /// A JSON array, each element a message.
    Array(ArraySplitter),
}

/// Content types of a JSON text a line: Ollama's, and Cohere's.
const LINE_TYPES: [&[u8]; 2] = [b"application/x-ndjson", b"application/stream+json"];

/// The content type is `name`, parameters aside.
fn is_type(content_type: &[u8], name: &[u8]) -> bool {
    let end = content_type.iter().position(|byte| matches!(byte, b';' | b' ')).unwrap_or(content_type.len());
    content_type.get(..end).is_some_and(|found| found.eq_ignore_ascii_case(name))
}

/// The content type, parameters aside, where it is one of audio or images.
fn media_type(content_type: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(content_type).ok()?.split(';').next()?.trim().to_ascii_lowercase();
    let is_media = ["audio/", "image/", "video/"].iter().any(|kind| text.starts_with(kind));
    (is_media && text.len() <= 100).then_some(text)
}

fn new_media() -> Body {
    Body::Media(Box::new((MediaContent::new(), HashBudget::new())))
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Reader {
    body: Body,
    collector: Collector,
    api: &'static Api,
    stream: Stream,
    budget: Rc<Budget>,
    limit: usize,
    failed: bool,
    /// The content type, where it is one of audio or images.
    media_type: Option<String>,
    /// The content type says that the answer is one JSON text.
    one_text: bool,
    /// The request asked for a stream, or the content type says that it is one.
    pub stream_asked: bool,
}

impl Reader {
    /// Reads an answer of `api`, of which `limit` bytes are kept.
    pub(super) fn new(api: &'static Api, content_type: &[u8], failed: bool, limit: usize, budget: &Rc<Budget>) -> Self {
        let media_type = if failed { None } else { media_type(content_type) };
        let is_media = media_type.is_some();
        Self {
            // What is no text is not looked at for white space before it.
            body: if is_media { new_media() } else { Body::Unknown(Sniffer::new(content_type)) },
            media_type,
            collector: Collector::new(api, limit, budget.capture_lease()),
            api,
            stream: api.stream,
            budget: Rc::clone(budget),
            limit,
            failed,
            one_text: is_type(content_type, b"application/json"),
            stream_asked: LINE_TYPES.iter().any(|name| is_type(content_type, name)),
        }
    }

    /// The answer is that of a provider that a configuration describes.
    pub(super) fn set_custom(&mut self, custom: Option<&Rc<Custom>>) {
        if let Some(custom) = custom.filter(|custom| custom.places().is_some()) {
            self.stream = custom.stream;
            self.collector.custom = Some(Rc::clone(custom));
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
            let bytes = bytes.get(skip..).unwrap_or_default();
            self.body = self.body_of(framing, begins_array(&before, bytes));
            self.feed(&before);
            return self.feed(bytes);
        }
        self.feed(bytes)
    }

    fn feed(&mut self, bytes: &[u8]) -> bool {
        let mut content = false;
        let collector = &mut self.collector;
        match &mut self.body {
            Body::Unknown(_) => {}
            Body::Text(text) => {
                let (document, filter) = &mut **text;
                filter.push(bytes, &mut |bytes| document.push(bytes));
            }
            Body::Media(media) => {
                let (media, hashing) = &mut **media;
                hashing.next_piece();
                media.update(bytes, hashing);
            }
            Body::Events(decoder) => {
                decoder.push(bytes, &mut |event| content |= collector.event(event.name, event.data));
            }
            Body::Frames(decoder) => decoder.push(bytes, &mut |frame| content |= read_frame(collector, &frame)),
            Body::Lines(decoder, lines) => decoder.push(bytes, &mut |line| {
                *lines = lines.saturating_add(1);
                content |= collector.event(b"", line);
            }),
            Body::Array(splitter) => {
                splitter.push(bytes, &mut |element| content |= collector.event(b"", element));
            }
        }
        content
    }

    fn body_of(&self, framing: Framing, is_array: bool) -> Body {
        let lease = self.budget.capture_lease();
        match (framing, self.stream) {
            (Framing::Json, Stream::Lines) if !self.failed && (self.stream_asked || !self.one_text) => {
                Body::Lines(LineDecoder::new(MESSAGE_MAX.max(self.limit), lease), 0)
            }
            (Framing::Json, Stream::Array) if is_array && !self.failed => {
                Body::Array(ArraySplitter::new(MESSAGE_MAX, lease))
            }
            (Framing::Sse, _) => Body::Events(SseDecoder::new(MESSAGE_MAX, &lease)),
            (Framing::EventStream, _) => Body::Frames(EventStreamDecoder::new(MESSAGE_MAX, &lease)),
            (Framing::Raw, _) if self.api.operation == Operation::Speech && !self.failed => new_media(),
            (Framing::Json | Framing::Raw, _) => {
                let limits = Limits { head: self.limit, member: MEMBER_MAX };
                Body::Text(Box::new((Document::new(limits, lease), MediaFilter::new())))
            }
        }
    }

    /// No more will come: what is still held back is read.
    pub(super) fn finish(&mut self, is_complete: bool) {
        if let Body::Unknown(sniffer) = &mut self.body
            && let Some(Sniffed { framing, before, .. }) = sniffer.finish()
        {
            self.body = self.body_of(framing, begins_array(&before, b""));
            self.feed(&before);
        }
        let collector = &mut self.collector;
        match &mut self.body {
            Body::Events(decoder) => decoder.finish(&mut |event| collector.last_event(event.name, event.data)),
            Body::Lines(decoder, lines) => decoder.finish(&mut |line| {
                *lines = lines.saturating_add(1);
                collector.last_event(b"", line);
            }),
            Body::Array(splitter) => {
                let open = splitter.open_element();
                if !open.is_empty() {
                    collector.last_event(b"", open);
                }
            }
            Body::Text(text) => {
                let (document, filter) = &mut **text;
                filter.finish(&mut |bytes| document.push(bytes));
                collector.document(document);
            }
            Body::Media(media) => {
                let end = if is_complete { MediaEnd::Whole } else { MediaEnd::Cut };
                let media = std::mem::replace(&mut media.0, MediaContent::new());
                collector.summary(media.describe(self.media_type.as_deref(), end));
            }
            // A frame that is not whole has no checksum: nothing of it is to be trusted.
            Body::Frames(_) | Body::Unknown(_) => {}
        }
    }

    /// The answer is a stream.
    pub(super) fn is_stream(&self) -> bool {
        match &self.body {
            Body::Events(_) | Body::Frames(_) | Body::Array(_) => true,
            Body::Lines(_, lines) => self.stream_asked || *lines > 1,
            Body::Unknown(_) | Body::Text(..) | Body::Media(..) => false,
        }
    }

    /// Tokens were counted.
    pub(super) fn has_usage(&self) -> bool {
        self.collector.has_usage()
    }

    /// Nothing but white space has come.
    pub(super) fn is_blank(&self) -> bool {
        matches!(self.body, Body::Unknown(_))
    }

    /// The API that the answer is of.
    pub(super) fn api(&self) -> &'static Api {
        self.collector.api()
    }

    /// Bytes that are still worth reading.
    pub(super) fn room(&self) -> usize {
        match &self.body {
            Body::Text(text) => SCAN_MAX.saturating_sub(text.0.seen()),
            _ => usize::MAX,
        }
    }

    /// The answer says itself that it is whole.
    pub(super) fn is_closed(&self) -> bool {
        match &self.body {
            Body::Text(text) => text.0.is_closed(),
            Body::Events(_) | Body::Frames(_) | Body::Lines(..) => self.collector.is_done(),
            Body::Array(splitter) => splitter.is_closed(),
            Body::Unknown(_) | Body::Media(..) => false,
        }
    }

    /// What the answer says, once it was finished.
    pub(super) fn answer(&self) -> Answer {
        let mut answer = self.collector.finish();
        match &self.body {
            Body::Unknown(_) => answer.unfinished = false,
            Body::Events(decoder) => passed_over(&mut answer, decoder.oversize()),
            Body::Lines(decoder, _) => passed_over(&mut answer, decoder.oversize()),
            Body::Array(splitter) => passed_over(&mut answer, splitter.oversize()),
            Body::Frames(decoder) => {
                passed_over(&mut answer, decoder.oversize());
                // What stood behind a broken frame is not known.
                answer.unread_messages = answer.unread_messages.saturating_add(u32::from(decoder.is_broken()));
                answer.unfinished |= decoder.is_broken();
            }
            Body::Media(..) => answer.unfinished = false,
            Body::Text(text) => {
                let document = &text.0;
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
            Body::Text(text) => Some(&text.0),
            _ => None,
        }
    }

    /// Output was lost because the VM's budget was used up.
    pub(super) fn memory_short(&self) -> bool {
        self.collector.memory_short() || self.text().is_some_and(Document::memory_short)
    }

    /// Output was lost to `max_output_bytes`. Vectors and images are never kept and never missed.
    pub(super) fn is_cut(&self) -> bool {
        let text_is_cut = self.text().is_some_and(|document| !document.is_whole());
        (self.collector.is_cut() || text_is_cut) && !self.api().operation.answers_without_text()
    }
}

/// Counts messages that were too long to be read; the end may have been among them (a streamed image is).
fn passed_over(answer: &mut Answer, messages: u32) {
    answer.unread_messages = answer.unread_messages.saturating_add(messages);
    answer.unfinished &= messages == 0;
}

/// JSON that comes in these two pieces is an array.
fn begins_array(before: &[u8], bytes: &[u8]) -> bool {
    before.iter().chain(bytes).find(|byte| matches!(byte, b'{' | b'[')) == Some(&b'[')
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::find;

    /// A reader of an answer to a call of `path`, that was given `body`; and whether that brought content of a stream.
    fn read(path: &str, content_type: &str, body: &str) -> (Reader, bool) {
        let api = find(path.as_bytes(), &[], &[]).unwrap().api().unwrap();
        let mut reader = Reader::new(api, content_type.as_bytes(), false, 1 << 16, &Budget::new(1 << 24));
        let content = reader.push(body.as_bytes());
        (reader, content)
    }

    #[test]
    fn the_content_type_tells_a_stream_of_lines_that_was_not_asked_for() {
        let piece = "{\"message\":{\"content\":\"a\"}}\n";
        let (mut reader, content) = read("/api/chat", "application/x-ndjson", piece);
        assert!(content && reader.is_stream() && !reader.is_closed());
        reader.push(b"{\"done\":true}\n");
        assert!(reader.is_closed(), "it says its end itself");
        reader.finish(true);
        assert!(!reader.answer().unfinished);
        assert!(!read("/api/chat", "Application/JSON", piece).1);
    }

    #[test]
    fn one_text_may_have_lines() {
        let (mut reader, _) = read("/v1/chat", "application/json; charset=utf-8", "{\n  \"text\": \"a\"\n}\n");
        reader.finish(true);
        let answer = reader.answer();
        assert_eq!((reader.is_stream(), answer.unfinished, answer.unread_messages), (false, false, 0));
        assert_eq!(answer.output.as_deref(), Some(r#"{"role":"assistant","content":"a"}"#));
    }

    #[test]
    fn a_transcription_may_be_nothing_but_text() {
        let (mut reader, _) = read("/v1/audio/transcriptions", "text/plain; charset=utf-8", "Hello.\n");
        reader.finish(true);
        assert_eq!(reader.answer().output.as_deref(), Some(r#""Hello.\n""#));
    }

    #[test]
    fn the_end_of_a_stream_may_be_too_long_to_be_read() {
        let partial = "data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"aGVs\"}\n\n";
        let (mut reader, content) = read("/v1/images/generations", "text/event-stream", partial);
        assert!(content);
        reader.finish(true);
        assert!(reader.answer().unfinished);
        let (mut reader, _) = read("/v1/images/generations", "text/event-stream", partial);
        reader.push(format!("data: {{\"revised_prompt\":\"{}\"}}\n\n", "a".repeat(MESSAGE_MAX)).as_bytes());
        reader.finish(true);
        let answer = reader.answer();
        assert_eq!((answer.unread_messages, answer.unfinished), (1, false));
        // Images of any length are read past.
        let (mut reader, _) = read("/v1/images/generations", "text/event-stream", partial);
        let image = "a".repeat(2 * MESSAGE_MAX);
        let end = format!(r#"data: {{"type":"image_generation.completed","b64_json":"{image}","size":"1x1"}}"#);
        reader.push(format!("{end}\n\n").as_bytes());
        reader.finish(true);
        let answer = reader.answer();
        assert_eq!((answer.unread_messages, answer.unfinished), (0, false));
        assert!(answer.output.unwrap().contains(r#""size":"1x1""#));
    }
}
