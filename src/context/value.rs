//! Which values may enter a trace.

use crate::json::Value;

/// Langfuse's limit for user and session ids, in characters; longer ones are dropped, as its SDKs do.
const ID_MAX: usize = 200;
/// Metadata keys of the caller that are kept.
pub(super) const METADATA_KEYS_MAX: usize = 64;
/// Bytes of one metadata value that are kept.
pub(super) const METADATA_VALUE_MAX: usize = 8 * 1024;
/// Longest metadata key, in bytes.
const KEY_MAX: usize = 128;

/// A header value as text: UTF-8, trimmed, not empty, without control characters.
pub(super) fn usable(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?.trim();
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
}

/// A value that may be an id.
pub(super) fn identity(text: &str) -> Option<String> {
    let text = usable(text.as_bytes())?;
    (text.chars().count() <= ID_MAX).then(|| text.to_owned())
}

/// An id in a body: a string or a number.
pub(super) fn json_identity(json: Value<'_>) -> Option<String> {
    if let Some(text) = json.text() {
        return identity(&text);
    }
    json.number().map(|number| itoa::Buffer::new().format(number).to_owned())
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
