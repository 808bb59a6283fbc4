//! What framing a response has: its first bytes decide, its content type only where they do not.
//!
//! Servers answer JSON under `text/event-stream`, event streams under `application/json`, and streams under no type at
//! all (shared facts of the project, docs/design.md "Framing").

/// How the messages of a response are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One JSON text is the whole body.
    Json,
    /// Server-sent events.
    Sse,
    /// Neither: kept as text.
    Raw,
}

/// Names of SSE fields with which a stream may begin.
const FIELDS: [&[u8]; 6] = [b"data:", b"event:", b"id:", b"retry:", b"error:", b":"];
/// Bytes that are waited for at the most: white space before the longest field name.
const WAIT_MAX: usize = 64;

/// Decides on the framing as soon as the bytes allow it.
#[derive(Debug)]
pub struct Sniffer {
    first: Vec<u8>,
    event_stream: bool,
}

impl Sniffer {
    /// A sniffer for a response of that `content-type`.
    #[must_use]
    pub fn new(content_type: &[u8]) -> Self {
        const EVENT_STREAM: &[u8] = b"text/event-stream";
        let event_stream = content_type.get(..EVENT_STREAM.len()).is_some_and(|t| t.eq_ignore_ascii_case(EVENT_STREAM));
        Self { first: Vec::new(), event_stream }
    }

    /// Takes the next bytes; once the framing is known, returns it with the bytes taken so far that precede `bytes`.
    pub fn push(&mut self, bytes: &[u8]) -> Option<(Framing, Vec<u8>)> {
        let waiting = self.first.len();
        if waiting == 0
            && let Some(framing) = decide(bytes, self.event_stream, false)
        {
            return Some((framing, Vec::new()));
        }
        self.first.extend_from_slice(bytes.get(..bytes.len().min(WAIT_MAX)).unwrap_or_default());
        let framing = decide(&self.first, self.event_stream, false)?;
        let mut before = std::mem::take(&mut self.first);
        before.truncate(waiting);
        Some((framing, before))
    }

    /// The body ended before the framing was certain.
    pub fn finish(&mut self) -> Option<(Framing, Vec<u8>)> {
        let framing = decide(&self.first, self.event_stream, true)?;
        Some((framing, std::mem::take(&mut self.first)))
    }
}

/// The framing of a body that begins with `first`, as far as it can be told.
fn decide(first: &[u8], event_stream: bool, at_end: bool) -> Option<Framing> {
    let text = first.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(first).trim_ascii_start();
    let partly = || FIELDS.iter().any(|field| field.starts_with(text)) || b"\xEF\xBB\xBF".starts_with(text);
    match text.first() {
        None if at_end => (!first.is_empty()).then_some(Framing::Raw),
        None => None,
        Some(b'{' | b'[') => Some(Framing::Json),
        Some(_) if FIELDS.iter().any(|field| text.starts_with(field)) => Some(Framing::Sse),
        Some(_) if !at_end && first.len() < WAIT_MAX && partly() => None,
        Some(_) if event_stream => Some(Framing::Sse),
        Some(_) => Some(Framing::Raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(content_type: &str, body: &[u8]) -> Option<Framing> {
        let whole = Sniffer::new(content_type.as_bytes()).push(body).map(|(framing, _)| framing);
        let mut sniffer = Sniffer::new(content_type.as_bytes());
        let mut taken = Vec::new();
        for (at, byte) in body.iter().enumerate() {
            if let Some((found, before)) = sniffer.push(&[*byte]) {
                assert_eq!((Some(found), &before[..]), (whole, &body[..at]), "byte by byte");
                return Some(found);
            }
            taken.push(*byte);
        }
        let end = sniffer.finish();
        assert!(end.as_ref().is_none_or(|(_, before)| *before == taken));
        whole.or(end.map(|(framing, _)| framing))
    }

    #[test]
    fn the_first_bytes_decide_and_the_type_only_where_they_do_not() {
        for (content_type, body, expected) in [
            ("", &b" \n{}"[..], Some(Framing::Json)),
            ("text/event-stream", b"{\"error\":1}", Some(Framing::Json)),
            ("application/json", b"data: {}\n\n", Some(Framing::Sse)),
            ("", b"\xEF\xBB\xBFevent: x", Some(Framing::Sse)),
            ("", b": OPENROUTER", Some(Framing::Sse)),
            ("Text/Event-Stream; charset=utf-8", b"custom: x", Some(Framing::Sse)),
            ("", b"data", Some(Framing::Raw)),
            ("text/plain", b"hello", Some(Framing::Raw)),
            ("", b"", None),
        ] {
            assert_eq!(framing(content_type, body), expected, "{content_type} {body:?}");
        }
    }
}
