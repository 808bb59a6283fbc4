//! A string of base64 that is replaced: decoded as it passes, and told of at its end.

use super::base64::Base64;
use super::content::{Content, End, HashBudget};
use super::escape::{Escape, Step};
use crate::json::Object;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Replaced {
    escape: Escape,
    base64: Base64,
    content: Content,
    /// The type that was told.
    mime: Option<String>,
    /// The type if the bytes do not tell.
    fallback: Option<String>,
}

impl Replaced {
    pub(super) fn new(mime: Option<String>, fallback: Option<String>) -> Self {
        Self { escape: Escape::None, base64: Base64::default(), content: Content::new(), mime, fallback }
    }

    /// Takes the next bytes of the string; says where it ends, behind its quote, if that is in `bytes`.
    pub(super) fn take(&mut self, bytes: &[u8], hashing: &mut HashBudget) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.escape == Escape::None {
                let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                self.decode(rest.get(..plain).unwrap_or_default(), hashing);
                at += plain;
            }
            let Some(byte) = bytes.get(at) else { break };
            at += 1;
            match self.escape.step(*byte) {
                Step::End => return Some(at),
                Step::Wait | Step::Character(b'\n' | b'\r') => {}
                Step::Character(character) => self.decode(&[character], hashing),
                Step::Other => self.base64.spoil(),
            }
        }
        None
    }

    fn decode(&mut self, base64: &[u8], hashing: &mut HashBudget) {
        self.base64.push(base64, &mut |bytes| self.content.update(bytes, hashing));
    }

    /// What stands in its place.
    pub(super) fn placeholder(mut self, is_cut: bool, hashing: &mut HashBudget) -> String {
        let is_valid = self.base64.finish(&mut |bytes| self.content.update(bytes, hashing));
        let end = match (is_cut, is_valid) {
            (true, _) => End::Cut,
            (false, true) => End::Whole,
            (false, false) => End::Invalid,
        };
        let Self { mime, fallback, content, .. } = self;
        let mime = mime.or_else(|| fallback.filter(|_| content.sniffed().is_none()));
        let mut out = String::with_capacity(192);
        content.close(Object::open(&mut out), mime.as_deref(), end);
        out
    }
}
