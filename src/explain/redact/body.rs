//! A body, by what it is: AWS event stream, multipart, server-sent events, JSON, or any other text or bytes.

use super::json::Scanner;
use super::mask::{self, Masker};
use super::names::is_enumeration;
use super::{eventstream, multipart};
use crate::decode::{Framing, Sniffer};

/// `bytes` with other contents: exactly as many.
pub(super) fn redact(bytes: &[u8], content_type: &str, masker: &mut Masker) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    if eventstream::begins(bytes) {
        eventstream::redact(bytes, masker, &mut out);
    } else if let Some(boundary) = multipart::boundary(content_type) {
        multipart::redact(bytes, boundary, masker, &mut out);
    } else if is_event_stream(bytes, content_type) {
        events(bytes, masker, &mut out);
    } else {
        text(bytes, masker, &mut out);
    }
    out
}

/// JSON, or any other text.
pub(super) fn text(bytes: &[u8], masker: &mut Masker, out: &mut Vec<u8>) {
    if is_json(bytes) { Scanner::default().scan(bytes, masker, out) } else { mask::bytes(bytes, out) }
}

fn is_json(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii_start();
    matches!(text.first(), Some(b'{' | b'[' | b'"'))
}

/// As the filter decides it.
fn is_event_stream(bytes: &[u8], content_type: &str) -> bool {
    let mut sniffer = Sniffer::new(content_type.as_bytes());
    let sniffed = sniffer.push(bytes).or_else(|| sniffer.finish());
    sniffed.is_some_and(|sniffed| sniffed.framing == Framing::Sse)
}

/// Server-sent events: <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>.
fn events(bytes: &[u8], masker: &mut Masker, out: &mut Vec<u8>) {
    let mut scanner = Scanner::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(line_len(rest)).unwrap_or((rest, b""));
        rest = after;
        if line.trim_ascii().is_empty() {
            scanner = Scanner::default();
        }
        event_line(line, &mut scanner, masker, out);
    }
}

/// Length of the first line with its end (LF, CR, or both).
fn line_len(bytes: &[u8]) -> usize {
    let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) else { return bytes.len() };
    let both = bytes.get(end..).is_some_and(|rest| rest.starts_with(b"\r\n"));
    end + if both { 2 } else { 1 }
}

fn event_line(line: &[u8], scanner: &mut Scanner, masker: &mut Masker, out: &mut Vec<u8>) {
    const FIELDS: [&[u8]; 6] = [b"data:", b"event:", b"id:", b"retry:", b"error:", b":"];
    let start = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    let before = line.len() - start.len();
    let field = FIELDS.into_iter().find(|field| start.starts_with(field)).unwrap_or_default();
    let (name, value) = line.split_at_checked(before + field.len()).unwrap_or((line, b""));
    out.extend_from_slice(name);
    let word = std::str::from_utf8(value).unwrap_or_default().trim();
    match field {
        b"event:" | b"retry:" if is_enumeration(word) => out.extend_from_slice(value),
        b"data:" | b"error:" | b"" if scanner.is_inside() || is_json(value) => scanner.scan(value, masker, out),
        _ => mask::bytes(value, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redacted(body: &str, content_type: &str) -> String {
        String::from_utf8(redact(body.as_bytes(), content_type, &mut Masker::default())).unwrap()
    }

    #[test]
    fn the_framing_of_streams_stays() {
        let stream = ": hi there\r\nevent: message_start\r\ndata: {\"text\":\"Hi\",\r\ndata: \"role\":\"user\"}\r\n\r\ndata: [DONE]\n\ndata: plain\r\rid: 7\n";
        let after = ": xx xxxxx\r\nevent: message_start\r\ndata: {\"text\":\"xx\",\r\ndata: \"role\":\"user\"}\r\n\r\ndata: [DONE]\n\ndata: xxxxx\r\rid: 1\n";
        assert_eq!(redacted(stream, "text/event-stream"), after);
        assert_eq!(redacted(stream, ""), after);
    }

    #[test]
    fn other_texts_are_masked() {
        assert_eq!(redacted("<h1>502 \"Bad\": Gateway</h1>", "text/html"), "<x1>111 \"xxx\": xxxxxxx</x1>");
        assert_eq!(
            redacted("{\"response\":\"Hi\"}\n{\"response\":\"\"}\n", ""),
            "{\"response\":\"xx\"}\n{\"response\":\"\"}\n"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_keep_their_length(raw in any::<Vec<u8>>(), start in "(data: |: |\\{\"|--b\r\n|)", kind in "(text/event-stream|multipart/form-data; boundary=b|)") {
            let body = [start.as_bytes(), &raw].concat();
            prop_assert_eq!(redact(&body, &kind, &mut Masker::default()).len(), body.len());
        }

        /// A word under any name that is no enumeration, in JSON or in an event, is gone.
        #[test]
        fn no_word_of_a_content_survives(word in "[a-z]{6,12}", name in "(content|text|prompt|x)", before in any::<String>()) {
            let said = format!("{before} {word}");
            let json = serde_json::json!({"messages": [{"role": "user", name: said}], "n": 1}).to_string();
            for body in [json.clone(), format!("data: {json}\n\n"), format!("data: {word}\n\n"), word.clone()] {
                let after = redacted(&body, "application/json");
                let known = ["messages", "content", "prompt"].iter().any(|name| name.contains(&word));
                prop_assert!(known || !after.contains(&word) || word.bytes().all(|byte| byte == b'x'), "{after}");
            }
        }
    }
}
