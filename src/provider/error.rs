//! Error bodies of providers: the message, in the order in which real servers place it.
//!
//! `error.message` (OpenAI and most), `error` as a string (xAI, Ollama, TGI), `message` (Mistral, Cohere, old vLLM),
//! `detail` as a string or a list (FastAPI), else the text itself.

use crate::json::Value;

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

impl ProviderError {
    /// Reads an error body; none where it has no message at all.
    #[must_use]
    pub fn from_body(body: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        // Gemini wraps errors of array streams in an array.
        let body = Value::parse(text.as_bytes()).unwrap_or_default();
        let body = if body.is_array() { body.at("0") } else { body };
        let error = body.get("error");
        let inner = Self::from_value(error).map(|found| Self { code: found.code.or_else(|| code(body)), ..found });
        inner.or_else(|| Self::from_fields(body)).or_else(|| Self::from_text(text))
    }

    /// Reads the value of an `error` member, as it stands in streams.
    #[must_use]
    pub fn from_value(error: Value<'_>) -> Option<Self> {
        match error.text() {
            Some(text) => Self::from_text(&text),
            None => Self::from_fields(error),
        }
    }

    /// The error of an answer that says that it failed.
    #[must_use]
    pub fn of_failure(error: Value<'_>) -> Self {
        Self::from_value(error).unwrap_or_else(|| Self { message: "failed".to_owned(), code: None })
    }

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self { message: cut(text), code: None })
    }

    fn from_fields(body: Value<'_>) -> Option<Self> {
        let detail = || {
            let detail = body.get("detail").something()?;
            Some(detail.non_empty().unwrap_or(detail.raw().into()))
        };
        let message = body.get("message").non_empty().or_else(detail)?;
        Some(Self { message: cut(&message), code: code(body) })
    }
}

/// The code, also a number, else the type.
fn code(body: Value<'_>) -> Option<String> {
    let code = body.get("code");
    let number = || code.number().map(|number| number.to_string());
    code.non_empty()
        .map(|code| cut(&code))
        .or_else(number)
        .or_else(|| body.get("type").non_empty().map(|kind| cut(&kind)))
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
        assert_eq!(ProviderError::from_value(Value::parse(b"null").unwrap()), None);
    }

    #[test]
    fn a_long_page_is_cut() {
        let page = "é".repeat(5000);
        assert!(ProviderError::from_body(page.as_bytes()).unwrap().message.len() <= MESSAGE_MAX);
    }
}
