//! Names under which callers put credentials into bodies: such values are never exported in any form.
//!
//! OpenAI's own API takes none in a body, but proxies and SDKs do (`api_key`, Azure's `data_sources[].parameters.
//! authentication.key`, `extra_headers.Authorization`, `aws_secret_access_key`, `headers` of MCP tools). A name counts where it is, or ends with,
//! one of these words and its value is a string: a JSON schema with a property `password` holds no credential.

use std::borrow::Cow;
use std::ops::Range;

use crate::json::Value;

/// Ends of names, lower case, `-` as `_`.
const ENDS: [&str; 14] = [
    "api_key",
    "apikey",
    "_key",
    "accesskey",
    "secretkey",
    "privatekey",
    "token",
    "secret",
    "password",
    "passwd",
    "credential",
    "credentials",
    "authorization",
    "cookie",
];
/// Names that count only as a whole.
const WHOLE: [&str; 3] = ["key", "auth", "bearer"];
/// Names that end so and hold none.
const HARMLESS: [&str; 8] =
    ["prompt_cache_key", "bos_token", "cls_token", "eos_token", "mask_token", "pad_token", "sep_token", "unk_token"];
/// Longest name that is looked at.
const NAME_MAX: usize = 128;

/// `name` is that of a credential.
pub(crate) fn is_credential(name: &str) -> bool {
    let is = |word: &&str| word.len() == name.len() && ends_with(name, word);
    let suspicious = WHOLE.iter().any(&is) || ENDS.iter().any(|end| ends_with(name, end));
    name.len() <= NAME_MAX && suspicious && !HARMLESS.iter().any(&is)
}

/// `name` ends with `end`, upper case and `-` aside.
fn ends_with(name: &str, end: &str) -> bool {
    let plain = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
    name.len() >= end.len() && name.bytes().rev().zip(end.bytes().rev()).all(|(a, b)| plain(a) == b)
}

/// What stands in place of a credential.
const REDACTED: &str = "\"[redacted]\"";

/// `json` without the strings that stand, at any depth, under the name of a credential.
pub(crate) fn redact(json: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some((name, after)) = next_string(json, at) {
        at = after;
        let Some(value) = value_behind(json, after) else { continue };
        if !names_credential(json.get(name).unwrap_or_default()) {
            continue;
        }
        let end = next_string(json, value).map_or(json.len(), |(_, end)| end);
        out.push_str(json.get(copied..value).unwrap_or_default());
        out.push_str(REDACTED);
        (copied, at) = (end, end);
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(json.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// The text (without quotes) of the next string of `json` from `at` on, and where it ends (behind its quote).
fn next_string(json: &str, at: usize) -> Option<(Range<usize>, usize)> {
    let start = at + json.get(at..)?.find('"')? + 1;
    let end = start + string_end(json.get(start..)?)?;
    Some((start..end, end + 1))
}

/// Where the string begins that is the value of the name that ends at `at`; none where that was no name, or its value
/// is no string.
fn value_behind(json: &str, at: usize) -> Option<usize> {
    let rest = json.get(at..)?;
    let value = rest.trim_ascii_start().strip_prefix(':')?.trim_ascii_start();
    value.starts_with('"').then(|| json.len() - value.len())
}

/// A name as written in JSON, perhaps with escapes.
fn names_credential(written: &str) -> bool {
    if !written.contains('\\') {
        return is_credential(written);
    }
    let quoted = format!("\"{written}\"");
    Value::parse(quoted.as_bytes()).and_then(Value::text).is_some_and(|name| is_credential(&name))
}

/// Where the string that begins before `text` ends.
fn string_end(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find(['"', '\\'])?;
        if text.as_bytes().get(at) == Some(&b'"') {
            return Some(at);
        }
        from = at + 2;
        if !text.is_char_boundary(from.min(text.len())) {
            from += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_under_names_of_credentials_are_redacted_at_any_depth() {
        for (json, redacted) in [
            (r#"{"api_key":"sk","a":1}"#, r#"{"api_key":"[redacted]","a":1}"#),
            (r#"{"Authorization" : "Bearer x"}"#, r#"{"Authorization" : "[redacted]"}"#),
            (
                r#"[{"authentication":{"type":"api_key","key":"x"}}]"#,
                r#"[{"authentication":{"type":"api_key","key":"[redacted]"}}]"#,
            ),
            (r#"{"a\"é\\":"b","apiKey":"x\"y","b":"c"}"#, r#"{"a\"é\\":"b","apiKey":"[redacted]","b":"c"}"#),
            (r#"{"api\u005fkey":"x"}"#, r#"{"api\u005fkey":"[redacted]"}"#),
            (r#"{"token":"cut"#, r#"{"token":"[redacted]""#),
        ] {
            assert_eq!(redact(json), redacted);
        }
        for harmless in [
            r#"{"schema":{"properties":{"password":{"type":"string"},"token":{"type":"string"}}}}"#,
            r#"["token","key"]"#,
            r#"{"unfinished"#,
            r#""\"#,
            r#"{"max_tokens":5,"prompt_cache_key":"x","key":7}"#,
        ] {
            assert_eq!(redact(harmless), harmless);
        }
    }

    #[test]
    fn names() {
        for name in ["api_key", "API-Key", "aws_secret_access_key", "azure_ad_token", "vertex_credentials", "key"] {
            assert!(is_credential(name), "{name}");
        }
        for name in ["max_tokens", "max_completion_tokens", "prompt_cache_key", "logit_bias", "stop", "keys", "monkey"]
        {
            assert!(!is_credential(name), "{name}");
        }
    }
}
