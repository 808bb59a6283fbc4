//! Bytes of media as a trace tells of them: how many, of which type, and their SHA-256, without the bytes.

use super::mime::{FIRST, UNKNOWN, sniff};
use crate::json::Object;
use crate::sha256::{Sha256, write_hex};

/// Bytes of one body that are hashed at the most.
pub const HASH_MAX: usize = 8 * 1024 * 1024;
/// Bytes that are hashed in one call of `push` at the most: some 10 ms, while the gateway waits.
pub const PIECE_HASH_MAX: usize = 2 * 1024 * 1024;

/// How many bytes may still be hashed.
#[derive(Debug)]
pub(crate) struct HashBudget {
    body: usize,
    piece: usize,
}

impl HashBudget {
    pub(crate) fn new() -> Self {
        Self { body: HASH_MAX, piece: PIECE_HASH_MAX }
    }

    /// The next piece has come.
    pub(crate) fn next_piece(&mut self) {
        self.piece = PIECE_HASH_MAX;
    }

    fn take(&mut self, bytes: usize) -> bool {
        match (self.body.checked_sub(bytes), self.piece.checked_sub(bytes)) {
            (Some(body), Some(piece)) => {
                (self.body, self.piece) = (body, piece);
                true
            }
            _ => false,
        }
    }
}

/// How the bytes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    /// What came behind the bytes was not base64.
    Invalid,
    /// The body ended within them.
    Cut,
}

/// Counts, hashes and sniffs bytes that arrive in pieces.
#[derive(Debug)]
pub(crate) struct Content {
    bytes: u64,
    /// The first bytes; as many as [`sniff`] looks at.
    first: Vec<u8>,
    /// None when there was more to hash than may be.
    hash: Option<Sha256>,
}

impl Content {
    pub(crate) fn new() -> Self {
        Self { bytes: 0, first: Vec::new(), hash: Some(Sha256::new()) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8], budget: &mut HashBudget) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let missing = FIRST.saturating_sub(self.first.len());
        self.first.extend_from_slice(bytes.get(..missing.min(bytes.len())).unwrap_or_default());
        match &mut self.hash {
            Some(hash) if budget.take(bytes.len()) => hash.update(bytes),
            hash => *hash = None,
        }
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.bytes
    }

    /// The type that the first bytes tell.
    pub(crate) fn sniffed(&self) -> Option<&'static str> {
        sniff(&self.first)
    }

    /// An object of what is told of the bytes; see [`Content::close`].
    pub(crate) fn describe(self, mime: Option<&str>, end: End) -> String {
        let mut out = String::new();
        self.close(Object::open(&mut out), mime, end);
        out
    }

    /// Adds the members to `object` and closes it: `"mime"`, `"bytes"`, and, unless cut or too long, `"sha256"`;
    /// `"invalid":true` or `"cut":true` where that holds.
    pub(crate) fn close(self, mut object: Object<'_>, mime: Option<&str>, end: End) {
        object.text("mime", mime.or_else(|| self.sniffed()).unwrap_or(UNKNOWN));
        object.number("bytes", self.bytes);
        if let Some(hash) = self.hash.filter(|_| end != End::Cut) {
            let text = object.key("sha256");
            text.push('"');
            write_hex(text, &hash.finish());
            text.push('"');
        }
        match end {
            End::Whole => {}
            End::Invalid => object.raw("invalid", "true"),
            End::Cut => object.raw("cut", "true"),
        }
        object.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(content: Content, end: End) -> String {
        content.describe(None, end)
    }

    #[test]
    fn more_than_may_be_hashed_is_only_counted() {
        let mut budget = HashBudget::new();
        let piece = vec![0; PIECE_HASH_MAX];
        for _ in 0..HASH_MAX / PIECE_HASH_MAX {
            budget.next_piece();
            let mut content = Content::new();
            content.update(&piece, &mut budget);
            assert!(written(content, End::Whole).contains("sha256"));
        }
        budget.next_piece();
        let mut content = Content::new();
        content.update(b"x", &mut budget);
        assert_eq!(written(content, End::Whole), r#"{"mime":"application/octet-stream","bytes":1}"#);

        let mut content = Content::new();
        content.update(&[0; PIECE_HASH_MAX + 1], &mut HashBudget::new());
        assert!(!written(content, End::Whole).contains("sha256"));
    }

    #[test]
    fn how_it_ended_is_told() {
        assert_eq!(written(Content::new(), End::Cut), r#"{"mime":"application/octet-stream","bytes":0,"cut":true}"#);
        let invalid = written(Content::new(), End::Invalid);
        assert!(invalid.ends_with(r#"b7852b855","invalid":true}"#), "{invalid}");
    }
}
