//! An exchange for a public bug report: what a person wrote, a model answered, or a system is known by is replaced, byte
//! for byte of the same length; structure, framing, numbers and enumerations stay, so that a bug still shows.
//!
//! What stays: names of JSON members, values of members that are enumerations or models ([`names`]), numbers that are not
//! in lists, white space and punctuation. All else goes ([`mask`]), and so does what is below members that are a caller's
//! own ([`names::is_opaque`]). What is redacted already stays as it is.

mod body;
mod eventstream;
mod head;
mod json;
mod mask;
mod multipart;
mod names;

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use super::exchange::{BodyEncoding, Exchange, Headers, Request, Response, StoredBody};
use super::replay::replay;
use crate::budget::Budget;
use crate::config::Settings;
use crate::decode::BodyDecoder;
use mask::Masker;

/// What the file says of itself.
const NOTE: &str = "redacted by ai-tracing explain --redact";
/// Bytes that decoding one body may hold.
const DECODE_BUDGET: usize = 16 * 1024 * 1024;
/// Compressed bytes that are decoded at a time, as they arrive at a gateway.
const DECODE_STEP: usize = 16 * 1024;

/// See the module's documentation. A compressed body is stored decoded, or left out where it cannot be.
#[must_use]
pub fn redact(exchange: &Exchange) -> Exchange {
    let mut masker = Masker::default();
    let request = request(&exchange.request, &mut masker);
    let response = exchange.response.as_ref().map(|answer| response(answer, &mut masker));
    Exchange { note: Some(NOTE.to_owned()), request, response, properties: BTreeMap::new(), ..exchange.clone() }
}

fn request(request: &Request, masker: &mut Masker) -> Request {
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (request.path.as_str(), request.query.as_deref()),
    };
    let mut headers = request.headers.clone();
    let (body, body_encoding) = body(&mut headers, request.bytes(), request.body_encoding, masker);
    let (headers, removed) = head::headers(&headers);
    Request {
        method: head::method(&request.method),
        path: head::path(path),
        query: query.map(head::query),
        host: request.host.as_deref().map(head::host),
        headers,
        removed_headers: removed_names(&request.removed_headers, removed),
        framing: framing(&request.framing),
        body,
        body_encoding,
    }
}

fn response(answer: &Response, masker: &mut Masker) -> Response {
    let mut headers = answer.headers.clone();
    let (body, body_encoding) = body(&mut headers, answer.bytes(), answer.body_encoding, masker);
    let (headers, removed) = head::headers(&headers);
    Response {
        headers,
        removed_headers: removed_names(&answer.removed_headers, removed),
        framing: framing(&answer.framing),
        body,
        body_encoding,
        code_details: answer.code_details.as_deref().map(head::code_details),
        ..answer.clone()
    }
}

/// The body that is stored in place of `bytes`; takes out of `headers` what is no longer true of it.
fn body(
    headers: &mut Headers,
    bytes: Vec<u8>,
    stored: BodyEncoding,
    masker: &mut Masker,
) -> (StoredBody, BodyEncoding) {
    let plain = match stored {
        BodyEncoding::None => None,
        BodyEncoding::Utf8 => Some(bytes),
        BodyEncoding::Base64 => decoded(headers, &bytes),
    };
    let Some(plain) = plain else { return (StoredBody(None), BodyEncoding::None) };
    StoredBody::of(body::redact(&plain, headers.get("content-type").unwrap_or_default(), masker))
}

/// None where `bytes` cannot be decoded: what is compressed cannot be redacted.
fn decoded(headers: &mut Headers, bytes: &[u8]) -> Option<Vec<u8>> {
    let codings = headers.get("content-encoding").map(str::as_bytes);
    let mut decoder = BodyDecoder::new(codings.into_iter(), &Budget::new(DECODE_BUDGET).export_lease());
    let mut out = Vec::new();
    bytes.chunks(DECODE_STEP).for_each(|chunk| decoder.push(chunk, &mut |piece| out.extend_from_slice(piece)));
    decoder.finish(&mut |piece| out.extend_from_slice(piece));
    if decoder.is_opaque() || decoder.error().is_some() {
        return None;
    }
    let of_the_wire =
        |name: &str| ["content-encoding", "content-length"].iter().any(|other| name.eq_ignore_ascii_case(other));
    headers.0.retain(|(name, _)| out == bytes || !of_the_wire(name));
    Some(out)
}

/// Names that were removed before, and now. Names of header fields are no secrets.
fn removed_names(before: &[String], now: Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = before.iter().filter(|name| head::is_token(name)).cloned().chain(now).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What is known to describe framing, where it is a word or a number.
fn framing(framing: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let known = |name: &str| ["content_encoding", "transfer_encoding", "content_length"].contains(&name);
    let harmless =
        |value: &Value| value.is_number() || value.as_str().is_some_and(|text| text.split(", ").all(head::is_token));
    let kept = framing.iter().filter(|(name, value)| known(name) && harmless(value));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What is read in another way of `redacted` than of `original`: names of fields. None means that a bug in what is read
/// shows in both.
#[must_use]
pub fn differences(original: &Exchange, redacted: &Exchange, settings: &Rc<Settings>) -> Vec<&'static str> {
    let (before, after) = (reading(original, settings), reading(redacted, settings));
    let differing = before.iter().zip(&after).filter(|((_, before), (_, after))| before != after);
    differing.map(|((name, _), _)| *name).collect()
}

/// What must not change, by name.
fn reading(exchange: &Exchange, settings: &Rc<Settings>) -> Vec<(&'static str, Value)> {
    let (fields, skipped) = match replay(exchange, settings) {
        Ok(traced) => (serde_json::from_str(&traced.fields).unwrap_or_default(), Value::Null),
        Err(skip) => (Value::Null, skip.name().into()),
    };
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let same = ["family", "operation", "stream", "status", "usage", "usage_details", "finish_reason", "level"];
    let mut reading: Vec<_> = same.into_iter().map(|name| (name, field(name))).collect();
    let length = |value: Value| value.as_str().map(|text| text.chars().count()).unwrap_or_default().into();
    reading.extend([
        ("skipped", skipped),
        ("error", field("error").is_object().into()),
        ("tool_calls", field("tool_calls").as_array().map(Vec::len).unwrap_or_default().into()),
        ("output_text", length(field("output_text"))),
        ("reasoning_text", length(field("reasoning_text"))),
    ]);
    reading
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    fn compressed(coding: &str) -> Exchange {
        let body = miniz_oxide::deflate::compress_to_vec_zlib(
            br#"{"model":"gpt-4o","object":"chat.completion","x":"Bob"}"#,
            6,
        );
        let file = serde_json::json!({"note": "by Bob", "request": {"path": "/v1/chat/completions"}, "response": {"status": 200,
            "headers": {"Content-Encoding": coding, "content-length": "60", "server": "bob"},
            "body": STANDARD.encode(body), "body_encoding": "base64"}});
        Exchange::parse(file.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_compressed_body_is_stored_decoded() {
        let once = redact(&compressed("deflate"));
        let answer = once.response.as_ref().unwrap();
        assert_eq!(answer.bytes(), br#"{"model":"gpt-4o","object":"chat.completion","x":"xxx"}"#);
        assert_eq!(answer.headers.0, [("server".to_owned(), "xxx".to_owned())]);
        assert_eq!(once.note.as_deref(), Some(NOTE));
        assert_eq!(serde_json::to_string(&redact(&once)).unwrap(), serde_json::to_string(&once).unwrap());
    }

    #[test]
    fn what_cannot_be_decoded_is_left_out() {
        for coding in ["br", "gzip, br"] {
            let answer = redact(&compressed(coding)).response.unwrap();
            assert_eq!((answer.body.0, answer.body_encoding), (None, BodyEncoding::None));
            assert_eq!(answer.headers.get("content-encoding"), Some(coding));
        }
    }

    #[test]
    fn what_is_read_in_another_way_is_named() {
        let settings = Rc::new(Settings::load(b"{}", &|_| None).unwrap());
        let (original, mut other) = (compressed("deflate"), redact(&compressed("deflate")));
        assert!(differences(&original, &other, &settings).is_empty());
        other.response.as_mut().unwrap().status = Some(500);
        assert_eq!(differences(&original, &other, &settings), ["status", "level", "error"]);
        other.request.path = "/".to_owned();
        assert!(differences(&original, &other, &settings).contains(&"skipped"));
    }
}
