//! The request's side of a call: its body, inflated where it is compressed, kept up to `max_input_bytes`.

use std::rc::Rc;

use super::{Piece, Unread};
use crate::budget::{Budget, Lease};
use crate::config::Settings;
use crate::decode::{Encoding, InflateError, Inflater, MediaFilter, MultipartReader};
use crate::headers::{self, Header};
use crate::json::{Document, Limits};

/// Bytes of a body that are looked at; what is behind them is only counted, so that a callback's work is bounded.
pub(super) const SCAN_MAX: usize = 16 * 1024 * 1024;
/// Kept of each top-level member that begins behind the captured beginning.
pub(super) const MEMBER_MAX: usize = 64 * 1024;

/// A body as it passes: sizes, encoding, and why parts of it were not read.
#[derive(Debug)]
pub(super) struct Wire {
    encoding: Encoding,
    inflater: Option<Inflater>,
    /// Bytes that passed.
    pub size: usize,
    pub unread: Option<Unread>,
}

impl Wire {
    pub(super) fn new(content_encoding: Option<&[u8]>, lease: Lease) -> Self {
        let encoding = Encoding::from_header(content_encoding.unwrap_or_default());
        Self { inflater: Inflater::new(&encoding, lease), encoding, size: 0, unread: None }
    }

    /// Takes a piece; hands out its bytes, inflated.
    pub(super) fn push(&mut self, piece: Piece<'_>, on_bytes: &mut impl FnMut(&[u8])) {
        match piece {
            Piece::Unread(size, why) => {
                self.size = self.size.saturating_add(size);
                // What could not be decoded anyway is missing for that reason, not for this one.
                if !self.is_opaque() && self.inflate_error().is_none() {
                    self.unread.get_or_insert(why);
                }
            }
            // Behind a gap nothing can be told any more.
            Piece::Bytes(bytes) if self.unread.is_some() => self.size = self.size.saturating_add(bytes.len()),
            Piece::Bytes(bytes) => {
                self.size = self.size.saturating_add(bytes.len());
                match (&mut self.inflater, &self.encoding) {
                    (Some(inflater), _) => inflater.push(bytes, on_bytes),
                    (None, Encoding::Other(_)) => {}
                    (None, _) => on_bytes(bytes),
                }
            }
        }
    }

    /// The bytes have an encoding that is not read.
    pub(super) fn is_opaque(&self) -> bool {
        matches!(self.encoding, Encoding::Other(_))
    }

    fn inflate_error(&self) -> Option<InflateError> {
        self.inflater.as_ref().and_then(Inflater::error)
    }

    /// More bytes would be of use.
    pub(super) fn wants_bytes(&self) -> bool {
        !self.is_opaque() && self.inflate_error().is_none() && self.unread.is_none()
    }

    /// Why the content could not be decoded, for the trace.
    pub(super) fn encoding_problem(&self) -> Option<String> {
        let problem = match (&self.encoding, self.inflate_error()) {
            (Encoding::Other(name), _) => return Some(format!("not decoded: {name}")),
            (_, None) => return None,
            (_, Some(InflateError::Corrupt)) => "corrupt content-encoding",
            (_, Some(InflateError::TooLong)) => "inflated in part: longer than is inflated",
            (_, Some(InflateError::NoMemory)) => "not inflated: memory_budget used up",
        };
        Some(problem.to_owned())
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct RequestSide {
    pub wire: Wire,
    shape: Shape,
    document: Document,
}

/// What becomes JSON with placeholders for media.
#[derive(Debug)]
enum Shape {
    Json(Box<MediaFilter>),
    Form(Box<MultipartReader>),
}

impl RequestSide {
    pub(super) fn new(headers: &[Header<'_>], settings: &Settings, budget: &Rc<Budget>) -> Self {
        let limits = Limits { head: settings.capture.input, member: MEMBER_MAX };
        let content_type = headers::find(headers, "content-type").unwrap_or_default();
        let form = MultipartReader::from_content_type(content_type);
        Self {
            wire: Wire::new(headers::find(headers, "content-encoding"), budget.capture_lease()),
            shape: form.map_or_else(|| Shape::Json(Box::default()), |form| Shape::Form(Box::new(form))),
            document: Document::new(limits, budget.capture_lease()),
        }
    }

    /// Bytes that are still worth reading.
    pub(super) fn room(&self) -> usize {
        if self.wire.wants_bytes() { SCAN_MAX.saturating_sub(self.document.seen()) } else { 0 }
    }

    pub(super) fn push(&mut self, piece: Piece<'_>) {
        let (shape, document) = (&mut self.shape, &mut self.document);
        self.wire.push(piece, &mut |bytes| match shape {
            Shape::Json(filter) => filter.push(bytes, &mut |bytes| document.push(bytes)),
            Shape::Form(form) => form.push(bytes, &mut |bytes| document.push(bytes)),
        });
    }

    /// No more will come: what is still held back is read.
    pub(super) fn finish(&mut self) {
        let document = &mut self.document;
        match &mut self.shape {
            Shape::Json(filter) => filter.finish(&mut |bytes| document.push(bytes)),
            Shape::Form(form) => form.finish(&mut |bytes| document.push(bytes)),
        }
    }

    pub(super) fn document(&self) -> &Document {
        &self.document
    }

    pub(super) fn memory_short(&self) -> bool {
        self.document.memory_short()
    }

    /// More was seen than is kept.
    pub(super) fn is_cut(&self) -> bool {
        !self.document.is_whole() && !self.memory_short()
    }

    pub(super) fn unread(&self) -> Option<Unread> {
        self.wire.unread
    }

    pub(super) fn encoding_problem(&self) -> Option<String> {
        self.wire.encoding_problem()
    }
}
