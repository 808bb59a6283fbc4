//! The trace that a request says it belongs to: W3C Trace Context (<https://www.w3.org/TR/trace-context/>) and Zipkin's B3
//! (<https://github.com/openzipkin/b3-propagation>). Sampling flags are not looked at: a call that nobody else samples is
//! traced all the same.

use crate::trace::{SpanId, TraceId};

/// Bytes of `tracestate` that are handed on (the least that W3C asks for).
const TRACESTATE_MAX: usize = 512;
/// Entries of `tracestate` (the most that W3C allows).
const TRACESTATE_ENTRIES: usize = 32;

/// A place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    pub trace: TraceId,
    pub span: Option<SpanId>,
}

/// `00-<32 hex>-<16 hex>-<flags>`, and what later versions append.
pub(super) fn traceparent(text: &str) -> Option<Parent> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str| text.len() == 2 && text.bytes().all(is_lower_hex);
    let is_whole = version != "00" || parts.next().is_none();
    if !is_hex(version) || version == "ff" || !is_hex(flags) || !is_whole {
        return None;
    }
    Some(Parent { trace: TraceId(id(trace)?), span: Some(SpanId(id(span)?)) })
}

/// `<trace>-<span>[-<sampled>[-<parent>]]`; a sampling decision alone is no place.
pub(super) fn b3(text: &str) -> Option<Parent> {
    let mut parts = text.trim().split('-');
    b3_ids(parts.next()?, Some(parts.next()?))
}

/// `X-B3-TraceId` and `X-B3-SpanId`.
pub(super) fn b3_ids(trace: &str, span: Option<&str>) -> Option<Parent> {
    let (trace, span) = (trace.to_ascii_lowercase(), span.map(str::to_ascii_lowercase));
    let trace = if trace.len() == 16 { format!("{:0>32}", trace) } else { trace };
    Some(Parent { trace: TraceId(id(&trace)?), span: span.and_then(|span| id(&span)).map(SpanId) })
}

/// The id that `text` is: hexadecimal, not zero.
pub(super) fn id<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N || !text.iter().copied().all(is_lower_hex) {
        return None;
    }
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    bytes.iter().any(|byte| *byte != 0).then_some(bytes)
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// The entries of all `tracestate` headers, as one; empty where there are none, or they are not printable ASCII.
pub(super) fn tracestate<'a>(headers: impl Iterator<Item = &'a [u8]>) -> String {
    let entries = headers.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let mut state = String::new();
    for entry in entries.filter(|entry| !entry.is_empty()).take(TRACESTATE_ENTRIES) {
        let printable = entry.iter().all(|byte| matches!(byte, 0x20..=0x7e)) && entry.contains(&b'=');
        let Some(entry) = std::str::from_utf8(entry).ok().filter(|_| printable) else { continue };
        if state.len() + 1 + entry.len() > TRACESTATE_MAX {
            break;
        }
        if !state.is_empty() {
            state.push(',');
        }
        state.push_str(entry);
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn shown(parent: Option<Parent>) -> Option<(String, Option<String>)> {
        parent.map(|parent| (format!("{:?}", parent.trace), parent.span.map(|span| format!("{span:?}"))))
    }

    #[test]
    fn a_traceparent_is_taken_whole_or_not_at_all() {
        let place = Some((TRACE.to_owned(), Some(SPAN.to_owned())));
        for text in [
            format!("00-{TRACE}-{SPAN}-01"),
            format!(" 00-{TRACE}-{SPAN}-00 "),
            format!("00-{TRACE}-{SPAN}-03"),
            format!("cc-{TRACE}-{SPAN}-01-what-comes-later"),
        ] {
            assert_eq!(shown(traceparent(&text)), place, "{text}");
        }
        for text in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("00-{}-{SPAN}-01", TRACE.split_at(1).1),
        ] {
            assert_eq!(traceparent(&text), None, "{text}");
        }
    }

    #[test]
    fn b3_in_one_header_or_several() {
        let place = Some((TRACE.to_owned(), Some(SPAN.to_owned())));
        for text in
            [format!("{TRACE}-{SPAN}"), format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90"), format!("{TRACE}-{SPAN}-d")]
        {
            assert_eq!(shown(b3(&text)), place, "{text}");
        }
        let short = Some((format!("{}{SPAN}", "0".repeat(16)), Some(SPAN.to_owned())));
        assert_eq!(shown(b3(&format!("{SPAN}-{SPAN}-1"))), short);
        assert_eq!(shown(b3_ids(&SPAN.to_uppercase(), Some(SPAN))), short);
        assert_eq!(shown(b3_ids(TRACE, None)), Some((TRACE.to_owned(), None)));
        for text in ["0", "1", "d", "", "xyz-1"] {
            assert_eq!(b3(text), None, "{text}");
        }
    }

    #[test]
    fn tracestate_is_bounded_and_printable() {
        let headers: [&[u8]; 3] = [b"a=1, b=2", b"c=\x01,nonsense", b" d=3 ,,"];
        assert_eq!(tracestate(headers.into_iter()), "a=1,b=2,d=3");
        let long = format!("a=1,b={}", "x".repeat(TRACESTATE_MAX));
        assert_eq!(tracestate([long.as_bytes()].into_iter()), "a=1");
    }
}
