//! What the client sends and what it got.

use crate::http1::{Headers, encode_chunk, find, header, write_head};
use std::time::Duration;

/// Size of the chunks of a request body that goes out chunked.
const REQUEST_CHUNK: usize = 16 * 1024;

/// One request. `host` and `content-length` are added when they are missing; with a header
/// `transfer-encoding: chunked` the body goes out in chunks of 16 KiB.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// GET, POST, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Sent in this order, values as they are: they need not be UTF-8.
    pub headers: Headers,
    /// The body's bytes.
    pub body: Vec<u8>,
}

impl Request {
    /// A POST of a JSON body.
    pub fn post_json(path: &str, body: &serde_json::Value, headers: &[(&str, &str)]) -> Self {
        let mut all = crate::http1::headers(&[("content-type", "application/json")]);
        all.extend(crate::http1::headers(headers));
        Self { method: "POST".into(), path: path.into(), headers: all, body: body.to_string().into_bytes() }
    }

    /// A GET without a body.
    pub fn get(path: &str) -> Self {
        Self { method: "GET".into(), path: path.into(), ..Self::default() }
    }

    /// The same request with one more header.
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The bytes on the wire.
    pub(super) fn encode(&self, host: &str) -> Vec<u8> {
        let chunked = header(&self.headers, "transfer-encoding").is_some_and(|value| value.contains("chunked"));
        let mut headers = self.headers.clone();
        if find(&headers, "host").is_none() {
            headers.insert(0, ("host".into(), host.into()));
        }
        let needs_length = !chunked && find(&headers, "content-length").is_none();
        if needs_length && (!self.body.is_empty() || self.method != "GET") {
            headers.push(("content-length".into(), self.body.len().to_string().into_bytes()));
        }
        let mut bytes = write_head(&format!("{} {} HTTP/1.1", self.method, self.path), &headers);
        if chunked {
            self.body.chunks(REQUEST_CHUNK).for_each(|chunk| bytes.extend(encode_chunk(chunk)));
            bytes.extend_from_slice(b"0\r\n\r\n");
        } else {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// One answer, as far as it came.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// 0 when the connection broke before a status line.
    pub status: u16,
    /// As received.
    pub headers: Headers,
    /// The body without its transfer coding.
    pub body: Vec<u8>,
    /// HTTP chunks, or reads when the body is not chunked.
    pub chunks: usize,
    /// The body ended as its framing says.
    pub complete: bool,
    /// From the first byte sent to the first byte of the body.
    pub time_to_first_byte: Option<Duration>,
    /// From the first byte sent to the end.
    pub duration: Duration,
}

impl Response {
    /// The first header of that name, when it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics with the body when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}
