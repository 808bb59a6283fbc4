//! Texts and ids replaced by others of the same length, in characters and in bytes.
//!
//! A letter becomes an x and a digit a 1, any other character that is not ASCII an x of as many bytes. White space, ASCII
//! punctuation, control characters and the head of a data URL stay. What is masked already stays as it is.

use std::collections::HashMap;

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

/// Masks ids, which are told apart: the first of those that look alike when masked ends in 1, the second in 2, and so on.
#[derive(Debug, Default)]
pub(super) struct Masker {
    /// Numbers of the ids of each shape.
    shapes: HashMap<String, HashMap<String, usize>>,
}

impl Masker {
    /// Another id of the same length: the same for the same, another for another as long as numbers fit into it.
    pub(super) fn id(&mut self, id: &str) -> String {
        let shape: String = id.chars().map(|c| if c.is_ascii_alphanumeric() { 'x' } else { placeholder(c) }).collect();
        let places = shape.bytes().filter(|byte| *byte == b'x').count();
        let last = u32::try_from(places)
            .ok()
            .and_then(|places| 10_usize.checked_pow(places))
            .map_or(usize::MAX, |all| all - 1);
        let numbers = self.shapes.entry(shape.clone()).or_default();
        let next = (numbers.len() + 1).min(last);
        let number = *numbers.entry(id.to_owned()).or_insert(next);
        numbered(&shape, number)
    }
}

/// `shape` with the digits of `number` in place of its last x's.
fn numbered(shape: &str, number: usize) -> String {
    let digits = number.to_string();
    let mut digits = digits.chars().rev();
    let reversed: Vec<char> =
        shape.chars().rev().map(|c| if c == 'x' { digits.next().unwrap_or(c) } else { c }).collect();
    reversed.into_iter().rev().collect()
}

/// A text.
pub(super) fn text(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    mask(&chars).collect()
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
        mask(&chars).zip(forms).for_each(|(c, form)| write(c, form, out));
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
    let verbatim =
        |c: char, len: usize| text.split_at_checked(len).map(|(escape, rest)| (c, Form::Verbatim(escape), rest));
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

fn mask(chars: &[char]) -> impl Iterator<Item = char> {
    let kept = data_head(chars);
    chars.iter().enumerate().map(move |(at, c)| if at < kept { *c } else { placeholder(*c) })
}

/// Length of the head of a data URL (RFC 2397), `data:image/png;base64,`, at the start of a text.
fn data_head(chars: &[char]) -> usize {
    let start: String = chars.iter().take(DATA_HEAD_MAX).collect();
    let media_type =
        |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "/.+-".contains(c));
    match start.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((kind, _)) if media_type(kind) => "data:".len() + kind.len() + ";base64,".len(),
        _ => 0,
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
        assert_eq!(text("https://acme.example/x?key=1"), "xxxxx://xxxx.xxxxxxx/x?xxx=1");
        assert_eq!(text("data:image/png;base64,iVBOR"), "data:image/png;base64,xxxxx");
    }

    #[test]
    fn escapes_stay_escapes_of_the_same_length() {
        assert_eq!(masked(r#"a\n\"b\u0041\u00e9\u65e5\ud83d\udc4b"#), r#"x\n\"x\u0078\u00d7\u1e8d\ud835\udc31"#);
        assert_eq!(masked(r"half \ud83d of it"), r"xxxx \ud83d xx xx");
        assert_eq!(masked(r#"{\"line\":\"one\\ntwo\"}"#), r#"{\"xxxx\":\"xxx\\xxxx\"}"#);
        assert_eq!(masked(r"\u12"), r"\x11");
    }

    #[test]
    fn ids_stay_told_apart_and_alike() {
        let mut masker = Masker::default();
        let ids = ["call_abc", "call_abd", "call_abc", "é-7", "日本", "12"].map(|id| masker.id(id));
        assert_eq!(ids, ["xxxx_xx1", "xxxx_xx2", "xxxx_xx1", "×-1", "ẍẍ", "x1"]);
        let short: Vec<String> = ('a'..='l').map(|id| masker.id(&id.to_string())).collect();
        assert_eq!(short.concat(), "123456789999");
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
        fn what_is_masked_stays(some in any::<String>(), ids in prop::collection::vec("[a-c]{0,2}(-[0-9é]{0,2})?", 0..200)) {
            prop_assert_eq!(text(&text(&some)), text(&some));
            let mut maskers = [Masker::default(), Masker::default()];
            for id in ids {
                let [once, twice] = &mut maskers;
                let masked = once.id(&id);
                prop_assert_eq!(twice.id(&masked), masked);
            }
        }

        #[test]
        fn a_json_string_stays_one_of_the_same_length(some in any::<String>()) {
            let json = serde_json::to_string(&some).unwrap();
            let inside = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap();
            let after: String = serde_json::from_str(&format!("\"{}\"", masked(inside))).unwrap();
            prop_assert_eq!(after.chars().count(), some.chars().count());
        }
    }
}
