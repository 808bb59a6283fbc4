//! AWS event stream (`application/vnd.amazon.eventstream`): payloads change in their places, checksums with them.
//!
//! Spec: <https://smithy.io/2.0/aws/amazon-eventstream.html>. A message is total length, length of headers, CRC of these
//! two; headers; payload; CRC of all before it.

use super::body;
use super::mask::{self, Masker};

/// The two lengths and their checksum.
const PRELUDE: usize = 12;
/// The checksum at the end.
const CRC: usize = 4;
/// Header values of this type are strings.
const STRING: u8 = 7;

/// `bytes` begin with a message.
pub(super) fn begins(bytes: &[u8]) -> bool {
    lengths(bytes).is_some()
}

/// Total length and length of headers of the message that `bytes` begin with.
fn lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let (total, headers) = (usize::try_from(number(0)?).ok()?, usize::try_from(number(4)?).ok()?);
    let sound = crc32fast::hash(bytes.get(..8)?) == number(8)? && total >= PRELUDE + headers + CRC;
    sound.then_some((total, headers))
}

/// Writes the messages with other payloads to `out`: exactly as many bytes. What is no message is masked as bytes.
pub(super) fn redact(bytes: &[u8], masker: &mut Masker, out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some((total, headers)) = lengths(rest) {
        let (message, after) = rest.split_at_checked(total).unwrap_or((rest, b""));
        redact_message(message, total, headers, masker, out);
        rest = after;
    }
    mask::bytes(rest, out);
}

/// One message, of which the last of a body may be cut.
fn redact_message(message: &[u8], total: usize, headers: usize, masker: &mut Masker, out: &mut Vec<u8>) {
    let start = out.len();
    let (prelude, rest) = message.split_at_checked(PRELUDE).unwrap_or((message, b""));
    let (head, rest) = rest.split_at_checked(headers).unwrap_or((rest, b""));
    let payload_len = total.saturating_sub(PRELUDE + headers + CRC);
    let (payload, crc) = rest.split_at_checked(payload_len).unwrap_or((rest, b""));
    out.extend_from_slice(prelude);
    redact_headers(head, out);
    body::text(payload, masker, out);
    let whole =
        Some(message).filter(|message| message.len() == total).and_then(|message| message.split_last_chunk::<CRC>());
    let sound = whole.is_some_and(|(all, crc)| crc32fast::hash(all).to_be_bytes() == *crc);
    match out.get(start..) {
        // A checksum that was wrong stays wrong.
        Some(written) if sound => {
            let crc = crc32fast::hash(written);
            out.extend_from_slice(&crc.to_be_bytes());
        }
        _ => out.extend_from_slice(crc),
    }
}

/// Headers: names and words stay (`:event-type`), other strings go.
fn redact_headers(head: &[u8], out: &mut Vec<u8>) {
    let mut rest = head;
    while let Some((start, value, after)) = string_header(rest) {
        out.extend_from_slice(start);
        let name = start.get(1..start.len().saturating_sub(3)).unwrap_or_default();
        let kept = [&b":event-type"[..], b":message-type", b":content-type", b":exception-type", b":error-code"]
            .contains(&name);
        if kept {
            out.extend_from_slice(value);
        } else {
            mask::bytes(value, out);
        }
        rest = after;
    }
    // Headers of other types: Bedrock has none.
    mask::bytes(rest, out);
}

/// A header with a string: up to its value, the value, what follows.
fn string_header(head: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let name_len = usize::from(*head.first()?);
    if *head.get(1 + name_len)? != STRING {
        return None;
    }
    let length = head.get(2 + name_len..4 + name_len)?;
    let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
    let (start, rest) = head.split_at_checked(4 + name_len)?;
    let (value, after) = rest.split_at_checked(length)?;
    Some((start, value, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        let mut head = Vec::new();
        for (name, value) in headers {
            head.push(u8::try_from(name.len()).unwrap());
            head.extend_from_slice(name.as_bytes());
            head.push(STRING);
            head.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
            head.extend_from_slice(value.as_bytes());
        }
        let total = u32::try_from(PRELUDE + head.len() + payload.len() + CRC).unwrap();
        let mut out = total.to_be_bytes().to_vec();
        out.extend_from_slice(&u32::try_from(head.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(payload);
        out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
        out
    }

    fn redacted(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        redact(bytes, &mut Masker::default(), &mut out);
        out
    }

    #[test]
    fn payloads_change_and_checksums_hold() {
        let stream = |text: &str, error: &str| {
            let payload = format!(r#"{{"delta":{{"text":"{text}"}},"role":"assistant"}}"#);
            let first = message(
                &[(":event-type", "contentBlockDelta"), (":content-type", "application/json")],
                payload.as_bytes(),
            );
            [first, message(&[(":error-message", error)], b"")].concat()
        };
        assert!(begins(&stream("Hi Bob", "Bob left")));
        assert_eq!(redacted(&stream("Hi Bob", "Bob left")), stream("xx xxx", "xxx xxxx"));
    }

    #[test]
    fn what_is_cut_or_broken_keeps_its_length_and_says_nothing() {
        let whole = message(&[(":event-type", "chunk")], br#"{"text":"Secret"}"#);
        for cut in 0..whole.len() {
            let after = redacted(&whole[..cut]);
            assert_eq!(after.len(), cut);
            assert!(!String::from_utf8_lossy(&after).contains("Sec"), "cut at {cut}");
        }
        let mut wrong = whole.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(redacted(&wrong).last(), wrong.last());
    }
}
