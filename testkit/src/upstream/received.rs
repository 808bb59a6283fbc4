//! A request as it reached the upstream, to compare with what the client sent.

use crate::http1::{Headers, RequestHead, header};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Bodies up to this size are kept whole, of larger ones only length and hash.
pub const KEPT_BODY: usize = 8 * 1024 * 1024;

/// One received request.
#[derive(Clone, Debug)]
pub struct Received {
    /// GET, POST, …
    pub method: String,
    /// Path and query as in the request line.
    pub path: String,
    /// Names and raw values as they arrived.
    pub headers: Headers,
    /// The body; `None` above [`KEPT_BODY`].
    pub body: Option<Vec<u8>>,
    /// Its length.
    pub body_length: usize,
    body_hash: u64,
}

impl Received {
    pub(crate) fn new(head: RequestHead, body: Vec<u8>) -> Self {
        Self {
            method: head.method,
            path: head.target,
            headers: head.headers,
            body_length: body.len(),
            body_hash: hash(&body),
            body: Some(body).filter(|body| body.len() <= KEPT_BODY),
        }
    }

    /// The first header of that name, when it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// True when exactly these bytes arrived as body.
    pub fn has_body(&self, bytes: &[u8]) -> bool {
        self.body_length == bytes.len() && self.body_hash == hash(bytes)
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
