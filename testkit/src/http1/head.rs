//! Heads of requests and responses: parsed by httparse, written as they are given.

use super::body::Framing;
use super::{Headers, header};
use std::io;

/// More header fields than any test sends.
const MAX_HEADERS: usize = 256;

/// Request line and headers.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Headers,
}

impl RequestHead {
    /// Parses a head; `None` while it is incomplete. Also answers the head's length.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut fields);
        let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(invalid)? else { return Ok(None) };
        let head = Self {
            method: parsed.method.unwrap_or_default().to_owned(),
            target: parsed.path.unwrap_or_default().to_owned(),
            headers: owned(parsed.headers),
        };
        Ok(Some((head, length)))
    }

    /// How the request's body is delimited (RFC 9112 section 6.3).
    pub(crate) fn framing(&self) -> io::Result<Framing> {
        if is_chunked(&self.headers) {
            return Ok(Framing::Chunked);
        }
        Ok(content_length(&self.headers)?.map_or(Framing::Length(0), Framing::Length))
    }
}

/// Status line and headers.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
}

impl ResponseHead {
    /// Parses a head; `None` while it is incomplete. Also answers the head's length.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(invalid)? else { return Ok(None) };
        let head = Self { status: parsed.code.unwrap_or_default(), headers: owned(parsed.headers) };
        Ok(Some((head, length)))
    }

    /// How the response's body is delimited (RFC 9112 section 6.3).
    pub(crate) fn framing(&self, method: &str) -> io::Result<Framing> {
        if method == "HEAD" || self.status < 200 || self.status == 204 || self.status == 304 {
            return Ok(Framing::Length(0));
        }
        if is_chunked(&self.headers) {
            return Ok(Framing::Chunked);
        }
        Ok(content_length(&self.headers)?.map_or(Framing::UntilClose, Framing::Length))
    }
}

/// The first header of that name, as bytes.
pub(crate) fn find<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
}

/// `start line CRLF headers CRLF CRLF`.
pub(crate) fn write_head(start_line: &str, headers: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut head = format!("{start_line}\r\n").into_bytes();
    for (name, value) in headers {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn is_chunked(headers: &[(String, Vec<u8>)]) -> bool {
    header(headers, "transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked"))
}

fn content_length(headers: &[(String, Vec<u8>)]) -> io::Result<Option<u64>> {
    header(headers, "content-length").map(|value| value.trim().parse().map_err(invalid)).transpose()
}

fn owned(fields: &[httparse::Header<'_>]) -> Headers {
    fields.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect()
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
