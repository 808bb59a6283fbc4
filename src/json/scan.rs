//! Walking over JSON text (RFC 8259): checking it, and skipping what was checked.

use memchr::memchr2;

/// Deepest nesting that is taken, as in `serde_json`.
const DEPTH_MAX: u32 = 128;

/// What may come next.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Value,
    /// A value or the end of the array just opened.
    ValueOrEnd,
    Key,
    /// A key or the end of the object just opened.
    KeyOrEnd,
    /// A separator or the end of the container.
    Comma,
}

/// Length of the one value that `bytes` begin with, white space before it included.
///
/// # Errors
/// Where the bytes stop being JSON: the offset of the token that may not stand there, or of the end.
pub(super) fn value_len(bytes: &[u8]) -> Result<usize, usize> {
    let mut at = 0;
    if walk(bytes, &mut at).is_some() { Ok(at) } else { Err(at) }
}

/// Moves `at` behind the value, or to where it stops being one.
fn walk(bytes: &[u8], at: &mut usize) -> Option<()> {
    // One bit a level: 1 = object.
    let mut objects: u128 = 0;
    let mut depth = 0;
    let mut next = Next::Value;
    loop {
        *at += white_space(bytes.get(*at..)?);
        let byte = *bytes.get(*at)?;
        let ends = match (next, byte) {
            (Next::Value | Next::ValueOrEnd, b'{' | b'[') if depth < DEPTH_MAX => {
                objects = objects << 1 | u128::from(byte == b'{');
                depth += 1;
                *at += 1;
                next = if byte == b'{' { Next::KeyOrEnd } else { Next::ValueOrEnd };
                continue;
            }
            (Next::ValueOrEnd, b']') => true,
            (Next::Value | Next::ValueOrEnd, _) => {
                *at += scalar_len(bytes.get(*at..)?)?;
                false
            }
            (Next::Key | Next::KeyOrEnd, b'"') => {
                *at += string_len(bytes.get(*at..)?)?;
                *at += white_space(bytes.get(*at..)?);
                if bytes.get(*at) != Some(&b':') {
                    return None;
                }
                *at += 1;
                next = Next::Value;
                continue;
            }
            (Next::KeyOrEnd, b'}') => true,
            (Next::Comma, b',') => {
                *at += 1;
                next = if objects & 1 == 1 { Next::Key } else { Next::Value };
                continue;
            }
            (Next::Comma, b'}') if objects & 1 == 1 => true,
            (Next::Comma, b']') if objects & 1 == 0 => true,
            _ => return None,
        };
        if ends {
            *at += 1;
            depth -= 1;
            objects >>= 1;
        }
        if depth == 0 {
            return Some(());
        }
        next = Next::Comma;
    }
}

fn white_space(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_space(**byte)).count()
}

/// `bytes` without the white space of JSON (which is less than that of ASCII) at both ends.
#[must_use]
pub fn trim(bytes: &[u8]) -> &[u8] {
    let text = trim_start(bytes);
    let end = text.iter().rposition(|byte| !is_space(*byte)).map_or(0, |at| at + 1);
    text.get(..end).unwrap_or_default()
}

/// `bytes` without the white space of JSON at their beginning.
#[must_use]
pub fn trim_start(bytes: &[u8]) -> &[u8] {
    bytes.get(white_space(bytes)..).unwrap_or_default()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn scalar_len(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'"' => string_len(bytes),
        b't' => bytes.starts_with(b"true").then_some(4),
        b'f' => bytes.starts_with(b"false").then_some(5),
        b'n' => bytes.starts_with(b"null").then_some(4),
        _ => number_len(bytes),
    }
}

fn number_len(bytes: &[u8]) -> Option<usize> {
    let digits = |at: usize| bytes.get(at..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    at += match bytes.get(at)? {
        b'0' => 1,
        _ => some(digits(at))?,
    };
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        at += some(digits(at))?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        at += some(digits(at))?;
    }
    Some(at)
}

fn some(digits: usize) -> Option<usize> {
    (digits > 0).then_some(digits)
}

/// Length of the string that `bytes` begin with, quotes included.
fn string_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += plain_len(bytes.get(at..)?);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += escape_len(bytes.get(at..)?)?,
            _ => return None,
        }
    }
}

fn escape_len(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => bytes.get(2..6)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

/// How many bytes at the beginning may stand in a string as they are: no quote, backslash or control character.
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut len = 0;
    // Eight bytes at once: a byte is special where one of these differences is zero or below.
    for chunk in bytes.chunks_exact(8) {
        let word = chunk.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        let quote = zero_in(word ^ (ONES * 0x22));
        let backslash = zero_in(word ^ (ONES * 0x5C));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let special = quote | backslash | control;
        if special != 0 {
            // Only the first one found is certain: borrows may mark bytes behind it.
            return len + special.trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    let rest = bytes.get(len..).unwrap_or_default();
    len + rest.iter().take_while(|byte| **byte >= 0x20 && !matches!(byte, b'"' | b'\\')).count()
}

/// What stands between the first and last byte (quotes, brackets) of a checked value.
pub(super) fn inside(text: &str) -> &str {
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default()
}

/// How much white space, commas and colons stand at the beginning.
pub(super) fn separators(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')).count()
}

/// Length of the checked value that `bytes` begin with; at least 1.
pub(super) fn skip_value(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(b'"') => skip_string(bytes),
        Some(b'{' | b'[') => skip_container(bytes),
        _ => bytes
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'))
            .unwrap_or(bytes.len())
            .max(1),
    }
}

fn skip_string(bytes: &[u8]) -> usize {
    let mut at = 1;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match memchr2(b'"', b'\\', rest) {
            Some(stop) if rest.get(stop) == Some(&b'"') => return at + stop + 1,
            Some(stop) => at += stop + 2,
            None => return bytes.len(),
        }
    }
}

fn skip_container(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut depth = 0_u32;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at += skip_string(bytes.get(at..).unwrap_or_default()).saturating_sub(1),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(value_len(nested(128).as_bytes()), Ok(256));
        assert_eq!(value_len(nested(129).as_bytes()), Err(128));
    }

    #[test]
    fn what_may_not_stand_there_is_found() {
        for (json, at) in [("", 0), ("{\"a\":", 5), (r#"{"a":1,}"#, 7), ("[1, 2 3]", 6), (r#"["a", "b]"#, 6)] {
            assert_eq!(value_len(json.as_bytes()), Err(at), "{json}");
        }
    }

    proptest! {
        #[test]
        fn plain_bytes_are_counted(bytes in prop::collection::vec(prop_oneof![5 => 0x20_u8..=255, 1 => any::<u8>()], 0..40)) {
            let expected = bytes.iter().take_while(|byte| **byte >= 0x20 && !matches!(byte, b'"' | b'\\')).count();
            prop_assert_eq!(plain_len(&bytes), expected);
        }
    }
}
