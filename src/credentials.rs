//! Names under which callers put credentials into bodies: such values are never exported in any form.
//!
//! OpenAI's own API takes none in a body, but proxies and SDKs do (`api_key`, Azure's `data_sources[].parameters.
//! authentication.key`, `extra_headers.Authorization`, `aws_secret_access_key`). A name counts where it is, or ends with,
//! one of these words and its value is a string: a JSON schema with a property `password` holds no credential.

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

/// `json` is, or holds at any depth, a string under the name of a credential.
pub(crate) fn holds_credential(name: &str, json: &str) -> bool {
    (is_credential(name) && json.starts_with('"')) || strings_under_names(json).any(is_credential)
}

/// Names in `json` whose value is a string.
fn strings_under_names(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        loop {
            let (_, from) = rest.split_once('"')?;
            let end = string_end(from)?;
            let (text, after) = (from.get(..end)?, from.get(end + 1..)?);
            rest = after;
            let value = after.trim_ascii_start().strip_prefix(':').map(str::trim_ascii_start);
            if value.is_some_and(|value| value.starts_with('"')) {
                return Some(text);
            }
        }
    })
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
    fn names_of_credentials_are_known_at_any_depth() {
        for (name, json) in [
            ("api_key", r#""sk""#),
            ("API-Key", r#""sk""#),
            ("aws_secret_access_key", r#""x""#),
            ("azure_ad_token", r#""x""#),
            ("vertex_credentials", r#""x""#),
            ("extra_headers", r#"{"Authorization" : "Bearer x"}"#),
            ("data_sources", r#"[{"parameters":{"authentication":{"type":"api_key","key":"x"}}}]"#),
            ("x", r#"{"a\"é\\":"b","apiKey":"x"}"#),
        ] {
            assert!(holds_credential(name, json), "{name} {json}");
        }
        for (name, json) in [
            ("max_tokens", "5"),
            ("max_completion_tokens", "5"),
            ("prompt_cache_key", r#""x""#),
            ("logit_bias", r#"{"50256":-100}"#),
            ("stop", r#"["token","key"]"#),
            (
                "response_format",
                r#"{"schema":{"properties":{"password":{"type":"string"},"token":{"type":"string"}}}}"#,
            ),
            ("x", r#"{"unfinished"#),
            ("x", r#""\"#),
        ] {
            assert!(!holds_credential(name, json), "{name} {json}");
        }
    }
}
