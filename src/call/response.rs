//! The answer's side of a call: status, headers, content encoding, and the answer put together while its pieces pass.

use std::rc::Rc;

use super::reader::Reader;
use super::request::{RequestSide, Wire};
use super::routing::Routing;
use super::{Piece, Unread};
use crate::budget::Budget;
use crate::config::Settings;
use crate::headers::{self, Header};
use crate::json::Document;
use crate::provider::{Answer, Api, Element, Operation, Stream};

/// Longest prompt that is taken off the front of vLLM's output, in bytes; it is held a second time for that.
const PROMPT_MAX: usize = 256 * 1024;

/// Longest id or code of an error that is taken of a header, in bytes.
const NAME_MAX: usize = 256;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct ResponseSide {
    status: Option<u16>,
    content_length: Option<usize>,
    pub wire: Wire,
    /// The id of the answer and the code of an error, as headers tell them.
    id: Option<String>,
    error_code: Option<String>,
    reader: Reader,
    limit: usize,
    budget: Rc<Budget>,
    pub end_of_stream: bool,
}

impl ResponseSide {
    pub(super) fn new(api: &'static Api, settings: &Settings, budget: &Rc<Budget>) -> Self {
        let limit = settings.capture.output;
        let reader = Reader::new(api, b"", false, limit, budget);
        let wire = Wire::new(&[], &budget.capture_lease());
        Self {
            status: None,
            content_length: None,
            wire,
            id: None,
            error_code: None,
            reader,
            limit,
            budget: Rc::clone(budget),
            end_of_stream: false,
        }
    }

    /// Takes the headers, and from the request what the answer is read with.
    pub(super) fn begin(&mut self, routing: &Routing, headers: &[Header<'_>], request: &RequestSide) {
        let api = routing.api();
        let find = |name: &str| headers::find(headers, name);
        let number = |name: &str| {
            let text = find(name).and_then(|value| std::str::from_utf8(value).ok())?;
            text.trim().parse::<usize>().ok()
        };
        self.status = number(":status").and_then(|status| u16::try_from(status).ok());
        self.content_length = number("content-length");
        self.id = name(find(api.id_header));
        self.error_code = name(find(api.error_header));
        self.wire = Wire::new(headers, &self.budget.capture_lease());
        let failed = self.status.is_some_and(|status| status >= 400);
        let content_type = find("content-type").unwrap_or_default();
        self.reader = Reader::new(api, content_type, failed, self.limit, &self.budget);
        self.reader.set_custom(routing.custom());
        self.reader.stream_asked |= request.document().value("stream").is_true();
        let collector = self.reader.collector();
        for (count, name) in api.count_headers {
            collector.count(*count, number(name).and_then(|number| u64::try_from(number).ok()));
        }
        if api.operation == Operation::Embedding {
            collector.element = Element::asked(request.document());
        }
        if api.stream == Stream::Lines && api.operation == Operation::Completion {
            collector.prompt = prompt(request.document());
        }
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.status
    }

    /// The API that the answer is of, where there is one.
    pub(super) fn api(&self) -> Option<&'static Api> {
        self.status.map(|_| self.reader.api())
    }

    /// The answer states usage.
    pub(super) fn has_usage(&self) -> bool {
        self.reader.has_usage()
    }

    /// The answer has no body, and should have one.
    pub(super) fn is_empty(&self) -> bool {
        let without = matches!(self.status, None | Some(204 | 205 | 304));
        let is_read = self.wire.unread.is_none() && !self.wire.is_undecoded() && self.is_complete();
        !without && is_read && self.reader.is_blank()
    }

    /// Bytes that are still worth reading.
    pub(super) fn room(&self) -> usize {
        if self.wire.wants_bytes() { self.reader.room() } else { 0 }
    }

    /// Takes a piece; true where it brings content of a stream.
    pub(super) fn push(&mut self, piece: Piece<'_>) -> bool {
        let mut content = false;
        self.wire.push(piece, &mut |bytes| content |= self.reader.push(bytes));
        content && !self.wire.is_late()
    }

    /// No more will come.
    pub(super) fn finish(&mut self) {
        self.wire.finish(&mut |bytes| {
            self.reader.push(bytes);
        });
        let is_complete = self.is_complete();
        self.reader.finish(is_complete);
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
        answer.id = answer.id.or_else(|| self.id.clone());
        if let Some(error) = &mut answer.error
            && error.code.is_none()
        {
            error.code.clone_from(&self.error_code);
        }
        // What was not looked at is not known to be missing.
        answer.unfinished &= self.wire.wants_bytes();
        answer
    }

    /// The body as it was sent, where it is one text.
    pub(super) fn text(&self) -> Option<&Document> {
        self.reader.text()
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
}

/// A name that a header holds, up to the `:` that AWS puts a link behind.
fn name(header: Option<&[u8]>) -> Option<String> {
    let text = std::str::from_utf8(header?).ok()?;
    let name = text.split(':').next().unwrap_or_default().trim();
    (!name.is_empty()).then(|| crate::trace::truncate(name, NAME_MAX).to_owned())
}

/// The prompt of a request, where it is one text that is short enough to be held twice.
fn prompt(request: &Document) -> Option<String> {
    let prompt = request.get("prompt").filter(|member| member.value.len() <= PROMPT_MAX)?;
    if !prompt.complete {
        return None;
    }
    request.value("prompt").text().map(Into::into)
}
