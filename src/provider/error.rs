//! Error bodies of providers: the message, in the order in which real servers place it.
//!
//! `error.message` (OpenAI and most), `error` as a string (xAI, Ollama, TGI), `message` (Mistral, Cohere, old vLLM),
//! `detail` as a string or a list (FastAPI), else the text itself.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{Text, object_members, parse};

/// Longest message that is kept, in bytes; a proxy's HTML page is longer.
const MESSAGE_MAX: usize = 2000;

/// An error that a provider reported.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ProviderError {
    /// Its message.
    pub message: String,
    /// Its code (`rate_limit_exceeded`, `400`), else its type (`tokens`).
    pub code: Option<String>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Text<'a>,
    #[serde(borrow, default)]
    detail: Option<&'a RawValue>,
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    kind: Text<'a>,
}

impl ProviderError {
    /// Reads an error body; none where it has no message at all.
    #[must_use]
    pub fn from_body(body: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        // Gemini wraps errors of array streams in an array.
        let object = text.strip_prefix('[').map_or(text, |rest| rest.trim_start().trim_end_matches([']', ' ', '\n']));
        match parse::<Body<'_>>(object.as_bytes()) {
            Some(body) => body.read().or_else(|| Self::from_text(text)),
            None => Self::from_text(text),
        }
    }

    /// Reads the value of an `error` member, as it stands in streams.
    #[must_use]
    pub fn from_value(error: &[u8]) -> Option<Self> {
        if let Some(text) = parse::<Text<'_>>(error).and_then(|text| text.non_empty().map(str::to_owned)) {
            return Self::from_text(&text);
        }
        parse::<Body<'_>>(error).filter(|_| !object_members(error).is_empty())?.read_fields()
    }

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self { message: cut(text), code: None })
    }
}

impl Body<'_> {
    fn read(&self) -> Option<ProviderError> {
        let inner = self.error.and_then(|error| ProviderError::from_value(error.get().as_bytes()));
        match inner {
            Some(found) => Some(ProviderError { code: found.code.or_else(|| self.code()), ..found }),
            None => self.read_fields(),
        }
    }

    fn read_fields(&self) -> Option<ProviderError> {
        let message = self.message.non_empty().map(str::to_owned).or_else(|| self.detail())?;
        Some(ProviderError { message: cut(&message), code: self.code() })
    }

    fn detail(&self) -> Option<String> {
        let raw = self.detail?.get();
        match parse::<Text<'_>>(raw.as_bytes()).and_then(|text| text.non_empty().map(str::to_owned)) {
            Some(text) => Some(text),
            None => (raw != "null").then(|| raw.to_owned()),
        }
    }

    fn code(&self) -> Option<String> {
        let raw = self.code.map(RawValue::get).unwrap_or_default();
        let text = parse::<Text<'_>>(raw.as_bytes()).and_then(|text| text.non_empty().map(cut));
        let number = raw.bytes().all(|byte| byte.is_ascii_digit()) && !raw.is_empty();
        text.or_else(|| number.then(|| raw.to_owned())).or_else(|| self.kind.non_empty().map(cut))
    }
}

fn cut(text: &str) -> String {
    crate::trace::truncate(text, MESSAGE_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_message_where_servers_put_it() {
        for (body, message, code) in [
            (r#"{"error":{"message":"m","type":"tokens","code":"rate"}}"#, "m", Some("rate")),
            (r#"{"error":{"message":"m","type":"invalid","code":null}}"#, "m", Some("invalid")),
            (r#"{"error":{"message":"m","code":429}}"#, "m", Some("429")),
            (r#"{"code":"permission","error":"no"}"#, "no", Some("permission")),
            (r#"{"object":"error","message":"bad","type":"invalid_model","code":"1500"}"#, "bad", Some("1500")),
            (r#"{"detail":"Unauthorized"}"#, "Unauthorized", None),
            (r#"{"detail":[{"msg":"x"}]}"#, r#"[{"msg":"x"}]"#, None),
            (r#"[{"error":{"message":"m","status":"INVALID"}}]"#, "m", None),
            ("upstream connect error", "upstream connect error", None),
            (r#"{"error":{"weird":1}}"#, r#"{"error":{"weird":1}}"#, None),
        ] {
            let found = ProviderError::from_body(body.as_bytes()).unwrap();
            assert_eq!((found.message.as_str(), found.code.as_deref()), (message, code), "{body}");
        }
        assert_eq!(ProviderError::from_body(b" \n"), None);
        assert_eq!(ProviderError::from_value(b"null"), None);
    }

    #[test]
    fn a_long_page_is_cut() {
        let page = "é".repeat(5000);
        assert!(ProviderError::from_body(page.as_bytes()).unwrap().message.len() <= MESSAGE_MAX);
    }
}
