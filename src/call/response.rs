//! The answer's side of a call: status, framing, and the answer put together while its pieces pass.

use std::rc::Rc;

use super::request::{MEMBER_MAX, RequestSide, SCAN_MAX, Wire};
use super::{Piece, Unread};
use crate::budget::Budget;
use crate::config::Settings;
use crate::context::Header;
use crate::decode::{Framing, LineDecoder, MESSAGE_MAX, Sniffer, SseDecoder};
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

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct ResponseSide {
    route: Route,
    budget: Rc<Budget>,
    limit: usize,
    status: Option<u16>,
    content_length: Option<usize>,
    pub wire: Wire,
    body: Body,
    /// What the request said, which the answer cannot: vLLM's prompt, and whether a stream was asked for.
    prompt: Option<String>,
    stream_asked: bool,
    pub end_of_stream: bool,
}

impl ResponseSide {
    pub(super) fn new(route: Route, settings: &Settings, budget: &Rc<Budget>) -> Self {
        Self {
            route,
            budget: Rc::clone(budget),
            limit: settings.capture.output,
            status: None,
            content_length: None,
            wire: Wire::new(None, budget.capture_lease()),
            body: Body::Unknown(Sniffer::new(b"")),
            prompt: None,
            stream_asked: false,
            end_of_stream: false,
        }
    }

    /// Takes the headers, and from the request what the answer is read with.
    pub(super) fn begin(&mut self, headers: &[Header<'_>], request: &RequestSide) {
        let find = |name: &[u8]| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let number = |name: &[u8]| std::str::from_utf8(find(name)?).ok()?.trim().parse::<usize>().ok();
        self.status = number(b":status").and_then(|status| u16::try_from(status).ok());
        self.content_length = number(b"content-length");
        self.wire = Wire::new(find(b"content-encoding"), self.budget.capture_lease());
        self.body = Body::Unknown(Sniffer::new(find(b"content-type").unwrap_or_default()));
        let document = request.document();
        self.stream_asked = document.get("stream").is_some_and(|member| member.value == b"true");
        if self.route.operation == Operation::Generate {
            let prompt = document.get("prompt").filter(|member| member.complete && member.value.len() <= PROMPT_MAX);
            self.prompt = prompt.and_then(|member| parse::<Text<'_>>(member.value)?.0.map(Into::into));
        }
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.status
    }

    /// Bytes that are still worth reading.
    pub(super) fn room(&self) -> usize {
        match &self.body {
            _ if !self.wire.wants_bytes() => 0,
            Body::Text(document) => SCAN_MAX.saturating_sub(document.seen()),
            _ => usize::MAX,
        }
    }

    /// Takes a piece; true where it brings the first or more content of a stream.
    pub(super) fn push(&mut self, piece: Piece<'_>) -> bool {
        let mut content = false;
        let mut wire = std::mem::replace(&mut self.wire, Wire::new(None, self.budget.capture_lease()));
        wire.push(piece, &mut |bytes| content |= self.push_decoded(bytes));
        self.wire = wire;
        content
    }

    fn push_decoded(&mut self, bytes: &[u8]) -> bool {
        if let Body::Unknown(sniffer) = &mut self.body {
            let Some((framing, before)) = sniffer.push(bytes) else { return false };
            self.body = self.body_of(framing);
            self.feed(&before);
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
        let failed = self.status.is_some_and(|status| status >= 400);
        let lease = self.budget.capture_lease();
        match (framing, self.route.operation) {
            (Framing::Json, Operation::Generate) if !failed => {
                let answer = Generation::new(self.prompt.take(), self.limit, lease.another());
                Body::Lines(LineDecoder::new(MESSAGE_MAX, lease), Box::new(answer))
            }
            (Framing::Sse, operation) => {
                let decoder = SseDecoder::new(MESSAGE_MAX, &lease);
                Body::Events(decoder, Box::new(ChatStream::new(operation, self.limit, lease)))
            }
            (Framing::Json | Framing::Raw, _) => {
                let limits = Limits { head: self.limit, member: MEMBER_MAX.min(self.limit) };
                Body::Text(Document::new(limits, lease))
            }
        }
    }

    /// No more will come: what is still held back is read.
    pub(super) fn finish(&mut self) {
        if let Body::Unknown(sniffer) = &mut self.body
            && let Some((framing, bytes)) = sniffer.finish()
        {
            self.body = self.body_of(framing);
            self.feed(&bytes);
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

    /// The answer is a stream.
    pub(super) fn is_stream(&self) -> bool {
        match &self.body {
            Body::Events(..) => true,
            Body::Lines(_, answer) => self.stream_asked || answer.is_stream(),
            Body::Unknown(_) | Body::Text(_) => false,
        }
    }

    /// The answer passed to its end, as far as can be told: the host said so, its length was announced and reached, or
    /// it says so itself.
    pub(super) fn is_complete(&self) -> bool {
        let by_length = self.content_length.is_some_and(|length| self.wire.size >= length);
        let by_itself = || match &self.body {
            Body::Text(document) => document.is_closed(),
            Body::Events(_, stream) => stream.is_done(),
            Body::Unknown(_) | Body::Lines(..) => false,
        };
        self.status.is_some() && (self.end_of_stream || by_length || by_itself())
    }

    /// What the answer says.
    pub(super) fn answer(&self) -> Answer {
        let failed = self.status.is_some_and(|status| status >= 400);
        let mut answer = match &self.body {
            Body::Unknown(_) => Answer::default(),
            Body::Events(decoder, stream) => {
                let answer = stream.finish();
                Answer { unread_messages: answer.unread_messages.saturating_add(decoder.oversize()), ..answer }
            }
            Body::Lines(decoder, answer) => Answer { unread_messages: decoder.oversize(), ..answer.finish() },
            Body::Text(document) if self.route.operation == Operation::Embedding => read_embeddings(document),
            Body::Text(document) => read_answer(document),
        };
        if let Body::Text(document) = &self.body {
            answer.unfinished = document.is_open() && self.wire.unread.is_none() && self.wire.wants_bytes();
        }
        if let Body::Text(document) = &self.body
            && failed
            && answer.error.is_none()
        {
            answer.error = ProviderError::from_body(document.head());
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

    pub(super) fn memory_short(&self) -> bool {
        match &self.body {
            Body::Unknown(_) => false,
            Body::Text(document) => document.memory_short(),
            Body::Events(_, stream) => stream.memory_short(),
            Body::Lines(_, answer) => answer.memory_short(),
        }
    }

    /// Output was lost to `max_output_bytes`. The vectors of an embedding are never kept and never missed.
    pub(super) fn is_cut(&self) -> bool {
        let cut = match &self.body {
            Body::Text(document) => !document.is_whole() && self.route.operation != Operation::Embedding,
            Body::Unknown(_) => false,
            Body::Events(_, stream) => stream.is_cut(),
            Body::Lines(_, answer) => answer.is_cut(),
        };
        cut && !self.memory_short()
    }

    pub(super) fn unread(&self) -> Option<Unread> {
        self.wire.unread
    }

    pub(super) fn encoding_problem(&self) -> Option<String> {
        self.wire.encoding_problem()
    }
}
