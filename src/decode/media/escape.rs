//! The characters of a JSON string (RFC 8259 section 7) byte by byte, as far as base64 needs them.

/// Where in an escape the text is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Escape {
    #[default]
    None,
    /// Behind a backslash.
    Begun,
    /// Behind `\u` and some digits.
    Hex { digits: u8, code: u16 },
}

/// What a byte completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing yet.
    Wait,
    /// A character that may stand in base64 (which is ASCII).
    Character(u8),
    /// One that may not.
    Other,
    /// The string has ended.
    End,
}

impl Escape {
    /// Takes the next byte of a string, its closing quote included. Some serialisers escape what need not be: `\/`,
    /// `\u002B`, `\u003D`.
    pub(super) fn step(&mut self, byte: u8) -> Step {
        match (std::mem::take(self), byte) {
            (Self::None, b'"') => Step::End,
            (Self::None, b'\\') => self.wait(Self::Begun),
            (Self::None, _) => Step::Character(byte),
            (Self::Begun, b'u') => self.wait(Self::Hex { digits: 0, code: 0 }),
            (Self::Begun, b'/') => Step::Character(b'/'),
            (Self::Begun, b'n') => Step::Character(b'\n'),
            (Self::Begun, b'r') => Step::Character(b'\r'),
            (Self::Begun, _) => Step::Other,
            (Self::Hex { digits, code }, _) => match char::from(byte).to_digit(16) {
                Some(digit) => self.hex(digits + 1, code << 4 | digit as u16),
                // Not JSON. Whatever it is, a quote ends it.
                None => match self.step(byte) {
                    Step::End => Step::End,
                    _ => Step::Other,
                },
            },
        }
    }

    fn wait(&mut self, state: Self) -> Step {
        *self = state;
        Step::Wait
    }

    fn hex(&mut self, digits: u8, code: u16) -> Step {
        match u8::try_from(code) {
            _ if digits < 4 => self.wait(Self::Hex { digits, code }),
            Ok(character) => Step::Character(character),
            Err(_) => Step::Other,
        }
    }
}

/// Skips text in a string: the index behind its closing quote, or none where that is not in `bytes`. `escape` is carried
/// from piece to piece.
pub(super) fn string_end(bytes: &[u8], is_escaped: &mut bool) -> Option<usize> {
    let mut at = usize::from(std::mem::take(is_escaped));
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let stop = memchr::memchr2(b'"', b'\\', rest)?;
        if rest.get(stop) == Some(&b'"') {
            return Some(at + stop + 1);
        }
        at += stop + 2;
    }
    *is_escaped = at > bytes.len();
    None
}
