//! Media in an answer, as a text of its message: `[image/png, 102404 bytes, sha256 …]`. A chat shows it; the bytes are never
//! kept.
//!
//! What was long is a placeholder already (`decode::MediaFilter`); what is short is decoded here.

use crate::decode::describe_base64;
use crate::json::Value;

/// Longest type that is told, bytes.
const TYPE_MAX: usize = 64;
/// What is told of `data`, base64 or the placeholder that stands in its place; `mime` is what its sibling says. None where it
/// is neither.
pub(super) fn described(data: Value<'_>, mime: Value<'_>) -> Option<String> {
    if data.is_object() {
        return written(data, mime);
    }
    let placeholder = describe_base64(&data.non_empty()?);
    written(Value::parse(placeholder.as_bytes())?, mime)
}

/// A placeholder as a text.
fn written(placeholder: Value<'_>, mime: Value<'_>) -> Option<String> {
    let bytes = placeholder.get("bytes").number().filter(|_| !placeholder.get("invalid").is_true())?;
    let mime = mime.text().or(placeholder.get("mime").text());
    let mime = mime.as_deref().filter(|mime| !mime.is_empty()).unwrap_or("media");
    let hash = placeholder.get("sha256").text().map_or_else(String::new, |hash| format!(", sha256 {hash}"));
    let is_cut = if placeholder.get("cut").is_true() { ", cut" } else { "" };
    Some(format!("[{}, {bytes} bytes{hash}{is_cut}]", crate::trace::truncate(mime, TYPE_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_are_told_of_by_type_size_and_hash() {
        let of = |data: &str, mime: &str| {
            described(Value::parse(data.as_bytes()).unwrap(), Value::parse(mime.as_bytes()).unwrap())
        };
        let hi = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4";
        assert_eq!(of("\"aGk=\"", "\"image/png\""), Some(format!("[image/png, 2 bytes, sha256 {hi}]")));
        assert_eq!(of("\"aGk\"", "null"), Some(format!("[application/octet-stream, 2 bytes, sha256 {hi}]")));
        let placeholder = r#"{"mime":"audio/wav","bytes":9,"cut":true}"#;
        assert_eq!(of(placeholder, "null").as_deref(), Some("[audio/wav, 9 bytes, cut]"));
        assert_eq!(
            (of("\"\"", "null"), of("\"!\"", "null"), of("7", "null"), of("{}", "null")),
            (None, None, None, None)
        );
    }
}
