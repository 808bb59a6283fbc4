//! Makes cut JSON text readable again: closes the open string, objects and arrays.
//!
//! A prompt of 5 MiB of which 1 MiB was kept ends in the middle of a message; closed, it still renders as messages.

/// `cut`, a prefix of a JSON value, with the fewest characters taken away and added that make it whole.
///
/// Takes away what cannot be completed (half an escape, half a UTF-8 character, a half number or word, a key without
/// its value), then closes what is open. The result is JSON whenever `cut` is a prefix of JSON.
#[must_use]
pub fn close_truncated(cut: &[u8]) -> Vec<u8> {
    let mut state = Closer::default();
    for (at, &byte) in cut.iter().enumerate() {
        state.step(at, byte);
    }
    state.close(cut)
}

/// What an open bracket still awaits.
#[derive(Clone, Copy, PartialEq)]
enum Await {
    Key,
    Colon,
    Value,
    Comma,
}

#[derive(Default)]
struct Closer {
    stack: Vec<(u8, Await)>,
    in_string: bool,
    /// Bytes of an escape sequence still to come (`\` awaits 1, `\u` awaits 4).
    escape_left: u8,
    /// Where the unfinished escape or scalar began.
    token_start: usize,
    in_scalar: bool,
    /// Length of the longest prefix that ends behind a complete value, key position or opened bracket.
    whole: usize,
}

impl Closer {
    fn step(&mut self, at: usize, byte: u8) {
        if self.in_string {
            return self.step_in_string(at, byte);
        }
        if self.in_scalar && matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t') {
            self.in_scalar = false;
            self.value_done(at);
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.token_start = at;
            }
            b'{' | b'[' => self.open(at, byte),
            b'}' | b']' => {
                self.stack.pop();
                self.value_done(at + 1);
            }
            b':' => self.set(Await::Value),
            b',' => self.after_comma(),
            b' ' | b'\n' | b'\r' | b'\t' => {}
            _ => self.in_scalar = true,
        }
    }

    fn step_in_string(&mut self, at: usize, byte: u8) {
        match (self.escape_left, byte) {
            (0, b'"') => {
                self.in_string = false;
                if self.awaits() == Some(Await::Key) {
                    self.set(Await::Colon);
                } else {
                    self.value_done(at + 1);
                }
            }
            (0, b'\\') => {
                self.escape_left = 1;
                self.token_start = at;
            }
            (0, _) => {}
            (1, b'u') if self.token_start + 1 == at => self.escape_left = 4,
            (left, _) => self.escape_left = left - 1,
        }
    }

    fn open(&mut self, at: usize, byte: u8) {
        let awaits = if byte == b'{' { Await::Key } else { Await::Value };
        self.stack.push((byte, awaits));
        self.whole = at + 1;
    }

    fn after_comma(&mut self) {
        let next = match self.stack.last() {
            Some((b'{', _)) => Await::Key,
            _ => Await::Value,
        };
        self.set(next);
    }

    fn value_done(&mut self, end: usize) {
        self.set(Await::Comma);
        self.whole = end;
    }

    fn awaits(&self) -> Option<Await> {
        self.stack.last().map(|(_, awaits)| *awaits)
    }

    fn set(&mut self, awaits: Await) {
        if let Some(top) = self.stack.last_mut() {
            top.1 = awaits;
        }
    }

    fn close(mut self, cut: &[u8]) -> Vec<u8> {
        let open_text = self.in_string && self.awaits() != Some(Await::Key);
        let mut out = if open_text {
            let end = if self.escape_left > 0 { self.token_start } else { cut.len() };
            let mut text = without_half_surrogate(whole_utf8(cut.get(..end).unwrap_or(cut))).to_vec();
            text.push(b'"');
            text
        } else if self.stack.is_empty() {
            cut.to_vec()
        } else {
            cut.get(..self.whole).unwrap_or(cut).to_vec()
        };
        while let Some((bracket, _)) = self.stack.pop() {
            out.push(if bracket == b'{' { b'}' } else { b']' });
        }
        out
    }
}

/// Takes a high surrogate (`\ud83d`) off the end: without its other half it is no character.
fn without_half_surrogate(text: &[u8]) -> &[u8] {
    let Some((head, last)) = text.len().checked_sub(6).map(|at| text.split_at(at)) else { return text };
    let high = matches!(last, [b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', _, _]);
    let escaped_backslash = head.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
    if high && !escaped_backslash { head } else { text }
}

/// The prefix of `text` that ends behind a whole UTF-8 character.
fn whole_utf8(text: &[u8]) -> &[u8] {
    let start = text.len().saturating_sub(3);
    let tail = text.get(start..).unwrap_or_default();
    let Some(back) = tail.iter().rposition(|byte| byte & 0xC0 != 0x80) else { return text };
    let lead = tail.get(back).copied().unwrap_or_default();
    let wanted = match lead {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
        _ => 1,
    };
    if tail.len() - back < wanted { text.get(..start + back).unwrap_or(text) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn closed(cut: &str) -> String {
        String::from_utf8(close_truncated(cut.as_bytes())).unwrap()
    }

    #[test]
    fn closes_what_is_open_and_takes_away_what_cannot_be_completed() {
        assert_eq!(closed(r#"[{"role":"user","content":"hel"#), r#"[{"role":"user","content":"hel"}]"#);
        assert_eq!(closed(r#"[{"a":1},{"b":tr"#), r#"[{"a":1},{}]"#);
        assert_eq!(closed(r#"[{"a":1},{"b"#), r#"[{"a":1},{}]"#);
        assert_eq!(closed(r#"["x\u00e"#), r#"["x"]"#);
        assert_eq!(closed(r#"["x\ud83d"#), r#"["x"]"#);
        assert_eq!(closed(r#"["x\"#), r#"["x"]"#);
        assert_eq!(closed("[1, 23"), "[1]");
        assert_eq!(closed(r#""text"#), r#""text""#);
        assert_eq!(close_truncated(b"[\"\xF0\x9F\x98"), b"[\"\"]");
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_prefix_of_a_container_closes_to_json(value in prop::collection::vec(json(), 0..4), cut in any::<prop::sample::Index>()) {
            let text = serde_json::to_vec(&value).unwrap();
            let at = cut.index(text.len()) + 1;
            let whole = close_truncated(&text[..at]);
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&whole).is_ok(),
                "{} -> {}", String::from_utf8_lossy(&text[..at]), String::from_utf8_lossy(&whole));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = close_truncated(&bytes);
        }
    }
}
