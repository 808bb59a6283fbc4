//! Texts and ids replaced by others of the same length, in characters and in bytes.
//!
//! A letter becomes an x of as many bytes, a digit a 1 (so that JSON inside a text stays JSON), any other character that
//! is not ASCII an x. White space, ASCII punctuation and control characters stay, and so do the words `true`, `false` and
//! `null`, the scheme of a URL, and the head of a data URL.

use std::collections::HashMap;

/// Words that a text keeps.
const WORDS: [&str; 3] = ["true", "false", "null"];
/// Longest head of a data URL.
const DATA_HEAD_MAX: usize = 80;

/// What stands for one character.
fn placeholder(c: char) -> char {
    match c {
        c if c.is_whitespace() || c.is_control() || c.is_ascii_punctuation() => c,
        c if c.is_ascii_digit() => '1',
        c => match c.len_utf8() {
            1 => 'x',
            2 => '×',
            3 => 'ẍ',
            _ => '𝐱',
        },
    }
}

/// How a character of a JSON string is written.
#[derive(Debug, Clone, Copy)]
enum Form<'a> {
    Plain,
    /// `\uXXXX`, or two of them.
    Hex,
    /// As it is: `\n`, half a pair, a backslash before what is no escape.
    Verbatim(&'a str),
}

/// Masks texts; remembers ids.
#[derive(Debug, Default)]
pub(super) struct Masker {
    ids: HashMap<String, usize>,
}

impl Masker {
    /// Another id of the same length: the same for the same, another for another as long as numbers fit into it.
    pub(super) fn id(&mut self, id: &str) -> String {
        let next = self.ids.len() + 1;
        let number = *self.ids.entry(id.to_owned()).or_insert(next);
        let letters = |c: char| if c.is_ascii_digit() { 'x' } else { placeholder(c) };
        let mut out: Vec<char> = id.chars().map(letters).collect();
        let mut rest = number;
        for place in out.iter_mut().rev().filter(|c| **c == 'x') {
            let digit = u32::try_from(rest % 10).ok().and_then(|digit| char::from_digit(digit, 10));
            *place = digit.unwrap_or('0');
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        out.into_iter().collect()
    }
}

/// A text.
pub(super) fn text(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    mask(&chars).into_iter().collect()
}

/// Bytes that are text, or not: what is no UTF-8 becomes other bytes that are none.
pub(super) fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        out.extend_from_slice(text(chunk.valid()).as_bytes());
        out.extend(chunk.invalid().iter().map(|_| 0xFF));
    }
}

/// The inside of a JSON string, whose escapes stay escapes of the same length.
pub(super) fn literal(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let (mut chars, mut forms) = (Vec::new(), Vec::new());
        let mut rest = chunk.valid();
        while let Some((c, form, after)) = next(rest) {
            chars.push(c);
            forms.push(form);
            rest = after;
        }
        mask(&chars).into_iter().zip(forms).for_each(|(c, form)| write(c, form, out));
        out.extend(chunk.invalid().iter().map(|_| 0xFF));
    }
}

fn write(c: char, form: Form<'_>, out: &mut Vec<u8>) {
    match form {
        Form::Plain => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        Form::Verbatim(text) => out.extend_from_slice(text.as_bytes()),
        Form::Hex => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
            }
        }
    }
}

/// The first character of what a JSON string holds, how it is written, and what follows it.
fn next(text: &str) -> Option<(char, Form<'_>, &str)> {
    let mut chars = text.chars();
    let first = chars.next()?;
    if first != '\\' {
        return Some((first, Form::Plain, chars.as_str()));
    }
    let verbatim = |c: char, len: usize| text.split_at_checked(len).map(|(escape, rest)| (c, Form::Verbatim(escape), rest));
    match chars.next() {
        Some('u') => hex(text).or_else(|| verbatim('\\', 1)),
        Some('n') => verbatim('\n', 2),
        Some('r') => verbatim('\r', 2),
        Some('t' | 'b' | 'f') => verbatim('\t', 2),
        Some(c @ ('"' | '\\' | '/')) => verbatim(c, 2),
        _ => verbatim('\\', 1),
    }
}

/// A character that is written as `\uXXXX`, or as a pair of them.
fn hex(text: &str) -> Option<(char, Form<'_>, &str)> {
    let unit = |text: &str| {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    };
    let (first, rest) = (unit(text)?, text.get(6..)?);
    let second = unit(rest).filter(|second| (0xDC00..0xE000).contains(second) && (0xD800..0xDC00).contains(&first));
    let units: Vec<u16> = std::iter::once(first).chain(second).collect();
    match char::decode_utf16(units.iter().copied()).next()? {
        Ok(c) => Some((c, Form::Hex, text.get(6 * units.len()..)?)),
        // Half a pair says nothing, and may be the bug.
        Err(_) => Some(('\u{FFFD}', Form::Verbatim(text.get(..6)?), rest)),
    }
}

fn mask(chars: &[char]) -> Vec<char> {
    let mut out: Vec<char> = chars.iter().take(head(chars)).copied().collect();
    while let Some(rest) = chars.get(out.len()..).filter(|rest| !rest.is_empty()) {
        let before = out.last().copied().unwrap_or(' ');
        let kept = if before.is_alphanumeric() { 0 } else { word(rest) };
        if kept > 0 {
            out.extend(rest.iter().take(kept));
        } else if before == '\\' {
            escape(rest, &mut out);
        } else {
            out.extend(rest.first().map(|c| placeholder(*c)));
        }
    }
    out
}

/// Length of the scheme of a URL or of the head of a data URL at the start of a text.
fn head(chars: &[char]) -> usize {
    let start: String = chars.iter().take(DATA_HEAD_MAX).collect();
    if let Some(scheme) = ["https://", "http://"].into_iter().find(|scheme| start.starts_with(scheme)) {
        return scheme.len();
    }
    let media_type = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "/.+-".contains(c));
    match start.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((kind, _)) if media_type(kind) => "data:".len() + kind.len() + ";base64,".len(),
        _ => 0,
    }
}

/// Length of a word that stays and with which `chars` begins.
fn word(chars: &[char]) -> usize {
    let is = |word: &&str| {
        let same = word.chars().zip(chars).filter(|(a, b)| a == *b).count() == word.len();
        same && !chars.get(word.len()).is_some_and(|next| next.is_alphanumeric())
    };
    WORDS.iter().find(|word| is(word)).map_or(0, |word| word.len())
}

/// What follows a backslash: an escape of JSON inside the text stays one.
fn escape(rest: &[char], out: &mut Vec<char>) {
    let hex = || rest.iter().skip(1).take(4).filter(|c| c.is_ascii_hexdigit()).count() == 4;
    match rest.first() {
        Some('u') if hex() => out.extend("u1e8d".chars()),
        Some(c @ ('n' | 'r' | 't' | 'b' | 'f')) => out.push(*c),
        other => out.extend(other.map(|c| placeholder(*c))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(inside: &str) -> String {
        let mut out = Vec::new();
        literal(inside.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn letters_and_digits_go_and_the_shape_stays() {
        assert_eq!(text("Hello, Jörg! Call 0171-23:\n\tok?"), "xxxxx, x×xx! xxxx 1111-11:\n\txx?");
        assert_eq!(text("日本 👋"), "ẍẍ 𝐱");
        assert_eq!(text(r#"{"a":12,"b":null,"c":"nullable"}"#), r#"{"x":11,"x":null,"x":"xxxxxxxx"}"#);
        assert_eq!(text("https://acme.example/x?key=1"), "https://xxxx.xxxxxxx/x?xxx=1");
        assert_eq!(text("data:image/png;base64,iVBOR"), "data:image/png;base64,xxxxx");
    }

    #[test]
    fn escapes_stay_escapes_of_the_same_length() {
        assert_eq!(masked(r#"a\n\"b\u0041\u00e9\u65e5\ud83d\udc4b"#), r#"x\n\"x\u0078\u00d7\u1e8d\ud835\udc31"#);
        assert_eq!(masked(r"half \ud83d of it"), r"xxxx \ud83d xx xx");
        assert_eq!(masked(r#"{\"line\":\"one\\ntwo\\u00e9\"}"#), r#"{\"xxxx\":\"xxx\\nxxx\\u1e8d\"}"#);
        assert_eq!(masked(r"\u12"), r"\x11");
    }

    #[test]
    fn ids_stay_told_apart_and_alike() {
        let mut masker = Masker::default();
        let ids = ["call_abc", "call_abd", "call_abc", "7"].map(|id| masker.id(id));
        assert_eq!(ids, ["xxxx_xx1", "xxxx_xx2", "xxxx_xx1", "3"]);
    }

    proptest! {
        #[test]
        fn lengths_stay(some in any::<String>(), raw in any::<Vec<u8>>()) {
            prop_assert_eq!(text(&some).len(), some.len());
            prop_assert_eq!(text(&some).chars().count(), some.chars().count());
            for mask in [bytes, literal] {
                let mut out = Vec::new();
                mask(&raw, &mut out);
                prop_assert_eq!(out.len(), raw.len());
            }
        }

        #[test]
        fn a_json_string_stays_one_of_the_same_length(some in any::<String>()) {
            let json = serde_json::to_string(&some).unwrap();
            let inside = &json[1..json.len() - 1];
            let after: String = serde_json::from_str(&format!("\"{}\"", masked(inside))).unwrap();
            prop_assert_eq!(after.chars().count(), some.chars().count());
        }
    }
}
