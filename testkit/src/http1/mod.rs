//! A small HTTP/1.1 (RFC 9112) on raw sockets, for both sides of the gateway.
//!
//! Libraries hide what these tests are about: where the borders of reads fall, header values that are no UTF-8,
//! connections that break in the middle. So heads are parsed with `httparse` and the rest is done here.

mod body;
mod connection;
mod head;

pub(crate) use body::{Body, Framing, encode_chunk};
pub(crate) use connection::Connection;
pub(crate) use head::{RequestHead, ResponseHead, find, write_head};

/// Header fields in order, names as sent, values as raw bytes.
pub type Headers = Vec<(String, Vec<u8>)>;

/// The first header of that name (ASCII case-insensitive) as text, when it is UTF-8.
pub fn header<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a str> {
    find(headers, name).and_then(|value| std::str::from_utf8(value).ok())
}

/// Headers from pairs of text: `headers(&[("content-type", "application/json")])`.
pub fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}
