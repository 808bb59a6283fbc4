//! Message bodies: the three ways in which HTTP/1.1 delimits them.

use std::time::Instant;

/// How a body ends (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `content-length: N`.
    Length(u64),
    /// `transfer-encoding: chunked`.
    #[default]
    Chunked,
    /// Neither: the body ends with the connection.
    UntilClose,
}

/// A body as far as it has arrived: what is here stays here when the connection breaks.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    /// HTTP chunks, or reads when the body is not chunked.
    pub(crate) chunks: usize,
    pub(crate) first_byte_at: Option<Instant>,
}

impl Body {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.first_byte_at.get_or_insert_with(Instant::now);
        self.bytes.extend_from_slice(bytes);
    }
}

/// One HTTP chunk, in one buffer so that it goes out with one write.
pub(crate) fn encode_chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}
