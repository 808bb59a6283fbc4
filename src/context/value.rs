//! Which values may enter a trace.

use crate::json::Value;

/// Langfuse's limit for user and session ids, in characters; longer ones are dropped, as its SDKs do.
pub(super) const ID_MAX: usize = 200;
/// Longest name, in bytes (the limit of Langfuse's gateway; its legacy API refuses a trace name above 1000 characters).
const NAME_MAX: usize = 1000;
/// Metadata keys of the caller that are kept.
pub(super) const METADATA_KEYS_MAX: usize = 64;
/// Bytes of one metadata value that are kept.
pub(super) const METADATA_VALUE_MAX: usize = 8 * 1024;
/// Bytes of all metadata of the caller that are kept.
pub(super) const METADATA_MAX: usize = 64 * 1024;
/// Longest metadata key, in bytes.
const KEY_MAX: usize = 128;

/// A value as text: UTF-8, trimmed, not empty, without control characters.
pub(super) fn usable(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?.trim();
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
}

/// A value that may be an id or a tag.
pub(super) fn identity(text: &str) -> Option<String> {
    let text = usable(text.as_bytes())?;
    (text.chars().count() <= ID_MAX).then(|| text.to_owned())
}

/// A value that may be a name.
pub(super) fn name(text: &str) -> Option<String> {
    let text = usable(text.as_bytes())?;
    (text.len() <= NAME_MAX).then(|| text.to_owned())
}

/// A scalar in a body as text: a string or a number.
pub(super) fn scalar(json: Value<'_>) -> Option<String> {
    let text = json.text().map(std::borrow::Cow::into_owned);
    text.or_else(|| json.number().map(|number| itoa::Buffer::new().format(number).to_owned()))
}

/// A metadata value: the text of a string, the JSON of anything else; cut at its limit.
pub(super) fn metadata_text(json: &str) -> Option<String> {
    let text = Value::check(json).ok().and_then(Value::text);
    let text = text.as_deref().unwrap_or(json);
    (!text.is_empty() && text != "null").then(|| crate::trace::truncate(text, METADATA_VALUE_MAX).to_owned())
}

/// A key that Langfuse stores as it is: it drops these segments, and control characters help nobody.
pub(super) fn usable_key(key: &str) -> bool {
    let blocked = |segment| matches!(segment, "__proto__" | "constructor" | "prototype" | "");
    key.len() <= KEY_MAX && !key.chars().any(char::is_control) && !key.split('.').any(blocked)
}

/// Bytes of one decoded field (the limit of Langfuse's gateway).
const FIELD_MAX: usize = 1024;

/// Decodes `%41`; none where an escape is broken, or the result is not UTF-8 or over [`FIELD_MAX`]. `plus` makes a `+` a
/// space.
pub(super) fn percent_decoded(text: &str, plus: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?
            }
            b'+' if plus => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok().filter(|text| text.len() <= FIELD_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_to_the_character() {
        assert_eq!(identity(&"\u{e9}".repeat(ID_MAX)).map(|id| id.chars().count()), Some(ID_MAX));
        assert_eq!(identity(&"x".repeat(ID_MAX + 1)), None);
        assert_eq!(name(&"x".repeat(NAME_MAX)).map(|name| name.len()), Some(NAME_MAX));
        assert_eq!(name(&"x".repeat(NAME_MAX + 1)), None);
        for bad in ["", " ", "a\u{1}b", "a\u{7f}", "a\u{85}b"] {
            assert_eq!(identity(bad), None, "{bad:?}");
        }
        assert_eq!((usable(b"\xFF"), usable(b" a ")), (None, Some("a")));
    }

    #[test]
    fn percent_encodings() {
        for (text, plain, with_plus) in [
            ("a%20b+c", Some("a b+c"), Some("a b c")),
            ("%E9%9B%AA", Some("\u{96ea}"), Some("\u{96ea}")),
            ("%", None, None),
            ("%4", None, None),
            ("%G1", None, None),
            ("%FF", None, None),
            (&"x".repeat(FIELD_MAX + 1), None, None),
        ] {
            assert_eq!(
                (percent_decoded(text, false).as_deref(), percent_decoded(text, true).as_deref()),
                (plain, with_plus)
            );
        }
    }
}
