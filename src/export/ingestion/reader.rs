//! Reading back the spans that `export::otlp` wrote (<https://protobuf.dev/programming-guides/encoding/>).
//!
//! The queue holds encoded spans, whichever API they leave by. Only the fields that the filter writes are read, unknown
//! ones are passed over, and bytes that are no span are an error: nothing here trusts its input.

/// Bytes that are no span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    Texts(Vec<&'a str>),
}

/// A span; texts are borrowed from its bytes.
#[derive(Debug, Default)]
pub(super) struct Span<'a> {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub parent: Option<[u8; 8]>,
    pub name: &'a str,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds since 1970.
    pub end: u64,
    /// The OTLP status is an error: its message.
    pub failure: Option<&'a str>,
    pub attributes: Vec<(&'a str, Value<'a>)>,
}

impl<'a> Span<'a> {
    /// Reads a span; an id that is missing makes it malformed.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut span = Self::default();
        let mut fields = Fields(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (1, Wire::Bytes(id)) => span.trace_id = id.try_into().map_err(|_| Malformed)?,
                (2, Wire::Bytes(id)) => span.span_id = id.try_into().map_err(|_| Malformed)?,
                (4, Wire::Bytes([])) => span.parent = None,
                (4, Wire::Bytes(id)) => span.parent = Some(id.try_into().map_err(|_| Malformed)?),
                (5, Wire::Bytes(name)) => span.name = text(name)?,
                (7, Wire::Fixed64(time)) => span.start = time,
                (8, Wire::Fixed64(time)) => span.end = time,
                (9, Wire::Bytes(attribute)) => span.attributes.extend(key_value(attribute)?),
                (15, Wire::Bytes(status)) => span.failure = failure(status)?,
                _ => {}
            }
        }
        let is_whole = span.trace_id != [0; 16] && span.span_id != [0; 8];
        if is_whole { Ok(span) } else { Err(Malformed) }
    }

    /// An attribute, the first of its key.
    // Asked for at twenty places.
    #[inline(never)]
    pub(super) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.attributes.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// An attribute that is a text.
    #[inline(never)]
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// `KeyValue`; nothing where the value is of a kind that the filter does not write.
fn key_value(bytes: &[u8]) -> Result<Option<(&str, Value<'_>)>, Malformed> {
    let (mut key, mut value) = ("", None);
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Wire::Bytes(name)) => key = text(name)?,
            (2, Wire::Bytes(any)) => value = any_value(any)?,
            _ => {}
        }
    }
    Ok(value.map(|value| (key, value)))
}

/// `AnyValue`.
fn any_value(bytes: &[u8]) -> Result<Option<Value<'_>>, Malformed> {
    let mut value = None;
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        value = match field {
            (1, Wire::Bytes(content)) => Some(Value::Text(text(content)?)),
            (2, Wire::Varint(flag)) => Some(Value::Bool(flag != 0)),
            (3, Wire::Varint(number)) => Some(Value::Int(number.cast_signed())),
            (4, Wire::Fixed64(bits)) => Some(Value::Double(f64::from_bits(bits))),
            (5, Wire::Bytes(array)) => Some(Value::Texts(texts(array)?)),
            _ => value,
        };
    }
    Ok(value)
}

/// The texts of an `ArrayValue`.
fn texts(bytes: &[u8]) -> Result<Vec<&str>, Malformed> {
    let mut texts = Vec::new();
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        let (1, Wire::Bytes(any)) = field else { continue };
        let mut item = Fields(any);
        while let Some(field) = item.next()? {
            if let (1, Wire::Bytes(content)) = field {
                texts.push(text(content)?);
            }
        }
    }
    Ok(texts)
}

/// `Status`: code 2 is an error; then its message.
fn failure(bytes: &[u8]) -> Result<Option<&str>, Malformed> {
    let (mut code, mut message) = (0, "");
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (2, Wire::Bytes(said)) => message = text(said)?,
            (3, Wire::Varint(number)) => code = number,
            _ => {}
        }
    }
    Ok((code == 2).then_some(message))
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// A field's content by its wire type.
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// Of no field that is read.
    Fixed32,
}

/// The fields of a message, in wire order.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| Malformed)?)),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Wire::Bytes(self.take(len)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            // Groups are not in OTLP; 6 and 7 do not exist.
            _ => return Err(Malformed),
        };
        Ok(Some((tag >> 3, wire)))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::full_span;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_span_reads_back_as_it_was_written() {
        let bytes = full_span();
        let span = Span::read(&bytes).unwrap();
        assert_eq!((span.trace_id, span.span_id, span.parent), ([0x0a; 16], [0xb7; 8], None));
        assert_eq!((span.name, span.failure), ("chat_completion", None));
        assert_eq!((span.start, span.end), (1_795_318_664_000_000_000, 1_795_318_665_250_000_000));
        assert_eq!(span.text("user.id"), Some("user-1"));
        assert_eq!(span.get("langfuse.trace.tags"), Some(&Value::Texts(vec!["gateway", "kong"])));
        assert_eq!(span.get("langfuse.trace.metadata.status_code"), Some(&Value::Int(-1)));
        assert_eq!(span.get("langfuse.trace.metadata.total_duration_ms"), Some(&Value::Double(1250.5)));
        assert_eq!(span.get("langfuse.observation.metadata.stream_complete"), Some(&Value::Bool(true)));
        assert_eq!(span.get("langfuse.none"), None);
    }

    #[test]
    fn unknown_fields_are_passed_over_and_a_parent_is_read() {
        let mut bytes = full_span();
        // trace_state (3, text), flags (16, fixed32), a varint field 19; then parent_span_id (4).
        bytes.extend_from_slice(b"\x1a\x01x\x85\x01\x01\x00\x00\x00\x98\x01\x07\x22\x08parentid");
        assert_eq!(Span::read(&bytes).unwrap().parent, Some(*b"parentid"));
        // An empty parent is none.
        bytes.extend_from_slice(b"\x22\x00");
        assert_eq!(Span::read(&bytes).unwrap().parent, None);
    }

    #[test]
    fn a_span_cut_anywhere_is_malformed_or_shorter() {
        let bytes = full_span();
        let whole = Span::read(&bytes).unwrap().attributes.len();
        for cut in 0..bytes.len() {
            if let Ok(span) = Span::read(&bytes[..cut]) {
                assert!(cut >= 28 && span.attributes.len() <= whole, "cut at {cut}");
            }
        }
        for (why, bytes) in [
            ("nothing", &b""[..]),
            ("a short trace id", b"\x0a\x01x"),
            ("a varint of eleven bytes", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            ("a group", b"\x0b"),
            ("a length beyond the end", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
        ] {
            assert!(Span::read(bytes).is_err(), "{why}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_malformed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Span::read(&bytes);
        }

        #[test]
        fn any_damage_is_read_or_malformed(at in 0_usize..900, byte in any::<u8>()) {
            let mut bytes = full_span();
            let length = bytes.len();
            bytes[at % length] = byte;
            let _ = Span::read(&bytes);
        }
    }
}
