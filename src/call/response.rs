//! The answer's side of a call: status, framing, and the answer put together while its pieces pass.

use std::rc::Rc;

use super::request::{MEMBER_MAX, RequestSide, SCAN_MAX, Wire};
use super::{Piece, Unread};
use crate::budget::Budget;
use crate::config::Settings;
use crate::decode::{Framing, LineDecoder, MESSAGE_MAX, Sniffed, Sniffer, SseDecoder};
use crate::headers::{self, Header};
use crate::json::{Document, Limits, Text, parse};
use crate::provider::openai::{ChatStream, read_answer, read_embeddings};
use crate::provider::vllm::Generation;
use crate::provider::{Answer, Operation, ProviderError, Route};

/// Longest prompt that is taken off the front of vLLM's output, in bytes; it is held a second time for that.
const PROMPT_MAX: usize = 256 * 1024;

/// How the body is read.
#[derive(Debug)]
enum Body {
    /// Not known yet.
    Unknown(Sniffer),
    /// One text: JSON, or anything that no stream is.
    Text(Document),
    /// Server-sent events.
    Events(SseDecoder, Box<ChatStream>),
    /// One JSON text a line, each the whole so far.
    Lines(LineDecoder, Box<Generation>),
}

/// Reads the decoded bytes of an answer.
#[derive(Debug)]
struct Reader {
    route: Route,
    budget: Rc<Budget>,
    limit: usize,
    failed: bool,
    /// What the request said, which the answer cannot: vLLM's prompt, and whether a stream was asked for.
    prompt: Option<String>,
    stream_asked: bool,
    body: Body,
}

impl Reader {
    /// Takes the next bytes; true where they bring content of a stream.
    fn push(&mut self, bytes: &[u8]) -> bool {
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
        match &mut self.body {
            Body::Unknown(_) => {}
            Body::Text(document) => document.push(bytes),
            Body::Events(decoder, stream) => decoder.push(bytes, &mut |event| content |= stream.event(&event)),
            Body::Lines(decoder, answer) => decoder.push(bytes, &mut |line| content |= answer.message(line)),
        }
        content && self.is_stream()
    }

    fn body_of(&mut self, framing: Framing) -> Body {
        let lease = self.budget.capture_lease();
        match (framing, self.route.operation) {
            (Framing::Json, Operation::Generate) if !self.failed => {
                let answer = Generation::new(self.prompt.take(), self.limit, lease.another());
                Body::Lines(LineDecoder::new(MESSAGE_MAX.max(self.limit), lease), Box::new(answer))
            }
            (Framing::Sse, operation) => {
                let decoder = SseDecoder::new(MESSAGE_MAX, &lease);
                Body::Events(decoder, Box::new(ChatStream::new(operation, self.limit, lease)))
            }
            (Framing::Json | Framing::Raw, _) => {
                let limits = Limits { head: self.limit, member: MEMBER_MAX };
                Body::Text(Document::new(limits, lease))
            }
        }
    }

    /// No more will come: what is still held back is read.
    fn finish(&mut self) {
        if let Body::Unknown(sniffer) = &mut self.body
            && let Some(Sniffed { framing, before, .. }) = sniffer.finish()
        {
            self.body = self.body_of(framing);
            self.feed(&before);
        }
        match &mut self.body {
            Body::Events(decoder, stream) => decoder.finish(&mut |event| {
                stream.event(&event);
            }),
            Body::Lines(decoder, answer) => decoder.finish(&mut |line| {
                answer.message(line);
            }),
            Body::Unknown(_) | Body::Text(_) => {}
        }
    }

    fn is_stream(&self) -> bool {
        match &self.body {
            Body::Events(..) => true,
            Body::Lines(_, answer) => self.stream_asked || answer.is_stream(),
            Body::Unknown(_) | Body::Text(_) => false,
        }
    }

    /// Bytes that are still worth reading.
    fn room(&self) -> usize {
        match &self.body {
            Body::Text(document) => SCAN_MAX.saturating_sub(document.seen()),
            _ => usize::MAX,
        }
    }

    /// The answer says itself that it is whole.
    fn is_closed(&self) -> bool {
        match &self.body {
            Body::Text(document) => document.is_closed(),
            Body::Events(_, stream) => stream.is_done(),
            Body::Unknown(_) | Body::Lines(..) => false,
        }
    }

    fn answer(&self) -> Answer {
        match &self.body {
            Body::Unknown(_) => Answer::default(),
            Body::Events(decoder, stream) => {
                let answer = stream.finish();
                Answer { unread_messages: answer.unread_messages.saturating_add(decoder.oversize()), ..answer }
            }
            Body::Lines(decoder, answer) => Answer { unread_messages: decoder.oversize(), ..answer.finish() },
            Body::Text(document) => self.text_answer(document),
        }
    }

    fn text_answer(&self, document: &Document) -> Answer {
        let mut answer = match self.route.operation {
            Operation::Embedding => read_embeddings(document),
            _ => read_answer(document, self.limit),
        };
        if self.failed && answer.error.is_none() {
            answer.error = ProviderError::from_body(document.head());
        }
        answer.unfinished = document.is_open();
        answer
    }

    fn memory_short(&self) -> bool {
        match &self.body {
            Body::Unknown(_) => false,
            Body::Text(document) => document.memory_short(),
            Body::Events(_, stream) => stream.memory_short(),
            Body::Lines(_, answer) => answer.memory_short(),
        }
    }

    /// Output was lost to `max_output_bytes`. The vectors of an embedding are never kept and never missed.
    fn is_cut(&self) -> bool {
        match &self.body {
            Body::Text(document) => !document.is_whole() && self.route.operation != Operation::Embedding,
            Body::Unknown(_) => false,
            Body::Events(_, stream) => stream.is_cut(),
            Body::Lines(_, answer) => answer.is_cut(),
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct ResponseSide {
    status: Option<u16>,
    content_length: Option<usize>,
    pub wire: Wire,
    reader: Reader,
    pub end_of_stream: bool,
}

impl ResponseSide {
    pub(super) fn new(route: Route, settings: &Settings, budget: &Rc<Budget>) -> Self {
        let reader = Reader {
            route,
            budget: Rc::clone(budget),
            limit: settings.capture.output,
            failed: false,
            prompt: None,
            stream_asked: false,
            body: Body::Unknown(Sniffer::new(b"")),
        };
        let wire = Wire::new(None, budget.capture_lease());
        Self { status: None, content_length: None, wire, reader, end_of_stream: false }
    }

    /// Takes the headers, and from the request what the answer is read with.
    pub(super) fn begin(&mut self, headers: &[Header<'_>], request: &RequestSide) {
        let find = |name| headers::find(headers, name);
        let number = |name| std::str::from_utf8(find(name)?).ok()?.trim().parse::<usize>().ok();
        self.status = number(":status").and_then(|status| u16::try_from(status).ok());
        self.content_length = number("content-length");
        self.wire = Wire::new(find("content-encoding"), self.reader.budget.capture_lease());
        let reader = &mut self.reader;
        reader.body = Body::Unknown(Sniffer::new(find("content-type").unwrap_or_default()));
        reader.failed = self.status.is_some_and(|status| status >= 400);
        let document = request.document();
        reader.stream_asked = document.get("stream").is_some_and(|member| member.value == b"true");
        if reader.route.operation == Operation::Generate {
            let prompt = document.get("prompt").filter(|member| member.complete && member.value.len() <= PROMPT_MAX);
            reader.prompt = prompt.and_then(|member| parse::<Text<'_>>(member.value)?.0.map(Into::into));
        }
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.status
    }

    /// Bytes that are still worth reading.
    pub(super) fn room(&self) -> usize {
        if self.wire.wants_bytes() { self.reader.room() } else { 0 }
    }

    /// Takes a piece; true where it brings content of a stream.
    pub(super) fn push(&mut self, piece: Piece<'_>) -> bool {
        let mut content = false;
        self.wire.push(piece, &mut |bytes| content |= self.reader.push(bytes));
        content
    }

    /// No more will come.
    pub(super) fn finish(&mut self) {
        self.reader.finish();
    }

    /// The answer is a stream.
    pub(super) fn is_stream(&self) -> bool {
        self.reader.is_stream()
    }

    /// The answer passed to its end, as far as can be told: the host said so, its length was announced and reached, or
    /// it says so itself.
    pub(super) fn is_complete(&self) -> bool {
        let by_length = self.content_length.is_some_and(|length| self.wire.size >= length);
        self.status.is_some() && (self.end_of_stream || by_length || self.reader.is_closed())
    }

    /// What the answer says.
    pub(super) fn answer(&self) -> Answer {
        let mut answer = self.reader.answer();
        // What was not looked at is not known to be missing.
        answer.unfinished &= self.is_stream() || self.wire.wants_bytes();
        answer
    }

    /// The body as it was sent, where it is one text.
    pub(super) fn text(&self) -> Option<&Document> {
        match &self.reader.body {
            Body::Text(document) => Some(document),
            _ => None,
        }
    }

    pub(super) fn memory_short(&self) -> bool {
        self.reader.memory_short()
    }

    /// Output was lost to `max_output_bytes`.
    pub(super) fn is_cut(&self) -> bool {
        self.reader.is_cut() && !self.memory_short()
    }

    pub(super) fn unread(&self) -> Option<Unread> {
        self.wire.unread
    }

    pub(super) fn encoding_problem(&self) -> Option<String> {
        self.wire.encoding_problem()
    }
}
