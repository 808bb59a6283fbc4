//! What framing a response has: its first bytes decide, its content type only where they do not.
//!
//! Servers answer JSON under `text/event-stream`, event streams under `application/json`, and streams under no type at
//! all (shared facts of the project, docs/design.md "Framing").

use crate::json::trim_start;

/// How the messages of a response are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One JSON text is the whole body.
    Json,
    /// Server-sent events.
    Sse,
    /// AWS
    EventStream,
    /// Neither: kept as text.
    Raw,
}

/// Names of SSE fields with which a stream may begin.
const FIELDS: [&[u8]; 6] = [b"data:", b"event:", b"id:", b"retry:", b"error:", b":"];
/// Bytes that are waited for at the most: white space before the longest field name.
const WAIT_MAX: usize = 64;

/// What the first bytes told.
#[derive(Debug, PartialEq, Eq)]
pub struct Sniffed {
    /// The framing.
    pub framing: Framing,
    /// Bytes that were held back and come before the piece.
    pub before: Vec<u8>,
    /// White space at the start of the piece: it is of no use to anybody.
    pub skip: usize,
}

/// Decides on the framing as soon as the bytes allow it.
#[derive(Debug)]
pub struct Sniffer {
    /// Begins with what is no white space; at most [`WAIT_MAX`] bytes.
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

    /// Takes the next piece; says the framing once it is known. White space before the body is dropped, however long.
    pub fn push(&mut self, piece: &[u8]) -> Option<Sniffed> {
        let text = if self.first.is_empty() { trim_start(piece) } else { piece };
        let waiting = self.first.len();
        self.first.extend_from_slice(text.get(..text.len().min(WAIT_MAX - waiting)).unwrap_or_default());
        let framing = decide(&self.first, self.event_stream, false)?;
        let mut before = std::mem::take(&mut self.first);
        before.truncate(waiting);
        Some(Sniffed { framing, before, skip: piece.len() - text.len() })
    }

    /// The body ended before the framing was certain.
    pub fn finish(&mut self) -> Option<Sniffed> {
        let framing = decide(&self.first, self.event_stream, true)?;
        Some(Sniffed { framing, before: std::mem::take(&mut self.first), skip: 0 })
    }
}

/// The framing of a body that begins with `first`, as far as it can be told.
fn decide(first: &[u8], event_stream: bool, at_end: bool) -> Option<Framing> {
    let text = trim_start(first.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(first));
    let certain = at_end || first.len() >= WAIT_MAX;
    let partly = || FIELDS.iter().any(|field| field.starts_with(text)) || b"\xEF\xBB\xBF".starts_with(text);
    match text.first() {
        None if certain => (!first.is_empty()).then_some(Framing::Raw),
        None => None,
        Some(b'{' | b'[') => Some(Framing::Json),
        Some(0) if first.len() < 12 && !certain => None,
        Some(0) if super::eventstream::is_event_stream(first) => Some(Framing::EventStream),
        Some(_) if FIELDS.iter().any(|field| text.starts_with(field)) => Some(Framing::Sse),
        Some(_) if !certain && partly() => None,
        Some(_) if event_stream => Some(Framing::Sse),
        Some(_) => Some(Framing::Raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The framing, and the bytes that are handed on.
    fn sniffed(content_type: &str, pieces: &[&[u8]]) -> (Option<Framing>, Vec<u8>) {
        let mut sniffer = Sniffer::new(content_type.as_bytes());
        let (mut framing, mut handed_on) = (None, Vec::new());
        for piece in pieces {
            let skip = match framing {
                Some(_) => 0,
                None => {
                    let Some(sniffed) = sniffer.push(piece) else { continue };
                    handed_on.extend(sniffed.before);
                    framing = Some(sniffed.framing);
                    sniffed.skip
                }
            };
            handed_on.extend_from_slice(&piece[skip..]);
        }
        if let Some(sniffed) = sniffer.finish().filter(|_| framing.is_none()) {
            (framing, handed_on) = (Some(sniffed.framing), sniffed.before);
        }
        (framing, handed_on)
    }

    fn framing(content_type: &str, body: &[u8]) -> Option<Framing> {
        let whole = sniffed(content_type, &[body]);
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(sniffed(content_type, &bytes), whole, "byte by byte");
        assert!(body.ends_with(&whole.1), "nothing is lost but white space");
        whole.0
    }

    #[test]
    fn white_space_before_the_body_is_dropped_however_it_comes() {
        let spaces = " ".repeat(1000);
        for pieces in [vec!["\n", &spaces, "{\"a\":1}"], vec!["\n", &format!("{spaces}{{\"a\":1}}")]] {
            let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
            assert_eq!(sniffed("", &pieces), (Some(Framing::Json), b"{\"a\":1}".to_vec()));
        }
        let mut sniffer = Sniffer::new(b"");
        (0..10_000).for_each(|_| assert_eq!(sniffer.push(spaces.as_bytes()), None));
        assert!(sniffer.first.is_empty());
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
