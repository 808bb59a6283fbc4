//! The request's side of a call: its body, decoded where it is compressed, kept up to `max_input_bytes`.

use std::rc::Rc;

use super::{Piece, Unread};
use crate::budget::{Budget, Lease};
use crate::config::Settings;
use crate::decode::{BodyDecoder, MediaFilter, MultipartReader};
use crate::headers::{self, Header};
use crate::json::{Document, Limits};

/// Bytes of a body that are looked at; what is behind them is only counted, so that a callback's work is bounded.
pub(super) const SCAN_MAX: usize = 16 * 1024 * 1024;
/// Kept of each top-level member that begins behind the captured beginning.
pub(super) const MEMBER_MAX: usize = 64 * 1024;

/// A body as it passes: sizes, encoding, and why parts of it were not read.
#[derive(Debug)]
pub(super) struct Wire {
    decoder: BodyDecoder,
    /// Bytes that passed.
    pub size: usize,
    pub unread: Option<Unread>,
}

impl Wire {
    pub(super) fn new(headers: &[Header<'_>], lease: &Lease) -> Self {
        let decoder = BodyDecoder::new(headers::all(headers, "content-encoding"), lease);
        Self { decoder, size: 0, unread: None }
    }

    /// Takes a piece; hands out its bytes, decoded.
    pub(super) fn push(&mut self, piece: Piece<'_>, on_bytes: &mut dyn FnMut(&[u8])) {
        match piece {
            Piece::Unread(size, why) => {
                self.size = self.size.saturating_add(size);
                // What could not be decoded anyway is missing for that reason, not for this one.
                if !self.is_undecoded() {
                    self.unread.get_or_insert(why);
                }
            }
            // Behind a gap nothing can be told any more.
            Piece::Bytes(bytes) if self.unread.is_some() => self.size = self.size.saturating_add(bytes.len()),
            Piece::Bytes(bytes) => {
                self.size = self.size.saturating_add(bytes.len());
                self.decoder.push(bytes, on_bytes);
            }
        }
    }

    /// No more will come: what the decoder holds back is handed out.
    pub(super) fn finish(&mut self, on_bytes: &mut dyn FnMut(&[u8])) {
        self.decoder.finish(on_bytes);
    }

    /// The content has an encoding that is not decoded, or could not be to its end.
    pub(super) fn is_undecoded(&self) -> bool {
        self.decoder.is_opaque() || self.decoder.error().is_some()
    }

    /// See [`BodyDecoder::is_late`].
    pub(super) fn is_late(&self) -> bool {
        self.decoder.is_late()
    }

    /// More bytes would be of use.
    pub(super) fn wants_bytes(&self) -> bool {
        !self.is_undecoded() && self.unread.is_none()
    }

    /// What is to be said of the encoding, for the trace.
    pub(super) fn encoding_note(&self) -> Option<String> {
        self.decoder.note_of_problem()
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

impl Shape {
    fn push(&mut self, bytes: &[u8], document: &mut Document) {
        match self {
            Self::Json(filter) => filter.push(bytes, &mut |bytes| document.push(bytes)),
            Self::Form(form) => form.push(bytes, &mut |bytes| document.push(bytes)),
        }
    }
}

impl RequestSide {
    pub(super) fn new(headers: &[Header<'_>], settings: &Settings, budget: &Rc<Budget>) -> Self {
        let limits = Limits { head: settings.capture.input, member: MEMBER_MAX };
        let content_type = headers::find(headers, "content-type").unwrap_or_default();
        let form = MultipartReader::from_content_type(content_type);
        Self {
            wire: Wire::new(headers, &budget.capture_lease()),
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
        self.wire.push(piece, &mut |bytes| shape.push(bytes, document));
    }

    /// No more will come: what is still held back is read.
    pub(super) fn finish(&mut self) {
        let (shape, document) = (&mut self.shape, &mut self.document);
        self.wire.finish(&mut |bytes| shape.push(bytes, document));
        match &mut self.shape {
            Shape::Json(filter) => filter.finish(&mut |bytes| document.push(bytes)),
            Shape::Form(form) => form.finish(&mut |bytes| document.push(bytes)),
        }
    }

    /// Some of what was asked stands in the trace as what is told of it. (A form is that of audio or images, which are
    /// not estimated anyway.)
    pub(super) fn has_media(&self) -> bool {
        matches!(&self.shape, Shape::Json(filter) if filter.replaces())
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
}
