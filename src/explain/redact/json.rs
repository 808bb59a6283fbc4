//! JSON text, whole or in parts, with other strings: only what stands between quotes changes, so that white space, order,
//! doubled members, cut ends and errors stay as they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;

use super::mask::{self, Masker};
use super::names::{
    Treatment, has_long_number, is_enumeration, is_id, is_member_name, is_opaque, is_public_model, is_read_of_a_caller,
    treatment,
};

/// Containers in containers that are told apart; below that nothing stays.
const DEPTH_MAX: usize = 256;
/// JSON in base64 in JSON that is followed.
const EMBEDDED_MAX: usize = 3;
/// Words outside of strings that stay; `DONE` ends a stream.
const WORDS: [&[u8]; 6] = [b"true", b"false", b"null", b"NaN", b"Infinity", b"DONE"];

#[derive(Debug, Default)]
struct Frame {
    /// The member that it is the value of.
    name: String,
    is_array: bool,
    opaque: bool,
}

/// Goes through JSON text; what is handed to [`Scanner::scan`] goes on where the last piece ended, outside of a string.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    frames: Vec<Frame>,
    /// Containers deeper than [`DEPTH_MAX`].
    deeper: usize,
    name: Option<String>,
    embedded: usize,
}

impl Scanner {
    /// Something was opened and not closed.
    pub(super) fn is_inside(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Writes `text` with other strings to `out`: exactly as many bytes.
    pub(super) fn scan(&mut self, text: &[u8], masker: &mut Masker, out: &mut Vec<u8>) {
        let mut rest = text;
        while let Some(first) = rest.first() {
            let len = match first {
                b'"' => self.string(rest, masker, out),
                b'-' | b'0'..=b'9' => self.number(rest, out),
                b'A'..=b'Z' | b'a'..=b'z' | b'_' | 0x80.. => bare_word(rest, out),
                other => {
                    self.mark(*other);
                    out.push(*other);
                    1
                }
            };
            rest = rest.get(len..).unwrap_or_default();
        }
    }

    fn mark(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => self.open(byte == b'['),
            b'}' | b']' => {
                if self.deeper > 0 {
                    self.deeper -= 1;
                } else {
                    self.frames.pop();
                }
                self.name = None;
            }
            b',' => self.name = None,
            _ => {}
        }
    }

    fn open(&mut self, is_array: bool) {
        if self.frames.len() >= DEPTH_MAX {
            self.deeper += 1;
            return;
        }
        let opaque = match self.value_name() {
            // Bedrock's `metadata` holds the usage.
            "usage" => false,
            // At the top, `input` is what is asked of a model (Replicate); below, of a tool.
            "input" => self.is_opaque() || (!is_array && self.frames.len() > 1),
            name => self.is_opaque() || is_opaque(name),
        };
        // What stands in a list is named like the list.
        let name = self
            .name
            .take()
            .or_else(|| self.frames.last().filter(|frame| frame.is_array).map(|frame| frame.name.clone()));
        self.frames.push(Frame { name: name.unwrap_or_default(), is_array, opaque });
    }

    fn is_opaque(&self) -> bool {
        self.deeper > 0 || self.frames.last().is_some_and(|frame| frame.opaque)
    }

    /// The name of the member to which the next value belongs.
    fn value_name(&self) -> &str {
        match (&self.name, self.frames.last()) {
            (Some(name), _) => name,
            (None, Some(frame)) if frame.is_array => &frame.name,
            _ => "",
        }
    }

    fn is_in_list(&self) -> bool {
        self.name.is_none() && self.frames.last().is_some_and(|frame| frame.is_array)
    }

    /// A string with its quotes; one that is cut ends at the line or the text. Gives its length.
    fn string(&mut self, text: &[u8], masker: &mut Masker, out: &mut Vec<u8>) -> usize {
        let inside_len = inside_len(text.get(1..).unwrap_or_default());
        let inside = text.get(1..=inside_len).unwrap_or_default();
        let closed = text.get(1 + inside_len) == Some(&b'"');
        let behind = text.get(2 + inside_len..).unwrap_or_default().trim_ascii_start();
        out.push(b'"');
        if closed && behind.first() == Some(&b':') && !self.is_in_list() {
            self.member(inside, out);
        } else {
            self.value(inside, closed, masker, out);
        }
        if closed {
            out.push(b'"');
        }
        1 + inside_len + usize::from(closed)
    }

    fn member(&mut self, inside: &[u8], out: &mut Vec<u8>) {
        let stays = |name: &&str| if self.is_opaque() { is_read_of_a_caller(name) } else { is_member_name(name) };
        match std::str::from_utf8(inside).ok().filter(stays) {
            Some(name) => {
                out.extend_from_slice(inside);
                self.name = Some(name.to_owned());
            }
            None => {
                mask::literal(inside, out);
                self.name = Some(String::new());
            }
        }
    }

    fn value(&mut self, inside: &[u8], closed: bool, masker: &mut Masker, out: &mut Vec<u8>) {
        let text = std::str::from_utf8(inside).ok().filter(|_| closed);
        let treatment = if self.is_opaque() { Treatment::Text } else { treatment(self.value_name()) };
        match (treatment, text) {
            (Treatment::Enumeration, Some(text)) if is_enumeration(text) => out.extend_from_slice(inside),
            (Treatment::Model, Some(text)) if is_public_model(text) => out.extend_from_slice(inside),
            (Treatment::Id, Some(text)) if !text.contains('\\') => out.extend_from_slice(masker.id(text).as_bytes()),
            (_, Some(text)) => match self.embedded_json(text, masker) {
                Some(encoded) => out.extend_from_slice(encoded.as_bytes()),
                None => mask::literal(inside, out),
            },
            _ => mask::literal(inside, out),
        }
    }

    /// JSON in base64, as Bedrock sends its events.
    fn embedded_json(&self, text: &str, masker: &mut Masker) -> Option<String> {
        if self.embedded >= EMBEDDED_MAX || !text.starts_with("ey") {
            return None;
        }
        let decoded = STANDARD.decode(text).ok()?;
        serde_json::from_slice::<IgnoredAny>(&decoded).ok()?;
        let mut inner = Self { embedded: self.embedded + 1, ..Self::default() };
        let mut out = Vec::with_capacity(decoded.len());
        inner.scan(&decoded, masker, &mut out);
        Some(STANDARD.encode(out))
    }

    /// A number. In lists (vectors, ids of tokens, bytes), as an id, where nothing stays, and if it is as long as the number
    /// of an account or a telephone, its digits change.
    fn number(&self, text: &[u8], out: &mut Vec<u8>) -> usize {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let number = text.get(..text.iter().take_while(|byte| is_part(byte)).count()).unwrap_or_default();
        let is_long = std::str::from_utf8(number).is_ok_and(|number| !number.contains('.') && has_long_number(number));
        let is_own = self.is_opaque() || is_id(self.value_name());
        let masked = is_long || is_own || !self.is_inside() || self.is_in_list();
        let digit = |byte: &u8| if masked && byte.is_ascii_digit() { b'1' } else { *byte };
        out.extend(number.iter().map(digit));
        number.len()
    }
}

/// Length of what a string holds, of which `text` is what follows the quote.
fn inside_len(text: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            // A line break is not allowed in a string: it was cut.
            b'\n' | b'\r' => return at,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    text.len()
}

fn bare_word(text: &[u8], out: &mut Vec<u8>) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
    let word = text.get(..text.iter().take_while(|byte| is_part(byte)).count()).unwrap_or_default();
    if WORDS.contains(&word) {
        out.extend_from_slice(word);
    } else {
        mask::bytes(word, out);
    }
    word.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scanned(text: &str) -> String {
        let mut out = Vec::new();
        Scanner::default().scan(text.as_bytes(), &mut Masker::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_change_and_the_rest_stays() {
        for (before, after) in [
            (r#"{ "role": "user", "content" : "Hi Bob" }"#, r#"{ "role": "user", "content" : "xx xxx" }"#),
            (r#"{"model":"gpt-4o","n":12,"ok":true}"#, r#"{"model":"gpt-4o","n":12,"ok":true}"#),
            (r#"{"model":"ft:gpt-4o:acme::1"}"#, r#"{"model":"xx:xxx-1x:xxxx::1"}"#),
            (r#"{"modalities":["text","audio"],"stop":["END"]}"#, r#"{"modalities":["text","audio"],"stop":["xxx"]}"#),
            (r#"{"type":"two words"}"#, r#"{"type":"xxx xxxxx"}"#),
            (r#"{"ann@acme.io":1,"a":"b:"}"#, r#"{"xxx@xxxx.xx":1,"a":"x:"}"#),
            (r#"{"embedding":[-0.25,1e-5],"id":77}"#, r#"{"embedding":[-1.11,1e-1],"id":11}"#),
            (r#"{"arguments":"{\"city\":\"Bonn\",\"n\":7}"}"#, r#"{"arguments":"{\"xxxx\":\"xxxx\",\"x\":1}"}"#),
            (r#"{"args":{"type":"a","n":7},"n":7}"#, r#"{"args":{"xxxx":"x","x":1},"n":7}"#),
            (
                r#"{"metadata":{"tags":["a"],"acme":[{"id":"b"}]}}"#,
                r#"{"metadata":{"tags":["x"],"xxxx":[{"xx":"x"}]}}"#,
            ),
            (r#"{"metadata":{"usage":{"inputTokens":12345}}}"#, r#"{"metadata":{"usage":{"inputTokens":12345}}}"#),
            (
                r#"{"input":{"prompt":"a"},"c":[{"input":{"city":"b"}}]}"#,
                r#"{"input":{"prompt":"x"},"c":[{"input":{"xxxx":"x"}}]}"#,
            ),
            (
                r#"{"created":1700000000,"seed":42,"time":0.123456789}"#,
                r#"{"created":1111111111,"seed":42,"time":0.123456789}"#,
            ),
            (r#"{"content":"cut off he"#, r#"{"content":"xxx xxx xx"#),
            (r#"{"a":tru"#, r#"{"a":xxx"#),
            (r#"["a: b","c"]"#, r#"["x: x","x"]"#),
        ] {
            assert_eq!(scanned(before), after);
        }
    }

    #[test]
    fn json_in_base64_is_redacted_inside() {
        let inner = |text: &str| STANDARD.encode(format!(r#"{{"type":"text","text":"{text}"}}"#));
        assert_eq!(
            scanned(&format!(r#"{{"bytes":"{}"}}"#, inner("Hello"))),
            format!(r#"{{"bytes":"{}"}}"#, inner("xxxxx"))
        );
    }

    #[test]
    fn no_depth_is_too_much() {
        let deep = format!("{}\"secret\"{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(scanned(&deep).contains("\"xxxxxx\""));
    }

    proptest! {
        #[test]
        fn any_bytes_keep_their_length(raw in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            Scanner::default().scan(&raw, &mut Masker::default(), &mut out);
            prop_assert_eq!(out.len(), raw.len());
        }
    }
}
